package main

import (
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestWhatIsTakenForAJWS(t *testing.T) {
	part := func(s string) string { return base64url([]byte(s)) }
	good := part(`{"alg":"ES256","kid":"k.1","typ":"JWT"}`) + "." + part("content") + "." + part("sig")
	tests := []struct {
		name, text string
		want       string // of the error; empty: it is one
	}{
		{"a JWS", good, ""},
		{"one in a file of text", "\n " + good + "\n", ""},
		{"two parts", part("{}") + "." + part("content"), "want a JWS or JWT in compact form"},
		{"four parts", good + "." + part("more"), "want a JWS or JWT in compact form"},
		{"a header in another encoding", "{}." + part("content") + "." + part("sig"), "part 1 of the JWS: want base64url without padding"},
		{"content with padding", part(`{"alg":"ES256"}`) + ".YQ==." + part("sig"), "part 2 of the JWS: want base64url without padding"},
		{"a signature with bits beyond its end", part(`{"alg":"ES256"}`) + "." + part("content") + ".YR", "part 3 of the JWS: want base64url without padding"},
		{"a header that is no object", part(`"ES256"`) + "." + part("content") + "." + part("sig"), "want a JSON object with alg and kid"},
		{"a header without an algorithm", part(`{"kid":"k.1"}`) + "." + part("content") + "." + part("sig"), "want a JSON object with alg and kid"},
		{"a critical extension", part(`{"alg":"ES256","crit":["b64"],"b64":false}`) + "." + part("content") + "." + part("sig"), "critical extensions"},
		{"critical extensions that are none", part(`{"alg":"ES256","crit":null}`) + "." + part("content") + "." + part("sig"), "critical extensions"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j, err := parseJWS([]byte(test.text))
			if test.want != "" {
				require.ErrorIs(t, err, provider.ErrInvalid)
				require.ErrorContains(t, err, test.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, compactJWS{
				header: joseHeader{Alg: "ES256", KID: "k.1", Typ: "JWT"}, payload: []byte("content"), signature: []byte("sig"),
				signingInput: []byte(good[:strings.LastIndexByte(good, '.')]),
			}, j)
		})
	}
}

func TestWhichTypesAreJWTs(t *testing.T) {
	for typ, want := range map[string]bool{"JWT": true, "jwt": true, "at+JWT": true, "": false, "jose": false, "jwt+x": false, "notjwt": false} {
		require.Equal(t, want, compactJWS{header: joseHeader{Typ: typ}}.isJWT(), typ)
	}
}

func TestECDSASignaturesInBothForms(t *testing.T) {
	const alg = provider.ECDSAP521SHA512 // whose numbers do not fill their 66 bytes
	most := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 8*66), big.NewInt(1))
	for _, s := range []ecdsaSignature{{big.NewInt(1), big.NewInt(2)}, {most, big.NewInt(0)}, {big.NewInt(0), most}} {
		der, err := asn1.Marshal(s)
		require.NoError(t, err)
		raw, err := toRaw(alg, der)
		require.NoError(t, err)
		require.Len(t, raw, 132)
		require.Equal(t, s.R.FillBytes(make([]byte, 66)), raw[:66])
		again, err := fromRaw(alg, raw)
		require.NoError(t, err)
		require.Equal(t, der, again)
		for _, wrong := range [][]byte{raw[1:], append(raw, 0), nil} {
			_, err = fromRaw(alg, wrong)
			require.ErrorIs(t, err, provider.ErrInvalid)
		}
	}
	more := new(big.Int).Add(most, big.NewInt(1))
	for _, s := range []ecdsaSignature{{more, big.NewInt(1)}, {big.NewInt(1), more}, {big.NewInt(-1), big.NewInt(1)}, {big.NewInt(1), big.NewInt(-1)}} {
		der, err := asn1.Marshal(s)
		require.NoError(t, err)
		_, err = toRaw(alg, der)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
	der, err := asn1.Marshal(ecdsaSignature{big.NewInt(1), big.NewInt(2)})
	require.NoError(t, err)
	for _, wrong := range [][]byte{append(der, 0), der[1:], nil} {
		_, err := toRaw(alg, wrong)
		require.ErrorIs(t, err, provider.ErrInvalid)
	}
	same, err := toRaw(provider.Ed25519, []byte("any"))
	require.NoError(t, err)
	require.Equal(t, "any", string(same))
}
