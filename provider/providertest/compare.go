package providertest

import (
	"crypto/sha256"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// sameVersion checks that two answers describe one version alike. Where an answer came from, what became of a write, and
// what a token says of its protection are no part of that.
func sameVersion(t *testing.T, want, got provider.KeyRef) {
	t.Helper()
	require.True(t, want.Created.Equal(got.Created), "created %v, want %v", got.Created, want.Created)
	require.True(t, want.ActiveFrom.Equal(got.ActiveFrom), "active from %v, want %v", got.ActiveFrom, want.ActiveFrom)
	require.Equal(t, essence(want), essence(got))
}

// essence is ref without what may differ between two answers about one version.
func essence(ref provider.KeyRef) provider.KeyRef {
	ref = ref.Clone()
	ref.Created, ref.ActiveFrom, ref.Provenance = time.Time{}, time.Time{}, provider.Provenance{}
	ref.Mirroring, ref.Evidence = nil, nil
	if len(ref.Tags) == 0 {
		ref.Tags = nil
	}
	return ref
}

// freshAnswer checks the provenance of a read from a store that is well.
func freshAnswer(t *testing.T, p provider.Provenance) {
	t.Helper()
	require.Contains(t, []provider.Source{provider.Primary, provider.Merged}, p.Source)
	require.WithinRange(t, p.AsOf, time.Now().Add(-time.Minute), time.Now(), "as of when")
	require.False(t, p.Stale)
	require.False(t, p.Orphan)
	require.Empty(t, p.Reason)
}

// versions returns the version numbers of refs.
func versions(refs []provider.KeyRef) []int {
	numbers := make([]int, len(refs))
	for i, r := range refs {
		numbers[i] = r.Version
	}
	return numbers
}

// listed returns the refs of list that are of kid.
func listed(list provider.KeyList, kid string) (refs []provider.KeyRef) {
	for _, r := range list.Keys {
		if r.KID == kid {
			refs = append(refs, r)
		}
	}
	return refs
}

// jwkKIDs returns the kid members of a set.
func jwkKIDs(set provider.JWKSet) []string {
	kids := make([]string, 0, set.Len())
	for _, k := range set.Keys() {
		kids = append(kids, k.JWKKID())
	}
	return kids
}

// thumbprint is RFC 7638 section 3 over the canonical JSON of a key's required members.
func thumbprint(canonical string) string {
	sum := sha256.Sum256([]byte(canonical))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
