package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

const publicPEM = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAO2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik=\n-----END PUBLIC KEY-----\n"

func TestHowTheMirrorHoldsAVersion(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	for _, kid := range []string{"k", "spoilt"} {
		do(t, []byte(publicPEM), "key", "import", kid, "--alg", "ED25519", "--store", store)
	}
	require.NoError(t, os.WriteFile(filepath.Join(store, "keys", "spoilt", "1.json"), []byte("nonsense"), 0o600))
	a := &app{options: options{store: store}}
	p, err := a.openKeystore(t.Context())
	require.NoError(t, err)
	defer p.Close()
	copied, err := p.GetKey(t.Context(), "k", 1)
	require.NoError(t, err)
	of := func(edit func(*provider.KeyRef)) provider.KeyRef {
		ref := copied.Clone()
		edit(&ref)
		return ref
	}
	secret := func(export provider.ExportPolicy) provider.KeyRef {
		return of(func(ref *provider.KeyRef) { ref.KID, ref.Alg, ref.Export = "secret", provider.AES256GCM, export })
	}
	tests := []struct {
		name string
		mode mirror.Mode
		ref  provider.KeyRef
		want string
	}{
		{"the same key", mirror.PublicOnly, copied, mirrorHeld},
		{"another key", mirror.PublicOnly, of(func(ref *provider.KeyRef) { ref.Fingerprint = "another" }), mirrorReplaced},
		{"a key of another algorithm", mirror.PublicOnly, of(func(ref *provider.KeyRef) { ref.Alg = provider.X25519 }), mirrorReplaced},
		{"no such version", mirror.PublicOnly, of(func(ref *provider.KeyRef) { ref.Version = 2 }), mirrorMissing},
		{"a damaged one", mirror.PublicOnly, of(func(ref *provider.KeyRef) { ref.KID = "spoilt" }), mirrorDamaged},
		{"a damaged one, of a secret key", mirror.PublicOnly, of(func(ref *provider.KeyRef) { ref.KID, ref.Alg = "spoilt", provider.AES256GCM }), mirrorDamaged},
		{"a secret key that is not copied in this mode", mirror.PublicOnly, secret(provider.ExportSecretWhenAllowed), mirrorNotCopied},
		{"a secret key that may not leave", mirror.Full, secret(provider.ExportNone), mirrorNotCopied},
		{"a secret key that should be there", mirror.Full, secret(provider.ExportSecretWhenAllowed), mirrorMissing},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			a.options.mode = string(test.mode)
			require.Equal(t, test.want, mirrorStates{a, p}.of(t.Context(), test.ref))
		})
	}
	require.Empty(t, mirrorStates{}.of(t.Context(), copied), "there is no mirror")
}

func TestWhatAReconciliationReports(t *testing.T) {
	v, w := mirror.Version{KID: "a", Version: 1}, mirror.Version{KID: "b", Version: 2}
	tests := []struct {
		name     string
		report   mirror.Report
		out, err string
		code     int
	}{
		{"nothing to do", mirror.Report{Versions: 1}, "1 version compared\n", "", exitDone},
		{"all that is repaired", mirror.Report{Versions: 2, Copied: []mirror.Version{v}, Finished: []mirror.Version{v, w}},
			"2 versions compared; copied a.1; finished the destruction of a.1 b.2\n", "", exitDone},
		{"what is not mirrored", mirror.Report{Unmirrored: []mirror.Unmirrored{{Version: v, Reason: "disk full"}}},
			"0 versions compared\n", "hsmmirror: warning: a.1 is not mirrored: disk full\n", exitDegraded},
		{"an orphan", mirror.Report{Orphans: []mirror.Version{w}},
			"0 versions compared\n", "hsmmirror: warning: b.2 is an orphan: the token does not hold it, and nobody destroyed it through the mirror\n", exitDegraded},
		{"a key that was replaced", mirror.Report{Conflicts: []mirror.Conflict{{Version: v}}},
			"0 versions compared\n", "hsmmirror: warning: a.1 was replaced: two keys have its name\n", exitDegraded},
		{"what can't be read", mirror.Report{Problems: []error{errors.New("damaged")}},
			"0 versions compared\n", "hsmmirror: warning: left out: damaged\n", exitDegraded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			a := &app{streams: streams{out: &out, err: &stderr}, options: options{output: outputTable}}
			require.NoError(t, a.printReport(test.report))
			require.Equal(t, test.code, a.report())
			require.Equal(t, test.out, out.String())
			require.Equal(t, test.err, stderr.String())
		})
	}
}

// What an adoption became on the mirror, of all that the pass did.
func TestTheMirroringOfAnAdoption(t *testing.T) {
	ref := provider.KeyRef{KID: "k", Version: 2}
	unmirrored := mirror.Report{Unmirrored: []mirror.Unmirrored{
		{Version: mirror.Version{KID: "k", Version: 1}, Reason: "older"}, {Version: mirror.Version{KID: "other", Version: 2}, Reason: "another"},
		{Version: mirror.Version{KID: "k", Version: 2}, Reason: "disk full"},
	}}
	require.Equal(t, &provider.Mirroring{Mirrored: true}, mirroringOf(ref, mirror.Report{}, nil))
	require.Equal(t, &provider.Mirroring{Reason: "disk full"}, mirroringOf(ref, unmirrored, nil))
	require.Equal(t, &provider.Mirroring{Reason: "disk full"}, mirroringOf(ref, unmirrored, context.Canceled))
	require.Equal(t, &provider.Mirroring{Mirrored: true}, mirroringOf(provider.KeyRef{KID: "new", Version: 1}, unmirrored, nil))
	require.Equal(t, &provider.Mirroring{Reason: "context canceled"}, mirroringOf(ref, mirror.Report{}, context.Canceled))
}

func TestWhatIsSaidOfTheStateOfAMirror(t *testing.T) {
	v := mirror.Version{KID: "a", Version: 1}
	outage := errors.New("store unavailable: unplugged")
	const wrong = "hsmmirror: warning: the mirror is not as it should be: hsmmirror mirror reconcile repairs what can be repaired\n"
	whole := "token  answers\nkeystore  answers\nconfirmed  2000-01-01T00:00:00Z, 1m0s ago\ndestroyed  1 version\n"
	const manifest = "manifest  generation 7\nissued  2000-01-01T00:00:00Z, 1m0s ago\nexpires  2000-01-01T01:00:00Z\nsigned by  thumbprint\n"
	tests := []struct {
		name string
		edit func(*mirror.Status)
		out  string
		err  string
		code int
	}{
		{"all is well", func(*mirror.Status) {}, whole + manifest + "pinned  yes\n", "", exitDone},
		{"no pin", func(s *mirror.Status) { s.Manifest.Pinned = false }, whole + manifest + "pinned  no: name the pin with --manifest-pin\n", "", exitDone},
		{"the token is away", func(s *mirror.Status) { s.Primary = mirror.StoreStatus{Down: true, Err: outage} }, "token  unavailable: unplugged\n",
			"hsmmirror: warning: token \"demo\" is unavailable: unplugged\n", exitDegraded},
		{"the keystore is away", func(s *mirror.Status) { s.Secondary = mirror.StoreStatus{Down: true, Err: outage} }, "keystore  unavailable: unplugged\n",
			"hsmmirror: warning: the keystore is unavailable: unplugged\n", exitDegraded},
		{"never confirmed", func(s *mirror.Status) { s.Confirmed = time.Time{} }, "confirmed  never\n", "", exitDone},
		{"not mirrored", func(s *mirror.Status) { s.Unmirrored = []mirror.Unmirrored{{Version: v, Reason: "disk full"}} }, "not mirrored  a.1: disk full\n", wrong, exitDegraded},
		{"orphans", func(s *mirror.Status) { s.Orphans = []mirror.Version{v} }, "orphans  a.1\n", wrong, exitDegraded},
		{"conflicts", func(s *mirror.Status) { s.Conflicts = []mirror.Conflict{{Version: v}} }, "conflicts  a.1\n", wrong, exitDegraded},
		{"destroys that are not finished", func(s *mirror.Status) { s.Pending = []mirror.Version{v} }, "unfinished  a.1\n", wrong, exitDegraded},
		{"no manifest", func(s *mirror.Status) { s.Manifest = mirror.ManifestStatus{} }, "manifest  none\n",
			"hsmmirror: warning: there is no signed manifest: nobody can tell what the mirror may serve\n", exitDegraded},
		{"a manifest at its last second", func(s *mirror.Status) { s.Manifest.Expires = time.Now() }, "expires  2000-01-01T00:01:00Z\n", "", exitDone},
		{"a manifest that has expired", func(s *mirror.Status) { s.Manifest.Expires = time.Now().Add(-time.Second) }, "expires  2000-01-01T00:00:59Z\n",
			"hsmmirror: warning: the manifest has expired: nothing is served from the mirror\n", exitDegraded},
		{"a manifest with a gap", func(s *mirror.Status) { s.Manifest.Unsigned = []mirror.Version{v} }, "unsigned  a.1\n",
			"hsmmirror: warning: the manifest does not name every version as it should: hsmmirror mirror reconcile has a new one signed\n", exitDegraded},
		{"a manifest that could not be renewed", func(s *mirror.Status) { s.Manifest.Err = outage }, "signed by  thumbprint\n",
			"hsmmirror: warning: the manifest was not signed anew: store unavailable: unplugged\n", exitDegraded},
		{"a mirror that can't be trusted", func(s *mirror.Status) { s.State = errors.New("tampered") }, "token  answers\n",
			"hsmmirror: warning: nothing is served from the mirror: tampered\n", exitDegraded},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock says 2000-01-01
				start := time.Now()
				time.Sleep(time.Minute)
				s := mirror.Status{Confirmed: start, Tombstones: 1, Manifest: mirror.ManifestStatus{
					Generation: 7, Issued: start, Expires: start.Add(time.Hour), Key: "thumbprint", Pinned: true,
				}}
				test.edit(&s)
				var out, stderr bytes.Buffer
				a := &app{streams: streams{out: &out, err: &stderr}, options: options{output: outputTable}, primary: `token "demo"`}
				require.NoError(t, a.printStatus(newStatusJSON(s)))
				require.Equal(t, test.code, a.report())
				require.Contains(t, regexp.MustCompile(`  +`).ReplaceAllString(out.String(), "  "), test.out)
				require.Equal(t, test.err, stderr.String())
			})
		})
	}
}
