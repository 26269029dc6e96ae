package hsm

import (
	"cmp"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// flagName names one bit.
type flagName struct {
	bit  uint
	name string
}

// slotFlags names the flags of CK_SLOT_INFO (PKCS#11 v3.0 section 3.2).
var slotFlags = []flagName{{0x1, "TOKEN_PRESENT"}, {0x2, "REMOVABLE_DEVICE"}, {0x4, "HW_SLOT"}}

// mechanismFlags names the flags of CK_MECHANISM_INFO (PKCS#11 v3.0 section 3.5, and section 2.3 of Current Mechanisms for curves).
var mechanismFlags = []flagName{
	{0x1, "HW"},
	{0x2, "MESSAGE_ENCRYPT"}, {0x4, "MESSAGE_DECRYPT"}, {0x8, "MESSAGE_SIGN"}, {0x10, "MESSAGE_VERIFY"}, {0x20, "MULTI_MESSAGE"},
	{0x40, "FIND_OBJECTS"},
	{0x100, "ENCRYPT"}, {0x200, "DECRYPT"}, {0x400, "DIGEST"}, {0x800, "SIGN"}, {0x1000, "SIGN_RECOVER"},
	{0x2000, "VERIFY"}, {0x4000, "VERIFY_RECOVER"}, {0x8000, "GENERATE"}, {0x10000, "GENERATE_KEY_PAIR"},
	{0x20000, "WRAP"}, {0x40000, "UNWRAP"}, {0x80000, "DERIVE"},
	{0x100000, "EC_F_P"}, {0x200000, "EC_F_2M"}, {0x400000, "EC_ECPARAMETERS"}, {0x800000, "EC_OID"},
	{0x1000000, "EC_UNCOMPRESS"}, {0x2000000, "EC_COMPRESS"}, {0x4000000, "EC_CURVENAME"},
	{0x80000000, "EXTENSION"},
}

func flagNames(table []flagName, flags uint) []string {
	var names []string
	for _, f := range table {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// algsThatNeed returns our algorithms that a mechanism makes keys for, or works with.
func algsThatNeed(mechanism uint) []provider.KeyAlg {
	var algs []provider.KeyAlg
	for _, alg := range provider.Algs() {
		if n := needs[alg]; n.create == mechanism || n.use == mechanism {
			algs = append(algs, alg)
		}
	}
	return algs
}

// supportOf says what a token with these mechanisms can do with each of our algorithms.
func supportOf(t TokenInfo, list []Mechanism) []provider.AlgSupport {
	mechanisms := make(map[uint]mechanismInfo, len(list))
	for _, m := range list {
		if m.Problem == "" {
			mechanisms[m.Type] = mechanismInfo{min: m.MinKey, max: m.MaxKey}
		}
	}
	var algs []provider.AlgSupport
	for _, alg := range provider.Algs() {
		algs = append(algs, support(alg, quirksOf(t), mechanisms))
	}
	return algs
}

// SortMechanisms orders mechanisms by their numbers, which keeps those of one family together.
func SortMechanisms(list []Mechanism) {
	slices.SortFunc(list, func(a, b Mechanism) int { return cmp.Compare(a.Type, b.Type) })
}
