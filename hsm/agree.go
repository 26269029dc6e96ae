package hsm

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ECDH derives a shared secret on the token (CKM_ECDH1_DERIVE) and reads it out.
func (t *Token) ECDH(ctx context.Context, kid string, n int, peer *ecdh.PublicKey) (provider.Secret, error) {
	_, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return provider.Secret{}, err
	}
	if err := v.usable("agree on a secret", v.Alg == provider.X25519, provider.UseDerive); err != nil {
		return provider.Secret{}, err
	}
	if err := checkPeer(peer); err != nil {
		return provider.Secret{}, err
	}
	secret, err := held{t: t, v: v}.agree(ctx, peer)
	if err != nil {
		return provider.Secret{}, err
	}
	defer clear(secret)
	return provider.NewSecret(secret), nil
}

// agree returns the shared secret of the version and a peer.
func (h held) agree(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	return h.use(ctx, func(key *object) ([]byte, error) { return h.t.link.derive(ctx, key, peer.Bytes()) })
}

// checkPeer returns provider.ErrInvalid unless peer is on X25519 and of high order. A peer of low order makes the same secret,
// zero, with every key (RFC 7748 section 6.1), so it shows with a key of this process: tokens answer it in ways of their own.
func checkPeer(peer *ecdh.PublicKey) error {
	if peer == nil || peer.Curve() != ecdh.X25519() {
		return provider.Invalidf("peer's key: want one on X25519")
	}
	probe, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if _, err := probe.ECDH(peer); err != nil {
		return provider.Invalidf("peer's key: it is of low order")
	}
	return nil
}
