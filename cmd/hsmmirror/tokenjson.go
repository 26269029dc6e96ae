package main

import (
	"encoding/hex"
	"time"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// tokenJSON is a slot and its token in JSON output. docs/json.md describes the members of this file's types.
type tokenJSON struct {
	Slot         uint        `json:"slot"`
	Present      bool        `json:"present"`
	Label        string      `json:"label"`
	Manufacturer string      `json:"manufacturer"`
	Model        string      `json:"model"`
	Serial       string      `json:"serial"`
	Hardware     string      `json:"hardware"`
	Firmware     string      `json:"firmware"`
	Flags        []string    `json:"flags"`
	Initialized  bool        `json:"initialized"`
	PINState     string      `json:"pin_state"`
	MinPIN       *int        `json:"min_pin"`
	MaxPIN       *int        `json:"max_pin"`
	Sessions     sessionJSON `json:"sessions"`
	Memory       memoryJSON  `json:"memory"`
	Clock        string      `json:"clock,omitempty"`
	URI          string      `json:"uri"`
	SlotInfo     slotJSON    `json:"slot_info"`
	Module       moduleJSON  `json:"module"`
	Problem      string      `json:"problem,omitempty"`
}

type sessionJSON struct {
	Open         *int `json:"open"`
	Max          *int `json:"max"`
	ReadWrite    *int `json:"read_write"`
	MaxReadWrite *int `json:"max_read_write"`
}

type memoryJSON struct {
	Public      *int `json:"public"`
	FreePublic  *int `json:"free_public"`
	Private     *int `json:"private"`
	FreePrivate *int `json:"free_private"`
}

type slotJSON struct {
	Description  string   `json:"description"`
	Manufacturer string   `json:"manufacturer"`
	Hardware     string   `json:"hardware"`
	Firmware     string   `json:"firmware"`
	Flags        []string `json:"flags"`
}

type moduleJSON struct {
	Path         string `json:"path"`
	Description  string `json:"description"`
	Manufacturer string `json:"manufacturer"`
	Version      string `json:"version"`
	Cryptoki     string `json:"cryptoki"`
}

func newTokenJSON(s seenSlot) tokenJSON {
	j := tokenJSON{
		Slot: s.slot.ID, Flags: []string{}, Problem: s.slot.Problem,
		SlotInfo: slotJSON{s.slot.Description, s.slot.Manufacturer, s.slot.Hardware, s.slot.Firmware, list(s.slot.Flags)},
		Module:   moduleJSON{s.module.Path, s.module.Description, s.module.Manufacturer, s.module.Version, s.module.Cryptoki},
	}
	t := s.slot.Token
	if t == nil {
		return j
	}
	j.Present, j.Initialized = true, t.Initialized
	j.Label, j.Manufacturer, j.Model, j.Serial, j.Hardware, j.Firmware = t.Label, t.Manufacturer, t.Model, t.Serial, t.Hardware, t.Firmware
	j.Flags, j.PINState, j.Clock, j.URI = list(t.Flags), t.PINState(), t.Clock, tokenURI(s)
	j.MinPIN, j.MaxPIN = told(t.MinPIN), told(t.MaxPIN)
	j.Sessions = sessionJSON{told(t.Sessions), told(t.MaxSessions), told(t.RWSessions), told(t.MaxRWSessions)}
	j.Memory = memoryJSON{told(t.PublicMemory), told(t.FreePublicMemory), told(t.PrivateMemory), told(t.FreePrivateMemory)}
	return j
}

// told returns a count; nil if the token does not tell it.
func told(n int) *int {
	if n == hsm.Unknown {
		return nil
	}
	return &n
}

// list returns an empty list in place of none, so that JSON has [] and not null.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// mechanismsJSON is the output of token mechanisms.
type mechanismsJSON struct {
	Token      string          `json:"token"`
	Serial     string          `json:"serial"`
	Mechanisms []mechanismJSON `json:"mechanisms"`
	Algorithms []algorithmJSON `json:"algorithms"`
}

type mechanismJSON struct {
	Name    string            `json:"name"`
	Type    uint              `json:"type"`
	MinKey  uint              `json:"min_key"`
	MaxKey  uint              `json:"max_key"`
	Flags   []string          `json:"flags"`
	Algs    []provider.KeyAlg `json:"algs"`
	Problem string            `json:"problem,omitempty"`
}

type algorithmJSON struct {
	Alg     provider.KeyAlg `json:"alg"`
	Create  bool            `json:"create"`
	Import  bool            `json:"import"`
	Use     bool            `json:"use"`
	MinBits int             `json:"min_bits"`
	MaxBits int             `json:"max_bits"`
	Missing string          `json:"missing"`
	Note    string          `json:"note"`
}

func newMechanismsJSON(t hsm.TokenDetails) mechanismsJSON {
	j := mechanismsJSON{Token: t.Label, Serial: t.Serial, Mechanisms: []mechanismJSON{}, Algorithms: []algorithmJSON{}}
	for _, m := range t.Mechanisms {
		j.Mechanisms = append(j.Mechanisms, mechanismJSON{m.Name, m.Type, m.MinKey, m.MaxKey, list(m.Flags), list(m.Algs), m.Problem})
	}
	for _, s := range t.Algs {
		j.Algorithms = append(j.Algorithms, algorithmJSON{s.Alg, s.Create, s.Import, s.Use, s.MinBits, s.MaxBits, s.Missing, s.Note})
	}
	return j
}

// objectJSON is one object on a token in JSON output.
type objectJSON struct {
	Class       string           `json:"class"`
	KeyType     string           `json:"key_type,omitempty"`
	Label       string           `json:"label"`
	ID          string           `json:"id"`
	Bits        int              `json:"bits,omitempty"`
	KID         string           `json:"kid,omitempty"`
	Version     int              `json:"version,omitempty"`
	Status      string           `json:"status"`
	Evidence    *evidenceJSON    `json:"evidence,omitempty"`
	Certificate *certificateJSON `json:"certificate,omitempty"`
	Attributes  map[string]any   `json:"attributes"`
	Unreadable  []string         `json:"unreadable"`
	Findings    []findingJSON    `json:"findings"`
	URI         string           `json:"uri"`
	Problem     string           `json:"problem,omitempty"`
}

type findingJSON struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type certificateJSON struct {
	Subject      string    `json:"subject"`
	Issuer       string    `json:"issuer"`
	SerialNumber string    `json:"serial_number"`
	NotBefore    time.Time `json:"not_before"`
	NotAfter     time.Time `json:"not_after"`
	DNSNames     []string  `json:"dns_names"`
}

func newObjectJSON(o hsm.ObjectInfo) objectJSON {
	j := objectJSON{
		Class: o.Class, KeyType: o.KeyType, Label: o.Label, ID: hex.EncodeToString(o.ID), Bits: o.Bits, KID: o.KID, Version: o.Version,
		Status: o.Status, Evidence: objectEvidence(o), Attributes: map[string]any{}, Unreadable: list(o.Unreadable), Findings: []findingJSON{},
		URI: o.URI, Problem: o.Problem,
	}
	for _, attribute := range o.Attributes {
		if b, ok := attribute.Value.([]byte); ok {
			attribute.Value = hex.EncodeToString(b)
		}
		j.Attributes[attribute.Name] = attribute.Value
	}
	for _, f := range o.Findings {
		j.Findings = append(j.Findings, findingJSON{f.Code, f.Text})
	}
	if c, _ := o.Certificate(); c != nil {
		j.Certificate = &certificateJSON{
			c.Subject.String(), c.Issuer.String(), c.SerialNumber.Text(16), seconds(c.NotBefore), seconds(c.NotAfter), list(c.DNSNames),
		}
	}
	return j
}

// objectEvidence is the evidence of a private or secret key, by its attributes.
func objectEvidence(o hsm.ObjectInfo) *evidenceJSON {
	if o.Class != "CKO_PRIVATE_KEY" && o.Class != "CKO_SECRET_KEY" {
		return nil
	}
	flag := func(name string) *bool {
		if b, ok := o.Attribute(name).(bool); ok {
			return &b
		}
		return nil
	}
	mechanism, _ := o.Attribute("CKA_KEY_GEN_MECHANISM").(string)
	return &evidenceJSON{
		flag("CKA_SENSITIVE"), flag("CKA_EXTRACTABLE"), flag("CKA_ALWAYS_SENSITIVE"), flag("CKA_NEVER_EXTRACTABLE"), flag("CKA_LOCAL"), mechanism,
	}
}
