package mirror

import (
	"context"
	"crypto"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

var open = provider.KeySpec{KID: "k", Alg: provider.ECDSAP256SHA256, Export: provider.ExportSecretWhenAllowed}

// newDeputyRig is newRig in mode full with the key of spec, the pin, and a secondary that may sign.
func newDeputyRig(t *testing.T, spec provider.KeySpec) *rig {
	t.Helper()
	r := newRig(t, Config{Mode: Full})
	r.create(spec)
	pin, err := r.ManifestPin(t.Context())
	require.NoError(t, err)
	r.cfg.Pin, r.cfg.FailOverSigning = pin, true
	return r.restart()
}

func (r *rig) signer(kid string, version int) provider.Signer {
	r.t.Helper()
	s, err := r.Signer(r.t.Context(), kid, version)
	require.NoError(r.t, err)
	return s
}

var message = []byte("pay alice")

// signs has s sign the message, requires that the signature is one of its public key, and returns its provenance.
func signs(t *testing.T, s provider.Signer) provider.Provenance {
	t.Helper()
	alg := s.KeyRef().Alg
	signature, p, err := provider.SignWithProvenance(t.Context(), s, alg.Digest(message), alg.SignerOpts())
	require.NoError(t, err)
	k, err := provider.NewJWK(s.KeyRef(), s.Public())
	require.NoError(t, err)
	require.NoError(t, k.Verify(message, signature))
	return p
}

// trySign returns the error of a signature.
func trySign(t *testing.T, s provider.Signer) error {
	t.Helper()
	alg := s.KeyRef().Alg
	signature, err := s.SignContext(t.Context(), alg.Digest(message), alg.SignerOpts())
	require.Equal(t, err == nil, signature != nil)
	return err
}

func TestSecondarySignsDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDeputyRig(t, open)
		before := r.signer("k", 0)
		require.Equal(t, provider.Primary, signs(t, before).Source)
		heard := time.Now().UTC()

		time.Sleep(10 * time.Minute)
		r.primary.Unplug()
		during := r.signer("k", 0)
		require.Equal(t, provider.Secondary, during.KeyRef().Provenance.Source)
		for _, s := range []provider.Signer{before, during, r.signer("k", 1)} {
			p := signs(t, s)
			require.Equal(t, provider.Secondary, p.Source)
			require.WithinDuration(t, heard, p.AsOf, time.Second, "it says how old the primary's word is")
			require.Contains(t, p.Reason, "unplugged")
			require.False(t, p.Unauthenticated || p.Stale)
			require.Equal(t, before.Public(), s.Public())
			require.Equal(t, "k.1", s.KeyRef().JWKKID())
		}
		require.EqualValues(t, 3, r.Status().SignedBySecondary)
		require.Equal(t, 1, strings.Count(r.log.String(), "the secondary signs"), "it is logged once")
		_, err := before.Sign(rand.Reader, []byte("short"), crypto.SHA256)
		require.ErrorIs(t, err, provider.ErrInvalid)
		require.NotErrorIs(t, err, provider.ErrUnavailable)

		r.primary.Plug()
		for _, s := range []provider.Signer{before, during} {
			require.Equal(t, provider.Primary, signs(t, s).Source, "the primary signs again at once")
		}
		time.Sleep(time.Minute)
		r.primary.Unplug()
		require.Equal(t, provider.Secondary, signs(t, during).Source)
		require.Equal(t, 2, strings.Count(r.log.String(), "the secondary signs"), "and once more in another outage")
	})
}

func TestSigningFailsOverFromAPrimaryThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDeputyRig(t, open)
		s := r.signer("k", 0)
		synctest.Wait()
		r.primary.Hang()
		start := time.Now()
		require.Equal(t, provider.Secondary, signs(t, s).Source)
		require.Equal(t, DefaultPrimaryTimeout, time.Since(start))
		start = time.Now()
		require.Equal(t, provider.Secondary, signs(t, s).Source)
		require.Equal(t, provider.Secondary, signs(t, r.signer("k", 0)).Source)
		require.Zero(t, time.Since(start), "none after the first waits")
		r.primary.Release()
		time.Sleep(time.Minute)
		require.Equal(t, provider.Primary, signs(t, s).Source)
	})
}

// The caller who gives up gets the error of the own context, and no signature of the secondary.
func TestSigningByACallerWhoGaveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDeputyRig(t, open)
		s := r.signer("k", 0)
		synctest.Wait()
		r.primary.Hang()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := s.SignContext(ctx, make([]byte, 32), crypto.SHA256)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Zero(t, r.Status().SignedBySecondary)
		r.primary.Release()
	})
}

func TestWhenSigningFailsOver(t *testing.T) {
	shut := open
	shut.Export = provider.ExportPublicOnly
	none := open
	none.Export = provider.ExportNone
	unplug := func(r *rig) { r.primary.Unplug() }
	refuse := func(err error) func(*rig) {
		return func(r *rig) { r.primary.Refuse(err, "Sign", "Signer") }
	}
	tests := []struct {
		name string
		spec provider.KeySpec
		do   func(*rig)
		want error
	}{
		{"during an outage", open, unplug, nil},
		{"not of a key that may not leave the primary", none, unplug, provider.ErrUnavailable},
		{"not of a key whose public half may", shut, unplug, provider.ErrUnavailable},
		{"not at a wrong PIN", open, refuse(provider.ErrAuth), provider.ErrAuth},
		{"not of a key that the primary does not have", open, refuse(provider.ErrNotFound), provider.ErrNotFound},
		{"not of what the primary can't do", open, refuse(provider.ErrUnsupported), provider.ErrUnsupported},
		{"not of what is wrong", open, refuse(provider.ErrInvalid), provider.ErrInvalid},
		{"not of what the primary found damaged", open, refuse(provider.ErrTampered), provider.ErrTampered},
		{"not after it was destroyed", open, func(r *rig) {
			_, err := r.DestroyKey(r.t.Context(), "k", 1)
			require.NoError(r.t, err)
			r.primary.Unplug()
		}, provider.ErrNotFound},
		{"not while a destroy is under way", open, func(r *rig) {
			r.primary.Refuse(provider.ErrUnavailable, "DestroyKey")
			_, err := r.DestroyKey(r.t.Context(), "k", 1)
			require.ErrorIs(r.t, err, provider.ErrUnavailable)
			r.primary.Unplug()
		}, provider.ErrUnavailable},
		{"not while a destroy is under way that could not be signed, though reads go on", open, func(r *rig) {
			r.primary.Refuse(provider.ErrUnavailable, "DestroyKey", "Sign")
			_, err := r.DestroyKey(r.t.Context(), "k", 1)
			require.ErrorIs(r.t, err, provider.ErrUnavailable)
			r.primary.Unplug()
			r.x("k", 1)
		}, provider.ErrUnavailable},
		{"not of a key that was gone from the primary", open, func(r *rig) {
			r.primary.Forget("k", 1)
			_, err := r.Reconcile(r.t.Context())
			require.NoError(r.t, err)
			_, err = r.Reconcile(r.t.Context())
			require.NoError(r.t, err)
			r.primary.Unplug()
		}, provider.ErrUnavailable},
		{"not with another key on the secondary", open, func(r *rig) {
			r.secondary.Swap("k", 1)
			r.primary.Unplug()
		}, provider.ErrTampered},
		{"not without the copy", open, func(r *rig) {
			r.secondary.Forget("k", 1)
			r.primary.Unplug()
		}, provider.ErrUnavailable},
		{"not without the secondary", open, func(r *rig) {
			r.secondary.Unplug()
			r.primary.Unplug()
		}, provider.ErrUnavailable},
		{"not without the secondary's passphrase", open, func(r *rig) {
			r.secondary.Refuse(provider.ErrAuth, "Signer")
			r.primary.Unplug()
		}, provider.ErrUnavailable},
		{"not by a manifest that is too old", open, func(r *rig) {
			r.primary.Unplug()
			time.Sleep(DefaultRefuseAfter)
		}, provider.ErrStale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newDeputyRig(t, tt.spec)
				before := r.signer("k", 0)
				tt.do(r)
				_, err := r.Signer(t.Context(), "k", 1)
				require.ErrorIs(t, err, tt.want)
				require.ErrorIs(t, trySign(t, before), tt.want)
				require.Equal(t, tt.want == nil, r.Status().SignedBySecondary == 1)
			})
		})
	}
}

// Who takes the copy away stops the signer that has it.
func TestCopyIsTakenFromADeputy(t *testing.T) {
	r := newDeputyRig(t, open)
	r.primary.Unplug()
	s := r.signer("k", 0)
	signs(t, s)
	_, err := r.secondary.DestroyKey(t.Context(), "k", 1)
	require.NoError(t, err)
	require.ErrorIs(t, trySign(t, s), provider.ErrUnavailable)
	r.primary.Plug()
	require.Equal(t, provider.Primary, signs(t, s).Source)
}

// A signer that has signed by the secondary already is refused by the same rules.
func TestDeputyIsLookedAtForEachSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDeputyRig(t, open)
		s := r.signer("k", 0)
		r.primary.Unplug()
		require.Equal(t, provider.Secondary, signs(t, s).Source)
		time.Sleep(DefaultStaleAfter)
		require.True(t, signs(t, s).Stale)
		time.Sleep(DefaultRefuseAfter - DefaultStaleAfter)
		require.ErrorIs(t, trySign(t, s), provider.ErrStale)
		r.primary.Plug()
		_, err := r.Reconcile(t.Context())
		require.NoError(t, err)

		other, err := New(r.primary.Reopen(), r.secondary.Reopen(), r.cfg) // another process
		require.NoError(t, err)
		defer other.Close()
		r.primary.Unplug()
		require.Equal(t, provider.Secondary, signs(t, s).Source)
		r.primary.Plug()
		_, err = other.DestroyKey(t.Context(), "k", 1)
		require.NoError(t, err)
		r.primary.Unplug()
		time.Sleep(lookEvery)
		require.ErrorIs(t, trySign(t, s), provider.ErrNotFound)
	})
}

func TestSigningStaysWithThePrimaryUnlessToldOtherwise(t *testing.T) {
	r := newDeputyRig(t, open)
	r.cfg.FailOverSigning = false
	r.restart()
	s := r.signer("k", 0)
	r.primary.Unplug()
	require.ErrorIs(t, trySign(t, s), provider.ErrUnavailable)
	_, err := r.Signer(t.Context(), "k", 0)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	require.Zero(t, r.secondary.Calls("Signer", "Sign"))
}

func TestSettingsThatSigningFailsOverWith(t *testing.T) {
	pin := strings.Repeat("A", 43)
	tests := []struct {
		name string
		cfg  Config
		want error
	}{
		{"mode full, a pin, reads that fail over", Config{Mode: Full, Pin: pin}, nil},
		{"public halves only", Config{Pin: pin}, provider.ErrInvalid},
		{"nothing copied", Config{Mode: None, Pin: pin}, provider.ErrInvalid},
		{"no pin", Config{Mode: Full}, provider.ErrInvalid},
		{"reads that do not fail over", Config{Mode: Full, Pin: pin, NoFailOpenReads: true}, provider.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.FailOverSigning, tt.cfg.ManifestDir = true, tempDir(t)
			m, err := New(providertest.NewFake(t), providertest.NewFake(t), tt.cfg)
			require.ErrorIs(t, err, tt.want)
			if err == nil {
				require.NoError(t, m.Close())
			}
		})
	}
}

// Retiring goes on, activation does not: the version that signs is the one that the primary last knew to sign.
func TestActiveVersionDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newDeputyRig(t, open)
		rotate := func() {
			_, err := r.RotateKey(t.Context(), "k", provider.Rotation{Windows: &provider.Windows{PublishBefore: time.Hour, RetireAfter: time.Hour}})
			require.NoError(t, err)
		}
		rotate()
		time.Sleep(time.Hour)
		r.x("k", 2)
		rotate()
		r.primary.Unplug()
		for range 3 {
			require.Equal(t, "k.2", r.signer("k", 0).KeyRef().JWKKID())
			time.Sleep(time.Hour)
		}
		require.Equal(t, provider.Secondary, signs(t, r.signer("k", 3)).Source, "a version that is asked for by its number is that version")

		r.secondary.Forget("k", 2)
		_, err := r.Signer(t.Context(), "k", 0)
		require.ErrorIs(t, err, provider.ErrUnavailable, "no other version takes the place of the active one")
	})
}

// What the primary says after the outage counts: another key under the name does not pass for the one that the mirror signed
// with.
func TestSignerOfAnOutageMeetsAnotherKey(t *testing.T) {
	r := newDeputyRig(t, open)
	r.primary.Unplug()
	s := r.signer("k", 0)
	signs(t, s)
	r.primary.Swap("k", 1)
	r.primary.Plug()
	require.ErrorIs(t, trySign(t, s), provider.ErrTampered)
}

// mixed is a store whose signers sign with another private half than that of their public half.
type mixed struct{ *providertest.Fake }

func (m mixed) Signer(ctx context.Context, kid string, version int) (provider.Signer, error) {
	s, err := m.Fake.Signer(ctx, kid, version)
	if err != nil {
		return nil, err
	}
	o, err := m.Fake.Signer(ctx, "other", 1)
	return mixedSigner{s, o}, err
}

type mixedSigner struct {
	provider.Signer
	other provider.Signer
}

func (m mixedSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return m.other.SignContext(ctx, digest, opts)
}

func TestDeputyProvesItsPrivateHalf(t *testing.T) {
	r := newDeputyRig(t, open)
	other := open
	other.KID = "other"
	r.create(other)
	m, err := New(r.primary.Reopen(), mixed{r.secondary.Reopen()}, r.cfg)
	require.NoError(t, err)
	defer m.Close()
	r.primary.Unplug()
	_, err = m.Signer(t.Context(), "k", 1)
	require.ErrorIs(t, err, provider.ErrTampered)
	require.ErrorContains(t, err, "private half")
}

func TestSigningFailsOverForEveryAlgorithmThatSigns(t *testing.T) {
	r := newDeputyRig(t, open)
	for _, alg := range []provider.KeyAlg{provider.Ed25519, provider.ECDSAP256SHA256, provider.ECDSAP384SHA384, provider.ECDSAP521SHA512, provider.RSAPSSSHA256, provider.RSAPKCS1SHA256} {
		spec := provider.KeySpec{KID: string(alg), Alg: alg, Export: provider.ExportSecretWhenAllowed}
		if alg.KeyType() == "RSA" {
			spec.Bits = provider.MinRSABits
		}
		r.create(spec)
	}
	r.create(provider.KeySpec{KID: "mac", Alg: provider.HMACSHA256, Export: provider.ExportSecretWhenAllowed})
	r.create(provider.KeySpec{KID: "verify", Alg: provider.Ed25519, Export: provider.ExportSecretWhenAllowed, Uses: []provider.KeyUse{provider.UseVerify}})
	r.primary.Unplug()
	for _, alg := range provider.Algs() {
		if alg.Signs() {
			require.Equal(t, provider.Secondary, signs(t, r.signer(string(alg), 0)).Source, alg)
		}
	}
	_, err := r.Signer(t.Context(), "mac", 0)
	require.ErrorIs(t, err, provider.ErrUnsupported)
	_, err = r.Signer(t.Context(), "verify", 0)
	require.ErrorIs(t, err, provider.ErrInvalid)
	_, err = r.Signer(t.Context(), "absent", 0)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	_, err = r.Signer(t.Context(), ManifestKID, 0)
	require.Error(t, err)
}

// The same with a keystore, whose private halves are encrypted: what was done to its record is refused.
func TestDeputyOfATamperedRecord(t *testing.T) {
	dir := tempDir(t)
	primary := providertest.NewFake(t)
	t.Cleanup(func() { require.NoError(t, primary.Close()) })
	cfg := Config{Mode: Full, ManifestDir: dir + "/mirror"}
	m := joined(t, primary.Reopen(), keystore(t, dir+"/keystore", true), cfg)
	ref, err := m.CreateKey(t.Context(), open)
	require.NoError(t, err)
	require.True(t, ref.Mirroring.Private, ref.Mirroring.Reason)
	cfg.Pin, err = m.ManifestPin(t.Context())
	require.NoError(t, err)
	require.NoError(t, m.Close())
	cfg.FailOverSigning = true

	primary.Unplug()
	m = joined(t, primary.Reopen(), keystore(t, dir+"/keystore", true), cfg)
	s, err := m.Signer(t.Context(), "k", 0)
	require.NoError(t, err)
	require.Equal(t, provider.Secondary, signs(t, s).Source)
	m = joined(t, primary.Reopen(), keystore(t, dir+"/keystore", false), cfg)
	_, err = m.Signer(t.Context(), "k", 0)
	require.ErrorIs(t, err, provider.ErrUnavailable, "a keystore without its passphrase does not sign")

	path := filepath.Join(dir, "keystore", "keys", "k", "1.json")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	edits := map[string]func(record string) string{
		"an edited private half": func(record string) string {
			i := strings.LastIndex(record, `"private"`) + 60
			return record[:i] + map[bool]string{true: "B", false: "A"}[record[i] == 'A'] + record[i+1:]
		},
		"an edited schedule": func(record string) string {
			return strings.Replace(record, `"active_from": "2`, `"active_from": "3`, 1)
		},
		"a record cut short": func(record string) string { return record[:len(record)/2] },
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			edited := edit(string(whole))
			require.NotEqual(t, string(whole), edited)
			require.NoError(t, os.WriteFile(path, []byte(edited), 0o600))
			m := joined(t, primary.Reopen(), keystore(t, dir+"/keystore", true), cfg)
			_, err := m.Signer(t.Context(), "k", 0)
			require.ErrorIs(t, err, provider.ErrTampered)
			require.Zero(t, m.Status().SignedBySecondary)
		})
	}
}

// A mirror over a mirror hands on who signed.
func TestProvenanceOfASignatureThroughTwoMirrors(t *testing.T) {
	inner := newDeputyRig(t, open)
	outer, err := New(inner.Mirror, providertest.NewFake(t), Config{ManifestDir: tempDir(t)})
	require.NoError(t, err)
	defer outer.Close()
	s, err := outer.Signer(t.Context(), "k", 0)
	require.NoError(t, err)
	require.Equal(t, provider.Primary, signs(t, s).Source)
	inner.primary.Unplug()
	require.Equal(t, provider.Secondary, signs(t, s).Source)
}
