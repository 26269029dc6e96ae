package hsm

import (
	"crypto"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// siblings are the objects of one token by what ties them together.
type siblings struct {
	byID    map[string][]*ObjectInfo // CKA_ID in hexadecimal and key type → key objects and certificates
	byClass map[string]int           // class, and ID or label → number of objects
}

func newSiblings(objects []ObjectInfo) siblings {
	s := siblings{map[string][]*ObjectInfo{}, map[string]int{}}
	for i := range objects {
		o := &objects[i]
		if !o.isKeyOrCertificate() || o.raw.isRecord() {
			continue
		}
		if len(o.ID) > 0 {
			id := hex.EncodeToString(o.ID)
			s.byID[id] = append(s.byID[id], o)
			s.byClass[idKey(o)]++
		}
		if o.Label != "" {
			s.byClass[labelKey(o)]++
		}
	}
	return s
}

// Certificates of one key share its ID and often its label; keys of two types may share an ID, as OpenSSH's tools allow.
func idKey(o *ObjectInfo) string { return o.Class + o.KeyType + "#" + hex.EncodeToString(o.ID) }

func labelKey(o *ObjectInfo) string { return o.Class + "=" + o.Label }

// find looks for an object's other half, and for others that can be mistaken for it. Without a login the private halves are hidden,
// and nothing is said of them.
func (s siblings) find(o *ObjectInfo, seesPrivate bool) {
	if !o.isKeyOrCertificate() {
		return
	}
	certificate := o.Class == "CKO_CERTIFICATE"
	if n := s.byClass[idKey(o)]; len(o.ID) > 0 && n > 1 && !certificate {
		o.found(FindDuplicateID, "%d such objects have the ID %s", n, hex.EncodeToString(o.ID))
	}
	if n := s.byClass[labelKey(o)]; o.Label != "" && n > 1 && !certificate {
		o.found(FindDuplicateName, "%d such objects have the label %s", n, strconv.QuoteToGraphic(o.Label))
	}
	if len(o.ID) == 0 {
		if !certificate {
			o.found(FindNoID, "it has no CKA_ID, by which tools pair the halves of a key")
		}
		return
	}
	switch o.Class {
	case "CKO_PRIVATE_KEY":
		if !s.has(o, "CKO_PUBLIC_KEY") && !s.has(o, "CKO_CERTIFICATE") {
			o.found(FindNoPublic, "no public key object and no certificate has its ID")
		}
		s.compare(o, "CKO_PUBLIC_KEY")
		s.compare(o, "CKO_CERTIFICATE")
	case "CKO_PUBLIC_KEY":
		if seesPrivate && !s.has(o, "CKO_PRIVATE_KEY") {
			o.found(FindNoPrivate, "no private key object has its ID")
		}
		s.compare(o, "CKO_CERTIFICATE")
	}
}

// findKey looks for the private or secret key that a record of ours describes.
func (s siblings) findKey(o *ObjectInfo) {
	r, err := parseRecord(o.raw.recordText())
	if err != nil || r.Stage != live || r.PublicOnly || o.Problem != "" {
		return
	}
	if !slices.ContainsFunc(s.byID[r.ID], func(other *ObjectInfo) bool {
		return (other.raw.class == ckoPrivateKey || other.raw.class == ckoSecretKey) && fits(r.Alg, other.raw.keyType)
	}) {
		o.found(FindKeyGone, "the %s key that it describes is gone", map[provider.KeyClass]string{provider.Symmetric: "secret", provider.Asymmetric: "private"}[r.Alg.Class()])
	}
}

// has tells whether there is an object of the class with o's ID and, for keys, type.
func (s siblings) has(o *ObjectInfo, class string) bool {
	return slices.ContainsFunc(s.byID[hex.EncodeToString(o.ID)], func(other *ObjectInfo) bool {
		return other.Class == class && (class == "CKO_CERTIFICATE" || other.KeyType == o.KeyType)
	})
}

// compare looks whether any object of a class with o's ID tells the same public half as o, where they tell one.
func (s siblings) compare(o *ObjectInfo, class string) {
	mine, err := publicKey(o.raw)
	if err != nil {
		return
	}
	differ := false
	for _, other := range s.byID[hex.EncodeToString(o.ID)] {
		if other.Class != class || class != "CKO_CERTIFICATE" && other.KeyType != o.KeyType {
			continue
		}
		theirs, err := publicKey(other.raw)
		if k, ok := mine.(interface{ Equal(crypto.PublicKey) bool }); err != nil || !ok || k.Equal(theirs) {
			return
		}
		differ = true
	}
	if differ {
		o.found(FindMismatch, "the %s of its ID belongs to another key", strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(class, "CKO_"), "_", " ")))
	}
}

func (o *ObjectInfo) isKeyOrCertificate() bool {
	return o.KeyType != "" || o.Class == "CKO_CERTIFICATE"
}
