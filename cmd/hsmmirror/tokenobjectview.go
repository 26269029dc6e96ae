package main

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/hsm"
)

// className is a CKO_ name in words.
func className(class string) string {
	switch class {
	case "CKO_PRIVATE_KEY", "CKO_PUBLIC_KEY", "CKO_SECRET_KEY", "CKO_CERTIFICATE", "CKO_DATA", "CKO_DOMAIN_PARAMETERS", "CKO_HW_FEATURE", "CKO_MECHANISM", "CKO_PROFILE":
		return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(class, "CKO_"), "_", " "))
	}
	return class
}

// objectTitle is the first line of an object's description.
func objectTitle(o hsm.ObjectInfo) string {
	if o.Label == "" {
		return className(o.Class) + " without a label"
	}
	return className(o.Class) + " " + strconv.Quote(o.Label)
}

func objectFields(o hsm.ObjectInfo) []field {
	key := ""
	if o.KID != "" {
		key = fmt.Sprintf("%s version %d", o.KID, o.Version)
	}
	fields := []field{
		{"type", typeText(o)},
		{"id", hex.EncodeToString(o.ID)},
		{"status", o.Status},
		{"key", key},
		{"uses", usesText(o)},
		{"protection", protectionText(o)},
		{"access", accessText(o)},
		{"allowed mechanisms", strings.Join(asNames(o.Attribute("CKA_ALLOWED_MECHANISMS")), " ")},
		{"valid from", asText(o.Attribute("CKA_START_DATE"))},
		{"valid until", asText(o.Attribute("CKA_END_DATE"))},
		{"application", asText(o.Attribute("CKA_APPLICATION"))},
		{"object id", asText(o.Attribute("CKA_OBJECT_ID"))},
		{"unique id", asText(o.Attribute("CKA_UNIQUE_ID"))},
	}
	if n, ok := o.Attribute("CKA_VALUE").(uint64); ok {
		fields = append(fields, field{"size", fmt.Sprintf("%d bytes", n)})
	}
	fields = append(fields, certificateFields(o)...)
	fields = append(fields, field{"uri", o.URI})
	for _, f := range o.Findings {
		fields = append(fields, field{"note", f.Text})
	}
	return fields
}

func typeText(o hsm.ObjectInfo) string {
	text := strings.TrimPrefix(o.KeyType, "CKK_")
	if text == "" {
		text = strings.TrimPrefix(asText(o.Attribute("CKA_CERTIFICATE_TYPE")), "CKC_")
	}
	if o.Bits != 0 {
		text += fmt.Sprintf(", %d bits", o.Bits)
	}
	return text
}

// uses are the attributes that say what a key may be used for.
var uses = []string{"SIGN", "SIGN_RECOVER", "VERIFY", "VERIFY_RECOVER", "ENCRYPT", "DECRYPT", "WRAP", "UNWRAP", "DERIVE"}

func usesText(o hsm.ObjectInfo) string {
	var words []string
	for _, use := range uses {
		if o.Is("CKA_" + use) {
			words = append(words, strings.ToLower(strings.ReplaceAll(use, "_", " ")))
		}
	}
	if len(words) == 0 && o.KeyType != "" {
		return "none"
	}
	return strings.Join(words, ", ")
}

// protectionText says how a private or secret key is protected.
func protectionText(o hsm.ObjectInfo) string {
	if o.Class != "CKO_PRIVATE_KEY" && o.Class != "CKO_SECRET_KEY" {
		return ""
	}
	words := []string{}
	say := func(name, yes, no string) {
		switch b, told := o.Attribute(name).(bool); {
		case told && b:
			words = append(words, yes)
		case told:
			words = append(words, no)
		}
	}
	say("CKA_SENSITIVE", "sensitive", "not sensitive")
	say("CKA_EXTRACTABLE", "extractable", "not extractable")
	say("CKA_ALWAYS_SENSITIVE", "always was sensitive", "was not always sensitive")
	say("CKA_NEVER_EXTRACTABLE", "never was extractable", "was extractable once")
	say("CKA_LOCAL", "made on the token", "made elsewhere")
	say("CKA_ALWAYS_AUTHENTICATE", "wants the PIN for each use", "")
	say("CKA_WRAP_WITH_TRUSTED", "wrapped with trusted keys only", "")
	if m := asText(o.Attribute("CKA_KEY_GEN_MECHANISM")); m != "" {
		words = append(words, "made by "+m)
	}
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
}

func accessText(o hsm.ObjectInfo) string {
	words := []string{}
	say := func(name, yes, no string) {
		if b, told := o.Attribute(name).(bool); told && b && yes != "" {
			words = append(words, yes)
		} else if told && !b && no != "" {
			words = append(words, no)
		}
	}
	say("CKA_PRIVATE", "after a login only", "for everyone")
	say("CKA_TOKEN", "", "gone with its session")
	say("CKA_MODIFIABLE", "can be changed", "can't be changed")
	say("CKA_COPYABLE", "can be copied", "can't be copied")
	say("CKA_DESTROYABLE", "can be destroyed", "can't be destroyed")
	say("CKA_TRUSTED", "trusted", "")
	return strings.Join(words, ", ")
}

func certificateFields(o hsm.ObjectInfo) []field {
	c, _ := o.Certificate()
	if c == nil {
		return nil
	}
	return []field{
		{"subject", c.Subject.String()},
		{"issuer", c.Issuer.String()},
		{"serial number", c.SerialNumber.Text(16)},
		{"not before", date(c.NotBefore)},
		{"not after", date(c.NotAfter)},
		{"names", strings.Join(c.DNSNames, " ")},
	}
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return hex.EncodeToString(v)
	}
	return ""
}

func asNames(v any) []string {
	names, _ := v.([]string)
	return names
}
