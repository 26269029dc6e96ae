package softfile

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ExportKey implements [provider.Exporting]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) ExportKey(ctx context.Context, kid string, version int) (provider.Secret, error) {
	if err := s.enter(ctx, provider.ValidateKID(kid), provider.ValidateVersion(version)); err != nil {
		return provider.Secret{}, err
	}
	_, v, err := s.find(ctx, kid, version)
	switch {
	case err != nil:
		return provider.Secret{}, err
	case !v.rec.exportable():
		return provider.Secret{}, fmt.Errorf("%w: %q has the policy %s", provider.ErrNotExportable, v.rec.jwkKID(), v.rec.Export)
	case v.rec.Private == "":
		return provider.Secret{}, fmt.Errorf("%w: the private half of %q is not here", provider.ErrNotExportable, v.rec.jwkKID())
	case s.vault == nil:
		return provider.Secret{}, errLocked("export a key")
	}
	key, err := s.vault.open(v)
	if err != nil {
		return provider.Secret{}, err
	}
	if key.Private == nil {
		return key.Symmetric, nil
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.Private)
	if err != nil {
		return provider.Secret{}, fmt.Errorf("%w: PKCS #8: %w", provider.ErrUnsupported, err)
	}
	defer clear(der)
	return provider.NewSecret(der), nil
}
