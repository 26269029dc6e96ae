package hsm

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Adoption says which key that another tool made shall become ours, and as what.
type Adoption struct {
	ID    []byte // CKA_ID of the key's objects; with Label, both must match
	Label string // their CKA_LABEL

	KID    string                // empty: random
	Alg    provider.KeyAlg       // empty: the only one that fits; an RSA key needs it
	Uses   []provider.KeyUse     // empty: all that the algorithm allows
	Export provider.ExportPolicy // empty: ExportNone; other than that promises more than the token may allow
	Tags   map[string]string
}

// Adopt gives a record to one key that another tool made, so that it becomes the first version of a key of ours. It changes
// nothing of the key's own objects. The pair is proved first. ErrNotFound if no private or secret key matches; ErrInvalid if
// several do, or the key is ours already, or Alg does not fit it; ErrUnsupported if it has no CKA_ID, shares it, is on a curve for
// which there is no algorithm, or its public half can't be found out; ErrExists if the kid is taken.
func (t *Token) Adopt(ctx context.Context, a Adoption) (provider.KeyRef, error) {
	if err := t.begin(ctx); err != nil {
		return provider.KeyRef{}, err
	}
	if len(a.ID) == 0 && a.Label == "" {
		return provider.KeyRef{}, provider.Invalidf("adopt: want the CKA_ID or the label of a key")
	}
	private, objects, err := t.adoptable(ctx, a)
	if err != nil {
		return provider.KeyRef{}, err
	}
	algs, err := t.algsOf(ctx, private, objects)
	if err != nil {
		return provider.KeyRef{}, err
	}
	spec, err := a.spec(private, algs)
	if err != nil {
		return provider.KeyRef{}, err
	}
	unlock, err := t.lock(ctx, spec.KID)
	if err != nil {
		return provider.KeyRef{}, err
	}
	defer unlock()
	if private.epoch != t.link.epoch() { // the lock has started the module afresh
		if private, objects, err = t.adoptable(ctx, a); err != nil {
			return provider.KeyRef{}, err
		}
	}
	k, err := t.reload(ctx, spec.KID)
	if err != nil {
		return provider.KeyRef{}, err
	}
	if err := k.vacant(); err != nil {
		return provider.KeyRef{}, err
	}
	rec := newRecord(spec)
	rec.ID, rec.Stage = hex.EncodeToString(private.id), live
	if rec.Version, err = k.next(); err != nil {
		return provider.KeyRef{}, err
	}
	rec.Imported = private.evidence == nil || private.evidence.Local == nil || !*private.evidence.Local
	rec.Bits = 0 // what it is shows now
	switch _, err := t.proved(ctx, &rec, objects); {
	case errors.Is(err, errNoPublic):
		return provider.KeyRef{}, provider.Unsupportedf("adopt %s: it has no public key object, and neither the private key nor a certificate tells the public half", quote(private.label))
	case err != nil:
		return provider.KeyRef{}, err
	}
	if err := t.write(ctx, rec); err != nil {
		return provider.KeyRef{}, err
	}
	return t.made(ctx, rec)
}

// names says in words which key a is about.
func (a Adoption) names() string {
	id := fmt.Sprintf("CKA_ID %q", hex.EncodeToString(a.ID))
	switch {
	case a.Label == "":
		return id
	case len(a.ID) == 0:
		return "label " + quote(a.Label)
	}
	return id + " and label " + quote(a.Label)
}

// adoptable returns the one private or secret key that a names, and all objects with its CKA_ID.
func (t *Token) adoptable(ctx context.Context, a Adoption) (*object, []*object, error) {
	objects, err := t.link.find(ctx)
	if err != nil {
		return nil, nil, err
	}
	var found []*object
	for _, o := range objects {
		isKey := o.class == ckoPrivateKey || o.class == ckoSecretKey && !o.isCarrier()
		if isKey && (len(a.ID) == 0 || bytes.Equal(o.id, a.ID)) && (a.Label == "" || o.label == a.Label) {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 0:
		return nil, nil, fmt.Errorf("%w: no private or secret key with %s", provider.ErrNotFound, a.names())
	case len(found) > 1:
		return nil, nil, provider.Invalidf("adopt: %d private or secret keys match: name one by CKA_ID and label", len(found))
	case len(found[0].id) == 0:
		return nil, nil, provider.Unsupportedf("adopt %s: it has no CKA_ID, so nothing ties it to its public half: give both the same one first", quote(a.Label))
	}
	private := found[0]
	var same []*object
	for _, o := range objects {
		if !bytes.Equal(o.id, private.id) {
			continue
		}
		if (o.class == ckoPrivateKey || o.class == ckoSecretKey) && o != private {
			return nil, nil, provider.Unsupportedf("adopt %s: another private or secret key has the same CKA_ID: give it one of its own first", quote(private.label))
		}
		same = append(same, o)
	}
	return private, same, t.unrecorded(objects, private)
}

// unrecorded returns provider.ErrInvalid if a live record names the key.
func (t *Token) unrecorded(objects []*object, private *object) error {
	records, _ := locate(objects)
	for _, r := range records {
		if r.Stage == live && bytes.Equal(r.idBytes(), private.id) {
			return provider.Invalidf("adopt %s: it is %q already", quote(private.label), r.jwkKID())
		}
	}
	return nil
}

// spec says what the key becomes, which can be for one of algs.
func (a Adoption) spec(private *object, algs []provider.KeyAlg) (provider.KeySpec, error) {
	spec := provider.KeySpec{KID: a.KID, Alg: a.Alg, Uses: a.Uses, Export: a.Export, Label: private.label, Tags: a.Tags}
	if len(spec.Label) > provider.MaxLabel {
		spec.Label = ""
	}
	switch {
	case len(algs) == 0:
		return spec, provider.Unsupportedf("adopt %s: no algorithm is for its key type %s", quote(private.label), keyTypeName(private.keyType))
	case spec.Alg == "" && len(algs) > 1:
		return spec, provider.Invalidf("adopt %s: want its algorithm, one of %v", quote(private.label), algs)
	case spec.Alg == "":
		spec.Alg = algs[0]
	}
	if err := spec.Alg.Validate(); err != nil {
		return spec, err
	}
	if !slices.Contains(algs, spec.Alg) {
		return spec, provider.Invalidf("adopt %s as %s: want one of %v", quote(private.label), spec.Alg, algs)
	}
	if private.class == ckoSecretKey {
		spec.Bits = sizeOf(private)
	}
	return spec.Normalize()
}

// algsOf returns the algorithms that a key can be for by its type, and by its curve where the public key object or the private key
// tells it. Some programs leave no public key object behind, as Java's keytool does.
func (t *Token) algsOf(ctx context.Context, private *object, objects []*object) ([]provider.KeyAlg, error) {
	algs := slices.DeleteFunc(provider.Algs(), func(a provider.KeyAlg) bool { return !fits(a, private.keyType) })
	if len(algs) == 0 || private.class == ckoSecretKey || private.keyType == ckkRSA {
		return algs, nil
	}
	parts, err := t.link.publicParts(ctx, private)
	if err != nil {
		return nil, err
	}
	var other error
	for _, o := range append(slices.Clone(objects), parts) {
		c, err := curveOf(o.ecParams)
		switch {
		case err == nil:
			return slices.DeleteFunc(algs, func(a provider.KeyAlg) bool { return a != c.alg }), nil
		case errors.Is(err, provider.ErrUnsupported):
			other = fmt.Errorf("adopt %s: %w", quote(private.label), err)
		}
	}
	return algs, other
}
