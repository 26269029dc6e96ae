package softfile

import (
	"strings"
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
)

// sealedForZeros is a JWE under the key of zeros. It is the same in every process that a fuzz test starts.
const sealedForZeros = "eyJhbGciOiJBMjU2S1ciLCJlbmMiOiJBMjU2R0NNIiwiY3R5IjoiandrK2pzb24iLCJraWQiOiJpZCJ9.fGXgctZoHj8NN7B0d3D" +
	"kCBjB87R-lmSCmaFgBDcI-fa6S11YKO-LPg.UGNBcxrViGPTXN8w.kthnSdX1.je1ggJ_TeYh7t291Kq6qfQ"

// Whatever is accepted as a record is what this package would write, so that nothing in it can be read in two ways.
func FuzzRecord(f *testing.F) {
	const good = `{"format":1,"kid":"k","version":7,"alg":"ED25519","bits":256,"uses":["sign","verify"],"export_policy":"none",
		"label":"a","tags":{"b":"c"},"created":"2026-01-01T00:00:00Z","active_from":"2026-01-01T00:00:00.5Z","retire_after":1.5,
		"imported":true,"fingerprint":"` + fingerprintOfZeros + `","public":{"kty":"OKP","crv":"Ed25519","x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik"}}`
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, `"imported"`, `"private":"`+sealedForZeros+`","imported"`, 1)))
	f.Add([]byte(`{"format":1,"kid":"k","version":7,"alg":"AES256_GCM","bits":256,"uses":["encrypt","decrypt"],"export_policy":"none",
		"created":"2026-01-01T00:00:00Z","active_from":"2026-01-01T00:00:00Z","retire_after":0,"private":"` + sealedForZeros + `"}`))
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(strings.Repeat("[", 50)))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseRecord("k", 7, data)
		if err != nil {
			return
		}
		written, err := v.rec.encode()
		if err != nil {
			t.Fatalf("accepted, and can't be written: %v", err)
		}
		again, err := parseRecord("k", 7, written)
		if err != nil {
			t.Fatalf("written, and not accepted: %v\n%s", err, written)
		}
		if !again.rec.equal(v.rec) || again.rec.Private != v.rec.Private {
			t.Fatalf("reads as another record:\n%s\n%s", data, written)
		}
		if v.public != nil {
			if print, err := provider.Thumbprint(v.public); err != nil || print != v.rec.Fingerprint {
				t.Fatalf("thumbprint %s, %v: want %s", print, err, v.rec.Fingerprint)
			}
		}
		if strings.Contains(string(written), `"d":`) {
			t.Fatal("a private member")
		}
	})
}

func FuzzTombstones(f *testing.F) {
	f.Add([]byte(`{"format":1,"kid":"k","versions":[{"version":1,"destroyed":"2026-01-01T00:00:00Z","active_from":"2026-01-01T00:00:00Z","retire_after":60}]}`))
	f.Add([]byte(`{"format":1,"kid":"k","versions":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		stones, err := parseTombstones("k", data)
		if err != nil {
			return
		}
		written, err := encodeTombstones("k", stones)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseTombstones("k", written)
		if err != nil || len(again) != len(stones) {
			t.Fatalf("%d tombstones become %d, %v", len(stones), len(again), err)
		}
	})
}

// A name of a record stands for one version, and a valid kid for one directory.
func FuzzPaths(f *testing.F) {
	for _, name := range []string{"1.json", "01.json", "999999999.json", "1000000000.json", "-1.json", "destroyed.json", ".tmp-00.json", "a.b", ".."} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if version, ok := parseRecordName(name); ok && (recordName(version) != name || version < 1 || version > maxVersion) {
			t.Fatalf("%q is read as version %d", name, version)
		}
		if provider.ValidateKID(name) != nil {
			return
		}
		path := keyPath(name)
		if dir, rest, _ := strings.Cut(path, "/"); dir != keysDir || rest != name || strings.ContainsAny(rest, "/\\\x00") || rest[0] == '.' {
			t.Fatalf("kid %q leads to %q", name, path)
		}
	})
}

// No text makes the parser of JWEs, or what opens them, fail otherwise than by an error.
func FuzzJWE(f *testing.F) {
	f.Add(sealedForZeros)
	f.Add("....")
	f.Fuzz(func(t *testing.T, text string) {
		j, err := parseJWE(text)
		if err != nil {
			return
		}
		if plaintext, err := j.open(make([]byte, keySize)); err == nil && text != sealedForZeros {
			t.Fatalf("opens, to %q: %s", plaintext, text)
		}
	})
}
