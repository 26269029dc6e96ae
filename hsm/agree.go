package hsm

import (
	"context"
	"crypto/ecdh"

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
	if peer == nil || peer.Curve() != ecdh.X25519() {
		return provider.Secret{}, provider.Invalidf("peer's key: want one on X25519")
	}
	secret, err := held{t: t, v: v}.agree(ctx, peer)
	if err != nil {
		return provider.Secret{}, err
	}
	defer clear(secret)
	return provider.NewSecret(secret), nil
}

// agree returns the shared secret of the version and a peer. A peer of low order, which makes it all zero (RFC 7748 section
// 6.1), is provider.ErrInvalid.
func (h held) agree(ctx context.Context, peer *ecdh.PublicKey) ([]byte, error) {
	secret, err := h.use(ctx, func(key *object) ([]byte, error) { return h.t.link.derive(ctx, key, peer.Bytes()) })
	if err != nil {
		return nil, err
	}
	var sum byte
	for _, b := range secret {
		sum |= b
	}
	if sum == 0 {
		return nil, provider.Invalidf("peer's key: it is of low order")
	}
	return secret, nil
}
