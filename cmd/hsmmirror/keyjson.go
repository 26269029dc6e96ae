package main

import (
	"encoding/json"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// keyJSON is one version of a key in JSON output. docs/json.md describes the members.
type keyJSON struct {
	KID                string                `json:"kid"`
	Version            int                   `json:"version"`
	Alg                provider.KeyAlg       `json:"alg"`
	Class              provider.KeyClass     `json:"class"`
	Bits               int                   `json:"bits"`
	Uses               []provider.KeyUse     `json:"uses"`
	ExportPolicy       provider.ExportPolicy `json:"export_policy"`
	State              provider.State        `json:"state"`
	Created            time.Time             `json:"created"`
	ActiveFrom         time.Time             `json:"active_from"`
	RetireAfterSeconds int64                 `json:"retire_after_seconds"`
	Label              string                `json:"label"`
	Tags               map[string]string     `json:"tags"`
	Imported           bool                  `json:"imported"`
	Private            bool                  `json:"private"`
	Fingerprint        string                `json:"fingerprint,omitempty"`
	PublicJWK          json.RawMessage       `json:"public_jwk,omitempty"`
	Evidence           *evidenceJSON         `json:"evidence,omitempty"`
	Mirroring          *mirroringJSON        `json:"mirroring,omitempty"`
	MirrorState        string                `json:"mirror_state,omitempty"`
	Provenance         provenanceJSON        `json:"provenance"`
}

type evidenceJSON struct {
	Sensitive        *bool  `json:"sensitive"`
	Extractable      *bool  `json:"extractable"`
	AlwaysSensitive  *bool  `json:"always_sensitive"`
	NeverExtractable *bool  `json:"never_extractable"`
	Local            *bool  `json:"local"`
	KeyGenMechanism  string `json:"key_gen_mechanism"`
}

type mirroringJSON struct {
	Mirrored bool   `json:"mirrored"`
	Private  bool   `json:"private"`
	Reason   string `json:"reason"`
}

type provenanceJSON struct {
	Source string     `json:"source"`
	AsOf   *time.Time `json:"as_of"`
	Stale  bool       `json:"stale"`
	Orphan bool       `json:"orphan"`
	// Unauthenticated tells that no manifest was verified for an answer of the mirror.
	Unauthenticated bool   `json:"unauthenticated"`
	Reason          string `json:"reason"`
}

// destructionJSON is the output of key destroy.
type destructionJSON struct {
	KID       string         `json:"kid"`
	Versions  []int          `json:"versions"`
	Mirroring *mirroringJSON `json:"mirroring,omitempty"`
}

func newKeyJSON(ref provider.KeyRef, publicJWK []byte) keyJSON {
	k := keyJSON{
		KID:                ref.KID,
		Version:            ref.Version,
		Alg:                ref.Alg,
		Class:              ref.Alg.Class(),
		Bits:               ref.Bits,
		Uses:               ref.Uses,
		ExportPolicy:       ref.Export,
		State:              ref.State,
		Created:            seconds(ref.Created),
		ActiveFrom:         seconds(ref.ActiveFrom),
		RetireAfterSeconds: int64(ref.RetireAfter / time.Second),
		Label:              ref.Label,
		Tags:               ref.Tags,
		Imported:           ref.Imported,
		Private:            ref.Private,
		Fingerprint:        ref.Fingerprint,
		PublicJWK:          publicJWK,
		Evidence:           newEvidenceJSON(ref.Evidence),
		Mirroring:          newMirroringJSON(ref.Mirroring),
		Provenance:         newProvenanceJSON(ref.Provenance),
	}
	if k.Tags == nil {
		k.Tags = map[string]string{}
	}
	return k
}

func newEvidenceJSON(e *provider.Evidence) *evidenceJSON {
	if e == nil {
		return nil
	}
	return &evidenceJSON{e.Sensitive, e.Extractable, e.AlwaysSensitive, e.NeverExtractable, e.Local, e.KeyGenMechanism}
}

func newMirroringJSON(m *provider.Mirroring) *mirroringJSON {
	if m == nil {
		return nil
	}
	return &mirroringJSON{m.Mirrored, m.Private, m.Reason}
}

func newProvenanceJSON(p provider.Provenance) provenanceJSON {
	out := provenanceJSON{Source: p.Source.String(), Stale: p.Stale, Orphan: p.Orphan, Unauthenticated: p.Unauthenticated, Reason: p.Reason}
	if !p.AsOf.IsZero() {
		t := seconds(p.AsOf)
		out.AsOf = &t
	}
	return out
}

// seconds cuts t for RFC 3339 without a fraction.
func seconds(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
