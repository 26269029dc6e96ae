package softfile

import (
	"context"
	"crypto/ecdh"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ECDH implements [provider.KeyAgreement]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) ECDH(ctx context.Context, kid string, version int, peer *ecdh.PublicKey) (provider.Secret, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version), validatePeer(peer)); err != nil {
		return provider.Secret{}, err
	}
	o, err := s.object(ctx, job{"agree on a key", only(provider.X25519), []provider.KeyUse{provider.UseDerive}}, kid, version)
	if err != nil {
		return provider.Secret{}, err
	}
	shared, err := o.key().Private.(*ecdh.PrivateKey).ECDH(peer)
	if err != nil {
		return provider.Secret{}, provider.Invalidf("peer's public key: a point of low order")
	}
	defer clear(shared)
	return provider.NewSecret(shared), nil
}

func validatePeer(peer *ecdh.PublicKey) error {
	if peer == nil || peer.Curve() != ecdh.X25519() {
		return provider.Invalidf("peer's public key: want one of X25519")
	}
	return nil
}
