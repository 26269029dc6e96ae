package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWhichOptionsGoTogether(t *testing.T) {
	tests := []struct {
		name string
		edit func(*options)
		want string // of the error; empty: none
	}{
		{"the defaults", func(*options) {}, ""},
		{"yaml", func(o *options) { o.output = "yaml" }, ""},
		{"another output", func(o *options) { o.output = "JSON" }, `output "JSON": want table, json or yaml`},
		{"a short time limit", func(o *options) { o.timeout = 1 }, ""},
		{"no time limit", func(o *options) { o.timeout = 0 }, "timeout 0s: want a positive duration, such as 5s"},
		{"a time limit before now", func(o *options) { o.timeout = -1 }, "timeout -1ns: want a positive duration, such as 5s"},
		{"mode full", func(o *options) { o.mode = "full" }, ""},
		{"mode none", func(o *options) { o.mode = "none" }, ""},
		{"another mode", func(o *options) { o.mode = "" }, `mode "": want public_only, full or none`},
		{"signing that fails over", func(o *options) { o.failOverSigning, o.mode, o.manifestPin = true, "full", "pin" }, ""},
		{"without a pin", func(o *options) { o.failOverSigning, o.mode = true, "full" }, "signing that fails over: want --mode full and --manifest-pin with it"},
		{"without the private halves", func(o *options) { o.failOverSigning, o.manifestPin = true, "pin" }, "signing that fails over: want --mode full and --manifest-pin with it"},
		{"a token", func(o *options) { o.module, o.token, o.serial = "/m.so", "a", "1" }, ""},
		{"a URI", func(o *options) { o.uri, o.store = "pkcs11:token=a", "store" }, ""},
		{"a URI and a module", func(o *options) { o.uri, o.module = "pkcs11:token=a", "/m.so" }, "want one of the two"},
		{"a URI and a label", func(o *options) { o.uri, o.token = "pkcs11:token=a", "a" }, "want one of the two"},
		{"a URI and a serial number", func(o *options) { o.uri, o.serial = "pkcs11:token=a", "1" }, "want one of the two"},
		{"a URI and a slot", func(o *options) { o.uri, o.slot = "pkcs11:token=a", "1" }, "want one of the two"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := options{output: outputTable, timeout: time.Second, mode: "public_only"}
			test.edit(&o)
			err := o.check()
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorAs(t, err, new(*usageError))
			require.ErrorContains(t, err, test.want)
		})
	}
	for _, o := range []options{{uri: "u"}, {module: "m"}, {token: "t"}, {serial: "1"}, {slot: "0"}} {
		require.True(t, o.hasPrimary())
	}
	require.False(t, (&options{store: "s", mode: "full", pinSource: "prompt"}).hasPrimary())
}

// What names a token on the command line makes what the environment names in its place meaningless, and nothing else.
func TestTheCommandLineOutdoesTheEnvironment(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	tests := []struct{ environment, args, want string }{
		{"MODULE=/m.so TOKEN=a", "", "module=/m.so token=a"},
		{"MODULE=/m.so TOKEN=a", "--token b", "module=/m.so token=b"},
		{"MODULE=/m.so TOKEN=a", "--serial 1", "module=/m.so serial=1"},
		{"MODULE=/m.so TOKEN=a", "--slot 1", "module=/m.so slot=1"},
		{"MODULE=/m.so SERIAL=1", "--token b", "module=/m.so token=b"},
		{"MODULE=/m.so SERIAL=1", "--slot 1", "module=/m.so slot=1"},
		{"MODULE=/m.so SLOT=1", "--token b", "module=/m.so token=b"},
		{"MODULE=/m.so SLOT=1", "--serial 1", "module=/m.so serial=1"},
		{"MODULE=/m.so TOKEN=a", "--module /n.so", "module=/n.so token=a"},
		{"MODULE=/m.so TOKEN=a SERIAL=1 SLOT=1", "--uri pkcs11:token=b", "uri=pkcs11:token=b"},
		{"MODULE=/m.so TOKEN=a SERIAL=1", "", "module=/m.so token=a serial=1"},
		{"URI=pkcs11:token=b", "--module /m.so", "module=/m.so"},
		{"URI=pkcs11:token=b", "--token a", "token=a"},
		{"URI=pkcs11:token=b", "--serial 1", "serial=1"},
		{"URI=pkcs11:token=b", "--slot 1", "slot=1"},
		{"URI=pkcs11:token=b STORE=s", "--store r", "uri=pkcs11:token=b store=r"},
		{"STORE=s", "--store=", ""},
	}
	for _, test := range tests {
		t.Run(test.environment+" "+test.args, func(t *testing.T) {
			for _, variable := range strings.Fields(test.environment) {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv(envPrefix+name, value)
			}
			var settings []settingJSON
			require.NoError(t, json.Unmarshal(do(t, nil, append(strings.Fields("config show -o json"), strings.Fields(test.args)...)...), &settings))
			var got []string
			for _, s := range settings {
				if s.Value != "" && strings.Contains(" uri module token serial slot store ", " "+s.Name+" ") {
					got = append(got, s.Name+"="+s.Value)
				}
			}
			require.Equal(t, test.want, strings.Join(got, " "))
		})
	}
}
