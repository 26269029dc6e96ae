package hsm

import (
	"context"
	"slices"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// quirks are the ways in which a module departs from the specification and that have to be known before a call. What shows by
// itself, such as a refused parameter, needs no entry.
type quirks struct {
	// oaepSHA1Only: it lists CKM_RSA_PKCS_OAEP and takes no other hash than SHA-1 (CKR_ARGUMENTS_BAD).
	oaepSHA1Only bool
	// montgomeryIsEdwards: it keeps X25519 keys as CKK_EC_EDWARDS, and makes them by CKM_EC_EDWARDS_KEY_PAIR_GEN.
	montgomeryIsEdwards bool
	// writersInTurn: it does not bear two writers at once. Those of one host take turns (link.exclusive).
	writersInTurn bool
	// oneCallAtATime: it does not bear calls that are in flight together. Those of one process take turns.
	oneCallAtATime bool
	// noGCMEncrypt: asked for the length of what it encrypts by AES-GCM, it leaves out the tag, and then calls the buffer too small.
	noGCMEncrypt bool
	// noSecretKeys: it lists mechanisms for AES and HMAC, and has no C_GenerateKey.
	noSecretKeys bool
	// noImport: it takes no private or secret key from outside (C_CreateObject).
	noImport bool
	// noSessionKeys: it makes no pair that ends with its session. It refuses CKA_TOKEN false, or makes a pair that stays.
	noSessionKeys bool
	// keepsKeys: it makes no key that is both sensitive and extractable, and has no way to export any.
	keepsKeys bool
	// lacks are algorithms that it can't do, though it lists their mechanisms.
	lacks []provider.KeyAlg
	// keepsRoom: a key that was used takes room until C_Finalize. An operation that can't begin while the token is there then means
	// that there is no room left, and the module is started afresh.
	keepsRoom bool
	// repeatsHandles: once the object with handle 1 was destroyed, it gives new objects the handles of others, until C_Finalize. It is
	// started afresh before the next object is made.
	repeatsHandles bool
	// holdsKeys: it does not destroy a key with which an operation failed (CKR_FUNCTION_FAILED), until C_Finalize.
	holdsKeys bool
	// noOAEPLabel: it takes no OAEP label, or only some. The padding is then removed in this process, as for oaepSHA1Only.
	noOAEPLabel bool
	// fewUses: it knows of a pair whether it signs and whether it decrypts, refuses one that does neither, signs PKCS#1 v1.5 by
	// decrypting, and wants nothing said of the public half. Its pairs may do what their algorithm needs, whatever the uses.
	fewUses bool
	// maxGeneratedSecret is the size in bits of the longest generic secret that it generates; 0: it has no limit of its own.
	maxGeneratedSecret int
	// leavesShells: of a process that ends while it stores an object it keeps one with the default of each attribute, which says that it
	// is a session object, or with none at all, and it stays.
	leavesShells bool
	// wrapsNoEdwards: C_WrapKey and C_UnwrapKey refuse its CKK_EC_EDWARDS keys. Those that may be exported are made with
	// CKA_SENSITIVE false, and read.
	wrapsNoEdwards bool
	// noEdDSA: asked for the length of a signature, it tells one that is too long, and then refuses the buffer for it (CKR_ARGUMENTS_BAD).
	noEdDSA bool
	// barePoints: it takes the points of the 25519 curves bare (PKCS#11 v3.1), and does not say so when it refuses a wrapped one.
	barePoints bool
	// shortSearch is how many objects a search shows, however many match; 0: all. A build may show more, which tells it apart.
	shortSearch int
	// writesFromMemory: it knows the token's directories as they were at C_Initialize, and writes them as a whole, over what others have
	// stored since. It is started afresh before each write.
	writesFromMemory bool
	// mostOfAKind is how many objects of a kind there may be: the next one may be written over another. 0: any number.
	mostOfAKind int
	// noEmptyOAEP: it takes an OAEP ciphertext of an empty message for a wrong one. The padding is then removed in this process.
	noEmptyOAEP bool
}

// quirkTable says which module has which quirks: by what its tokens say of themselves, which also comes through p11-kit, or by what
// the library says of itself, which does not. All rows that fit count.
var quirkTable = []struct {
	module  string
	tried   string // versions; others that look the same are taken to be the same
	fits    func(TokenInfo) bool
	quirks  quirks
	because string
}{
	{
		"SoftHSM2", "2.6.1, 2.7.0", func(t TokenInfo) bool { return t.Manufacturer == "SoftHSM project" },
		quirks{oaepSHA1Only: true, montgomeryIsEdwards: true, writersInTurn: true, leavesShells: true, wrapsNoEdwards: true},
		"its OAEP is hard-wired to SHA-1; it knows no Montgomery keys; when two processes store an object at once, it may show neither the other's; it stores an object attribute by attribute; C_WrapKey and C_UnwrapKey refuse Ed25519 and X25519",
	},
	{
		"NSS softokn", "3.87.1, 3.132", func(t TokenInfo) bool { return t.Manufacturer == "Mozilla Foundation" },
		quirks{writersInTurn: true, maxGeneratedSecret: 2048},
		"threads that change its database at once lock each other out for ever; its generator stops at 256 bytes",
	},
	{
		"NSS softokn, asked for lengths", "3.87.1, 3.132", func(t TokenInfo) bool { return t.Manufacturer == "Mozilla Foundation" && t.asksLengths },
		quirks{noGCMEncrypt: true, noEdDSA: true},
		"its size query for AES-GCM forgets the tag, and that for Ed25519 gives the length of its longest ECDSA signature",
	},
	{
		"tpm2-pkcs11", "1.9.0", func(t TokenInfo) bool { return t.Library == "TPM2.0 Cryptoki" || t.behindP11Kit() && t.likeTPM2() },
		quirks{
			noSecretKeys: true, noImport: true, noSessionKeys: true, keepsKeys: true, fewUses: true, lacks: []provider.KeyAlg{provider.ECDSAP521SHA512}, noOAEPLabel: true,
			keepsRoom: true, repeatsHandles: true, holdsKeys: true, writersInTurn: true,
		},
		"C_GenerateKey and the import of private keys are not written yet, though CKM_AES_KEY_GEN is listed; keys stay in the TPM, and none is made for a session; CKA_VERIFY is CKA_DECRYPT to it; " +
			"it writes the length 133 of a DER value as one byte; of what it loads into the TPM it flushes nothing (13 keys with tpm2-abrmd's defaults); " +
			"its list of handles takes for granted that it begins with 1; it forgets to end an operation that failed; " +
			"the TPM wants a NUL at the end of an OAEP label",
	},
	{
		"openCryptoki", "3.8.1, 3.27", TokenInfo.likeOpenCryptoki,
		quirks{maxGeneratedSecret: 2048, noOAEPLabel: true, oneCallAtATime: true, writersInTurn: true, barePoints: true, wrapsNoEdwards: true},
		"its generator stops at 256 bytes; it takes no OAEP label; a search beside a thread that makes or destroys objects crashes the process; " +
			"a wrapped point of Ed25519 or X25519 is CKR_FUNCTION_FAILED, and what C_WrapKey gives of these keys is no PKCS #8 of theirs",
	},
	{
		"wolfPKCS11", "2.1, built from source", func(t TokenInfo) bool { return t.Manufacturer == "wolfpkcs11" },
		quirks{shortSearch: 10, noEmptyOAEP: true, writersInTurn: true},
		"WP11_FIND_MAX is 10 if the build does not say otherwise, and C_FindObjects stops there without a word; a decryption that gives no bytes is CKR_FUNCTION_FAILED; its store is written as a whole",
	},
	{
		"FreeHSM C", "2.0.0", func(t TokenInfo) bool { return t.Manufacturer == "Simorgh Labs" },
		quirks{lacks: []provider.KeyAlg{provider.Ed25519, provider.X25519, provider.RSAPSSSHA256}, noImport: true, maxGeneratedSecret: 256},
		"it knows no curve of its Edwards and Montgomery generators, and no CKM_RSA_PKCS_PSS of a digest (CKR_FUNCTION_FAILED); C_UnwrapKey crashes the process; its generator makes 32 bytes",
	},
	{
		"OpenSC", "0.23.0, 0.27.1", TokenInfo.likeOpenSC,
		quirks{noSessionKeys: true, noImport: true, oneCallAtATime: true, writersInTurn: true, writesFromMemory: true, mostOfAKind: 32},
		"it puts every pair on the card, whatever CKA_TOKEN says; it notes of no key from outside that it is sensitive; its one lock lets no call past the generation of a key; " +
			"it writes the card's directories as it read them at the start, and gives new keys the places of those that it does not know of; looking for a free file it minds the first 32 objects of the kind (select_object_path)",
	},
	{
		"p11-kit", "0.24.1", TokenInfo.behindP11Kit,
		quirks{oneCallAtATime: true},
		"threads that wait for an answer together when the server dies wait for ever, and C_Finalize then aborts the process",
	},
}

// behindP11Kit tells whether the module is one of p11-kit's: its remoting, or the proxy of all configured modules.
func (t TokenInfo) behindP11Kit() bool { return t.LibraryManufacturer == "PKCS#11 Kit" }

// likeOpenCryptoki tells whether a token is one of openCryptoki's, which changed its names in between.
func (t TokenInfo) likeOpenCryptoki() bool {
	library := t.Library == "Meta PKCS11 LIBRARY" || t.Library == "openCryptoki"
	return library || t.Model == "IBM SoftTok" || t.Manufacturer == "IBM" && t.Model == "Soft"
}

// likeOpenSC tells whether a token is a card that OpenSC shows, which is called after the layout of its directories.
func (t TokenInfo) likeOpenSC() bool {
	return t.Library == "OpenSC smartcard framework" || t.behindP11Kit() && strings.HasPrefix(t.Model, "PKCS#15")
}

// likeTPM2 tells whether a token may be one of tpm2-pkcs11. They bear the name of the TPM's maker; their serial number and session
// limit are all that is the same on each. A token that is taken for one by mistake is refused some of what it can do.
func (t TokenInfo) likeTPM2() bool { return t.Serial == "0000000000000000" && t.maxSessions == 1024 }

// quirksOf returns the quirks of a token's module.
func quirksOf(t TokenInfo) quirks {
	var all quirks
	for _, row := range quirkTable {
		if row.fits(t) {
			all = all.and(row.quirks)
		}
	}
	return all
}

// and returns the quirks of both.
func (q quirks) and(r quirks) quirks {
	return quirks{
		oaepSHA1Only:        q.oaepSHA1Only || r.oaepSHA1Only,
		montgomeryIsEdwards: q.montgomeryIsEdwards || r.montgomeryIsEdwards,
		writersInTurn:       q.writersInTurn || r.writersInTurn,
		leavesShells:        q.leavesShells || r.leavesShells,
		oneCallAtATime:      q.oneCallAtATime || r.oneCallAtATime,
		noGCMEncrypt:        q.noGCMEncrypt || r.noGCMEncrypt,
		noSecretKeys:        q.noSecretKeys || r.noSecretKeys,
		noImport:            q.noImport || r.noImport,
		noSessionKeys:       q.noSessionKeys || r.noSessionKeys,
		keepsKeys:           q.keepsKeys || r.keepsKeys,
		lacks:               append(slices.Clip(q.lacks), r.lacks...),
		keepsRoom:           q.keepsRoom || r.keepsRoom,
		repeatsHandles:      q.repeatsHandles || r.repeatsHandles,
		holdsKeys:           q.holdsKeys || r.holdsKeys,
		noOAEPLabel:         q.noOAEPLabel || r.noOAEPLabel,
		fewUses:             q.fewUses || r.fewUses,
		wrapsNoEdwards:      q.wrapsNoEdwards || r.wrapsNoEdwards,
		noEdDSA:             q.noEdDSA || r.noEdDSA,
		barePoints:          q.barePoints || r.barePoints,
		shortSearch:         max(q.shortSearch, r.shortSearch),
		noEmptyOAEP:         q.noEmptyOAEP || r.noEmptyOAEP,
		writesFromMemory:    q.writesFromMemory || r.writesFromMemory,
		mostOfAKind:         max(q.mostOfAKind, r.mostOfAKind),
		maxGeneratedSecret:  max(q.maxGeneratedSecret, r.maxGeneratedSecret),
	}
}

// cutShort returns provider.ErrUnsupported if a search of a whole token that shows n objects may have been ended before it was done.
func (t TokenInfo) cutShort(n int) error {
	if most := quirksOf(t).shortSearch; most == 0 || n != most {
		return nil
	}
	return provider.Unsupportedf("search token %s: the module shows %d objects and no more, so that some may be missing: want it built with a larger limit (WP11_FIND_MAX of wolfPKCS11)",
		quote(t.Label), n)
}

// crowded returns provider.ErrUnsupported if a token with n objects of a kind has no room for more of them.
func (t TokenInfo) crowded(n, more int) error {
	most := quirksOf(t).mostOfAKind
	if most == 0 || n+more <= most {
		return nil
	}
	return provider.Unsupportedf("write to token %s: it holds %d objects of a kind, the records of destroyed keys included, and beyond %d the module writes one over another: want room for %d",
		quote(t.Label), n, most, more)
}

// keyTypeOf returns the CKK_ value of an algorithm's keys.
func (q quirks) keyTypeOf(a provider.KeyAlg) uint {
	switch {
	case a.KeyType() == "RSA":
		return ckkRSA
	case a.KeyType() == "EC":
		return ckkEC
	case a == provider.Ed25519, a == provider.X25519 && q.montgomeryIsEdwards:
		return ckkECEdwards
	case a == provider.X25519:
		return ckkECMontgomery
	case a == provider.AES256GCM:
		return ckkAES
	}
	return ckkGenericSecret
}

// readable tells whether the private key of a version has to be made with CKA_SENSITIVE false: it may be exported, and the token
// can't wrap it.
func (q quirks) readable(r record) bool {
	return r.Export == provider.ExportSecretWhenAllowed && q.wrapsNoEdwards && r.Alg.KeyType() == "OKP"
}

// quirks returns those of the token's module.
func (t *Token) quirks(ctx context.Context) (quirks, error) {
	info, _, err := t.link.token(ctx)
	return quirksOf(info), err
}

// fits tells whether a key of the given type can be for an algorithm, with the quirks of any module.
func fits(a provider.KeyAlg, keyType uint) bool {
	if a == provider.HMACSHA256 && keyType == ckkSHA256HMAC {
		return true
	}
	return keyType == quirks{}.keyTypeOf(a) || keyType == quirks{montgomeryIsEdwards: true}.keyTypeOf(a)
}
