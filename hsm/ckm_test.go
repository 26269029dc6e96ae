package hsm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name      string
		got, want string
	}{
		{"a mechanism with the number zero", mechanismName(0x0000), "CKM_RSA_PKCS_KEY_PAIR_GEN"},
		{"the raw RSA step", mechanismName(0x0003), "CKM_RSA_X_509"},
		{"OAEP", mechanismName(0x0009), "CKM_RSA_PKCS_OAEP"},
		{"PSS", mechanismName(0x000D), "CKM_RSA_PKCS_PSS"},
		{"PSS with its hash", mechanismName(0x0043), "CKM_SHA256_RSA_PKCS_PSS"},
		{"HMAC", mechanismName(0x0251), "CKM_SHA256_HMAC"},
		{"of two names the one of the text", mechanismName(0x1040), "CKM_EC_KEY_PAIR_GEN"},
		{"ECDSA", mechanismName(0x1041), "CKM_ECDSA"},
		{"ECDH", mechanismName(0x1050), "CKM_ECDH1_DERIVE"},
		{"Edwards key generation", mechanismName(ckmECEdwardsKeyPairGen), "CKM_EC_EDWARDS_KEY_PAIR_GEN"},
		{"Montgomery key generation", mechanismName(ckmECMontgomeryKeyPairGen), "CKM_EC_MONTGOMERY_KEY_PAIR_GEN"},
		{"EdDSA", mechanismName(0x1057), "CKM_EDDSA"},
		{"AES-GCM", mechanismName(0x1087), "CKM_AES_GCM"},
		{"key wrap with padding", mechanismName(0x210B), "CKM_AES_KEY_WRAP_KWP"},
		{"a mechanism of v3.2", mechanismName(0x1D), "CKM_ML_DSA"},
		{"an unknown mechanism", mechanismName(0x1999), "CKM_0x00001999"},
		{"a vendor's mechanism", mechanismName(0xCE534351), "CKM_0xCE534351"},

		{"a key type", keyTypeName(0x03), "CKK_EC"},
		{"an Edwards key", keyTypeName(ckkECEdwards), "CKK_EC_EDWARDS"},
		{"a Montgomery key", keyTypeName(ckkECMontgomery), "CKK_EC_MONTGOMERY"},
		{"AES", keyTypeName(0x1F), "CKK_AES"},
		{"an unknown key type", keyTypeName(0x7F), "CKK_0x0000007F"},

		{"data", className(0), "CKO_DATA"},
		{"a private key", className(3), "CKO_PRIVATE_KEY"},
		{"an unknown class", className(0x80000001), "CKO_0x80000001"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.got)
		})
	}
}

func TestNamesAreUnique(t *testing.T) {
	for prefix, names := range map[string]map[uint]string{"CKM_": mechanismNames, "CKK_": keyTypeNames, "CKO_": classNames} {
		seen := map[string]uint{}
		for n, name := range names {
			require.Regexp(t, "^"+prefix+"[A-Z0-9_]+$", name)
			require.NotContains(t, seen, name)
			seen[name] = n
		}
	}
}
