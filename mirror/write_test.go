package mirror

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestWhatIsCopied(t *testing.T) {
	const (
		nothing = iota
		public
		private
	)
	tests := []struct {
		name   string
		mode   Mode
		alg    provider.KeyAlg
		export provider.ExportPolicy
		want   int
		reason string // part of the answer's
	}{
		{"public_only copies the public half", PublicOnly, provider.Ed25519, provider.ExportNone, public, ""},
		{"public_only copies no private half that may be exported", PublicOnly, provider.Ed25519, provider.ExportSecretWhenAllowed, public, ""},
		{"public_only copies nothing of a symmetric key", PublicOnly, provider.AES256GCM, provider.ExportSecretWhenAllowed, nothing, "symmetric: no public half"},
		{"full copies a private half that may be exported", Full, provider.ECDSAP256SHA256, provider.ExportSecretWhenAllowed, private, ""},
		{"full copies a secret that may be exported", Full, provider.AES256GCM, provider.ExportSecretWhenAllowed, private, ""},
		{"full falls back to the public half under policy none", Full, provider.Ed25519, provider.ExportNone, public, "export policy is none"},
		{"full falls back to the public half under public_only", Full, provider.Ed25519, provider.ExportPublicOnly, public, "export policy is public_only"},
		{"full copies nothing of a secret under policy none", Full, provider.HMACSHA256, provider.ExportNone, nothing, "export policy is none"},
		{"none copies nothing", None, provider.Ed25519, provider.ExportSecretWhenAllowed, nothing, "mode none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, Config{Mode: tt.mode})
			spec := provider.KeySpec{KID: "k", Alg: tt.alg, Export: tt.export, Label: "for tests", Tags: map[string]string{"a": "b"}}
			ref := r.create(spec)
			require.Equal(t, tt.want == private, ref.Mirroring.Private)
			require.Contains(t, ref.Mirroring.Reason, tt.reason)
			require.Equal(t, tt.reason == "", ref.Mirroring.Reason == "")

			copied, err := r.secondary.GetKey(t.Context(), "k", 1)
			if tt.want == nothing {
				require.ErrorIs(t, err, provider.ErrNotFound)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tt.want == private, copied.Private)
			copied.Private, copied.Provenance = ref.Private, ref.Provenance
			ref.Mirroring = nil
			require.Equal(t, ref, copied, "a copy keeps kid, version, schedule, policy, label and tags")
		})
	}
}

func TestImportRotateAndPutAreMirrored(t *testing.T) {
	r := newRig(t, Config{})
	other := newRig(t, Config{})
	ref := r.create(provider.KeySpec{KID: "k"})
	r.rotate("k")
	key, err := r.PublicJWK(t.Context(), "k", 1)
	require.NoError(t, err)
	material, err := provider.PublicMaterial(key.PublicKey())
	require.NoError(t, err)

	imported, err := r.ImportKey(t.Context(), provider.KeySpec{KID: "i", Alg: provider.Ed25519}, material)
	require.NoError(t, err)
	require.True(t, imported.Mirroring.Mirrored)
	require.Equal(t, []string{"i.1", "k.1", "k.2"}, r.copies())

	put, err := other.PutVersion(t.Context(), ref, material)
	require.NoError(t, err)
	require.True(t, put.Mirroring.Mirrored)
	require.Equal(t, []string{"k.1"}, other.copies())
}

// A size is taken from the material, as the contract says, and not from the algorithm's default.
func TestImportKeepsTheSizeOfTheMaterial(t *testing.T) {
	r := newRig(t, Config{})
	key := r.create(provider.KeySpec{Alg: provider.RSAPSSSHA256, Bits: 2048})
	jwk, err := r.PublicJWK(t.Context(), key.KID, 1)
	require.NoError(t, err)
	material, err := provider.PublicMaterial(jwk.PublicKey())
	require.NoError(t, err)
	ref, err := r.ImportKey(t.Context(), provider.KeySpec{Alg: provider.RSAPSSSHA256}, material)
	require.NoError(t, err)
	require.Equal(t, 2048, ref.Bits)
}

func TestPrimaryRefusesAWrite(t *testing.T) {
	r := newRig(t, Config{})
	r.create(provider.KeySpec{KID: "k"})
	boom := errors.New("the primary's own error")
	r.primary.Refuse(boom, "CreateKey", "ImportKey", "RotateKey", "DestroyKey", "PutVersion")
	r.secondary.ResetCalls()

	_, err := r.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519})
	require.ErrorIs(t, err, boom)
	_, err = r.RotateKey(t.Context(), "k", provider.Rotation{})
	require.ErrorIs(t, err, boom)
	_, err = r.DestroyKey(t.Context(), "k", 1)
	require.ErrorIs(t, err, boom)
	require.Zero(t, r.secondary.Calls("PutVersion", "ImportKey", "DestroyKey"), "the secondary is left alone")
	require.NotEmpty(t, r.x("k", 1), "the key lives on")
}

func TestSecondaryFailsAWrite(t *testing.T) {
	tests := []struct {
		name  string
		fault func(*rig)
		delay time.Duration // of the write
		cause string
	}{
		{"unplugged", func(r *rig) { r.secondary.Unplug() }, 0, "unplugged"},
		{"refuses", func(r *rig) { r.secondary.Refuse(provider.ErrAuth, "PutVersion") }, 0, provider.ErrAuth.Error()},
		{"hangs", func(r *rig) { r.secondary.Hang() }, 5 * time.Second, "no answer within 5s"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				tt.fault(r)
				start := time.Now()
				ref, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
				require.NoError(t, err)
				require.Equal(t, tt.delay, time.Since(start))
				require.False(t, ref.Mirroring.Mirrored)
				require.Contains(t, ref.Mirroring.Reason, tt.cause)
				require.Equal(t, []Unmirrored{{Version{"k", 1}, ref.Mirroring.Reason}}, r.Status().Unmirrored)

				r.secondary.Plug()
				r.secondary.Refuse(nil)
				r.secondary.Release()
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, []string{"k.1"}, r.copies(), "repaired without being asked")
				require.Empty(t, r.Status().Unmirrored)
				r.primary.Unplug()
				require.Equal(t, ref.Fingerprint, r.x("k", 1))
			})
		})
	}
}

// The caller gives up while the secondary is being written: what the primary has made is mirrored all the same.
func TestMirrorWriteOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.secondary.Hang("PutVersion")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go func() {
			time.Sleep(2 * time.Second)
			r.secondary.Release()
		}()
		ref, err := r.CreateKey(ctx, provider.KeySpec{KID: "k", Alg: provider.Ed25519})
		require.NoError(t, err)
		require.Error(t, ctx.Err())
		require.True(t, ref.Mirroring.Mirrored, ref.Mirroring.Reason)
		require.Equal(t, []string{"k.1"}, r.copies())
	})
}

// A secondary without a passphrase takes no private half: the public one is kept, and the answer says what is missing.
func TestFullFallsBackWhereTheSecondaryTakesNoSecrets(t *testing.T) {
	r := newRig(t, Config{Mode: Full})
	locked := &publicReplica{Provider: r.secondary}
	m, err := New(r.primary.Reopen(), locked, Config{Mode: Full})
	require.NoError(t, err)
	defer m.Close()
	ref, err := m.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed})
	require.NoError(t, err)
	require.False(t, ref.Mirroring.Mirrored)
	require.False(t, ref.Mirroring.Private)
	require.Contains(t, ref.Mirroring.Reason, "private half: authentication refused")
	require.Equal(t, []string{"k.1"}, r.copies())
}

// Both attempts at a copy together are given the secondary's time limit once.
func TestSlowRefusalAndHangDelayAWriteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		m, err := New(r.primary.Reopen(), &publicReplica{Provider: r.secondary, thinks: 4 * time.Second}, Config{Mode: Full})
		require.NoError(t, err)
		defer m.Close()
		require.NoError(t, m.Health(t.Context()))
		synctest.Wait()
		r.secondary.Hang("PutVersion")
		start := time.Now()
		ref, err := m.CreateKey(t.Context(), provider.KeySpec{Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed})
		require.NoError(t, err)
		require.False(t, ref.Mirroring.Mirrored)
		require.Equal(t, DefaultSecondaryTimeout, time.Since(start))
		r.secondary.Release()
	})
}

// publicReplica is a store that was opened without its passphrase.
type publicReplica struct {
	provider.Provider
	thinks time.Duration // before it refuses
}

func (p *publicReplica) PutVersion(ctx context.Context, ref provider.KeyRef, material provider.KeyMaterial) (provider.KeyRef, error) {
	if !material.Private.Empty() {
		time.Sleep(p.thinks)
		return provider.KeyRef{}, provider.ErrAuth
	}
	return p.Provider.(provider.Replica).PutVersion(ctx, ref, material)
}

func (p *publicReplica) Close() error { return nil }
