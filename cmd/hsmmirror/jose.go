package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// joseHeader is the protected header of a JWS (RFC 7515 section 4.1), as far as it is made and understood here.
type joseHeader struct {
	Alg  string          `json:"alg"`
	KID  string          `json:"kid,omitempty"`
	Typ  string          `json:"typ,omitempty"`
	Crit json.RawMessage `json:"crit,omitempty"`
}

// compactJWS is a JWS in compact serialization (RFC 7515 section 3.1), taken apart.
type compactJWS struct {
	header       joseHeader
	payload      []byte
	signature    []byte // in raw form
	signingInput []byte
}

// makeJWS returns the compact JWS of payload, signed by s.
func makeJWS(ctx context.Context, s *signatory, typ string, payload []byte) ([]byte, error) {
	header, err := json.Marshal(joseHeader{Alg: s.ref.Alg.JWA(), KID: s.ref.JWKKID(), Typ: typ})
	if err != nil {
		return nil, err
	}
	input := base64url(header) + "." + base64url(payload)
	signature, err := s.signRaw(ctx, []byte(input))
	if err != nil {
		return nil, err
	}
	return []byte(input + "." + base64url(signature)), nil
}

// parseJWS takes a compact JWS apart. provider.ErrInvalid if b is none, or wants an extension that is not understood.
func parseJWS(b []byte) (compactJWS, error) {
	parts := strings.Split(string(bytes.TrimSpace(b)), ".")
	if len(parts) != 3 {
		return compactJWS{}, provider.Invalidf("input of %d bytes: want a JWS or JWT in compact form, or a signature with --sig", len(b))
	}
	var decoded [3][]byte
	for i, part := range parts {
		d, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return compactJWS{}, provider.Invalidf("part %d of the JWS: want base64url without padding", i+1)
		}
		decoded[i] = d
	}
	j := compactJWS{payload: decoded[1], signature: decoded[2], signingInput: []byte(parts[0] + "." + parts[1])}
	if err := json.Unmarshal(decoded[0], &j.header); err != nil || j.header.Alg == "" {
		return compactJWS{}, provider.Invalidf("header of the JWS: want a JSON object with alg and kid")
	}
	if j.header.Crit != nil {
		return compactJWS{}, provider.Invalidf("header of the JWS: it has critical extensions (crit), of which none is understood")
	}
	return j, nil
}

// isJWT tells whether the header says that the payload is a set of claims.
func (j compactJWS) isJWT() bool {
	typ := strings.ToLower(j.header.Typ)
	return typ == "jwt" || strings.HasSuffix(typ, "+jwt")
}

// parseClaims checks that b is a JSON object whose registered claims (RFC 7519 section 4.1) are of the right types, and returns
// it without white space.
func parseClaims(b []byte) (claims []byte, token jwt.Token, err error) {
	var buf bytes.Buffer
	token = jwt.New()
	if json.Unmarshal(b, token) != nil || json.Compact(&buf, b) != nil {
		return nil, nil, provider.Invalidf("claims: want a JSON object, with iss, sub, aud as text and exp, nbf, iat as numbers of seconds")
	}
	return buf.Bytes(), token, nil
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
