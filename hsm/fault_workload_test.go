//go:build cgo && unix

package hsm

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// workload is a Token with a key of each kind, and all that can be done with them.
type workload struct {
	*Token
	cfg  Config
	refs map[provider.KeyAlg]provider.KeyRef
	jwks map[provider.KeyAlg]provider.JWK

	doubtful []string // kids of which it is not known whether they were made or destroyed
}

// operation is one thing that is done with a token. It returns errLie if what came of it is not right.
type operation struct {
	name string
	dear bool // it makes a key
	run  func(context.Context) error
}

// errLie means that the token's answer is wrong, which is worse than none.
var errLie = errors.New("wrong answer")

func goroutines() int { return runtime.NumGoroutine() }

var workloadAlgs = []provider.KeyAlg{
	provider.ECDSAP256SHA256, provider.AES256GCM, provider.HMACSHA256, provider.RSAOAEPSHA256, provider.X25519, provider.Ed25519,
}

func newWorkload(t testing.TB, cfg Config) *workload {
	t.Helper()
	ctx := context.Background()
	token, err := Open(ctx, cfg)
	require.NoError(t, err)
	w := &workload{Token: token, cfg: cfg, refs: map[provider.KeyAlg]provider.KeyRef{}, jwks: map[provider.KeyAlg]provider.JWK{}}
	for _, alg := range workloadAlgs {
		w.refs[alg], err = w.CreateKey(ctx, provider.KeySpec{Alg: alg, Bits: least(alg)})
		require.NoError(t, err)
		if alg.Class() == provider.Asymmetric {
			w.jwks[alg], err = w.PublicJWK(ctx, w.refs[alg].KID, 1)
			require.NoError(t, err)
		}
	}
	return w
}

// operations returns all operations, cheap ones first.
func (w *workload) operations() []operation {
	return []operation{
		{"sign", false, func(ctx context.Context) error { return w.sign(ctx, provider.ECDSAP256SHA256) }},
		{"sign with Ed25519", false, func(ctx context.Context) error { return w.sign(ctx, provider.Ed25519) }},
		{"authenticate", false, w.authenticate},
		{"encrypt", false, w.encrypt},
		{"decrypt", false, w.decrypt},
		{"agree", false, w.agree},
		{"draw", false, w.draw},
		{"list", false, w.list},
		{"look for what is not there", false, w.miss},
		{"inspect", false, func(ctx context.Context) error { _, err := w.objects(ctx); return err }},
		{"join", false, w.join},
		{"restart", false, w.restart},
		{"make a pair", true, func(ctx context.Context) error { return w.makeKey(ctx, provider.ECDSAP256SHA256) }},
		{"make an Ed25519 pair", true, func(ctx context.Context) error { return w.makeKey(ctx, provider.Ed25519) }},
		{"make a secret key", true, func(ctx context.Context) error { return w.makeKey(ctx, provider.AES256GCM) }},
		{"import", true, w.importKey},
		{"rotate", true, w.rotate},
	}
}

func (w *workload) sign(ctx context.Context, alg provider.KeyAlg) error {
	return w.signAs(ctx, w.jwks[alg])
}

// signAs expects a signature that the JWK verifies.
func (w *workload) signAs(ctx context.Context, jwk provider.JWK) error {
	signer, err := w.Signer(ctx, jwk.Ref().KID, jwk.Ref().Version)
	if err != nil {
		return err
	}
	message := []byte("message")
	signature, err := signer.SignContext(ctx, jwk.Alg().Digest(message), jwk.Alg().SignerOpts())
	if err == nil && jwk.Verify(message, signature) != nil {
		return errLie
	}
	return err
}

func (w *workload) authenticate(ctx context.Context) error {
	mac, err := w.MAC(ctx, w.refs[provider.HMACSHA256].KID, 1)
	if err != nil {
		return err
	}
	code, err := mac.Sum(ctx, []byte("message"))
	if err != nil {
		return err
	}
	return mac.Verify(ctx, []byte("message"), code)
}

func (w *workload) encrypt(ctx context.Context) error {
	aead, err := w.AEAD(ctx, w.refs[provider.AES256GCM].KID, 1)
	if err != nil {
		return err
	}
	sealed, err := aead.Encrypt(ctx, []byte("plain"), nil)
	if err != nil {
		return err
	}
	plain, err := aead.Decrypt(ctx, sealed, nil)
	if err == nil && string(plain) != "plain" {
		return errLie
	}
	return err
}

func (w *workload) decrypt(ctx context.Context) error {
	d, err := w.Decrypter(ctx, w.refs[provider.RSAOAEPSHA256].KID, 1)
	if err != nil {
		return err
	}
	sealed, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, d.Public().(*rsa.PublicKey), []byte("plain"), nil)
	if err != nil {
		return err
	}
	plain, err := d.DecryptContext(ctx, sealed, nil)
	if err == nil && string(plain) != "plain" {
		return errLie
	}
	return err
}

func (w *workload) agree(ctx context.Context) error {
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	got, err := w.ECDH(ctx, w.refs[provider.X25519].KID, 1, peer.PublicKey())
	if err != nil {
		return err
	}
	want, err := peer.ECDH(w.jwks[provider.X25519].PublicKey().(*ecdh.PublicKey))
	if err == nil && !bytes.Equal(got.Expose(), want) {
		return errLie
	}
	return err
}

func (w *workload) draw(ctx context.Context) error {
	got, err := w.RandomBytes(ctx, 32)
	if err == nil && bytes.Equal(got, make([]byte, 32)) {
		return errLie
	}
	return err
}

// list enumerates the token, and expects every key, or a problem for what is not there.
func (w *workload) list(ctx context.Context) error {
	w.refresh <- struct{}{}
	err := w.enumerate(ctx)
	<-w.refresh
	if err != nil {
		return err
	}
	list, err := w.ListKeys(ctx)
	if err != nil {
		return err
	}
	fingerprints := map[string]string{}
	for _, ref := range list.Keys {
		fingerprints[ref.KID] = ref.Fingerprint
	}
	for _, want := range w.refs {
		got, found := fingerprints[want.KID]
		if !found && len(list.Problems) > 0 {
			return errors.Join(list.Problems...)
		}
		if got != want.Fingerprint {
			return fmt.Errorf("%w: %s is missing or another key", errLie, want.Alg)
		}
	}
	return nil
}

func (w *workload) miss(ctx context.Context) error {
	_, err := w.GetKey(ctx, "nobody", 0)
	switch {
	case err == nil:
		return errLie
	case errors.Is(err, provider.ErrNotFound):
		return nil
	}
	return err
}

// join opens another Token on the module, which is in use.
func (w *workload) join(ctx context.Context) error {
	token, err := New(w.cfg)
	if err != nil {
		return err
	}
	_, err = token.GetKey(ctx, w.refs[provider.Ed25519].KID, 1)
	return errors.Join(err, token.Close())
}

// restart closes the Token and goes on with another one.
func (w *workload) restart(ctx context.Context) error {
	closed := w.Close()
	token, err := New(w.cfg)
	if err != nil {
		return err
	}
	w.Token = token
	_, err = w.GetKey(ctx, w.refs[provider.Ed25519].KID, 1)
	return errors.Join(closed, err)
}

func (w *workload) makeKey(ctx context.Context, alg provider.KeyAlg) error {
	kid := provider.NewKID()
	_, err := w.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: alg})
	return w.unmake(ctx, kid, err)
}

func (w *workload) importKey(ctx context.Context) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	material, err := provider.Material(private)
	if err != nil {
		return err
	}
	kid := provider.NewKID()
	_, err = w.ImportKey(ctx, provider.KeySpec{KID: kid, Alg: provider.ECDSAP256SHA256}, material)
	return w.unmake(ctx, kid, err)
}

func (w *workload) rotate(ctx context.Context) error {
	kid := provider.NewKID()
	_, err := w.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: provider.Ed25519})
	if err == nil {
		_, err = w.RotateKey(ctx, kid, provider.Rotation{})
	}
	return w.unmake(ctx, kid, err)
}

// unmake destroys a key, if nothing befell it before.
func (w *workload) unmake(ctx context.Context, kid string, before error) error {
	if before != nil {
		w.doubtful = append(w.doubtful, kid)
		return before
	}
	done, err := w.DestroyKey(ctx, kid, provider.AllVersions)
	if err != nil {
		w.doubtful = append(w.doubtful, kid)
		return err
	}
	if _, err := w.GetKey(ctx, kid, 0); err == nil || len(done.Versions) == 0 {
		return fmt.Errorf("%w: a key that was destroyed is there", errLie)
	}
	return nil
}

// resolve looks at the doubtful kids: each is there and works, and can be destroyed, or is not there at all.
func (w *workload) resolve(ctx context.Context) error {
	for _, kid := range w.doubtful {
		ref, err := w.GetKey(ctx, kid, 0)
		if errors.Is(err, provider.ErrNotFound) {
			continue
		}
		if err == nil && ref.Alg.Signs() {
			err = w.signsWith(ctx, ref)
		}
		if err == nil {
			_, err = w.DestroyKey(ctx, kid, provider.AllVersions)
		}
		if err != nil {
			return fmt.Errorf("a key that was half made or destroyed: %w", err)
		}
	}
	w.doubtful = nil
	return nil
}

func (w *workload) signsWith(ctx context.Context, ref provider.KeyRef) error {
	jwk, err := w.PublicJWK(ctx, ref.KID, ref.Version)
	if err != nil {
		return err
	}
	return w.signAs(ctx, jwk)
}
