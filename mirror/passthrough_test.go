package mirror

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// operations returns one operation with a private half for each optional interface, on objects obtained beforehand.
func operations(t *testing.T, m *Mirror) map[string]func(context.Context) error {
	ctx := t.Context()
	for kid, alg := range map[string]provider.KeyAlg{"sign": provider.Ed25519, "rsa": provider.RSAOAEPSHA256, "aes": provider.AES256GCM, "mac": provider.HMACSHA256, "dh": provider.X25519} {
		_, err := m.CreateKey(ctx, provider.KeySpec{KID: kid, Alg: alg, Export: provider.ExportSecretWhenAllowed, Bits: map[bool]int{true: 2048}[kid == "rsa"]})
		require.NoError(t, err)
	}
	signer, err := m.Signer(ctx, "sign", 0)
	require.NoError(t, err)
	require.Equal(t, "sign.1", signer.KeyRef().JWKKID())
	decrypter, err := m.Decrypter(ctx, "rsa", 0)
	require.NoError(t, err)
	ciphertext, err := rsa.EncryptOAEP(crypto.SHA256.New(), rand.Reader, decrypter.Public().(*rsa.PublicKey), []byte("x"), nil)
	require.NoError(t, err)
	aead, err := m.AEAD(ctx, "aes", 0)
	require.NoError(t, err)
	message, err := aead.Encrypt(ctx, []byte("x"), nil)
	require.NoError(t, err)
	mac, err := m.MAC(ctx, "mac", 0)
	require.NoError(t, err)
	code, err := mac.Sum(ctx, []byte("x"))
	require.NoError(t, err)
	peer, err := ecdh.X25519().GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]func(context.Context) error{
		"Sign": func(context.Context) error {
			_, err := signer.Sign(rand.Reader, []byte("x"), crypto.Hash(0))
			return err
		},
		"SignContext": func(ctx context.Context) error {
			_, err := signer.SignContext(ctx, []byte("x"), crypto.Hash(0))
			return err
		},
		"Decrypt":        func(context.Context) error { _, err := decrypter.Decrypt(rand.Reader, ciphertext, nil); return err },
		"DecryptContext": func(ctx context.Context) error { _, err := decrypter.DecryptContext(ctx, ciphertext, nil); return err },
		"Encrypt":        func(ctx context.Context) error { _, err := aead.Encrypt(ctx, []byte("x"), nil); return err },
		"open":           func(ctx context.Context) error { _, err := aead.Decrypt(ctx, message, nil); return err },
		"Sum":            func(ctx context.Context) error { _, err := mac.Sum(ctx, []byte("x")); return err },
		"Verify":         func(ctx context.Context) error { return mac.Verify(ctx, []byte("x"), code) },
		"ECDH":           func(ctx context.Context) error { _, err := m.ECDH(ctx, "dh", 0, peer.PublicKey()); return err },
		"ExportKey":      func(ctx context.Context) error { _, err := m.ExportKey(ctx, "sign", 0); return err },
		"Signer":         func(ctx context.Context) error { _, err := m.Signer(ctx, "sign", 0); return err },
	}
}

// Nothing that needs a private half fails over, also in mode full; it is there again with the primary.
func TestPrivateHalvesDoNotFailOver(t *testing.T) {
	r := newRig(t, Config{Mode: Full})
	for name, operate := range operations(t, r.Mirror) {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, operate(t.Context()))
			r.primary.Unplug()
			require.ErrorIs(t, operate(t.Context()), provider.ErrUnavailable)
			require.True(t, r.Status().Primary.Down, "it counts as an outage")
			r.primary.Plug()
			require.NoError(t, operate(t.Context()), "a primary that fails fast is asked, so that it is there again at once")
			require.False(t, r.Status().Primary.Down)
		})
	}
}

func TestSigningFailsAtOnceWhileThePrimaryHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		operate := operations(t, r.Mirror)
		synctest.Wait()
		r.primary.Hang()
		_, err := r.GetKey(t.Context(), "sign", 1)
		require.NoError(t, err)
		start := time.Now()
		for name, op := range operate {
			require.ErrorIs(t, op(t.Context()), provider.ErrUnavailable, name)
		}
		require.Zero(t, time.Since(start))
		r.primary.Release()
		time.Sleep(time.Minute)
		synctest.Wait()
		for name, op := range operate {
			require.NoError(t, op(t.Context()), name)
		}
		require.NoError(t, r.Close())
		for name, op := range operate {
			require.ErrorIs(t, op(t.Context()), provider.ErrClosed, name)
		}
	})
}

func TestPrimaryWithoutFurtherAbilities(t *testing.T) {
	m, err := New(providertest.NewFake(t).Plain(), providertest.NewFake(t), Config{})
	require.NoError(t, err)
	defer m.Close()
	ctx := t.Context()
	ref, err := m.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.Ed25519})
	require.NoError(t, err)
	require.True(t, ref.Mirroring.Mirrored)
	_, err = m.Signer(ctx, "k", 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = m.Decrypter(ctx, "k", 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = m.AEAD(ctx, "k", 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = m.MAC(ctx, "k", 1)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = m.ECDH(ctx, "k", 1, nil)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = m.ExportKey(ctx, "k", 1)
	require.ErrorIs(t, err, provider.ErrNotExportable)
	_, err = m.ExportKey(ctx, "k", 2)
	require.ErrorIs(t, err, provider.ErrNotFound)
	_, err = m.PutVersion(ctx, ref, provider.KeyMaterial{})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.NoError(t, m.Health(ctx), "a store that can't tell is asked for its keys")
}

func TestHealthIsThePrimarys(t *testing.T) {
	r := newRig(t, Config{})
	require.NoError(t, r.Health(t.Context()))
	r.secondary.Unplug()
	require.NoError(t, r.Health(t.Context()))
	r.primary.Unplug()
	require.ErrorIs(t, r.Health(t.Context()), provider.ErrUnavailable)
	require.True(t, r.Status().Primary.Down)
	require.ErrorIs(t, r.Status().Primary.Err, provider.ErrUnavailable)
	r.primary.Plug()
	require.NoError(t, r.Health(t.Context()))
	require.False(t, r.Status().Primary.Down)
}

func TestRandomBytesAndHKDFFailOver(t *testing.T) {
	r := newRig(t, Config{})
	want, err := r.HKDF(t.Context(), []byte("in"), []byte("salt"), nil, 32)
	require.NoError(t, err)
	r.primary.Unplug()
	got, err := r.HKDF(t.Context(), []byte("in"), []byte("salt"), nil, 32)
	require.NoError(t, err)
	require.Equal(t, want, got)
	b, err := r.RandomBytes(t.Context(), 16)
	require.NoError(t, err)
	require.Len(t, b, 16)
	r.secondary.Unplug()
	_, err = r.RandomBytes(t.Context(), 16)
	require.ErrorIs(t, err, provider.ErrUnavailable)
}

func TestCapabilitiesOfAPrimaryThatWasNeverSeen(t *testing.T) {
	r := newRig(t, Config{})
	r.primary.Unplug()
	_, err := r.Capabilities(t.Context())
	require.ErrorIs(t, err, provider.ErrUnavailable, "the secondary's would promise too much")
}

// A mirror as a primary: its inner secondary answers first, and the outer one when that is gone too.
func TestMirrorOfAMirror(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := newRig(t, Config{})
		last := providertest.NewFake(t)
		outer, err := New(inner.Mirror, last, Config{ManifestDir: tempDir(t)})
		require.NoError(t, err)
		defer outer.Close()
		ref, err := outer.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.True(t, ref.Mirroring.Mirrored)
		require.Equal(t, []string{"k.1"}, inner.copies())
		require.Equal(t, 1, last.Calls("PutVersion"))
		synctest.Wait()
		made := time.Now().UTC()

		time.Sleep(30 * time.Minute)
		inner.primary.Unplug()
		_, err = inner.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "foreign", Alg: provider.Ed25519})
		require.NoError(t, err)
		got, err := outer.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, provider.Secondary, got.Provenance.Source)
		report, err := outer.Reconcile(t.Context())
		require.NoError(t, err)
		require.Empty(t, report.Copied, "what the inner mirror answers for its primary is not vouched for")
		inner.secondary.Unplug()
		got, err = outer.GetKey(t.Context(), "k", 1)
		require.NoError(t, err)
		require.Equal(t, ref.Fingerprint, got.Fingerprint)
		require.Equal(t, made, got.Provenance.AsOf, "nor is it a confirmation")
		require.ErrorIs(t, outer.Health(t.Context()), provider.ErrUnavailable)

		inner.primary.Plug()
		inner.secondary.Plug()
		time.Sleep(time.Minute)
		inner.secondary.Refuse(errors.New("full"), "PutVersion")
		ref, err = outer.RotateKey(t.Context(), "k", provider.Rotation{})
		require.NoError(t, err)
		require.False(t, ref.Mirroring.Mirrored, "what the inner mirror could not mirror is not kept silent")
		require.Contains(t, ref.Mirroring.Reason, "full")
		inner.secondary.Refuse(nil)
		d, err := outer.DestroyKey(t.Context(), "k", provider.AllVersions)
		require.NoError(t, err)
		require.True(t, d.Mirroring.Mirrored)
		require.Equal(t, []string{"foreign.1"}, inner.copies())
		_, err = last.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrNotFound)
	})
}

func TestNewOwnsItsStores(t *testing.T) {
	a, b := providertest.NewFake(t), providertest.NewFake(t)
	_, err := New(a, nil, Config{})
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = New(nil, b, Config{})
	require.ErrorIs(t, err, provider.ErrInvalid)
	for _, cfg := range []Config{{PrimaryTimeout: -1}, {SecondaryTimeout: -1}, {StaleAfter: -1}} {
		_, err = New(providertest.NewFake(t), providertest.NewFake(t), cfg)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
	_, err = New(a, a, Config{})
	require.ErrorContains(t, err, "mirror of a store in itself")
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.Equal(t, 2, a.Calls("Close"), "the one that failed above, and this one")
	c, d := providertest.NewFake(t), providertest.NewFake(t)
	m, err := New(c, d, Config{})
	require.NoError(t, err)
	boom := errors.New("boom")
	c.Refuse(boom, "Close")
	require.ErrorIs(t, m.Close(), boom)
	require.ErrorIs(t, m.Close(), boom, "closing twice gives the same answer")
	require.Equal(t, 1, d.Calls("Close"))
	require.Zero(t, c.Calls()+d.Calls(), "and neither was asked anything")
}

// Close waits for the mirror's half of a write that the primary has made.
func TestCloseWaitsForTheMirrorWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.create(provider.KeySpec{KID: "first"})
		synctest.Wait()
		r.secondary.Hang("PutVersion")
		go func() {
			ref, err := r.CreateKey(context.Background(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			if err != nil || !ref.Mirroring.Mirrored {
				t.Error(err, ref.Mirroring)
			}
		}()
		synctest.Wait()
		go func() {
			time.Sleep(time.Second)
			r.secondary.Release()
		}()
		require.NoError(t, r.Close())
		require.Equal(t, []string{"first.1", "k.1"}, r.copies())
		_, err := r.GetKey(t.Context(), "k", 1)
		require.ErrorIs(t, err, provider.ErrClosed)
	})
}
