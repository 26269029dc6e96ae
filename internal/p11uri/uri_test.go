package p11uri

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestParse(t *testing.T) {
	tests := []struct {
		name string
		uri  string
		want URI
		back string // what Format returns; empty: uri
	}{
		{"nothing selects everything", "pkcs11:", URI{}, ""},
		{"an empty query", "pkcs11:?", URI{}, "pkcs11:"},
		{"the scheme in capitals", "PKCS11:token=a", URI{Token: new("a")}, "pkcs11:token=a"},
		{
			"every attribute of the path", "pkcs11:token=t;manufacturer=m;serial=s;model=o;library-manufacturer=lm;library-version=3.11;library-description=ld;" +
				"object=k;type=secret-key;id=%00%FF;slot-manufacturer=sm;slot-description=sd;slot-id=327",
			URI{
				Token: new("t"), Manufacturer: new("m"), Serial: new("s"), Model: new("o"),
				LibraryManufacturer: new("lm"), LibraryVersion: &Version{3, 11}, LibraryDescription: new("ld"),
				Object: new("k"), Type: SecretKey, ID: []byte{0, 0xFF},
				SlotManufacturer: new("sm"), SlotDescription: new("sd"), SlotID: new(uint(327)),
			}, "",
		},
		{
			"every attribute of the query", "pkcs11:?pin-source=file:/etc/pin&module-name=softhsm2&module-path=/usr/lib/libsofthsm2.so&kid=payments&version=3",
			URI{PINSource: "file:/etc/pin", ModuleName: "softhsm2", ModulePath: "/usr/lib/libsofthsm2.so", Vendor: map[string]string{"kid": "payments", "version": "3"}}, "",
		},
		{"any order", "pkcs11:type=private;object=k;token=t?module-path=/m&pin-source=prompt", URI{Token: new("t"), Object: new("k"), Type: Private, PINSource: "prompt", ModulePath: "/m"}, "pkcs11:token=t;object=k;type=private?pin-source=prompt&module-path=/m"},
		{"attributes of vendors by name", "pkcs11:?z_z=1&A-9=2&m=", URI{Vendor: map[string]string{"z_z": "1", "A-9": "2", "m": ""}}, "pkcs11:?A-9=2&m=&z_z=1"},
		{"an empty value is a value", "pkcs11:token=;id=", URI{Token: new(""), ID: []byte{}}, ""},
		{"what needs no encoding in the path", "pkcs11:token=:[]@!$'()*+,=&-._~aZ9", URI{Token: new(":[]@!$'()*+,=&-._~aZ9")}, ""},
		{"what needs no encoding in the query", "pkcs11:?module-path=:[]@!$'()*+,=/?|-._~aZ9", URI{ModulePath: ":[]@!$'()*+,=/?|-._~aZ9"}, ""},
		{"what needs encoding in the path", "pkcs11:token=%20%22%23%25%2F%3B%3C%3E%3F%5C%5E%60%7B%7C%7D%C3%A4%00", URI{Token: new(" \"#%/;<>?\\^`{|}ä\x00")}, ""},
		{"what needs encoding in the query", "pkcs11:?module-path=%20%26%3B%23%25%C3%A4", URI{ModulePath: " &;#%ä"}, ""},
		{"what needs no encoding and has it", "pkcs11:token=%61%62?module-name=%2f", URI{Token: new("ab"), ModuleName: "/"}, "pkcs11:token=ab?module-name=/"},
		{"an ID is encoded wholly", "pkcs11:id=ab%3a", URI{ID: []byte("ab:")}, "pkcs11:id=%61%62%3A"},
		{"a plus is a plus", "pkcs11:token=a+b", URI{Token: new("a+b")}, ""},
		{"a library's version without a minor one", "pkcs11:library-version=2", URI{LibraryVersion: &Version{2, 0}}, "pkcs11:library-version=2.0"},
		{"a slot with leading zeros", "pkcs11:slot-id=007", URI{SlotID: new(uint(7))}, "pkcs11:slot-id=7"},
		{"an example of RFC 7512 section 3", "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;object=my-certificate;type=cert;" +
			"id=%69%95%3E%5C%F4%BD%EC%91;serial=?pin-source=file:/etc/token_pin",
			URI{
				Token: new("The Software PKCS#11 Softtoken"), Manufacturer: new("Snake Oil, Inc."), Model: new("1.0"), Object: new("my-certificate"), Type: Cert,
				ID: []byte{0x69, 0x95, 0x3E, 0x5C, 0xF4, 0xBD, 0xEC, 0x91}, Serial: new(""), PINSource: "file:/etc/token_pin",
			}, "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;serial=;model=1.0;object=my-certificate;type=cert;" +
				"id=%69%95%3E%5C%F4%BD%EC%91?pin-source=file:/etc/token_pin"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := Parse(tt.uri)
			require.NoError(t, err)
			require.Equal(t, tt.want, u)
			if tt.back == "" {
				tt.back = tt.uri
			}
			require.Equal(t, tt.back, u.Format())
			again, err := Parse(u.Format())
			require.NoError(t, err)
			require.Equal(t, u, again)
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const known = "token, manufacturer, serial, model, library-manufacturer, library-version, library-description, object, type, id, slot-manufacturer, slot-description, slot-id"
	tests := []struct {
		name string
		uri  string
		text string // after "invalid: PKCS#11 URI: "
	}{
		{"nothing", "", "want it to begin with pkcs11:"},
		{"another scheme", "softfile:token=a", "want it to begin with pkcs11:"},
		{"no colon", "pkcs11", "want it to begin with pkcs11:"},

		{"an attribute twice", "pkcs11:token=a;serial=b;token=a", "token: it is there twice"},
		{"an attribute of the query twice", "pkcs11:?module-path=/a&module-path=/b", "module-path: it is there twice"},
		{"a vendor's attribute twice", "pkcs11:?kid=a&kid=b", "attribute 2 of the query: it is there twice"},
		{"an unknown attribute of the path", "pkcs11:token=a;tokn=b", `attribute 2 of the path: "tokn" is not known: want some of ` + known},
		{"an attribute in capitals", "pkcs11:Token=a", `attribute 1 of the path: "Token" is not known: want some of ` + known},
		{"an attribute of the query in the path", "pkcs11:module-path=%2Fa", `attribute 1 of the path: "module-path" is not known: want some of ` + known},
		{"an attribute of the path in the query", "pkcs11:?token=a", "attribute 1 of the query: a vendor's attribute must not have the name of one of RFC 7512, in either case"},
		{"an attribute of the query in capitals", "pkcs11:?Module-Path=a", "attribute 1 of the query: a vendor's attribute must not have the name of one of RFC 7512, in either case"},

		{"no value", "pkcs11:token", "attribute 1 of the path: want name=value"},
		{"no name", "pkcs11:token=a;=b", "attribute 2 of the path: want name=value"},
		{"a separator too many", "pkcs11:token=a;", "attribute 2 of the path: want name=value"},
		{"a separator too many in the query", "pkcs11:?kid=a&", "attribute 2 of the query: want name=value"},
		{"a name with a dot", "pkcs11:?k.d=a", "attribute 1 of the query: want name=value"},
		{"a name that is encoded", "pkcs11:%74oken=a", "attribute 1 of the path: want name=value"},

		{"a slash in the path", "pkcs11:token=a/b", "token: character 2 must be percent-encoded"},
		{"a space", "pkcs11:token=a b", "token: character 2 must be percent-encoded"},
		{"a fragment", "pkcs11:token=a#b", "token: character 2 must be percent-encoded"},
		{"a fragment after the query", "pkcs11:?kid=a#b", "attribute 1 of the query: character 2 must be percent-encoded"},
		{"a byte above ASCII", "pkcs11:token=ä", "token: character 1 must be percent-encoded"},
		{"a NUL", "pkcs11:token=a\x00", "token: character 2 must be percent-encoded"},
		{"a semicolon in the query", "pkcs11:?module-path=a;b", "module-path: character 2 must be percent-encoded"},
		{"a bar in the path", "pkcs11:token=a|b", "token: character 2 must be percent-encoded"},
		{"half a percent-encoded byte", "pkcs11:token=a%4", "token: it ends within a percent-encoded byte"},
		{"a percent sign alone", "pkcs11:token=%", "token: it ends within a percent-encoded byte"},
		{"wrong digits", "pkcs11:token=ab%4g", "token: character 3: want two hexadecimal digits after a percent sign"},

		{"an unknown type", "pkcs11:type=secret", `type: "secret": want public, private, cert, secret-key or data`},
		{"an empty type", "pkcs11:type=", `type: "": want public, private, cert, secret-key or data`},
		{"a slot in words", "pkcs11:slot-id=one", `slot-id: "one": want a decimal number of at most 64 bits`},
		{"a negative slot", "pkcs11:slot-id=-1", `slot-id: "-1": want a decimal number of at most 64 bits`},
		{"a slot with a sign", "pkcs11:slot-id=+1", `slot-id: "+1": want a decimal number of at most 64 bits`},
		{"an empty slot", "pkcs11:slot-id=", `slot-id: "": want a decimal number of at most 64 bits`},
		{"a slot too large", "pkcs11:slot-id=18446744073709551616", `slot-id: "18446744073709551616": want a decimal number of at most 64 bits`},
		{"a version too large", "pkcs11:library-version=256", `library-version: "256": want a decimal number of at most 8 bits`},
		{"a version of three numbers", "pkcs11:library-version=1.2.3", `library-version: "2.3": want a decimal number of at most 8 bits`},
		{"a version without a minor number", "pkcs11:library-version=1.", `library-version: "": want a decimal number of at most 8 bits`},
		{"a version without a major number", "pkcs11:library-version=.1", `library-version: "": want a decimal number of at most 8 bits`},
		{"an empty module path", "pkcs11:?module-path=", "module-path: want it neither empty nor with a NUL in it"},
		{"a module path with a NUL", "pkcs11:?module-path=/a%00b", "module-path: want it neither empty nor with a NUL in it"},
		{"an empty PIN source", "pkcs11:?pin-source=", "pin-source: want it neither empty nor with a NUL in it"},
		{"a command as PIN source", "pkcs11:?pin-source=|/bin/cat%20/pin", "pin-source: it is a command, and commands are not run"},
		{"a command as PIN source, encoded", "pkcs11:?pin-source=%7C/bin/cat", "pin-source: it is a command, and commands are not run"},
		{"a command as PIN source after a space", "pkcs11:?pin-source=%20|/bin/cat", "pin-source: it is a command, and commands are not run"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := Parse(tt.uri)
			require.ErrorIs(t, err, provider.ErrInvalid)
			require.EqualError(t, err, "invalid: PKCS#11 URI: "+tt.text)
			require.Equal(t, URI{}, u)
		})
	}
}

func TestPINValue(t *testing.T) {
	const uri = "pkcs11:token=a?pin-value=%31234"

	_, err := Parse(uri)
	require.ErrorIs(t, err, provider.ErrInvalid)
	require.EqualError(t, err, "invalid: PKCS#11 URI: it has a pin-value, and everyone can see a URI: want pin-source")

	u, err := Parse(uri, AllowPINValue)
	require.NoError(t, err)
	require.Equal(t, "1234", string(u.PINValue.Expose()))
	require.Equal(t, "pkcs11:token=a", u.Format(), "a PIN does not go out again")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.NotContains(t, fmt.Sprintf(verb, u), "1234")
	}

	_, err = Parse("pkcs11:?pin-value=", AllowPINValue)
	require.EqualError(t, err, "invalid: PKCS#11 URI: pin-value: want it not empty")
	_, err = Parse("pkcs11:?pin-value=1&pin-source=prompt", AllowPINValue)
	require.EqualError(t, err, "invalid: PKCS#11 URI: want pin-source or pin-value, not both (RFC 7512 section 2.4)")
}

// TestErrorsHoldNoPIN has URIs that go wrong in, before and after the PIN.
func TestErrorsHoldNoPIN(t *testing.T) {
	const pin = "hunter2"
	for _, uri := range []string{
		"pkcs11:?pin-value=" + pin,
		"pkcs11:?pin-value=" + pin + "%",
		"pkcs11:?pin-value=" + pin + "#",
		"pkcs11:?pin-value=x&" + pin,                      // an & that was not encoded
		"pkcs11:?pin-value=x&" + pin + "=%",               // and an =
		"pkcs11:?pin-value=x&" + pin + "=1&" + pin + "=1", // and once more
		"pkcs11:?pin-value=" + pin + "&pin-value=" + pin,
		"pkcs11:?pin-value=" + pin + "&pin-source=" + pin,
		"pkcs11:?pin-source=|echo%20" + pin,
		"pkcs11:?pin-source=" + pin + "&pin-source=" + pin,
		"pkcs11:?pin-source=/" + pin + "%00",
		"pkcs11:?PIN-VALUE=" + pin,
		"pkcs11:?Pin-Value=" + pin,
		"pkcs11:pin-value=" + pin,
		"pkcs11:token=a;pin-value=" + pin,
		"pkcs11:" + pin,
		"pkcs11;pin-value=" + pin,
		pin + ":token=a",
	} {
		for _, options := range [][]Option{nil, {AllowPINValue}} {
			_, err := Parse(uri, options...)
			if err != nil {
				require.NotContains(t, err.Error(), pin, "%s", uri)
			} else {
				require.NotEmpty(t, options, "%s", uri)
			}
		}
	}
}

// FuzzParse looks for a URI that changes on the way out and back, and for an error that repeats what it was given.
func FuzzParse(f *testing.F) {
	for _, uri := range []string{
		"pkcs11:", "pkcs11:token=a%20b;serial=;id=%00%01?module-path=/usr/lib/x.so&kid=a.b", "pkcs11:type=private;slot-id=18;library-version=2.40",
		"pkcs11:?pin-source=file:/etc/pin", "pkcs11:?pin-value=1234", "pkcs11:token=a;token=b", "pkcs11:object=%", "pkcs11:token=:[]@!$'()*+,=&?a=:[]@!$'()*+,=/?|",
	} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		u, err := Parse(uri)
		if err != nil {
			require.ErrorIs(t, err, provider.ErrInvalid)
			if len(uri) > len("pkcs11:") && strings.Contains(uri, "pin-") {
				require.NotContains(t, err.Error(), uri)
			}
			return
		}
		text := u.Format()
		again, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, u, again)
		require.Equal(t, text, again.Format())
		for i := range len(text) {
			require.True(t, text[i] > ' ' && text[i] < 0x7F)
		}
	})
}
