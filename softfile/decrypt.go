package softfile

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"io"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Decrypter implements [provider.Decrypting]. [provider.ErrAuth] if the store was opened without a passphrase.
func (s *Store) Decrypter(ctx context.Context, kid string, version int) (provider.Decrypter, error) {
	o, err := s.object(ctx, job{"decrypt", only(provider.RSAOAEPSHA256), []provider.KeyUse{provider.UseDecrypt}}, kid, version)
	if err != nil {
		return nil, err
	}
	return &decrypter{o}, nil
}

type decrypter struct{ *object }

// Decrypt implements crypto.Decrypter.
func (d *decrypter) Decrypt(_ io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.DecryptContext(context.Background(), ciphertext, opts)
}

// DecryptContext implements [provider.Decrypter].
func (d *decrypter) DecryptContext(ctx context.Context, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	if err := d.may(ctx, provider.UseDecrypt); err != nil {
		return nil, err
	}
	var label []byte
	if opts != nil {
		o, ok := opts.(*rsa.OAEPOptions)
		if !ok || o == nil || o.Hash != crypto.SHA256 || o.MGFHash != 0 && o.MGFHash != crypto.SHA256 {
			return nil, provider.Invalidf("decrypt with options of type %T: want nil or *rsa.OAEPOptions with SHA-256", opts)
		}
		label = o.Label
	}
	plaintext, err := rsa.DecryptOAEP(sha256.New(), nil, d.key().Private.(*rsa.PrivateKey), ciphertext, label)
	if err != nil {
		return nil, provider.Invalidf("ciphertext of %d bytes: not one for key %q and this label", len(ciphertext), d.ref.JWKKID())
	}
	return plaintext, nil
}
