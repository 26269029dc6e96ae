package hsm

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// What the tokens of each module say of themselves.
var (
	softHSM2   = TokenInfo{Manufacturer: "SoftHSM project", Library: "Implementation of PKCS11"}
	remoteSoft = TokenInfo{Manufacturer: "SoftHSM project", LibraryManufacturer: "PKCS#11 Kit", Library: "PKCS#11 Kit Proxy Module"}
	nss        = TokenInfo{Manufacturer: "Mozilla Foundation", Library: "NSS Internal Crypto Services"}
	nssAsked   = TokenInfo{Manufacturer: "Mozilla Foundation", Library: "NSS Internal Crypto Services", asksLengths: true}
	tpm2       = TokenInfo{Manufacturer: "IBM", Library: "TPM2.0 Cryptoki"}
	ock        = TokenInfo{Manufacturer: "IBM Corp.", LibraryManufacturer: "IBM", Library: "Meta PKCS11 LIBRARY"}
	ock327     = TokenInfo{Manufacturer: "IBM", Model: "Soft", LibraryManufacturer: "IBM", Library: "openCryptoki"}
	wolf       = TokenInfo{Manufacturer: "wolfpkcs11", Model: "wolfpkcs11", LibraryManufacturer: "wolfpkcs11", Library: "Implementation using wolfCrypt"}
)

func TestQuirksAreThoseOfAllRowsThatFit(t *testing.T) {
	require.Zero(t, quirksOf(TokenInfo{Manufacturer: "another maker"}))
	require.False(t, quirksOf(softHSM2).oneCallAtATime)
	remote := quirksOf(remoteSoft)
	require.True(t, remote.oneCallAtATime, "p11-kit's own")
	remote.oneCallAtATime = false
	require.Equal(t, quirksOf(softHSM2), remote, "and those of the token behind it")
	for _, direct := range []TokenInfo{
		{Manufacturer: "IBM Corp.", Model: "IBM SoftTok", Serial: "123", Library: "Meta PKCS11 LIBRARY"},
		{Manufacturer: "IBM", Model: "Soft", Library: "openCryptoki"},
		{Manufacturer: "STMicro", Serial: "0000000000000000", maxSessions: 1024, Library: "TPM2.0 Cryptoki"},
		{Manufacturer: "Mozilla Foundation", Serial: "0000000000000000", Library: "NSS Internal Crypto Services"},
	} {
		behind := direct
		behind.LibraryManufacturer, behind.Library = "PKCS#11 Kit", "PKCS#11 Kit Proxy Module"
		require.Equal(t, quirksOf(direct).and(quirks{oneCallAtATime: true}), quirksOf(behind), "p11-kit hides the name of the library: %+v", direct)
	}
	require.Equal(t, quirksOf(ock), quirksOf(ock327), "it changed its names between 3.8 and 3.27")
	require.Zero(t, quirksOf(TokenInfo{Serial: "0000000000000000", maxSessions: 1024}), "only behind p11-kit has a TPM to be guessed")
	for _, row := range quirkTable {
		require.NotZero(t, row.quirks, row.module)
		require.Equal(t, row.quirks, quirks{}.and(row.quirks), "%s: a quirk is lost on the way", row.module)
		require.NotEmpty(t, row.tried, row.module)
		require.NotEmpty(t, row.because, row.module)
	}
}

func TestSupportOnModulesThatListWhatTheyCannotDo(t *testing.T) {
	everything := map[uint]mechanismInfo{}
	for _, n := range needs {
		everything[n.create], everything[n.use] = mechanismInfo{}, mechanismInfo{}
	}
	delete(everything, ckmECMontgomeryKeyPairGen)
	require.NotContains(t, everything, uint(ckmRSAX509))
	tests := []struct {
		name   string
		token  TokenInfo
		alg    provider.KeyAlg
		create bool
		imp    bool
		text   string // of Missing
	}{
		{"NSS encrypts by AES-GCM", nss, provider.AES256GCM, true, true, ""},
		{"but not if it has to say how long the answer is", nssAsked, provider.AES256GCM, false, false, "an encryption by CKM_AES_GCM that says how long its answer is"},
		{"NSS signs by Ed25519", nss, provider.Ed25519, true, true, ""},
		{"but not if it has to say how long the signature is", nssAsked, provider.Ed25519, false, false, "a signature by CKM_EDDSA that says how long it is"},
		{"OAEP on SoftHSM2 wants the raw RSA step, which slots.mechanisms may forbid", softHSM2, provider.RSAOAEPSHA256, false, false,
			"CKM_RSA_X_509, which its CKM_RSA_PKCS_OAEP with SHA-1 alone does not replace"},
		{"OAEP elsewhere does without", nss, provider.RSAOAEPSHA256, true, true, ""},
		{"NSS makes HMAC keys", nss, provider.HMACSHA256, true, true, ""},
		{"ECDH says nothing of Montgomery curves", nss, provider.X25519, false, false, "CKM_EC_MONTGOMERY_KEY_PAIR_GEN"},
		{"SoftHSM2 makes X25519 keys as Edwards ones", softHSM2, provider.X25519, true, true, ""},
		{"tpm2-pkcs11 makes no secret keys", tpm2, provider.AES256GCM, false, false, "C_GenerateKey, though it lists CKM_AES_GCM"},
		{"tpm2-pkcs11 can't use P-521", tpm2, provider.ECDSAP521SHA512, false, false, "keys of the kind, though it lists CKM_ECDSA"},
		{"tpm2-pkcs11 imports nothing", tpm2, provider.ECDSAP256SHA256, true, false, "C_CreateObject for keys"},
		{"openCryptoki makes RSA keys", ock, provider.RSAPSSSHA256, true, true, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := support(tt.alg, quirksOf(tt.token), everything)
			require.Equal(t, tt.create, s.Create)
			require.Equal(t, tt.imp, s.Import)
			require.Equal(t, tt.text, s.Missing)
		})
	}
	require.Equal(t, 2048, support(provider.HMACSHA256, quirksOf(nss), everything).MaxBits)
	require.Equal(t, provider.MaxHMACBits, support(provider.HMACSHA256, quirksOf(softHSM2), everything).MaxBits)
}

func TestUsesInTemplates(t *testing.T) {
	uses := func(q quirks, alg provider.KeyAlg, public bool, list ...provider.KeyUse) map[uint]any {
		template := map[uint]any{}
		for _, a := range (record{Alg: alg, Uses: list}).useTemplate(q, public) {
			template[a.typ] = a.value
		}
		return template
	}
	require.Equal(t, map[uint]any{ckaSign: true, ckaDecrypt: false, ckaUnwrap: false}, uses(quirks{}, provider.ECDSAP256SHA256, false, provider.UseSign))
	require.Equal(t, map[uint]any{ckaVerify: true, ckaEncrypt: false, ckaWrap: false}, uses(quirks{}, provider.ECDSAP256SHA256, true, provider.UseSign),
		"NSS makes no pair whose signatures nobody may verify")
	tpm := quirksOf(tpm2)
	require.Equal(t, map[uint]any{ckaSign: true, ckaDecrypt: false}, uses(tpm, provider.RSAPSSSHA256, false, provider.UseVerify))
	require.Equal(t, map[uint]any{ckaSign: true, ckaDecrypt: true}, uses(tpm, provider.RSAPKCS1SHA256, false, provider.UseSign), "it signs by decrypting")
	require.Equal(t, map[uint]any{ckaSign: false, ckaDecrypt: true}, uses(tpm, provider.RSAOAEPSHA256, false, provider.UseUnwrap))
	require.Empty(t, uses(tpm, provider.RSAPSSSHA256, true, provider.UseSign))
}
