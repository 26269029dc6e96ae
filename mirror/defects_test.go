package mirror

import (
	"context"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// TestDefectsOfTheOriginal holds the mirror against each defect of the Python implementation that it takes after, by number.
// Each runs with a secondary that keeps names and with one that gives names of its own.
func TestDefectsOfTheOriginal(t *testing.T) {
	tests := []struct {
		name string
		cfg  Config
		run  func(*testing.T, *rig)
	}{
		{"M01 the mapping was lost on restart", Config{}, func(t *testing.T, r *rig) {
			ref := r.create(provider.KeySpec{KID: "k"})
			r = r.restart()
			r.primary.Unplug()
			require.Equal(t, ref.Fingerprint, r.x("k", 1))
		}},
		{"M02 a destroy after a restart missed the copy", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r = r.restart()
			_, err := r.DestroyKey(t.Context(), "k", 1)
			require.NoError(t, err)
			require.Empty(t, r.copies())
		}},
		{"M03 the latest version could not be read during an outage", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			second := r.rotate("k")
			r.primary.Unplug()
			require.Equal(t, second.Fingerprint, r.x("k", 0))
			ref, err := r.GetKey(t.Context(), "k", 0)
			require.NoError(t, err)
			require.Equal(t, 2, ref.Version)
		}},
		{"M04 versions could not be listed during an outage", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.rotate("k")
			r.rotate("k")
			r.primary.Unplug()
			list, err := r.ListVersions(t.Context(), "k")
			require.NoError(t, err)
			require.Equal(t, []string{"k.1", "k.2", "k.3"}, names(list))
		}},
		{"M05 the JWK Set listed copies as further keys", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.rotate("k")
			r.rotate("k")
			kids, _ := r.jwks("")
			require.Equal(t, []string{"k.3"}, kids)
		}},
		{"M06 the JWK Set of an outage had other kids", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "a"})
			r.create(provider.KeySpec{KID: "b", Alg: provider.ECDSAP256SHA256})
			_, before := r.jwks("")
			r.primary.Unplug()
			_, during := r.jwks("")
			require.JSONEq(t, string(before.JSON()), string(during.JSON()))
			require.Equal(t, provider.Secondary, during.Provenance.Source)
		}},
		{"M07 a version was answered with another key", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			second := r.rotate("k")
			r.create(provider.KeySpec{KID: "other"})
			r.primary.Unplug()
			ref, err := r.GetKey(t.Context(), "k", 2)
			require.NoError(t, err)
			require.Equal(t, "k.2", ref.JWKKID())
			require.Equal(t, second.Fingerprint, ref.Fingerprint)
			require.Equal(t, provider.ExportNone, ref.Export, "under the policy that it has")
			jwk, err := r.PublicJWK(t.Context(), "k", 2)
			require.NoError(t, err)
			require.Equal(t, "k.2", jwk.JWKKID())
		}},
		{"M08 all public keys had one name on the secondary", Config{}, func(t *testing.T, r *rig) {
			a, b := r.create(provider.KeySpec{KID: "a"}), r.create(provider.KeySpec{KID: "b"})
			_, err := r.DestroyKey(t.Context(), "b", 1)
			require.NoError(t, err)
			r.primary.Unplug()
			require.Equal(t, a.Fingerprint, r.x("a", 1))
			require.NotEqual(t, a.Fingerprint, b.Fingerprint)
		}},
		{"M09 a destroy that the secondary refused left a zombie", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.secondary.Refuse(provider.ErrUnavailable, "DestroyKey")
			d, err := r.DestroyKey(t.Context(), "k", 1)
			require.NoError(t, err)
			require.False(t, d.Mirroring.Mirrored)
			require.Contains(t, r.log.String(), "mirror write failed")
			for range 2 {
				requireGone(t, r.Mirror, "k", 1)
				r.primary.Unplug()
				_, err = r.PublicJWK(t.Context(), "k", 1)
				require.ErrorIs(t, err, provider.ErrNotFound)
				kids, _ := r.jwks("")
				require.Empty(t, kids)
				r.primary.Plug()
				_, err = r.DestroyKey(t.Context(), "k", 1)
				require.ErrorIs(t, err, provider.ErrNotFound)
				r = r.restart()
			}
			require.Len(t, r.copies(), 1)
			r.secondary.Refuse(nil)
			requireGone(t, r.Mirror, "k", 1)
			time.Sleep(time.Minute)
			synctest.Wait()
			require.Empty(t, r.copies(), "it is carried there once the secondary takes it")
		}},
		{"M10 a key destroyed on the primary was served unmarked", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.primary.Forget("k", 1)
			jwk, err := r.PublicJWK(t.Context(), "k", 1)
			require.NoError(t, err, "kept on purpose, and marked")
			require.True(t, jwk.Provenance.Orphan)
			_, set := r.jwks("")
			key, ok := set.Key("k.1")
			require.True(t, ok)
			require.True(t, key.Provenance.Orphan)
		}},
		{"M10 and a setting refuses it", Config{RefuseOrphans: true}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.primary.Forget("k", 1)
			requireGone(t, r.Mirror, "k", 1)
		}},
		{"M11 a foreign key got into the JWK Set in mode none", Config{Mode: None}, noForeignKey},
		{"M11 a foreign key got into the JWK Set without failing open", Config{NoFailOpenReads: true}, noForeignKey},
		{"M12 a swapped copy was served", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			kept := r.create(provider.KeySpec{KID: "kept"})
			swap := Version{"k", 1}
			if e, _ := r.state.current().get(swap); e.Copy != nil {
				swap = Version{e.Copy.KID, e.Copy.Version}
			}
			r.secondary.Swap(swap.KID, swap.Version)
			r = r.restart()
			r.primary.Unplug()
			_, err := r.PublicJWK(t.Context(), "k", 1)
			require.ErrorIs(t, err, provider.ErrTampered)
			_, err = r.GetKey(t.Context(), "k", 0)
			require.ErrorIs(t, err, provider.ErrTampered)
			kids, _ := r.jwks("")
			require.Equal(t, []string{"kept.1"}, kids)
			require.Equal(t, kept.Fingerprint, r.x("kept", 1), "and it hides no other")
		}},
		{"M13 a mirror write that failed was never repeated", Config{}, func(t *testing.T, r *rig) {
			r.secondary.Refuse(errors.New("once"), "PutVersion", "ImportKey")
			ref, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			require.NoError(t, err)
			require.False(t, ref.Mirroring.Mirrored)
			r.secondary.Refuse(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			r.primary.Unplug()
			require.Equal(t, ref.Fingerprint, r.x("k", 1))
		}},
		{"M14 keys from before the mirror were never mirrored", Config{}, func(t *testing.T, r *rig) {
			ref, err := r.primary.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			require.NoError(t, err)
			_, err = r.GetKey(t.Context(), "k", 1)
			require.NoError(t, err)
			synctest.Wait()
			r.primary.Unplug()
			require.Equal(t, ref.Fingerprint, r.x("k", 1))
		}},
		{"M15 M29 a symmetric key broke the JWK Set or stood in it", Config{Mode: Full}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "secret", Alg: provider.AES256GCM, Export: provider.ExportSecretWhenAllowed})
			r.rotate("secret")
			r.create(provider.KeySpec{KID: "k"})
			for range 2 {
				kids, set := r.jwks("")
				require.Equal(t, []string{"k.1"}, kids)
				require.NotContains(t, string(set.JSON()), "oct")
				r.primary.Unplug()
			}
		}},
		{"M16 a failing secondary broke the reads of a healthy primary", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			for _, fault := range []error{provider.ErrTampered, provider.ErrUnavailable, errors.New("anything")} {
				r.secondary.Refuse(fault)
				kids, _ := r.jwks("")
				require.Equal(t, []string{"k.1"}, kids)
				list, err := r.ListKeys(t.Context())
				require.NoError(t, err)
				require.Equal(t, []string{"k.1"}, names(list))
				require.Len(t, list.Problems, 1)
				require.ErrorIs(t, list.Problems[0], fault)
			}
		}},
		{"M17 a prefix found nothing during an outage", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "pay-a"})
			r.create(provider.KeySpec{KID: "log-a"})
			for range 2 {
				kids, _ := r.jwks("pay")
				require.Equal(t, []string{"pay-a.1"}, kids)
				r.primary.Unplug()
			}
		}},
		{"M18 P09 capabilities named algorithms twice, and the secondary's", Config{}, func(t *testing.T, r *rig) {
			r.primary.Lack(provider.Ed25519)
			c, err := r.Capabilities(t.Context())
			require.NoError(t, err)
			seen := map[provider.KeyAlg]bool{}
			for _, s := range c.Algs {
				require.False(t, seen[s.Alg])
				seen[s.Alg] = true
			}
			require.False(t, c.Alg(provider.Ed25519).Create)
			require.True(t, c.Has(provider.FeatureFailover))
			require.Equal(t, len(c.Features), len(slices.Compact(slices.Sorted(slices.Values(c.Features)))))
			r.primary.Unplug()
			during, err := r.Capabilities(t.Context())
			require.NoError(t, err)
			require.Equal(t, c, during)
		}},
		{"M20 a rotation failed after the primary had made it", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			r.secondary.Refuse(errors.New("no"), "PutVersion", "ImportKey")
			ref, err := r.RotateKey(t.Context(), "k", provider.Rotation{})
			require.NoError(t, err)
			require.Equal(t, 2, ref.Version)
		}},
		{"M21 M23 private halves were read for nothing in public_only", Config{}, neverExports},
		{"M21 private halves were read for nothing in none", Config{Mode: None}, neverExports},
		{"M22 full copied private halves of policy none", Config{Mode: Full}, func(t *testing.T, r *rig) {
			source := r.create(provider.KeySpec{KID: "source", Export: provider.ExportSecretWhenAllowed})
			private, err := r.ExportKey(t.Context(), source.KID, 1)
			require.NoError(t, err)
			r.primary.ResetCalls()
			for _, policy := range []provider.ExportPolicy{provider.ExportNone, provider.ExportPublicOnly} {
				spec := provider.KeySpec{KID: string(policy), Alg: provider.Ed25519, Export: policy}
				ref, err := r.ImportKey(t.Context(), spec, provider.KeyMaterial{Private: private})
				require.NoError(t, err)
				require.True(t, ref.Mirroring.Mirrored)
				require.False(t, ref.Mirroring.Private)
				require.False(t, r.rotate(ref.KID).Mirroring.Private)
			}
			_, err = r.Reconcile(t.Context())
			require.NoError(t, err)
			require.Zero(t, r.primary.Calls("ExportKey"))
		}},
		{"M24 a private key given as the public half was published", Config{}, func(t *testing.T, r *rig) {
			source := r.create(provider.KeySpec{KID: "source", Export: provider.ExportSecretWhenAllowed})
			private, err := r.ExportKey(t.Context(), source.KID, 1)
			require.NoError(t, err)
			der := private.Expose()
			for _, public := range [][]byte{der, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})} {
				_, err := r.ImportKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519}, provider.KeyMaterial{Public: public})
				require.ErrorIs(t, err, provider.ErrInvalid)
			}
			require.Len(t, r.copies(), 1)
		}},
		{"M25 a hanging secondary held up writes and reads for ever", Config{SecondaryTimeout: time.Second}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "before"})
			synctest.Wait()
			r.secondary.Hang()
			start := time.Now()
			ref, err := r.CreateKey(t.Context(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
			require.NoError(t, err)
			require.False(t, ref.Mirroring.Mirrored)
			require.Equal(t, time.Second, time.Since(start))
			_, err = r.DestroyKey(t.Context(), "before", 1)
			require.NoError(t, err)
			require.Equal(t, 2*time.Second, time.Since(start))
			kids, _ := r.jwks("")
			require.Equal(t, []string{"k.1"}, kids)
			require.Equal(t, 2*time.Second, time.Since(start), "reads do not wait for it again")
			r.secondary.Release()
		}},
		{"M26 a destroy overtook the mirror write of a create", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "warm-up"})
			synctest.Wait()
			r.secondary.Hang("PutVersion", "ImportKey")
			created := make(chan error)
			go func() {
				_, err := r.CreateKey(context.Background(), provider.KeySpec{KID: "k", Alg: provider.Ed25519})
				created <- err
			}()
			synctest.Wait()
			_, err := r.primary.GetKey(t.Context(), "k", 1)
			require.NoError(t, err, "the primary has made it")
			destroyed := make(chan error)
			go func() {
				_, err := r.DestroyKey(context.Background(), "k", 1)
				destroyed <- err
			}()
			synctest.Wait()
			r.secondary.Release()
			require.NoError(t, <-created)
			require.NoError(t, <-destroyed)
			requireGone(t, r.Mirror, "k", 1)
			require.Len(t, r.copies(), 1)
		}},
		{"M27 a secret asked for during an outage was empty", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k", Export: provider.ExportSecretWhenAllowed})
			r.primary.Unplug()
			_, err := r.ExportKey(t.Context(), "k", 1)
			require.ErrorIs(t, err, provider.ErrUnavailable)
		}},
		{"M30 invalid arguments were tried on the secondary", Config{}, func(t *testing.T, r *rig) {
			r.create(provider.KeySpec{KID: "k"})
			synctest.Wait()
			for range 2 {
				r.primary.ResetCalls()
				r.secondary.ResetCalls()
				_, err := r.RandomBytes(t.Context(), -1)
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.HKDF(t.Context(), nil, nil, nil, provider.MaxHKDFBytes+1)
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.GetKey(t.Context(), "../k", 1)
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.PublicJWK(t.Context(), "k", -1)
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.ListVersions(t.Context(), "")
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.DestroyKey(t.Context(), "k", 0)
				require.ErrorIs(t, err, provider.ErrInvalid)
				_, err = r.CreateKey(t.Context(), provider.KeySpec{Alg: "ROT13"})
				require.ErrorIs(t, err, provider.ErrInvalid)
				require.Zero(t, r.primary.Calls()+r.secondary.Calls())
				r.primary.Unplug()
			}
		}},
	}
	for _, tt := range tests {
		for _, plain := range []bool{false, true} {
			name := tt.name
			if plain {
				name += ", own names"
			}
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if plain {
						tt.run(t, newPlainRig(t, tt.cfg))
					} else {
						tt.run(t, newRig(t, tt.cfg))
					}
				})
			})
		}
	}
}

func noForeignKey(t *testing.T, r *rig) {
	r.create(provider.KeySpec{KID: "k"})
	_, err := r.secondary.CreateKey(t.Context(), provider.KeySpec{KID: "evil", Alg: provider.Ed25519})
	require.NoError(t, err)
	kids, _ := r.jwks("")
	require.Equal(t, []string{"k.1"}, kids)
	_, err = r.PublicJWK(t.Context(), "evil", 1)
	require.ErrorIs(t, err, provider.ErrNotFound)
	list, err := r.ListKeys(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"k.1"}, names(list))
}

func neverExports(t *testing.T, r *rig) {
	r.create(provider.KeySpec{KID: "k", Export: provider.ExportSecretWhenAllowed})
	r.create(provider.KeySpec{KID: "s", Alg: provider.AES256GCM, Export: provider.ExportSecretWhenAllowed})
	r.rotate("k")
	_, err := r.Reconcile(t.Context())
	require.NoError(t, err)
	require.Zero(t, r.primary.Calls("ExportKey"))
	list, err := r.secondary.ListKeys(t.Context())
	require.NoError(t, err)
	for _, ref := range list.Keys {
		require.False(t, ref.Private)
	}
}

// M19: a misspelt mode was accepted, advertised, and mirrored nothing.
func TestMisspeltModeIsRefused(t *testing.T) {
	for _, mode := range []Mode{"public-only", "PUBLIC_ONLY", "ful", " "} {
		_, err := New(providertest.NewFake(t), providertest.NewFake(t), Config{Mode: mode})
		require.ErrorIs(t, err, provider.ErrInvalid)
		require.ErrorContains(t, err, "want public_only, full or none")
	}
}

// M28: the look-up by reference was not passed on.
func TestKeyByURI(t *testing.T) {
	r := newRig(t, Config{})
	ref := r.create(provider.KeySpec{KID: "k"})
	uri := "mirrored:?secondary=fake%3A&primary=" + strings.ReplaceAll(r.primary.URI(ref), ":", "%3A")
	got, err := r.KeyByURI(t.Context(), uri)
	require.NoError(t, err)
	require.Equal(t, "k.1", got.JWKKID())
	byQuery, err := provider.KeyByURI(t.Context(), r.Mirror, "mirrored:?primary=fake%3A%3Fkid%3Dk%26version%3D1&secondary=fake%3A")
	require.NoError(t, err)
	require.Equal(t, "k.1", byQuery.JWKKID())
	for _, bad := range []string{"", "fake:k.1", "mirrored:", "mirrored:?primary=", "mirrored:?primary=%zz"} {
		_, err := r.KeyByURI(t.Context(), bad)
		require.ErrorIs(t, err, provider.ErrInvalid, bad)
	}
	r.primary.Unplug()
	got, err = provider.KeyByURI(t.Context(), r.Mirror, "mirrored:?primary=fake%3A%3Fkid%3Dk&secondary=fake%3A")
	require.NoError(t, err, "a kid is resolved without the primary")
	require.Equal(t, provider.Secondary, got.Provenance.Source)
}
