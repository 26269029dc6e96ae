package providertest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

// sabotageVariable names the sabotage of TestFakePassesRun when TestRunNotices runs it in a process of its own.
const sabotageVariable = "PROVIDERTEST_SABOTAGE"

// sabotages are the faults that Run must notice, each with the test that does. The first ones are those of the original.
var sabotages = []struct {
	name    string
	noticed string // the test below "with one handle", or from the top if it begins with a slash
	spoil   func(*sabotaged)
}{
	{"L03: a version number is given again", "destroy/a version number is never given again", func(s *sabotaged) {
		s.destroy = func(ctx context.Context, kid string, version int) (provider.Destruction, error) {
			if version < 1 {
				return s.Fake.DestroyKey(ctx, kid, version)
			}
			if _, err := s.Fake.GetKey(ctx, kid, version); err != nil {
				return provider.Destruction{}, err
			}
			s.Forget(kid, version)
			return provider.Destruction{KID: kid, Versions: []int{version}}, nil
		}
	}},
	{"L04: destroying what is not there succeeds", "destroy/what is not there is ErrNotFound", func(s *sabotaged) {
		s.destroy = func(ctx context.Context, kid string, version int) (provider.Destruction, error) {
			d, err := s.Fake.DestroyKey(ctx, kid, version)
			if errors.Is(err, provider.ErrNotFound) {
				return provider.Destruction{KID: kid, Versions: []int{version}}, nil
			}
			return d, err
		}
	}},
	{"L07: rotation forgets the size", "rotate/an RSA key keeps a size that is not the default", func(s *sabotaged) {
		s.rotate = func(ctx context.Context, kid string, r provider.Rotation) (provider.KeyRef, error) {
			if ref, err := s.Fake.GetKey(ctx, kid, 0); err == nil && ref.Alg.KeyType() == "RSA" && r.Bits == 0 {
				r.Bits = provider.DefaultRSABits
			}
			return s.Fake.RotateKey(ctx, kid, r)
		}
	}},
	{"L01: private bytes in an answer", "secrets/X25519 shows in nothing that is printed", func(s *sabotaged) {
		s.importer = func(ctx context.Context, spec provider.KeySpec, m provider.KeyMaterial) (provider.KeyRef, error) {
			ref, err := s.Fake.ImportKey(ctx, spec, m)
			if b := m.Private.Expose(); err == nil && len(b) > 32 {
				ref.Label = fmt.Sprintf("%x", b)
			}
			return ref, err
		}
	}},
	{"L06: the fingerprint of a secret", "create/HMAC_SHA256 gives its first version, active", func(s *sabotaged) {
		s.create = func(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
			ref, err := s.Fake.CreateKey(ctx, spec)
			if ref.Fingerprint == "" {
				ref.Fingerprint = strings.Repeat("A", 43)
			}
			return ref, err
		}
	}},
	{"M07: the answer of another version", "jwk/version 0 is the highest, whatever its state", func(s *sabotaged) {
		s.jwk = func(ctx context.Context, kid string, version int) (provider.JWK, error) {
			return s.Fake.PublicJWK(ctx, kid, max(version, 1))
		}
	}},
	{"P02: an eighth of the random bytes", "random/gives as many bytes as asked for", func(s *sabotaged) {
		s.random = func(ctx context.Context, n int) ([]byte, error) { return s.Fake.RandomBytes(ctx, n/8) }
	}},
	{"an outage where there is none", "read/what is not there is ErrNotFound", func(s *sabotaged) {
		s.get = func(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
			ref, err := s.Fake.GetKey(ctx, kid, version)
			if errors.Is(err, provider.ErrNotFound) {
				err = fmt.Errorf("%w: %w", provider.ErrUnavailable, err)
			}
			return ref, err
		}
	}},
	{"no provenance", "read/every read says where it came from", func(s *sabotaged) {
		s.get = func(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
			ref, err := s.Fake.GetKey(ctx, kid, version)
			ref.Provenance = provider.Provenance{}
			return ref, err
		}
	}},
	{"unsorted keys", "read/lists are in ascending order", func(s *sabotaged) {
		s.list = func(ctx context.Context) (provider.KeyList, error) {
			list, err := s.Fake.ListKeys(ctx)
			slices.Reverse(list.Keys)
			return list, err
		}
	}},
	{"an answer that is shared", "caller's memory/answers belong to the caller", func(s *sabotaged) {
		known := map[string]provider.KeyRef{}
		s.get = func(ctx context.Context, kid string, version int) (provider.KeyRef, error) {
			if ref, ok := known[kid]; ok {
				return ref, nil
			}
			ref, err := s.Fake.GetKey(ctx, kid, version)
			known[kid] = ref
			return ref, err
		}
	}},
	{"a key in spite of a bad spec", "bad input/create/RSA of 1024 bits", func(s *sabotaged) {
		s.create = func(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
			ref, err := s.Fake.CreateKey(ctx, spec)
			if errors.Is(err, provider.ErrInvalid) {
				_, _ = s.Fake.CreateKey(ctx, provider.KeySpec{KID: spec.KID, Alg: provider.Ed25519})
			}
			return ref, err
		}
	}},
	{"a key for a caller who has gone", "ended context/CreateKey", func(s *sabotaged) {
		s.create = func(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
			return s.Fake.CreateKey(context.WithoutCancel(ctx), spec)
		}
	}},
	{"creating twice gives the first key", "concurrency/of many who create one kid one succeeds", func(s *sabotaged) {
		s.create = func(ctx context.Context, spec provider.KeySpec) (provider.KeyRef, error) {
			ref, err := s.Fake.CreateKey(ctx, spec)
			if errors.Is(err, provider.ErrExists) {
				return s.Fake.GetKey(ctx, spec.KID, 0)
			}
			return ref, err
		}
	}},
	{"the latest version signs", "lifecycle/a rotation publishes before it signs", func(s *sabotaged) {
		s.signer = func(ctx context.Context, kid string, version int) (provider.Signer, error) {
			if ref, err := s.Fake.GetKey(ctx, kid, version); err == nil {
				version = ref.Version
			}
			return s.Fake.Signer(ctx, kid, version)
		}
	}},
	{"retired versions in JWKS", "lifecycle/a rotation now retires the old version", func(s *sabotaged) {
		s.jwks = func(ctx context.Context, prefix string) (provider.JWKSet, error) {
			list, err := s.Fake.ListKeys(ctx)
			var keys []provider.JWK
			for _, latest := range list.Keys {
				for n := 1; n <= latest.Version && strings.HasPrefix(latest.KID, prefix); n++ {
					if k, err := s.Fake.PublicJWK(ctx, latest.KID, n); err == nil {
						keys = append(keys, k)
					}
				}
			}
			return provider.NewJWKSet(keys, list.Provenance), err
		}
	}},
	{"a prefix that is ignored", "jwks/leaves out what the prefix does not begin", func(s *sabotaged) {
		s.jwks = func(ctx context.Context, _ string) (provider.JWKSet, error) { return s.Fake.JWKS(ctx, "") }
	}},
	{"a nonce that is drawn once", "encrypt/draws a fresh nonce each time", func(s *sabotaged) {
		s.aead = func(ctx context.Context, kid string, version int) (provider.AEAD, error) {
			a, err := s.Fake.AEAD(ctx, kid, version)
			return &lazyAEAD{a, map[string][]byte{}}, err
		}
	}},
	{"a code of which the beginning is right", "authenticate/verifies its own codes and no others", func(s *sabotaged) {
		s.mac = func(ctx context.Context, kid string, version int) (provider.MAC, error) {
			m, err := s.Fake.MAC(ctx, kid, version)
			return lazyMAC{m}, err
		}
	}},
	{"a signature over any hash", "sign/ED25519 refuses what it is not for/Ed25519ph", func(s *sabotaged) {
		s.signer = func(ctx context.Context, kid string, version int) (provider.Signer, error) {
			signer, err := s.Fake.Signer(ctx, kid, version)
			return lazySigner{signer}, err
		}
	}},
	{"a signer without a key", "sign/a missing version is ErrNotFound", func(s *sabotaged) {
		s.signer = func(ctx context.Context, kid string, version int) (provider.Signer, error) {
			signer, err := s.Fake.Signer(ctx, kid, version)
			if errors.Is(err, provider.ErrNotFound) {
				err = nil
			}
			return signer, err
		}
	}},
	{"export in spite of the policy", "export/X25519 stays under none", func(s *sabotaged) {
		s.export = func(ctx context.Context, kid string, version int) (provider.Secret, error) {
			secret, err := s.Fake.ExportKey(ctx, kid, version)
			if errors.Is(err, provider.ErrNotExportable) {
				return provider.NewSecret([]byte("the key")), nil
			}
			return secret, err
		}
	}},
	{"a copy that brings back the destroyed", "keep copies/a destroyed version is ErrExists", func(s *sabotaged) {
		s.put = func(ctx context.Context, ref provider.KeyRef, m provider.KeyMaterial) (provider.KeyRef, error) {
			got, err := s.Fake.PutVersion(ctx, ref, m)
			if errors.Is(err, provider.ErrExists) {
				return ref, nil
			}
			return got, err
		}
	}},
	{"a copy that forgets its schedule", "keep copies/ED25519 as its public half", func(s *sabotaged) {
		s.put = func(ctx context.Context, ref provider.KeyRef, m provider.KeyMaterial) (provider.KeyRef, error) {
			ref.ActiveFrom = time.Now().Truncate(time.Second)
			return s.Fake.PutVersion(ctx, ref, m)
		}
	}},
	{"answers after close", "/after close/every method is ErrClosed, and every object", func(s *sabotaged) {
		s.close = func() error { return nil }
	}},
	{"an error at the second close", "/after close/closing twice is no error", func(s *sabotaged) {
		closed := false
		s.close = func() error {
			if closed {
				return provider.ErrClosed
			}
			closed = true
			return s.Fake.Close()
		}
	}},
}

// spoil returns the sabotaged store that the environment asks for; f itself if it asks for none.
func spoil(t *testing.T, f *providertest.Fake) provider.Provider {
	name := os.Getenv(sabotageVariable)
	for _, s := range sabotages {
		if s.name == name {
			f := newSabotaged(f)
			s.spoil(f)
			return f
		}
	}
	require.Empty(t, name, "no such sabotage")
	return f
}

// TestRunNotices runs TestFakePassesRun in another process, with a fault in the fake, and checks that the test of the
// promise that the fault breaks fails.
func TestRunNotices(t *testing.T) {
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			path, ok := strings.CutPrefix(s.noticed, "/")
			if !ok {
				path = "with one handle/" + path
			}
			path = strings.ReplaceAll("TestFakePassesRun/"+path, " ", "_")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+strings.ReplaceAll(path, "/", "$/^")+"$", "-test.v")
			cmd.Env = append(os.Environ(), sabotageVariable+"="+s.name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit, "the run did not fail:\n%s", out)
			require.Contains(t, string(out), "--- FAIL: "+path)
			require.NotContains(t, string(out), "panic")
		})
	}
}
