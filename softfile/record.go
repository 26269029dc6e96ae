package softfile

import (
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// record is the content of one version's file. docs/softfile-format.md describes it.
type record struct {
	Format      int                   `json:"format"`
	KID         string                `json:"kid"`
	Version     int                   `json:"version"`
	Alg         provider.KeyAlg       `json:"alg"`
	Bits        int                   `json:"bits"`
	Uses        []provider.KeyUse     `json:"uses"`
	Export      provider.ExportPolicy `json:"export_policy"`
	Label       string                `json:"label,omitempty"`
	Tags        map[string]string     `json:"tags,omitempty"`
	Created     time.Time             `json:"created"`
	ActiveFrom  time.Time             `json:"active_from"`
	RetireAfter seconds               `json:"retire_after"`
	Imported    bool                  `json:"imported,omitempty"`
	Fingerprint string                `json:"fingerprint,omitempty"`
	Public      *publicJWK            `json:"public,omitempty"`
	Private     string                `json:"private,omitempty"` // a JWE; empty: only the public half is here
}

// version is a record that was read and found good. It does not change.
type version struct {
	rec    *record
	public crypto.PublicKey // nil for a symmetric key
	file   fs.FileInfo      // of the file that it was read from; nil if it was only written
	jwk    atomic.Pointer[madeJWK]
}

// madeJWK is the public JWK of a version, and the state in which it describes the version.
type madeJWK struct {
	jwk   provider.JWK
	state provider.State
}

func (r *record) jwkKID() string { return provider.JWKKID(r.KID, r.Version) }

func (r *record) exportable() bool { return r.Export == provider.ExportSecretWhenAllowed }

func (r *record) schedule() provider.Schedule {
	return provider.Schedule{ActiveFrom: r.ActiveFrom, RetireAfter: time.Duration(r.RetireAfter)}
}

// equal tells whether two records say the same, apart from how the private half is encrypted.
func (r *record) equal(o *record) bool {
	return r.KID == o.KID && r.Version == o.Version && r.Alg == o.Alg && r.Bits == o.Bits && slices.Equal(r.Uses, o.Uses) &&
		r.Export == o.Export && r.Label == o.Label && maps.Equal(r.Tags, o.Tags) &&
		r.Created.Equal(o.Created) && r.ActiveFrom.Equal(o.ActiveFrom) && r.RetireAfter == o.RetireAfter &&
		r.Imported == o.Imported && r.Fingerprint == o.Fingerprint && (r.Private == "") == (o.Private == "")
}

// encode returns the content of the record's file.
func (r *record) encode() ([]byte, error) {
	b, err := encodeFile(r)
	if err == nil && len(b) > maxRecord {
		err = provider.Invalidf("record of %d bytes: want at most %d", len(b), maxRecord)
	}
	return b, err
}

// parseRecord reads the record of a version. It accepts a record that stands at its place, is whole, and says nothing
// that another part of it contradicts; above all a public half that is the fingerprint's.
func parseRecord(kid string, number int, data []byte) (*version, error) {
	var r record
	if err := decodeFile(data, &r, &r.Format); err != nil {
		return nil, err
	}
	if r.KID != kid || r.Version != number {
		return nil, fmt.Errorf("record of %.130q version %d: want %q version %d, as the path says", r.KID, r.Version, kid, number)
	}
	return r.check()
}

// check returns the version of a record, which is the same whether the record was read from its file or is about to be
// written to it.
func (r *record) check() (*version, error) {
	spec := provider.KeySpec{KID: r.KID, Alg: r.Alg, Bits: r.Bits, Uses: r.Uses, Export: r.Export, Label: r.Label, Tags: r.Tags}
	full, err := spec.Normalize()
	if err != nil {
		return nil, err
	}
	if full.Bits != r.Bits || full.Export != r.Export || !slices.Equal(full.Uses, r.Uses) {
		return nil, errors.New("record without its size, uses or export policy, or with uses out of order")
	}
	if r.Created.IsZero() {
		return nil, errors.New("record without its time of creation")
	}
	r.Created, r.ActiveFrom = r.Created.UTC().Round(0), r.ActiveFrom.UTC().Round(0) // no reading of the monotonic clock
	if len(r.Tags) == 0 {
		r.Tags = nil
	}
	public, err := r.checkHalves()
	if err != nil {
		return nil, err
	}
	return &version{rec: r, public: public}, nil
}

// checkHalves checks both halves of the key as far as that needs no passphrase, and returns the public one.
func (r *record) checkHalves() (crypto.PublicKey, error) {
	if r.Private != "" {
		j, err := parseJWE(r.Private)
		if err != nil {
			return nil, err
		}
		if j.header.Alg != algStoreKey {
			return nil, fmt.Errorf("private half: JWE of alg %s: want %s", j.header.Alg, algStoreKey)
		}
	}
	if r.Alg.Class() == provider.Symmetric {
		if r.Public != nil || r.Fingerprint != "" || r.Private == "" {
			return nil, errors.New("symmetric key: want a private half, and neither a public one nor a fingerprint")
		}
		return nil, nil
	}
	if r.Public == nil {
		return nil, errors.New("record without its public half")
	}
	public, err := r.Public.key()
	if err != nil {
		return nil, err
	}
	bits, err := provider.CheckPublic(r.Alg, public)
	if err != nil {
		return nil, err
	}
	if bits != r.Bits {
		return nil, fmt.Errorf("public half of %d bits: want %d", bits, r.Bits)
	}
	if r.Fingerprint != r.Public.thumbprint() {
		return nil, errors.New("fingerprint: not that of the public half")
	}
	return public, nil
}
