package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// notary has the primary sign manifests with the newest version of the key ManifestKID, which it makes where it is missing.
// The state calls it one call at a time.
type notary struct {
	primary  provider.Provider
	limit    time.Duration // for each manifest, with all that it takes
	lifetime time.Duration // from a manifest's issue to its expiry
	up       *breaker      // nothing is asked of a primary that is known to be down
	signer   provider.Signer
	scratch  scratch
	failure  atomic.Pointer[error] // why the last manifest could not be signed; nil if it was
}

// errUnsigned wraps the reason why a manifest was not signed.
var errUnsigned = errors.New("manifest not signed")

// issued is a manifest that has just been signed.
type issued struct {
	*manifest
	text []byte  // the JWT; valid until the next is issued
	rest *ledger // what no one who can be trusted has vouched for, and it leaves out
}

// issue signs l as the manifest that follows base, which may be nil, with at least the given generation.
func (n *notary) issue(ctx context.Context, base *manifest, mirror string, least int64, l *ledger) (issued, error) {
	m, err := n.tryIssue(ctx, base, mirror, least, l)
	if err != nil {
		err = fmt.Errorf("%w: %w", errUnsigned, err)
		n.signer = nil // asked for anew: the key may have been replaced
		n.failure.Store(&err)
		return issued{}, err
	}
	n.failure.Store(nil)
	return m, nil
}

func (n *notary) tryIssue(ctx context.Context, base *manifest, mirror string, least int64, l *ledger) (issued, error) {
	if err := n.up.down(); err != nil {
		return issued{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, n.limit)
	defer cancel()
	signer, err := n.key(ctx, base)
	if err != nil {
		return issued{}, err
	}
	thumbprint, err := provider.Thumbprint(signer.Public())
	if err != nil {
		return issued{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	m := &manifest{
		mirror: mirror, generation: least, issued: now, expires: now.Add(n.lifetime), key: thumbprint,
		keyVersion: signer.KeyRef().Version, ours: true,
	}
	known := base != nil && n.recognises(ctx, base)
	if base != nil {
		m.generation, m.previous = max(least, base.generation+1), base.hash
	}
	if known {
		if m.succession, err = n.succession(ctx, base, thumbprint); err != nil {
			return issued{}, err
		}
	}
	var rest *ledger
	m.ledger, rest = l.vouchedFor(known)
	n.scratch.payload.Reset()
	if err := m.encode(&n.scratch.payload); err != nil {
		return issued{}, err
	}
	n.scratch.text, m.hash, err = sealJWS(ctx, signer, manifestType, n.scratch.payload.Bytes(), n.scratch.text[:0])
	return issued{m, n.scratch.text, rest}, err
}

// scratch is the memory of the last manifest, which the next one takes over: most of it is as long.
type scratch struct {
	payload bytes.Buffer
	text    []byte
}

// key returns the signer of the newest manifest key. A manifest of a version newer than the signer at hand shows that the
// key was rotated.
func (n *notary) key(ctx context.Context, base *manifest) (provider.Signer, error) {
	if n.signer != nil && (base == nil || base.keyVersion <= n.signer.KeyRef().Version) {
		return n.signer, nil
	}
	s, ok := n.primary.(provider.Signing)
	if !ok {
		return nil, lacking("sign")
	}
	ref, err := n.primary.GetKey(ctx, ManifestKID, 0)
	if errors.Is(err, provider.ErrNotFound) {
		ref, err = n.create(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest key: %w", err)
	}
	n.signer, err = s.Signer(ctx, ManifestKID, ref.Version)
	if err != nil {
		return nil, fmt.Errorf("manifest key: %w", err)
	}
	return n.signer, nil
}

// create makes the manifest key, of the first algorithm that the primary offers.
func (n *notary) create(ctx context.Context) (provider.KeyRef, error) {
	c, err := n.primary.Capabilities(ctx)
	if err != nil {
		return provider.KeyRef{}, err
	}
	for _, alg := range []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.ECDSAP384SHA384, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256} {
		if a := c.Alg(alg); !a.Create || !a.Use {
			continue
		}
		spec := provider.KeySpec{KID: ManifestKID, Alg: alg, Uses: []provider.KeyUse{provider.UseSign, provider.UseVerify}, Label: "signs the manifest of the mirror"}
		ref, err := n.primary.CreateKey(ctx, spec)
		if errors.Is(err, provider.ErrExists) { // another process was faster
			return n.primary.GetKey(ctx, ManifestKID, 0)
		}
		return ref, err
	}
	return provider.KeyRef{}, provider.Unsupportedf("the primary makes no key that signs")
}

// recognises tells whether base was signed by a key that the primary holds. Without that, nothing in it counts as vouched
// for: it may have been put there.
func (n *notary) recognises(ctx context.Context, base *manifest) bool {
	if !base.ours {
		k, err := n.primary.PublicJWK(ctx, ManifestKID, base.keyVersion)
		base.ours = err == nil && k.Thumbprint() == base.key
	}
	return base.ours
}

// succession returns base's links, and one more if the key with the thumbprint key takes over.
func (n *notary) succession(ctx context.Context, base *manifest, key string) ([]string, error) {
	if base.key == key {
		return base.succession, nil
	}
	s, ok := n.primary.(provider.Signing)
	if !ok {
		return nil, lacking("sign")
	}
	old, err := s.Signer(ctx, ManifestKID, base.keyVersion)
	if err != nil {
		return nil, fmt.Errorf("manifest key before: %w", err)
	}
	link, err := signOver(ctx, old, key)
	if err != nil {
		return nil, err
	}
	return append(base.succession[:len(base.succession):len(base.succession)], link), nil
}

// vouchedFor returns the part of l that may be signed, as if it were: what this process heard from the primary, what a
// manifest of the primary's said if known, and every destroy, which takes out of service only. rest is what it leaves out.
func (l *ledger) vouchedFor(known bool) (c, rest *ledger) {
	c, rest = l.clone(), newLedger()
	entries := l.all()
	if known {
		entries = l.unsettled()
	}
	for v, e := range entries {
		if !e.heard && !(e.signed && known) && e.Destroyed.IsZero() {
			c.remove(v)
			e.signed, e.doomed = false, false
			rest.set(v, e)
		} else if e.loose() {
			e.signed, e.doomed = true, e.Intent != nil
			c.mark(v, e)
		}
	}
	return c, rest
}

// failed returns why the last manifest could not be signed; nil if it was.
func (n *notary) failed() error {
	if err := n.failure.Load(); err != nil {
		return *err
	}
	return nil
}
