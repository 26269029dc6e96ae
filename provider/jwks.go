package provider

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// JWKSet is a JWK Set (RFC 7517 section 5) as JWKS answers it. Its JSON is made once, so that serving it costs a copy.
type JWKSet struct {
	keys       []JWK
	json       []byte
	Provenance Provenance
}

// NewJWKSet returns the set of keys, in ascending order of kid and version. Of two keys with one kid the first stays.
func NewJWKSet(keys []JWK, p Provenance) JWKSet {
	keys = slices.DeleteFunc(slices.Clone(keys), func(k JWK) bool { return k.publicJWK == nil })
	slices.SortStableFunc(keys, compareJWK)
	keys = slices.CompactFunc(keys, func(a, b JWK) bool { return compareJWK(a, b) == 0 })
	var buf bytes.Buffer
	buf.WriteString(`{"keys":[`)
	for i, k := range keys {
		if i > 0 {
			buf.WriteByte(',')
		}
		buf.Write(k.json)
	}
	buf.WriteString(`]}`)
	return JWKSet{keys, buf.Bytes(), p}
}

// Len returns the number of keys.
func (s JWKSet) Len() int { return len(s.keys) }

// Keys returns the keys in ascending order of kid and version.
func (s JWKSet) Keys() []JWK { return slices.Clone(s.keys) }

// Key returns the key whose kid member is jwkKID.
func (s JWKSet) Key(jwkKID string) (JWK, bool) {
	for _, k := range s.keys {
		if k.JWKKID() == jwkKID {
			return k, true
		}
	}
	return JWK{}, false
}

// JSON returns the set as JSON, media type application/jwk-set+json. The caller owns the slice.
func (s JWKSet) JSON() []byte {
	if s.json == nil {
		return []byte(`{"keys":[]}`)
	}
	return slices.Clone(s.json)
}

// MarshalJSON returns the same as JSON.
func (s JWKSet) MarshalJSON() ([]byte, error) { return s.JSON(), nil }

// WriteTo writes the JSON to w without copying it.
func (s JWKSet) WriteTo(w io.Writer) (int64, error) {
	if s.json == nil {
		s.json = s.JSON()
	}
	n, err := w.Write(s.json)
	return int64(n), err
}

// Set returns the set as a jwx set. The caller owns it.
func (s JWKSet) Set() (jwk.Set, error) { return jwk.Parse(s.JSON()) }

func compareJWK(a, b JWK) int {
	return cmp.Or(strings.Compare(a.ref.KID, b.ref.KID), cmp.Compare(a.ref.Version, b.ref.Version))
}
