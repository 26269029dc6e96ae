package hsm

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Relabel sets the CKA_LABEL of a version's private or secret key, of its public key objects, and of the certificates beside it that
// have had the private key's label so far. Nothing of ours is found by it: records have a label of their own. What was set is read
// back. If an object can't be changed, because of its CKA_MODIFIABLE or its module, those before it are put back.
func (t *Token) Relabel(ctx context.Context, kid string, n int, label string) (provider.Relabelled, error) {
	if err := t.begin(ctx); err != nil {
		return provider.Relabelled{}, err
	}
	if err := provider.ValidateObjectLabel(label); err != nil {
		return provider.Relabelled{}, err
	}
	_, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return provider.Relabelled{}, err
	}
	unlock, err := t.lock(ctx, kid)
	if err != nil {
		return provider.Relabelled{}, err
	}
	defer unlock()
	before, err := settled(t.cfg, func() ([]string, error) { return t.relabel(ctx, v, label) })
	if err != nil {
		return provider.Relabelled{}, fmt.Errorf("relabel %q: %w", v.jwkKID(), err)
	}
	return t.relabelled(ctx, v, label, before)
}

// relabel gives a version's objects the label, and returns those that they had.
func (t *Token) relabel(ctx context.Context, v *version, label string) ([]string, error) {
	objects, err := t.labelled(ctx, v)
	if err != nil {
		return nil, err
	}
	before := make([]string, len(objects))
	for i, o := range objects {
		before[i] = o.label
		if o.label == label {
			continue
		}
		if err := t.link.relabel(ctx, o, label); err != nil {
			return nil, t.labelBack(ctx, v, objects[:i+1], fmt.Errorf("%s: %w", className(o.class), err))
		}
	}
	now, err := t.labelled(ctx, v)
	if err != nil {
		return nil, err
	}
	for _, o := range now {
		if o.label != label {
			err := provider.Unsupportedf("%s: the token says that its label is set, and still shows %s", className(o.class), quote(o.label))
			return nil, t.labelBack(ctx, v, objects, err)
		}
	}
	return before, nil
}

// labelled returns the objects of a version whose labels go together. The private or secret key is the last: by its label the
// certificates that follow it are known, also when a change of labels was cut off and begins again.
func (t *Token) labelled(ctx context.Context, v *version) ([]*object, error) {
	objects, err := t.link.find(ctx, attribute{ckaID, v.idBytes()})
	if err != nil {
		return nil, err
	}
	var private, public, certificates []*object
	for _, o := range objects {
		switch {
		case o.class == ckoCertificate:
			certificates = append(certificates, o)
		case !fits(v.Alg, o.keyType):
		case o.class == ckoPublicKey:
			public = append(public, o)
		case v.private != nil && o.class == v.private.class && o.private == v.private.private:
			private = append(private, o)
		}
	}
	keys := append(public, private...)
	if len(keys) == 0 {
		return nil, damagedf("no key object has the CKA_ID %s any more", v.ID)
	}
	leader := keys[len(keys)-1].label
	certificates = slices.DeleteFunc(certificates, func(o *object) bool { return o.label != leader })
	return append(certificates, keys...), nil
}

// labelBack gives objects the labels back with which they were found, and returns why, and what has another label nevertheless.
func (t *Token) labelBack(ctx context.Context, v *version, objects []*object, why error) error {
	ctx, cancel := t.afterwards(ctx)
	defer cancel()
	for _, o := range objects {
		_ = t.link.relabel(ctx, o, o.label) // what came of it is looked at
	}
	shown, err := t.link.find(ctx, attribute{ckaID, v.idBytes()})
	if err != nil {
		return fmt.Errorf("%w (and nobody knows which labels are changed: %v)", why, err)
	}
	for _, o := range objects {
		changed := func(now *object) bool {
			return now.handle == o.handle && now.epoch == o.epoch && now.label != o.label
		}
		if i := slices.IndexFunc(shown, changed); i >= 0 {
			why = fmt.Errorf("%w (and the label of %s stays %s)", why, className(o.class), quote(shown[i].label))
		}
	}
	return why
}

// relabelled describes what Relabel has done.
func (t *Token) relabelled(ctx context.Context, v *version, label string, before []string) (provider.Relabelled, error) {
	k, err := t.reloadExcept(ctx, v.KID, nil)
	if err != nil {
		return provider.Relabelled{}, err
	}
	if v, err = k.find(v.Version); err != nil {
		return provider.Relabelled{}, err
	}
	same, err := t.link.find(ctx, attribute{ckaLabel, label})
	if err != nil {
		return provider.Relabelled{}, err
	}
	slices.Sort(before)
	done := provider.Relabelled{Ref: k.ref(v, now()), Label: label, Before: slices.Compact(before)}
	for _, o := range same {
		if !o.isRecord() && hex.EncodeToString(o.id) != v.ID {
			done.Others++
		}
	}
	return done, nil
}
