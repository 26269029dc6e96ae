//go:build cgo

package hsm

import (
	"context"
	"crypto/x509"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
	"github.com/hsmmirror/hsmmirror/provider"
)

// pkcs11Tool returns a function that runs pkcs11-tool on the shared token, logged in.
func pkcs11Tool(t testing.TB) func(args ...string) string {
	t.Helper()
	requireProgram(t, "pkcs11-tool")
	t.Setenv("PKCS11_TOOL_PIN", string(softhsmtest.Token(t, sharedToken).PIN.Expose()))
	return func(args ...string) string {
		t.Helper()
		return pkcs11ToolWithoutPIN(t, append([]string{"--login", "--pin", "env:PKCS11_TOOL_PIN"}, args...)...)
	}
}

// pkcs11ToolWithoutPIN runs pkcs11-tool on the shared token and returns its standard output; it warns on the other.
func pkcs11ToolWithoutPIN(t testing.TB, args ...string) string {
	t.Helper()
	args = append([]string{"--module", softhsmtest.Get(t).Module, "--token-label", sharedToken}, args...)
	var out, warnings strings.Builder
	cmd := exec.CommandContext(t.Context(), "pkcs11-tool", args...)
	cmd.Stdout, cmd.Stderr = &out, &warnings
	require.NoError(t, cmd.Run(), "pkcs11-tool %v: %s", args, &warnings)
	return out.String()
}

// listed is an object as "pkcs11-tool --list-objects" shows it.
type listed struct{ class, label, id, usage, access string }

func parseListing(out string) []listed {
	var objects []listed
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, " ") { // an object begins: "Private Key Object; EC", "Data object 12"
			class, _, _ := strings.Cut(line, " Object; ")
			objects = append(objects, listed{class: class})
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		o := &objects[len(objects)-1]
		if field := map[string]*string{"label": &o.label, "ID": &o.id, "Usage": &o.usage, "Access": &o.access}[name]; field != nil {
			*field = strings.TrimSpace(value)
		}
		o.id, o.usage = strings.ReplaceAll(o.id, ":", ""), plainUsage(o.class, o.usage)
	}
	return objects
}

// plainUsage leaves out what versions of pkcs11-tool before 0.24 do not show: that a key signs or verifies with recovery, which is
// SoftHSM2's default for all, and that a secret key signs.
func plainUsage(class, usage string) string {
	plain := slices.DeleteFunc(strings.Split(usage, ", "), func(u string) bool {
		return u == "signRecover" || u == "verifyRecover" || u == "sign" && class == "Secret Key"
	})
	if len(plain) == 0 {
		return "none"
	}
	return strings.Join(plain, ", ")
}

func TestPKCS11ToolShowsOurKeys(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	tests := []struct {
		alg             provider.KeyAlg
		private, public string // usage
	}{
		{provider.ECDSAP256SHA256, "sign", "verify"},
		{provider.ECDSAP384SHA384, "sign", "verify"},
		{provider.ECDSAP521SHA512, "sign", "verify"},
		{provider.Ed25519, "sign", "verify"},
		{provider.X25519, "derive", "none"},
		{provider.RSAPSSSHA256, "sign", "verify"},
		{provider.RSAPKCS1SHA256, "sign", "verify"},
		{provider.RSAOAEPSHA256, "decrypt, unwrap", "encrypt, wrap"},
		{provider.AES256GCM, "encrypt, decrypt, wrap, unwrap", ""},
		{provider.HMACSHA256, "verify", ""},
	}
	require.Len(t, tests, len(provider.Algs()))
	for _, tt := range tests {
		t.Run(string(tt.alg), func(t *testing.T) {
			ref := createKey(t, token, tt.alg)
			found := map[string]listed{}
			for _, o := range parseListing(tool("--list-objects")) {
				if o.label == ref.KID+".v1" {
					require.NotContains(t, found, o.class)
					found[o.class] = o
				}
			}
			if tt.alg.Class() == provider.Symmetric {
				require.Len(t, found, 1)
				requireGuarded(t, found["Secret Key"], tt.private)
				return
			}
			require.Len(t, found, 2)
			requireGuarded(t, found["Private Key"], tt.private)
			public := found["Public Key"]
			require.Equal(t, found["Private Key"].id, public.id)
			requireUsage(t, public, tt.public)
		})
	}
}

// requireUsage checks that a key may be used for its algorithm and nothing else.
func requireUsage(t testing.TB, o listed, usage string) {
	t.Helper()
	require.Equal(t, usage, o.usage)
}

// requireGuarded checks a private or secret key of the export policy none.
func requireGuarded(t testing.TB, o listed, usage string) {
	t.Helper()
	requireUsage(t, o, usage)
	require.Equal(t, "sensitive, always sensitive, never extractable, local", o.access)
	require.Regexp(t, "^[0-9a-f]{32}$", o.id)
}

func TestPKCS11ToolSeesOnlyPublicKeysWithoutThePIN(t *testing.T) {
	token := open(t, sharedToken)
	requireProgram(t, "pkcs11-tool")
	ref, secret := createKey(t, token, provider.ECDSAP256SHA256), createKey(t, token, provider.AES256GCM)
	out := pkcs11ToolWithoutPIN(t, "--list-objects")
	var classes []string
	for _, o := range parseListing(out) {
		if strings.HasPrefix(o.label, ref.KID) {
			classes = append(classes, o.class)
		}
	}
	require.Equal(t, []string{"Public Key"}, classes)
	require.NotContains(t, out, secret.KID)
}

func TestPKCS11ToolSignsWithOurKey(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	ref := createKey(t, token, provider.ECDSAP256SHA256)
	jwk, err := token.PublicJWK(t.Context(), ref.KID, 0)
	require.NoError(t, err)
	private := objectOf(t, token, "CKO_PRIVATE_KEY", ref.KID+".v1")

	dir, message := t.TempDir(), []byte("a message")
	digest, signature := writeFile(t, dir, "digest", ref.Alg.Digest(message)), filepath.Join(dir, "signature")
	tool("--sign", "--mechanism", "ECDSA", "--id", hex.EncodeToString(private.ID), "--signature-format", "openssl", "--input-file", digest, "--output-file", signature)
	der, err := os.ReadFile(signature)
	require.NoError(t, err)
	require.True(t, standardVerify(jwk.PublicKey(), ref.Alg, message, der))
}

// objectOf returns the one object of a class with a label.
func objectOf(t testing.TB, token *Token, class, label string) Object {
	t.Helper()
	all, err := token.objects(t.Context())
	require.NoError(t, err)
	var found []Object
	for _, o := range all {
		if o.Class == class && o.Label == label {
			found = append(found, o)
		}
	}
	require.Len(t, found, 1, "%s %s", class, label)
	return found[0]
}

// foreignLabel returns a label that nothing on the token has yet. What gets it is removed at the end of the test.
func foreignLabel(t testing.TB, token *Token) string {
	t.Helper()
	label := "made elsewhere " + provider.NewKID()[:8]
	t.Cleanup(func() {
		ctx := context.Background()
		objects, err := token.link.find(ctx, attribute{ckaLabel, label})
		require.NoError(t, err)
		for _, o := range objects {
			require.NoError(t, token.link.destroy(ctx, o))
		}
	})
	return label
}

// newID returns a CKA_ID that nothing on the token has, in hexadecimal.
func newID(t testing.TB, token *Token) string {
	t.Helper()
	b, err := token.RandomBytes(t.Context(), 8)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

func TestKeysOfPKCS11ToolSignOnceAdopted(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	tests := []struct {
		name string
		make string // its key type
		as   provider.KeyAlg
		alg  provider.KeyAlg
	}{
		{"P-256 tells its algorithm", "EC:prime256v1", "", provider.ECDSAP256SHA256},
		{"P-384 tells its algorithm", "EC:secp384r1", "", provider.ECDSAP384SHA384},
		{"P-521 tells its algorithm", "EC:secp521r1", "", provider.ECDSAP521SHA512},
		{"Ed25519, its curve given by name, tells its algorithm", "EC:edwards25519", "", provider.Ed25519},
		{"RSA is adopted for PSS", "RSA:2048", provider.RSAPSSSHA256, provider.RSAPSSSHA256},
		{"RSA is adopted for PKCS #1 v1.5", "RSA:2048", provider.RSAPKCS1SHA256, provider.RSAPKCS1SHA256},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			label, id := foreignLabel(t, token), newID(t, token)
			before := kidsOf(t, token, "")
			tool("--keypairgen", "--key-type", tt.make, "--label", label, "--id", id)
			for _, class := range []string{"CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY"} {
				o := objectOf(t, token, class, label)
				require.Equal(t, StatusForeign, o.Status)
				require.Equal(t, id, hex.EncodeToString(o.ID))
				require.Empty(t, o.Problem)
			}
			kid := "adopted-" + id
			require.Equal(t, before, kidsOf(t, open(t, sharedToken), ""), "what is foreign is not in the JWKS")

			ref, err := token.Adopt(t.Context(), Adoption{Label: label, KID: kid, Alg: tt.as})
			require.NoError(t, err)
			require.Equal(t, tt.alg, ref.Alg)
			require.Equal(t, label, ref.Label)
			require.False(t, ref.Imported, "it was made on the token")
			require.True(t, ref.Private)
			require.Equal(t, []string{kid + ".1"}, kidsOf(t, token, kid))
			require.Equal(t, StatusOurs, objectOf(t, token, "CKO_PRIVATE_KEY", label).Status)
			requireSigns(t, token, ref)

			requireSigns(t, open(t, sharedToken), ref)
			_, err = token.DestroyKey(t.Context(), kid, provider.AllVersions)
			require.NoError(t, err)
		})
	}
}

// kidsOf returns the kids in the JWKS with a prefix.
func kidsOf(t testing.TB, token *Token, prefix string) []string {
	t.Helper()
	set, err := token.JWKS(t.Context(), prefix)
	require.NoError(t, err)
	var kids []string
	for _, k := range set.Keys() {
		kids = append(kids, k.JWKKID())
	}
	return kids
}

// requireSigns signs with a version and verifies under its public JWK.
func requireSigns(t testing.TB, token *Token, ref provider.KeyRef) {
	t.Helper()
	message := []byte("a message")
	signature, err := signerOf(t, token, ref).Sign(nil, ref.Alg.Digest(message), ref.Alg.SignerOpts())
	require.NoError(t, err)
	jwk, err := token.PublicJWK(t.Context(), ref.KID, ref.Version)
	require.NoError(t, err)
	require.True(t, standardVerify(jwk.PublicKey(), ref.Alg, message, signature))
}

func TestAdoptOneOfTwo(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	label, one, two := foreignLabel(t, token), newID(t, token), newID(t, token)
	for _, id := range []string{one, two} {
		tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label, "--id", id)
	}
	_, err := token.Adopt(t.Context(), Adoption{Label: label})
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.EqualError(t, err, "invalid: adopt: 2 private or secret keys match: name one by CKA_ID and label")

	id, err := hex.DecodeString(two)
	require.NoError(t, err)
	ref, err := token.Adopt(t.Context(), Adoption{Label: label, ID: id})
	require.NoError(t, err)
	requireSigns(t, token, ref)
	_, err = token.Adopt(t.Context(), Adoption{ID: id})
	require.ErrorIs(t, err, provider.ErrInvalid, "it is ours already")
	_, err = token.DestroyKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)

	rest := objectOf(t, token, "CKO_PRIVATE_KEY", label)
	require.Equal(t, one, hex.EncodeToString(rest.ID), "the other key is left alone")
}

func TestAdoptRefuses(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	pair := func(keyType string, args ...string) func(label string) {
		return func(label string) {
			tool(append([]string{"--keypairgen", "--key-type", keyType, "--label", label}, args...)...)
		}
	}
	same, lonely := newID(t, token), newID(t, token)
	tests := []struct {
		name string
		make func(label string)
		alg  provider.KeyAlg
		is   error
		text string
	}{
		{"a label that nothing has", func(string) {}, "", provider.ErrNotFound, "no private or secret key with label"},
		{"a pair without a CKA_ID", pair("EC:prime256v1"), "", provider.ErrUnsupported, "it has no CKA_ID"},
		{"a pair that shares its CKA_ID", func(label string) {
			pair("EC:prime256v1", "--id", same)(label)
			pair("EC:prime256v1", "--id", same)(label + " too")
		}, "", provider.ErrUnsupported, "another private or secret key has the same CKA_ID"},
		{"a curve that we have no algorithm for", pair("EC:secp256k1", "--id", newID(t, token)), provider.ECDSAP256SHA256, provider.ErrUnsupported, "1.3.132.0.10"},
		{"such a curve without an algorithm", pair("EC:secp256k1", "--id", newID(t, token)), "", provider.ErrUnsupported, "1.3.132.0.10"},
		{"an RSA pair without its algorithm", pair("RSA:2048", "--id", newID(t, token)), "", provider.ErrInvalid, "want its algorithm"},
		{"an RSA pair as ECDSA", pair("RSA:2048", "--id", newID(t, token)), provider.ECDSAP256SHA256, provider.ErrInvalid, "want one of"},
		{"P-256 as P-384", pair("EC:prime256v1", "--id", newID(t, token)), provider.ECDSAP384SHA384, provider.ErrInvalid, "want one of"},
		{"an EC key whose public half is gone", func(label string) {
			pair("EC:prime256v1", "--id", lonely)(label)
			tool("--delete-object", "--type", "pubkey", "--id", lonely)
		}, provider.ECDSAP256SHA256, provider.ErrUnsupported, "public"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			label := foreignLabel(t, token)
			tt.make(label)
			before := kidsOf(t, token, "")
			_, err := token.Adopt(t.Context(), Adoption{Label: label, Alg: tt.alg})
			require.ErrorIs(t, err, tt.is)
			require.NotErrorIs(t, err, provider.ErrTampered, "nothing is damaged")
			require.ErrorContains(t, err, tt.text)
			require.Equal(t, before, kidsOf(t, token, ""))
			again := open(t, sharedToken)
			require.Equal(t, before, kidsOf(t, again, ""), "nothing half-adopted is left on the token")
		})
	}
}

func TestAdoptFindsThePublicHalf(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	label, id := foreignLabel(t, token), newID(t, token)
	t.Run("in the private key, for RSA", func(t *testing.T) {
		tool("--keypairgen", "--key-type", "RSA:2048", "--label", label, "--id", id)
		tool("--delete-object", "--type", "pubkey", "--id", id)
		ref, err := token.Adopt(t.Context(), Adoption{Label: label, Alg: provider.RSAPSSSHA256})
		require.NoError(t, err)
		requireSigns(t, token, ref)
		requireSigns(t, open(t, sharedToken), ref)
		_, err = token.DestroyKey(t.Context(), ref.KID, 1)
		require.NoError(t, err)
	})
	t.Run("in a certificate beside an imported key", func(t *testing.T) {
		signer := createKey(t, token, provider.ECDSAP256SHA256)
		key := generatePrivate(t, curveP256)
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		require.NoError(t, err)
		public := publicOf(t, key)
		cert := newCertificate(t, nil, public, signerOf(t, token, signer))
		dir, label, id := t.TempDir(), foreignLabel(t, token), newID(t, token)
		tool("--write-object", writeFile(t, dir, "key.der", pkcs8), "--type", "privkey", "--label", label, "--id", id, "--usage-sign")
		tool("--write-object", writeFile(t, dir, "cert.der", cert.Raw), "--type", "cert", "--label", label, "--id", id)

		ref, err := token.Adopt(t.Context(), Adoption{Label: label})
		require.NoError(t, err)
		require.Equal(t, provider.ECDSAP256SHA256, ref.Alg, "the private key tells its curve")
		require.True(t, ref.Imported)
		jwk, err := token.PublicJWK(t.Context(), ref.KID, 1)
		require.NoError(t, err)
		require.Equal(t, public, jwk.PublicKey())
		requireSigns(t, token, ref)
		_, err = token.DestroyKey(t.Context(), ref.KID, 1)
		require.NoError(t, err)
	})
}

// TestAdoptAfterGivingAnID follows the advice of the error for a pair without a CKA_ID.
func TestAdoptAfterGivingAnID(t *testing.T) {
	token, tool := open(t, sharedToken), pkcs11Tool(t)
	label, id := foreignLabel(t, token), newID(t, token)
	tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", label)
	for _, kind := range []string{"privkey", "pubkey"} {
		tool("--set-id", id, "--type", kind, "--label", label)
	}
	ref, err := token.Adopt(t.Context(), Adoption{Label: label})
	require.NoError(t, err)
	requireSigns(t, token, ref)
	_, err = token.DestroyKey(t.Context(), ref.KID, 1)
	require.NoError(t, err)
}
