package hsm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// inspected returns an object as inspection reads it.
func inspected(class, keyType uint, id byte, attributes ...Attribute) ObjectInfo {
	o := &object{class: class, keyType: keyType, label: "key", id: []byte{id}}
	if id == 0 {
		o.id = nil
	}
	info := ObjectInfo{Attributes: attributes, raw: o}
	if class == ckoPrivateKey || class == ckoSecretKey {
		flag := func(name string) *bool {
			if b, ok := info.Attribute(name).(bool); ok {
				return &b
			}
			return nil
		}
		o.evidence = &provider.Evidence{
			Sensitive: flag("CKA_SENSITIVE"), Extractable: flag("CKA_EXTRACTABLE"), AlwaysSensitive: flag("CKA_ALWAYS_SENSITIVE"),
			NeverExtractable: flag("CKA_NEVER_EXTRACTABLE"), Local: flag("CKA_LOCAL"),
		}
	}
	info.Object = describe(o, nil)
	return info
}

func withPoint(o ObjectInfo, key *ecdsa.PrivateKey) ObjectInfo {
	o.raw.ecParams, o.raw.ecPoint, _ = encodeECPublic(key.Public())
	o.Object = describe(o.raw, nil)
	return o
}

func codes(o ObjectInfo) []string {
	var list []string
	for _, f := range o.Findings {
		list = append(list, f.Code)
	}
	return list
}

func TestFindings(t *testing.T) {
	yes, no := true, false
	protected := []Attribute{{"CKA_SENSITIVE", yes}, {"CKA_EXTRACTABLE", no}, {"CKA_ALWAYS_SENSITIVE", yes}, {"CKA_NEVER_EXTRACTABLE", yes}, {"CKA_LOCAL", yes}}
	with := func(changes ...Attribute) []Attribute {
		all := slices.Clone(protected)
		for _, c := range changes {
			if i := slices.IndexFunc(all, func(a Attribute) bool { return a.Name == c.Name }); i >= 0 {
				all[i] = c
			} else {
				all = append(all, c)
			}
		}
		return all
	}
	one, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	two, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	public := withPoint(inspected(ckoPublicKey, ckkEC, 1), one)

	tests := []struct {
		name    string
		objects []ObjectInfo
		want    []string // of the first object
	}{
		{"a whole pair is unremarkable", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, protected...), public}, nil},
		{"a private half alone", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, protected...)}, []string{FindNoPublic}},
		{"a public half alone", []ObjectInfo{public}, []string{FindNoPrivate}},
		{"without an ID nothing can be paired", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 0, protected...)}, []string{FindNoID}},
		{"extractable", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_EXTRACTABLE", yes}, Attribute{"CKA_NEVER_EXTRACTABLE", no})...), public},
			[]string{FindExtractable}},
		{"not sensitive", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_SENSITIVE", no}, Attribute{"CKA_ALWAYS_SENSITIVE", no})...), public},
			[]string{FindNotSensitive}},
		{"was extractable once", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_NEVER_EXTRACTABLE", no})...), public}, []string{FindWasExposed}},
		{"imported", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_LOCAL", no}, Attribute{"CKA_NEVER_EXTRACTABLE", no}, Attribute{"CKA_ALWAYS_SENSITIVE", no})...), public},
			[]string{FindImported}},
		{"wants the PIN for each use", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_ALWAYS_AUTHENTICATE", yes})...), public}, []string{FindAlwaysAuth}},
		{"expired", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_END_DATE", "2026-01-31"})...), public}, []string{FindExpired}},
		{"valid to the end of its last day", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_END_DATE", "2026-06-15"})...), public}, nil},
		{"not yet valid", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, with(Attribute{"CKA_START_DATE", "2026-06-16"})...), public}, []string{FindNotYetValid}},
		{"two of one ID and label", []ObjectInfo{inspected(ckoPrivateKey, ckkEC, 1, protected...), inspected(ckoPrivateKey, ckkEC, 1, protected...), public},
			[]string{FindDuplicateID, FindDuplicateName}},
		{"the public half is another key's", []ObjectInfo{withPoint(inspected(ckoPrivateKey, ckkEC, 1, protected...), two), public}, []string{FindMismatch}},
		{"one of two public halves fits", []ObjectInfo{withPoint(inspected(ckoPrivateKey, ckkEC, 1, protected...), two), public,
			withPoint(inspected(ckoPublicKey, ckkEC, 1), two)}, nil},
		{"triple DES", []ObjectInfo{inspected(ckoSecretKey, 0x15, 1, protected...)}, []string{FindWeak}},
		{"a certificate that is none", []ObjectInfo{inspected(ckoCertificate, 0, 1)}, []string{FindUndecodable}},
		{"a public key whose point is none", []ObjectInfo{inspected(ckoPublicKey, ckkEC, 1), inspected(ckoPrivateKey, ckkEC, 1, protected...)}, []string{FindUnsupported}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			seen := TokenObjects{Token: TokenInfo{Flags: []string{"LOGIN_REQUIRED"}}, LoggedIn: true, Objects: slices.Clone(test.objects)}
			findAll(seen, time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC))
			require.Equal(t, test.want, codes(seen.Objects[0]))
		})
	}
}

func TestWithoutALoginNothingIsSaidOfPrivateHalves(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	seen := TokenObjects{Token: TokenInfo{Flags: []string{"LOGIN_REQUIRED"}}, Objects: []ObjectInfo{withPoint(inspected(ckoPublicKey, ckkEC, 1), key)}}
	findAll(seen, time.Now())
	require.Empty(t, codes(seen.Objects[0]))
	seen.Token.Flags = nil // a token that wants no login shows everything
	findAll(seen, time.Now())
	require.Equal(t, []string{FindNoPrivate}, codes(seen.Objects[0]))
}

func TestWhatAnAttributeSays(t *testing.T) {
	ulong := func(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }
	tests := []struct {
		name string
		kind attributeKind
		b    []byte
		want any
	}{
		{"true", kindBool, []byte{1}, true},
		{"false", kindBool, []byte{0}, false},
		{"a boolean of two bytes is shown as it is", kindBool, []byte{1, 0}, []byte{1, 0}},
		{"nothing", kindBytes, nil, nil},
		{"a number", kindNumber, ulong(7), uint64(7)},
		{"a big number", kindBig, []byte{0, 1, 0}, "100"},
		{"text", kindText, []byte("Grüße"), "Grüße"},
		{"text that is none", kindText, []byte{0xE9}, []byte{0xE9}},
		{"a date", kindDate, []byte("20260131"), "2026-01-31"},
		{"a date that is not set", kindDate, []byte("00000000"), nil},
		{"a mechanism", kindMechanism, ulong(0x1041), "CKM_ECDSA"},
		{"a key made elsewhere has no mechanism", kindMechanism, ulong(^uint64(0)), nil},
		{"mechanisms", kindMechanisms, append(ulong(0x1041), ulong(1)...), []string{"CKM_ECDSA", "CKM_RSA_PKCS"}},
		{"mechanisms cut off", kindMechanisms, []byte{1, 2, 3}, []byte{1, 2, 3}},
		{"a certificate's type", kindCertificate, ulong(0), "CKC_X_509"},
		{"a size, and not the value", kindSize, []byte("secret"), uint64(6)},
		{"an object identifier", kindOID, []byte{6, 2, 0x2A, 3}, "1.2.3"},
		{"one without its DER", kindOID, []byte{0x2A, 3}, []byte{0x2A, 3}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, test.kind.decode(test.b)) })
	}
}

// TestNoSecretIsRead holds the attributes that inspection reads against those that hold a secret (PKCS#11 v3.0 sections 4.9 and 4.10).
func TestNoSecretIsRead(t *testing.T) {
	const ckaCheckValue = 0x090
	for _, class := range []uint{ckoPrivateKey, ckoSecretKey} {
		for _, a := range attributesOf[class] {
			require.NotContains(t, []uint{ckaValue, ckaPrivateExponent, ckaPrime1, ckaPrime2, ckaExponent1, ckaExponent2, ckaCoefficient, ckaCheckValue}, a.typ, a.name)
		}
	}
	for _, a := range attributesOf[ckoData] {
		if a.typ == ckaValue {
			require.Equal(t, kindSize, a.kind)
		}
	}
}

func TestPINState(t *testing.T) {
	tests := []struct {
		flags []string
		want  string
	}{
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED"}, "ok"},
		{[]string{"LOGIN_REQUIRED"}, "not set"},
		{nil, "not wanted"},
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "USER_PIN_COUNT_LOW"}, "some tries failed"},
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "USER_PIN_COUNT_LOW", "USER_PIN_FINAL_TRY"}, "one try left"},
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "USER_PIN_FINAL_TRY", "USER_PIN_LOCKED"}, "locked"},
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "USER_PIN_TO_BE_CHANGED"}, "to be changed"},
		{[]string{"LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "PROTECTED_AUTHENTICATION_PATH"}, "entered on the device"},
	}
	for _, test := range tests {
		t.Run(test.want, func(t *testing.T) { require.Equal(t, test.want, TokenInfo{Flags: test.flags}.PINState()) })
	}
}
