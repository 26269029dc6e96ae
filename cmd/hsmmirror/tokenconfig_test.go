package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
)

func TestWhichTokenTheOptionsName(t *testing.T) {
	t.Setenv("PIN", "of the flag")
	t.Setenv("URIPIN", "of the URI")
	slot := uint(7)
	const uri = "pkcs11:token=a;serial=1?module-path=/m.so"
	tests := []struct {
		name    string
		options options
		want    hsm.Config
		pin     string // empty: there is none
		says    string
	}{
		{"a label", options{module: "/m.so", token: "a", timeout: time.Second}, hsm.Config{Module: "/m.so", Label: "a", Timeout: time.Second}, "", `token "a"`},
		{"a serial number", options{module: "/m.so", serial: "1"}, hsm.Config{Module: "/m.so", Serial: "1"}, "", `token with serial number "1"`},
		{"a slot", options{module: "/m.so", slot: "0x7"}, hsm.Config{Module: "/m.so", Slot: &slot}, "", "token in slot 7"},
		{"a URI", options{uri: uri, timeout: time.Second}, hsm.Config{Module: "/m.so", Label: "a", Serial: "1", Timeout: time.Second}, "", `token "a"`},
		{"a PIN source", options{module: "/m.so", token: "a", pinSource: "env:PIN"}, hsm.Config{Module: "/m.so", Label: "a"}, "of the flag", `token "a"`},
		{"a PIN pad", options{module: "/m.so", token: "a", pinSource: "pinpad"}, hsm.Config{Module: "/m.so", Label: "a", PINPad: true}, "", `token "a"`},
		{"a URI, and its PIN source aside", options{uri: uri, pinSource: "env:PIN"}, hsm.Config{Module: "/m.so", Label: "a", Serial: "1"}, "of the flag", `token "a"`},
		{"a URI with a PIN source counts more than the flag", options{uri: uri + "&pin-source=env:URIPIN", pinSource: "env:PIN"},
			hsm.Config{Module: "/m.so", Label: "a", Serial: "1"}, "of the URI", `token "a"`},
		{"a URI with a PIN source counts more than a PIN pad", options{uri: uri + "&pin-source=env:URIPIN", pinSource: "pinpad"},
			hsm.Config{Module: "/m.so", Label: "a", Serial: "1"}, "of the URI", `token "a"`},
		{"a URI with a PIN pad", options{uri: uri + "&pin-source=pinpad", pinSource: "env:PIN"}, hsm.Config{Module: "/m.so", Label: "a", Serial: "1", PINPad: true}, "", `token "a"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cfg, err := test.options.tokenConfig(t.Context())
			require.NoError(t, err)
			require.Equal(t, test.says, tokenName(cfg))
			require.Equal(t, test.pin != "", cfg.PIN != nil)
			if cfg.PIN != nil {
				secret, err := cfg.PIN(t.Context())
				require.NoError(t, err)
				require.Equal(t, test.pin, string(secret.Expose()))
				cfg.PIN = nil
			}
			require.Equal(t, test.want, cfg)

			if test.options.module == "" { // inspection logs in by the same rules
				test.options.module = cfg.Module
			}
			var probed probeToken
			require.NoError(t, (&app{options: test.options}).logIn(t.Context(), &probed))
			require.Equal(t, probeToken{LogIn: test.pin != "" || test.want.PINPad, PINPad: test.want.PINPad, PIN: probed.PIN}, probed)
			require.Equal(t, test.pin, string(probed.PIN))
		})
	}
	require.Equal(t, "the token", tokenName(hsm.Config{}))
}
