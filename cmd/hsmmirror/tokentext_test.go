package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// What token list, info and mechanisms say of tokens that no test has.
func TestTheRowOfASlot(t *testing.T) {
	module := hsm.ModuleInfo{Path: "/m.so"}
	token := func(flags ...string) *hsm.TokenDetails {
		return &hsm.TokenDetails{
			TokenInfo: hsm.TokenInfo{Label: "a", Serial: "1", Manufacturer: "maker", Model: "model", Initialized: true, Flags: flags}, Sessions: 2, MaxSessions: 16,
		}
	}
	blank := token()
	blank.Initialized = false
	tests := []struct {
		name string
		slot hsm.SlotInfo
		want []string
	}{
		{"a token", hsm.SlotInfo{ID: 3, Token: token()}, []string{"3", "a", "1", "maker", "model", "not wanted", "2 of 16", "ready", "/m.so"}},
		{"one that is not initialized", hsm.SlotInfo{Token: blank}, []string{"0", "a", "1", "maker", "model", "not wanted", "2 of 16", "not initialized", "/m.so"}},
		{"one that takes no writes", hsm.SlotInfo{Token: token("RNG", "WRITE_PROTECTED", "ERROR_STATE")},
			[]string{"0", "a", "1", "maker", "model", "not wanted", "2 of 16", "ready, read only, failed its self-test", "/m.so"}},
		{"none", hsm.SlotInfo{ID: 4, Manufacturer: "reader", Description: "left"}, []string{"4", "", "", "reader", "left", "", "", "empty", "/m.so"}},
		{"no answer", hsm.SlotInfo{ID: 4, Problem: "CKR_DEVICE_ERROR"}, []string{"4", "", "", "", "", "", "", "no answer", "/m.so"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, tokenRow(seenSlot{module: module, slot: test.slot})) })
	}
}

func TestNumbersThatATokenMayNotTell(t *testing.T) {
	tests := []struct {
		open, most  int
		short, long string
	}{
		{2, 16, "2 of 16", "2 open, at most 16"},
		{2, 0, "2", "2 open, no limit"},
		{2, hsm.Unknown, "2", "2 open, limit not told"},
		{hsm.Unknown, 1, "at most 1", "at most 1"},
		{hsm.Unknown, 0, "", "no limit"},
		{hsm.Unknown, hsm.Unknown, "", "limit not told"},
	}
	for _, test := range tests {
		require.Equal(t, test.short, sessions(test.open, test.most), test)
		require.Equal(t, test.long, limitText(test.open, test.most), test)
	}
	require.Equal(t, "1 of 2 bytes free", memoryText(1, 2))
	require.Equal(t, "2 bytes", memoryText(hsm.Unknown, 2))
	require.Equal(t, "1 bytes free", memoryText(1, hsm.Unknown))
	require.Empty(t, memoryText(hsm.Unknown, hsm.Unknown))

	pin := func(least, most int) string { return pinText(hsm.TokenDetails{MinPIN: least, MaxPIN: most}) }
	require.Equal(t, "not wanted; 0 to 8 bytes", pin(0, 8))
	require.Equal(t, "not wanted", pin(hsm.Unknown, 8))
	require.Equal(t, "not wanted", pin(4, hsm.Unknown))
	require.Equal(t, "not wanted", pin(0, 0))
	require.Equal(t, "wants a login, OF_ITS_MAKER", flagText([]string{"LOGIN_REQUIRED", "OF_ITS_MAKER"}))
}

func TestTheURIOfAToken(t *testing.T) {
	slot := seenSlot{module: hsm.ModuleInfo{Path: "/a b/ü&m.so"}, slot: hsm.SlotInfo{Token: &hsm.TokenDetails{TokenInfo: hsm.TokenInfo{URI: "pkcs11:token=a"}}}}
	require.Equal(t, "pkcs11:token=a?module-path=/a%20b/%C3%BC%26m.so", tokenURI(slot))
	slot.initArgs = "dir='x'"
	require.Equal(t, "pkcs11:token=a?module-path=/a%20b/%C3%BC%26m.so&x-init-reserved=dir%3D%27x%27", tokenURI(slot))
	cfg, err := hsm.ConfigFromURI(tokenURI(slot))
	require.NoError(t, err)
	require.Equal(t, hsm.Config{Module: slot.module.Path, InitArgs: slot.initArgs, Label: "a"}, cfg)
	slot.slot.Token.URI = ""
	require.Empty(t, tokenURI(slot))
	require.Empty(t, tokenURI(seenSlot{}))
}

func TestWhatATokenCanDo(t *testing.T) {
	var out bytes.Buffer
	a := &app{streams: streams{out: &out}, options: options{output: outputTable}}
	require.NoError(t, a.printMechanisms(hsm.TokenDetails{
		Mechanisms: []hsm.Mechanism{
			{Name: "CKM_EDDSA", MinKey: 256, MaxKey: 256, Flags: []string{"HW", "SIGN", "GENERATE_KEY_PAIR", "EC_NAMEDCURVE"}, Algs: []provider.KeyAlg{provider.Ed25519}},
			{Name: "CKM_SHA256", Flags: []string{"DIGEST"}},
			{Name: "CKM_AES_GCM", MinKey: 16, MaxKey: 32, Problem: "CKR_GENERAL_ERROR"},
		},
		Algs: []provider.AlgSupport{
			{Alg: provider.Ed25519, Create: true, Use: true, MinBits: 256, MaxBits: 256},
			{Alg: provider.RSAPSSSHA256, Create: true, MinBits: 2048, MaxBits: 4096, Missing: "CKM_RSA_PKCS_PSS"},
			{Alg: provider.AES256GCM, Use: true, MinBits: 256, MaxBits: 256, Missing: "CKM_AES_KEY_GEN"},
		},
	}))
	require.Equal(t, ""+
		"MECHANISM    KEYS   CAN                                       FOR\n"+
		"CKM_EDDSA    256    sign, generate key pair, on the hardware  ED25519\n"+
		"CKM_SHA256   -      digest                                    -\n"+
		"CKM_AES_GCM  16-32  CKR_GENERAL_ERROR                         -\n"+
		"\n"+
		"ALGORITHM       CREATE  USE  BITS       MISSING\n"+
		"ED25519         yes     yes  256        -\n"+
		"RSA_PSS_SHA256  yes     no   2048-4096  CKM_RSA_PKCS_PSS\n"+
		"AES256_GCM      no      yes  -          CKM_AES_KEY_GEN\n", out.String())
}

// Which of several tokens options select.
func TestTheTokenThatIsSelected(t *testing.T) {
	slot := uint(7)
	info := hsm.TokenInfo{Label: "a", Serial: "1", Manufacturer: "maker", Model: "model", Slot: 7}
	for _, s := range []selector{{}, {label: "a"}, {serial: "1"}, {manufacturer: "maker"}, {model: "model"}, {slot: &slot}, {"a", "1", "maker", "model", &slot}} {
		require.True(t, s.matches(info), s)
	}
	slot8 := uint(8)
	for _, s := range []selector{{label: "b"}, {serial: "2"}, {manufacturer: "x"}, {model: "x"}, {slot: &slot8}, {"a", "1", "maker", "model", &slot8}} {
		require.False(t, s.matches(info), s)
	}
	for want, list := range map[bool][]options{
		true:  {{token: "a"}, {serial: "1"}, {slot: "0"}, {uri: "pkcs11:token=a"}, {uri: "pkcs11:serial=1"}, {uri: "pkcs11:slot-id=0"}, {uri: "pkcs11:manufacturer=m"}, {uri: "pkcs11:model=m"}},
		false: {{}, {module: "/m.so"}, {uri: "pkcs11:?module-path=/m.so"}, {uri: "softfile:x"}},
	} {
		for _, o := range list {
			require.Equal(t, want, o.selected(), o.uri+o.token+o.serial+o.slot)
		}
	}
}
