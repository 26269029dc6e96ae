package mirror

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
	"github.com/lestrrat-go/jwx/v2/jws"

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
	for kid, versions := range c.Versions {
		for n, e := range versions {
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

// encode returns the claims of m, whose ledger, and hash aside, is filled in.
func (m *manifest) encode() ([]byte, error) {
	var b bytes.Buffer
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
		return nil, fmt.Errorf("manifest: %w", err)
	}
	b.Write(head[:len(head)-1])
	b.WriteString(`,"keys":[`)
	for i, k := range m.ledger.published(m.issued) {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(k)
	}
	b.WriteString(`],"versions":`)
	if err := m.ledger.encode(&b); err != nil {
		return nil, err
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// sealJWS signs payload with s as a compact JWS that carries the key.
func sealJWS(ctx context.Context, s provider.Signer, typ string, payload []byte) ([]byte, error) {
	ref := s.KeyRef()
	k, err := provider.NewJWK(ref, s.Public())
	if err != nil {
		return nil, err
	}
	public, err := k.Key()
	if err != nil {
		return nil, fmt.Errorf("manifest key: %w", err)
	}
	header := jws.NewHeaders()
	for name, value := range map[string]any{jws.TypeKey: typ, jws.KeyIDKey: ref.JWKKID(), jws.JWKKey: public} {
		if err := header.Set(name, value); err != nil {
			return nil, fmt.Errorf("JWS header %s: %w", name, err)
		}
	}
	signer := &boundSigner{Signer: s, ctx: ctx}
	data, err := jws.Sign(payload, jws.WithKey(jwa.SignatureAlgorithm(ref.Alg.JWA()), signer, jws.WithProtectedHeaders(header)))
	if signer.err != nil {
		return nil, signer.err // as the store gave it, for errors.Is
	}
	return data, err
}

// boundSigner is a signer of one call's context.
type boundSigner struct {
	provider.Signer
	ctx context.Context
	err error
}

func (s *boundSigner) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	var signature []byte
	signature, s.err = s.SignContext(s.ctx, digest, opts)
	return signature, s.err
}

// openJWS checks a compact JWS of the given type under the key that it carries, and returns key, version and payload.
// Whether the key is to be trusted is not its business. [provider.ErrTampered].
func openJWS(data []byte, typ string) (key provider.JWK, version int, payload []byte, err error) {
	fail := func(what string) (provider.JWK, int, []byte, error) {
		return provider.JWK{}, 0, nil, fmt.Errorf("%w: %s", provider.ErrTampered, what)
	}
	head, _, ok := bytes.Cut(data, []byte("."))
	var h struct {
		Type string          `json:"typ"`
		Alg  string          `json:"alg"`
		KID  string          `json:"kid"`
		JWK  json.RawMessage `json:"jwk"`
		Crit []string        `json:"crit"`
	}
	text, err := base64.RawURLEncoding.DecodeString(string(head))
	if !ok || err != nil || json.Unmarshal(text, &h) != nil || h.Type != typ || h.Crit != nil {
		return fail("no JWT of the type " + typ)
	}
	kid, version, ok := provider.SplitJWKKID(h.KID)
	if !ok || kid != ManifestKID {
		return fail("not signed by a key of the kid " + ManifestKID)
	}
	key, err = manifestKey(h.JWK, h.Alg, version)
	if err != nil {
		return fail("its header has no key that signs by its algorithm")
	}
	payload, err = jws.Verify(data, jws.WithKey(jwa.SignatureAlgorithm(h.Alg), key.PublicKey()))
	if err != nil {
		return fail("the signature is not one of the key in the header")
	}
	return key, version, payload, nil
}

// manifestKey returns the key in a header, checked as every key of package provider.
func manifestKey(text []byte, alg string, version int) (provider.JWK, error) {
	k, err := jwk.ParseKey(text)
	if err != nil {
		return provider.JWK{}, err
	}
	var public any
	if err := k.Raw(&public); err != nil {
		return provider.JWK{}, err
	}
	for _, a := range provider.Algs() {
		if a.Signs() && a.JWA() == alg {
			return provider.NewJWK(provider.KeyRef{KID: ManifestKID, Version: version, Alg: a, Uses: a.Uses()}, public)
		}
	}
	return provider.JWK{}, provider.Unsupportedf("signature algorithm %.20q", alg)
}

// hashOf returns the SHA-256 of data, base64url without padding.
func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
