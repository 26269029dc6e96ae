package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
)

// TestJSONSchema compares the members and types of what commands print with testdata/schema.golden, in the order of the
// commands. A change there is a change of docs/json.md, and one that takes something away breaks scripts.
func TestJSONSchema(t *testing.T) {
	t.Setenv("HSMMIRROR_STORE", filepath.Join(t.TempDir(), "store"))
	t.Setenv("HSMMIRROR_PASSPHRASE_SOURCE", "env:PASSPHRASE")
	t.Setenv("PASSPHRASE", "correct-horse")
	claims := filepath.Join(t.TempDir(), "claims.json")
	require.NoError(t, os.WriteFile(claims, []byte(`{"sub":"alice"}`), 0o600))
	token := filepath.Join(t.TempDir(), "token")
	do(t, nil, "key", "create", "--kid", "web", "--alg", "ED25519")
	do(t, nil, "sign", "web", "--claims", claims, "--out", token)

	var schema strings.Builder
	for _, command := range []string{
		"key create --kid ec --alg ECDSA_P256_SHA256 --tag tag=value",
		"key create --kid mac --alg HMAC_SHA256",
		"key rotate ec",
		"key show ec",
		"key list",
		"key list ec",
		"key revoke ec --yes",
		"key destroy ec --all-versions --yes",
		"verify --in " + token,
		"version",
	} {
		out := do(t, nil, append(strings.Fields(command), "-o", "json")...)
		fmt.Fprintf(&schema, "# %s\n%s", strings.ReplaceAll(command, token, "TOKEN"), shape(t, out))
	}
	key := newKeyJSON(fullRef(), []byte(`{}`))
	key.MirrorState = mirrorHeld
	fmt.Fprintf(&schema, "# a key of a token, mirrored\n%s", shape(t, marshal(t, key)))
	slot := seenSlot{slot: hsm.SlotInfo{Flags: []string{"TOKEN_PRESENT"}, Problem: "no answer", Token: fullToken()}}
	fmt.Fprintf(&schema, "# token list\n%s", printed(t, func(a *app) error { return a.printSlots([]seenSlot{slot}) }))
	fmt.Fprintf(&schema, "# token mechanisms\n%s", printed(t, func(a *app) error { return a.printMechanisms(*slot.slot.Token) }))
	fmt.Fprintf(&schema, "# token objects\n%s", printed(t, func(a *app) error { return a.printObjects(fullObjects(t), false) }))
	fmt.Fprintf(&schema, "# token tidy\n%s", printed(t, func(a *app) error { return a.printTidied([]hsm.Object{{KID: "ec", Version: 1}}) }))
	fmt.Fprintf(&schema, "# mirror status\n%s", printed(t, func(a *app) error { return a.printStatus(fullStatus()) }))
	fmt.Fprintf(&schema, "# mirror diff\n%s", printed(t, func(a *app) error { return a.printDrift([]driftJSON{{}}) }))
	fmt.Fprintf(&schema, "# key rename\n%s", shape(t, marshal(t, renamedJSON{Before: []string{"old"}})))
	fmt.Fprintf(&schema, "# mirror reconcile\n%s", printed(t, func(a *app) error { return a.printReport(fullReport()) }))
	fmt.Fprintf(&schema, "# token doctor\n%s", printed(t, func(a *app) error {
		d := &doctor{app: a}
		d.warn("keys", "rotate", "it is old")
		return d.conclude()
	}))

	golden := filepath.Join("testdata", "schema.golden")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(golden, []byte(schema.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), schema.String(), "run with UPDATE=1 to accept the change")
	documented(t, schema.String())
}

// documented checks that docs/json.md names every member.
func documented(t *testing.T, schema string) {
	t.Helper()
	doc, err := os.ReadFile("../../docs/json.md")
	require.NoError(t, err)
	for _, m := range regexp.MustCompile(`(?m)^\S*?([a-z_]+) [a-z]+$`).FindAllStringSubmatch(schema, -1) {
		if strings.Contains(m[0], "public_jwk.") || strings.Contains(m[0], "tags.") || strings.Contains(m[0], "claims.") || strings.Contains(m[0], "attributes.") {
			continue
		}
		require.Contains(t, string(doc), "`"+m[1]+"`", m[0])
	}
}

// fullRef is a key of which everything is known.
func fullRef() provider.KeyRef {
	yes := true
	return provider.KeyRef{
		KID: "ec", Version: 1, Alg: provider.ECDSAP256SHA256, Fingerprint: "f", Uses: []provider.KeyUse{provider.UseSign},
		Evidence:   &provider.Evidence{Sensitive: &yes, Extractable: &yes, AlwaysSensitive: &yes, NeverExtractable: &yes, Local: &yes},
		Mirroring:  &provider.Mirroring{},
		Provenance: provider.Provenance{Source: provider.Secondary},
	}
}

// fullStatus is a mirror with every kind of trouble.
func fullStatus() statusJSON {
	now, v := time.Now(), []mirror.Version{{KID: "ec", Version: 1}}
	return newStatusJSON(mirror.Status{
		Confirmed: now, Unmirrored: []mirror.Unmirrored{{Version: v[0], Reason: "full disk"}}, Orphans: v, Conflicts: []mirror.Conflict{{Version: v[0]}},
		Pending: v, State: io.EOF, Manifest: mirror.ManifestStatus{Issued: now, Expires: now, Unsigned: v, Err: io.EOF},
	})
}

func fullReport() mirror.Report {
	v := []mirror.Version{{KID: "ec", Version: 1}}
	return mirror.Report{
		Copied: v, Finished: v, Unmirrored: []mirror.Unmirrored{{Version: v[0]}}, Orphans: v, Conflicts: []mirror.Conflict{{Version: v[0]}}, Problems: []error{io.EOF},
	}
}

// fullToken is a token that says everything.
func fullToken() *hsm.TokenDetails {
	return &hsm.TokenDetails{
		TokenInfo: hsm.TokenInfo{Flags: []string{"RNG"}, URI: "pkcs11:token=demo"}, Clock: "20261123000000",
		Mechanisms: []hsm.Mechanism{{Flags: []string{"SIGN"}, Algs: []provider.KeyAlg{provider.Ed25519}, Problem: "no answer"}},
		Algs:       []provider.AlgSupport{{Alg: provider.Ed25519}},
	}
}

// fullObjects are a key and a certificate of which everything is known.
func fullObjects(t *testing.T) []hsm.ObjectInfo {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"example.org"}}
	cert, err := x509.CreateCertificate(nil, template, template, key.Public(), key)
	require.NoError(t, err)
	return []hsm.ObjectInfo{{
		Object:     hsm.Object{Class: "CKO_PRIVATE_KEY", KeyType: "CKK_EC", KID: "ec", Version: 1, Bits: 256, Problem: "unreadable"},
		Attributes: []hsm.Attribute{{Name: "CKA_SENSITIVE", Value: true}},
		Unreadable: []string{"CKA_START_DATE: CKR_GENERAL_ERROR"},
		Findings:   []hsm.Finding{{Code: hsm.FindWeak, Text: "weak"}},
	}, {
		Object:     hsm.Object{Class: "CKO_CERTIFICATE"},
		Attributes: []hsm.Attribute{{Name: "CKA_VALUE", Value: cert}},
	}}
}

// do runs a command that is done, and returns what it prints.
func do(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	var out, err bytes.Buffer
	code := run(t.Context(), args, streams{bytes.NewReader(stdin), &out, &err})
	require.Equal(t, exitDone, code, "%v: %s", args, err.String())
	require.Empty(t, err.String())
	return out.Bytes()
}

func printed(t *testing.T, print func(*app) error) string {
	t.Helper()
	var out bytes.Buffer
	a := &app{streams: streams{out: &out}, options: options{output: outputJSON}}
	require.NoError(t, print(a))
	return shape(t, out.Bytes())
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// shape returns the path and type of each member of a JSON text, a line each.
func shape(t *testing.T, text []byte) string {
	t.Helper()
	require.Equal(t, 1, bytes.Count(append(bytes.TrimSuffix(text, []byte("\n")), '\n'), []byte("\n")), "more than one line")
	var v any
	require.NoError(t, json.Unmarshal(text, &v))
	var lines []string
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case map[string]any:
			lines = append(lines, path+" object")
			for _, name := range slices.Sorted(maps.Keys(v)) {
				walk(strings.TrimPrefix(path+"."+name, "."), v[name])
			}
		case []any:
			lines = append(lines, path+" array")
			for _, e := range v {
				walk(path+"[]", e)
			}
		case string:
			lines = append(lines, path+" string")
		case float64:
			lines = append(lines, path+" number")
		case bool:
			lines = append(lines, path+" boolean")
		case nil:
			lines = append(lines, path+" null")
		}
	}
	walk("", v)
	slices.Sort(lines)
	return strings.TrimLeft(strings.Join(slices.Compact(lines), "\n"), " ") + "\n"
}
