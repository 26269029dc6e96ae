package softfile

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// setMember is the name of the members that an export adds to a JWK Set and to each JWK in it. RFC 7517 sections 4 and 5
// let other programs ignore them; a name below a domain is no one else's.
const setMember = "github.com/hsmmirror/hsmmirror"

// keySet is an export: a JWK Set (RFC 7517 section 5).
type keySet struct {
	Keys  []json.RawMessage `json:"keys"`
	About *setAbout         `json:"github.com/hsmmirror/hsmmirror"`
}

// setAbout is what an export says besides its keys.
type setAbout struct {
	Format    int               `json:"format"`
	Destroyed []json.RawMessage `json:"destroyed,omitempty"` // each as in a tombstone file
}

// UnmarshalJSON refuses what decodeStrict refuses.
func (a *setAbout) UnmarshalJSON(data []byte) error {
	type plain setAbout
	return decodeStrict(data, (*plain)(a))
}

// setKey is a JWK of an export: a private one in an encrypted export, if it may leave the store, else a public one.
type setKey struct {
	privateJWK
	Use   string    `json:"use,omitempty"`
	About *keyAbout `json:"github.com/hsmmirror/hsmmirror"`
}

// keyAbout is what a record says that a JWK has no member for.
type keyAbout struct {
	Uses        []provider.KeyUse     `json:"uses"`
	Export      provider.ExportPolicy `json:"export_policy"`
	Label       string                `json:"label,omitempty"`
	Tags        map[string]string     `json:"tags,omitempty"`
	Created     time.Time             `json:"created"`
	ActiveFrom  time.Time             `json:"active_from"`
	RetireAfter seconds               `json:"retire_after"`
	Imported    bool                  `json:"imported,omitempty"`
}

// UnmarshalJSON refuses what decodeStrict refuses.
func (a *keyAbout) UnmarshalJSON(data []byte) error {
	type plain keyAbout
	return decodeStrict(data, (*plain)(a))
}

func newKeyAbout(r *record) keyAbout {
	return keyAbout{r.Uses, r.Export, r.Label, r.Tags, r.Created, r.ActiveFrom, r.RetireAfter, r.Imported}
}

// withMember returns the JSON object with one more member. The caller wipes both.
func withMember(object []byte, value any) ([]byte, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return slices.Concat(object[:len(object)-1], []byte(`,"`+setMember+`":`), text, []byte("}")), nil
}

// joinSet returns the set of keys. It makes one copy of them, which the caller wipes.
func joinSet(keys [][]byte, about setAbout) ([]byte, error) {
	tail, err := json.Marshal(about)
	if err != nil {
		return nil, err
	}
	size := len(`{"keys":[],"":}`) + len(setMember) + len(tail)
	for _, k := range keys {
		size += len(k) + 1
	}
	set := append(make([]byte, 0, size), `{"keys":[`...)
	for i, k := range keys {
		if i > 0 {
			set = append(set, ',')
		}
		set = append(set, k...)
	}
	set = append(set, `],"`+setMember+`":`...)
	set = append(set, tail...)
	return append(set, '}'), nil
}

var errSet = provider.Invalidf("not a JWK Set that a store exported")

// parseSet takes an export apart. The keys are not looked into yet. Its errors tell nothing of the text: it may hold
// private keys, also where it should not.
func parseSet(data []byte) (keySet, error) {
	var format struct {
		About struct {
			Format int `json:"format"`
		} `json:"github.com/hsmmirror/hsmmirror"`
	}
	if err := json.Unmarshal(data, &format); err != nil {
		return keySet{}, errSet
	}
	if f := format.About.Format; f > formatVersion {
		return keySet{}, provider.Unsupportedf("export of format %d: want %d; a newer version of this program may have made it", f, formatVersion)
	}
	var set keySet
	if err := decodeStrict(data, &set); err != nil || set.About == nil || set.About.Format != formatVersion || set.Keys == nil {
		return keySet{}, errSet
	}
	return set, nil
}

var errSetKey = errors.New("not a JWK as a store exports it")

// parse returns what a JWK of an export describes. secret tells whether the set was encrypted: only there a private
// member may stand.
func (k setKey) parse(secret bool) (provider.KeyRef, provider.ParsedMaterial, error) {
	fail := func(err error) (provider.KeyRef, provider.ParsedMaterial, error) {
		return provider.KeyRef{}, provider.ParsedMaterial{}, provider.Invalidf("%w", err)
	}
	kid, version, ok := provider.SplitJWKKID(k.KID)
	i := slices.IndexFunc(provider.Algs(), func(a provider.KeyAlg) bool { return a.JWA() == k.Alg })
	if !ok || i < 0 || k.About == nil {
		return fail(errSetKey)
	}
	a := k.About
	ref := provider.KeyRef{
		KID: kid, Version: version, Alg: provider.Algs()[i], Uses: a.Uses, Export: a.Export, Label: a.Label, Tags: a.Tags,
		Created: a.Created, ActiveFrom: a.ActiveFrom, RetireAfter: time.Duration(a.RetireAfter), Imported: a.Imported,
	}
	if k.Kty != ref.Alg.KeyType() {
		return fail(errSetKey)
	}
	if k.hasPrivate() {
		if !secret {
			return fail(errors.New("private member in a set that is not encrypted"))
		}
		exportable := a.Export == provider.ExportSecretWhenAllowed
		if k.Ext != exportable || !slices.Equal(k.KeyOps, keyOps(ref.Alg, a.Uses)) {
			return fail(errors.New("key_ops or ext are not those of its uses and its export policy"))
		}
	}
	material, err := k.material()
	if err != nil {
		return fail(errSetKey)
	}
	defer material.Private.Wipe()
	key, err := material.Parse(ref.Alg, 0)
	return ref, key, err
}

func (k privateJWK) hasPrivate() bool {
	return k.D+k.P+k.Q+k.DP+k.DQ+k.QI+k.K != ""
}

// material returns both halves of the key, or the public one if there is no other.
func (k privateJWK) material() (provider.KeyMaterial, error) {
	if k.Kty == "oct" {
		secret, err := b64.DecodeString(k.K)
		defer clear(secret)
		return provider.KeyMaterial{Private: provider.NewSecret(secret)}, err
	}
	public, err := publicJWK{Kty: k.Kty, Crv: k.Crv, X: k.X, Y: k.Y, N: k.N, E: k.E}.key()
	if err != nil {
		return provider.KeyMaterial{}, err
	}
	m, err := provider.PublicMaterial(public)
	if err != nil || !k.hasPrivate() {
		return m, err
	}
	private, err := k.private()
	if err != nil {
		return provider.KeyMaterial{}, err
	}
	both, err := provider.Material(private)
	both.Public = m.Public
	return both, err
}
