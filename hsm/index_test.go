package hsm

import (
	"crypto"
	"crypto/ecdsa"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// start is when the versions of these tests begin.
var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at returns a record of version n of the key "k" as it was found on the token.
func at(s stage, n int, change ...func(*record)) *located {
	r := fullRecord()
	r.KID, r.Stage, r.Version, r.ID, r.ActiveFrom, r.RetireAfter, r.PublicOnly = "k", s, n, "0a", start, 3600, false
	for _, c := range change {
		c(&r)
	}
	return &located{record: &r, object: &object{class: ckoData, private: true, label: r.KID, application: application}}
}

func withID(id string) func(*record) { return func(r *record) { r.ID = id } }

func activeFrom(t time.Time) func(*record) { return func(r *record) { r.ActiveFrom = t } }

// keyOf returns the key that these records make. Its live versions need no objects.
func keyOf(records ...*located) *key {
	k := &key{kid: "k"}
	k.byVersion(records)
	for _, r := range k.records {
		if r.Stage == live {
			k.versions = append(k.versions, &version{located: r})
		}
	}
	return k
}

// stand is what became of each version, by number.
func stand(k *key) map[int]stage {
	stages := map[int]stage{}
	for _, r := range k.records {
		stages[r.Version] = r.Stage
	}
	return stages
}

func TestTheFurthestStageOfAVersionCounts(t *testing.T) {
	tests := []struct {
		name    string
		records []*located
		want    map[int]stage
		spare   int
	}{
		{"a claim alone", []*located{at(claimed, 1)}, map[int]stage{1: claimed}, 0},
		{"a claim that became a key", []*located{at(claimed, 1), at(live, 1)}, map[int]stage{1: live}, 1},
		{"the other way round on the token", []*located{at(live, 1), at(claimed, 1)}, map[int]stage{1: live}, 1},
		{"a destroy that was cut off", []*located{at(live, 1), at(destroyed, 1)}, map[int]stage{1: destroyed}, 1},
		{"all three", []*located{at(live, 1), at(destroyed, 1), at(claimed, 1)}, map[int]stage{1: destroyed}, 2},
		{"the same record twice", []*located{at(live, 1), at(live, 1)}, map[int]stage{1: live}, 1},
		{"several versions in any order", []*located{at(live, 3), at(destroyed, 1), at(claimed, 4), at(live, 2)}, map[int]stage{1: destroyed, 2: live, 3: live, 4: claimed}, 0},
		{"another key's claim of a version that is destroyed", []*located{at(destroyed, 1), at(live, 1, withID("0b"))}, map[int]stage{1: destroyed}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := keyOf(tt.records...)
			require.Equal(t, tt.want, stand(k))
			require.Len(t, k.spare, tt.spare)
			require.Empty(t, k.problems)
		})
	}
}

func TestTwoKeysThatClaimToBeOneVersionAreNotServed(t *testing.T) {
	k := keyOf(at(live, 1), at(live, 2, withID("0b")), at(live, 2, withID("0c")), at(claimed, 2, withID("0c")))
	require.Equal(t, map[int]stage{1: live, 2: claimed}, stand(k))
	require.Len(t, k.problems, 1)
	_, err := k.find(2)
	require.ErrorIs(t, err, provider.ErrTampered)
	require.NotErrorIs(t, err, provider.ErrNotFound)
	require.EqualError(t, err, `stored data damaged or tampered with: two keys on the token claim to be "k.2"`)
	v, err := k.find(0)
	require.NoError(t, err)
	require.Equal(t, 1, v.Version, "the other versions are served")
	next, err := k.next()
	require.NoError(t, err)
	require.Equal(t, 3, next, "the number stays taken")
	for _, r := range k.spare {
		require.NotEqual(t, live, r.Stage, "no write clears the evidence away")
	}
}

func TestNextVersion(t *testing.T) {
	tests := []struct {
		name    string
		records []*located
		want    int
	}{
		{"of a key that never was", nil, 1},
		{"after a live version", []*located{at(live, 1), at(live, 2)}, 3},
		{"after a destroyed version", []*located{at(live, 1), at(destroyed, 2)}, 3},
		{"after a key that is destroyed as a whole", []*located{at(destroyed, 7)}, 8},
		{"after a claim that nobody finished", []*located{at(live, 1), at(claimed, 4)}, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			next, err := keyOf(tt.records...).next()
			require.NoError(t, err)
			require.Equal(t, tt.want, next)
		})
	}
	t.Run("of a key with a record that can't be read is not known", func(t *testing.T) {
		k := keyOf(at(live, 1))
		k.problems = []problem{{1, errors.New("another")}, {0, provider.Unsupportedf("newer")}}
		_, err := k.next()
		require.ErrorIs(t, err, errUnreadable)
		require.ErrorIs(t, err, provider.ErrUnsupported)
		require.NotContains(t, err.Error(), "another")
	})
}

func TestStatesCountTombstones(t *testing.T) {
	hour := func(n int) time.Time { return start.Add(time.Duration(n) * time.Hour) }
	tests := []struct {
		name    string
		at      time.Time
		records []*located
		want    map[int]provider.State
	}{
		{"a claim has no state", start, []*located{at(live, 1), at(claimed, 2)}, map[int]provider.State{1: provider.Active}},
		{"a version before its time", start, []*located{at(live, 1), at(live, 2, activeFrom(hour(1)))}, map[int]provider.State{1: provider.Active, 2: provider.Pending}},
		{"a version that another follows", hour(1), []*located{at(live, 1), at(live, 2, activeFrom(hour(1)))}, map[int]provider.State{1: provider.Retiring, 2: provider.Active}},
		{"a destroyed version gives the one before it no place back", hour(3),
			[]*located{at(live, 1), at(destroyed, 2, activeFrom(hour(1)))}, map[int]provider.State{1: provider.Retired, 2: provider.Destroyed}},
		{"one that was destroyed before it signed does", hour(1),
			[]*located{at(live, 1), at(destroyed, 2, activeFrom(hour(2)))}, map[int]provider.State{1: provider.Active, 2: provider.Destroyed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := keyOf(tt.records...)
			require.Equal(t, tt.want, k.states(tt.at))
			signs := 0
			for n, s := range tt.want {
				if s == provider.Active {
					signs = n
				}
			}
			if signs == 0 {
				require.Nil(t, k.active(tt.at))
			} else {
				require.Equal(t, signs, k.active(tt.at).Version)
			}
		})
	}
}

func TestFind(t *testing.T) {
	damaged, unread := errors.New("damaged"), errors.New("unread")
	tests := []struct {
		name     string
		problems []problem
		n        int
		want     int
		err      error
	}{
		{"a version that stands", nil, 1, 1, nil},
		{"the highest", nil, 0, 3, nil},
		{"one that never was", nil, 4, 0, provider.ErrNotFound},
		{"one that is destroyed", nil, 2, 0, provider.ErrNotFound},
		{"one that is damaged", []problem{{5, damaged}}, 5, 0, damaged},
		{"another one beside one that is damaged", []problem{{5, damaged}}, 4, 0, provider.ErrNotFound},
		{"the highest below one that is damaged", []problem{{5, damaged}}, 0, 3, nil},
		{"one that a record may be about that can't be read", []problem{{0, unread}}, 4, 0, unread},
		{"a version that stands beside such a record", []problem{{0, unread}}, 3, 3, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := keyOf(at(live, 1), at(destroyed, 2), at(live, 3))
			k.problems = tt.problems
			v, err := k.find(tt.n)
			require.ErrorIs(t, err, tt.err)
			if tt.err == nil {
				require.Equal(t, tt.want, v.Version)
				return
			}
			require.Nil(t, v)
			require.Equal(t, tt.err == provider.ErrNotFound, errors.Is(err, provider.ErrNotFound), "not found is an answer")
		})
	}
	t.Run("the highest of a key of which nothing can be served", func(t *testing.T) {
		k := &key{kid: "k", problems: []problem{{1, damaged}, {0, unread}}}
		_, err := k.find(0)
		require.ErrorIs(t, err, damaged)
		require.ErrorIs(t, err, unread)
		require.ErrorIs(t, k.vacant(), damaged, "nor is its name free")
	})
	t.Run("a name that is free", func(t *testing.T) {
		require.NoError(t, keyOf(at(destroyed, 1)).vacant())
		require.ErrorIs(t, keyOf(at(live, 1)).vacant(), provider.ErrExists)
	})
	require.Nil(t, (*key)(nil).version(0))
}

// pair returns the objects of a P-256 pair with the CKA_ID 0a, and its public half.
func pair(t *testing.T) (private, public *object, half crypto.PublicKey) {
	t.Helper()
	half = generatePrivate(t, curveP256).(*ecdsa.PrivateKey).Public()
	params, point, err := encodeECPublic(half)
	require.NoError(t, err)
	private = &object{class: ckoPrivateKey, private: true, keyType: ckkEC, id: []byte{0x0A}}
	public = &object{class: ckoPublicKey, keyType: ckkEC, id: []byte{0x0A}, ecParams: params, ecPoint: point}
	return private, public, half
}

func TestAssemble(t *testing.T) {
	private, public, half := pair(t)
	fingerprint, err := provider.Thumbprint(half)
	require.NoError(t, err)
	pairRecord := func(change ...func(*record)) *located {
		return at(live, 1, append(change, func(r *record) { r.Fingerprint = fingerprint })...)
	}
	_, decoy, _ := pair(t)
	bait := &object{class: ckoPrivateKey, keyType: ckkEC, id: []byte{0x0A}}
	certificate := &object{class: ckoCertificate, id: []byte{0x0A}}
	foreign := &object{class: ckoPrivateKey, keyType: ckkEC, id: []byte{0x0B}}

	v, err := assemble(pairRecord(), []*object{certificate, decoy, public, foreign, private, bait})
	require.NoError(t, err)
	require.Same(t, private, v.private)
	require.Equal(t, half, v.public)
	require.Equal(t, fingerprint, v.jwk.Thumbprint())
	require.Equal(t, "k.1", v.jwk.JWKKID())

	v, err = assemble(pairRecord(func(r *record) { r.PublicOnly = true }), []*object{public})
	require.NoError(t, err)
	require.Nil(t, v.private)
	require.False(t, v.ref().Private)

	secret := &object{class: ckoSecretKey, keyType: ckkAES, id: []byte{0x0A}}
	v, err = assemble(at(live, 1, func(r *record) { r.Alg, r.Bits, r.Uses = provider.AES256GCM, 256, nil }), []*object{secret})
	require.NoError(t, err)
	require.Same(t, secret, v.private)
	require.Nil(t, v.public)
}

func TestAssembleRefuses(t *testing.T) {
	private, public, half := pair(t)
	fingerprint, err := provider.Thumbprint(half)
	require.NoError(t, err)
	_, swapped, _ := pair(t)
	rsaKey := &object{class: ckoPrivateKey, keyType: ckkRSA, id: []byte{0x0A}}
	unreadable := &object{class: ckoPublicKey, keyType: ckkEC, id: []byte{0x0A}, problem: errors.New("CKA_EC_POINT: no answer")}
	offCurve := &object{class: ckoPublicKey, keyType: ckkEC, id: []byte{0x0A}, ecParams: curveP256.oid, ecPoint: make([]byte, 65)}
	tests := []struct {
		name    string
		objects []*object
		text    string
	}{
		{"the private key is gone", []*object{public}, "its key object is gone"},
		{"both halves are gone", nil, "its key object is gone"},
		{"the private key has another CKA_ID", []*object{{class: ckoPrivateKey, keyType: ckkEC, id: []byte{0x0B}}, public}, "its key object is gone"},
		{"the private key is of another type", []*object{rsaKey, public}, "its key object is gone"},
		{"two private keys have its CKA_ID", []*object{private, {class: ckoPrivateKey, private: true, keyType: ckkEC, id: []byte{0x0A}}, public}, "two private keys have its CKA_ID 0a"},
		{"the public key is another one", []*object{private, swapped}, "the public key object has fingerprint"},
		{"the public key can't be read", []*object{private, unreadable}, "CKA_EC_POINT: no answer"},
		{"the public key is not on the curve", []*object{private, offCurve}, "not an uncompressed point"},
		{"the public key is gone", []*object{private}, "the public key object is gone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := assemble(at(live, 1, func(r *record) { r.Fingerprint = fingerprint }), tt.objects)
			require.ErrorIs(t, err, provider.ErrTampered)
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, tt.name == "the public key is gone", errors.Is(err, errNoPublic), "only that may be rebuilt")
		})
	}
}

func TestLocate(t *testing.T) {
	good := at(live, 1)
	text, err := good.marshal()
	require.NoError(t, err)
	data := func(label string, value []byte) *object {
		return &object{class: ckoData, private: true, application: application, label: label, value: value}
	}
	unreadable := data("k", nil)
	unreadable.problem = errors.New("CKA_VALUE: no answer")
	records, unread := locate([]*object{
		{class: ckoData, application: "another tool", label: "k", value: text},
		{class: ckoData, application: application, label: "k", value: text}, // one that anyone could have written
		{class: ckoCertificate, label: "k", value: text},
		data("k", text), data("other", text), data("a\x1b[2J", []byte("{}")), unreadable,
	})
	require.Len(t, records, 1)
	require.Equal(t, good.record, records[0].record)
	var errs []string
	for _, u := range unread {
		errs = append(errs, u.err.Error())
	}
	require.Equal(t, []string{
		`record in CKO_DATA "other": stored data damaged or tampered with: it holds the record of kid "k"`,
		`record in CKO_DATA "a\x1b[2J": stored data damaged or tampered with: record of format 0: want 1`,
		`record in CKO_DATA "k": CKA_VALUE: no answer`,
	}, errs)
	require.Equal(t, "other", unread[0].label)
}

func TestABigTokenIsReadLessOften(t *testing.T) {
	tests := []struct {
		name       string
		configured time.Duration
		took       time.Duration
		want       time.Duration
	}{
		{"a small token is read again after the default time", 0, 100 * time.Millisecond, DefaultRefreshAfter},
		{"a big one when a twentieth of the time will have gone into it", 0, 3 * time.Second, time.Minute},
		{"what is configured stands", time.Second, 3 * time.Second, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := &Token{cfg: Config{RefreshAfter: tt.configured}, idx: index{took: tt.took}}
			require.Equal(t, tt.want, token.refreshAfter())
		})
	}
}
