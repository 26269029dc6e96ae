package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ManifestKID is the kid of the key that signs the manifest. It is reserved: the Mirror makes the key, serves it nowhere,
// and takes no other write for it.
const ManifestKID = "hsmmirror-manifest"

const (
	manifestType = "jwk-set+jwt"                                   // OpenID Federation 1.0 section 5.2.1.1: a signed JWK Set
	issuerPrefix = "urn:ietf:params:oauth:jwk-thumbprint:sha-256:" // RFC 9278
	mirrorPrefix = "urn:hsmmirror:"
)

// manifest is the signed statement of everything that a mirror may serve (docs/manifest.md).
type manifest struct {
	mirror     string // names the mirror; it is the same in all its manifests
	generation int64
	issued     time.Time
	expires    time.Time
	previous   string // hash of the manifest before
	succession []string
	ledger     *ledger // every entry is signed

	key        string // thumbprint of the signing key
	keyVersion int    // its version of ManifestKID
	hash       string // of the JWT
	ours       bool   // the primary confirmed that the key is its own
}

// claims is the payload of a manifest as it is read.
type claims struct {
	Issuer     string                   `json:"iss"`
	Subject    string                   `json:"sub"`
	Issued     int64                    `json:"iat"`
	Expires    int64                    `json:"exp"`
	Generation int64                    `json:"generation"`
	Previous   string                   `json:"previous"`
	Succession []string                 `json:"succession"`
	Keys       []json.RawMessage        `json:"keys"`
	Versions   map[string]map[int]entry `json:"versions"`
}

// readManifest checks a manifest and returns it. anchor is the thumbprint of the key that must have signed it, or that must
// have signed over to the one that did; empty: any key, so that only damage is found. [provider.ErrTampered] otherwise.
func readManifest(data []byte, anchor string) (*manifest, error) {
	key, version, payload, err := openJWS(data, manifestType)
	if err != nil {
		return nil, err
	}
	var c claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return nil, fmt.Errorf("%w: the claims are no JSON of the right kind", provider.ErrTampered)
	}
	if anchor != "" {
		if err := follow(c.Succession, anchor, key.Thumbprint()); err != nil {
			return nil, err
		}
	}
	m := &manifest{
		mirror: strings.TrimPrefix(c.Subject, mirrorPrefix), generation: c.Generation, issued: time.Unix(c.Issued, 0).UTC(),
		expires: time.Unix(c.Expires, 0).UTC(), previous: c.Previous, succession: c.Succession,
		key: key.Thumbprint(), keyVersion: version, hash: hashOf(data),
	}
	if c.Issuer != issuerPrefix+m.key || mirrorPrefix+m.mirror != c.Subject || m.generation < 1 || c.Expires <= c.Issued {
		return nil, fmt.Errorf("%w: want the claims iss, sub, iat, exp and generation", provider.ErrTampered)
	}
	m.ledger, err = c.ledger()
	return m, err
}

// ledger returns what the claims say of the versions.
func (c claims) ledger() (*ledger, error) {
	l := newLedger()
	for _, kid := range slices.Sorted(maps.Keys(c.Versions)) {
		for n, e := range c.Versions[kid] {
			if err := e.validate(kid, n); err != nil {
				return nil, fmt.Errorf("%w: entry %.150q: %w", provider.ErrTampered, Version{kid, n}, err)
			}
			e.signed, e.doomed = true, e.Intent != nil
			l.set(Version{kid, n}, e)
		}
	}
	for _, raw := range c.Keys {
		var k struct {
			KID string `json:"kid"`
		}
		err := json.Unmarshal(raw, &k)
		kid, n, ok := provider.SplitJWKKID(k.KID)
		e, known := l.get(Version{kid, n})
		if err != nil || !ok || !known {
			return nil, fmt.Errorf("%w: a key that is not among the versions", provider.ErrTampered)
		}
		e.jwk = raw
		l.set(Version{kid, n}, e)
	}
	return l, nil
}

// encode writes the claims of m, of which all but the hash is filled in.
func (m *manifest) encode(b *bytes.Buffer) error {
	head, err := json.Marshal(struct {
		Issuer     string   `json:"iss"`
		Subject    string   `json:"sub"`
		Issued     int64    `json:"iat"`
		Expires    int64    `json:"exp"`
		Generation int64    `json:"generation"`
		Previous   string   `json:"previous,omitempty"`
		Succession []string `json:"succession,omitempty"`
	}{issuerPrefix + m.key, mirrorPrefix + m.mirror, m.issued.Unix(), m.expires.Unix(), m.generation, m.previous, m.succession})
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	b.Write(head[:len(head)-1])
	b.WriteString(`,"keys":[`)
	separator := ""
	for k := range m.ledger.published(m.issued) {
		b.WriteString(separator)
		b.Write(k)
		separator = ","
	}
	b.WriteString(`],"versions":`)
	if err := m.ledger.encode(b); err != nil {
		return err
	}
	b.WriteByte('}')
	return nil
}

// hashOf returns the SHA-256 of data, base64url without padding.
func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
