package hsm

import (
	"encoding/hex"

	"github.com/hsmmirror/hsmmirror/internal/p11uri"
)

// ownersOf returns the furthest record for each CKA_ID that our records name.
func ownersOf(objects []*object) map[string]*record {
	owners := map[string]*record{}
	records, _ := locate(objects)
	for _, r := range records {
		if o := owners[r.ID]; o == nil || r.rank() > o.rank() {
			owners[r.ID] = r.record
		}
	}
	return owners
}

func describe(o *object, owners map[string]*record) Object {
	d := Object{
		Class: className(o.class), Label: o.label, ID: o.id, Bits: sizeOf(o), Status: StatusForeign, Evidence: o.evidence,
	}
	if o.problem != nil {
		d.Problem = o.problem.Error()
	}
	var owner *record
	switch o.class {
	case ckoPublicKey, ckoPrivateKey, ckoSecretKey:
		d.KeyType = keyTypeName(o.keyType)
		owner = owners[hex.EncodeToString(o.id)]
	}
	if o.isRecord() {
		r, err := parseRecord(o.recordText())
		if err == nil && r.KID != o.label {
			err = misplaced(r)
		}
		if err != nil {
			d.Status, d.Problem = StatusHalf, err.Error()
			return d
		}
		owner = owners[r.ID]
	}
	if owner == nil {
		return d
	}
	d.KID, d.Version, d.Status = owner.KID, owner.Version, StatusOurs
	if owner.Stage == claimed || owner.Stage == destroyed && !o.isRecord() {
		d.Status = StatusHalf
	}
	return d
}

// isShell tells whether an object on the token has no name and calls itself a session object, of which a process that inspects has none:
// SoftHSM2 keeps such a one of a process that ended while it stored an object ([quirks].leavesShells).
func (o ObjectInfo) isShell() bool {
	token, told := o.Attribute("CKA_TOKEN").(bool)
	return told && !token && o.Label == "" && len(o.ID) == 0
}

// objectURI returns the RFC 7512 URI of an object.
func objectURI(t TokenInfo, o Object) string {
	u := selector(t)
	u.Object, u.ID = &o.Label, o.ID
	u.Type = map[string]p11uri.Type{
		"CKO_DATA": p11uri.Data, "CKO_CERTIFICATE": p11uri.Cert, "CKO_PUBLIC_KEY": p11uri.Public, "CKO_PRIVATE_KEY": p11uri.Private, "CKO_SECRET_KEY": p11uri.SecretKey,
	}[o.Class]
	return u.Format()
}

// tokenURI returns the RFC 7512 URI of a token.
func tokenURI(t TokenInfo) string { return selector(t).Format() }

func selector(t TokenInfo) p11uri.URI {
	return p11uri.URI{Token: &t.Label, Manufacturer: &t.Manufacturer, Model: &t.Model, Serial: &t.Serial}
}
