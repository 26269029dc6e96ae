package hsm

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errOAEP is the one answer to every ciphertext that does not decrypt. To tell the reasons apart, by text or by time, is to
// give the plaintext away (Manger, CRYPTO 2001).
var errOAEP = provider.Invalidf("ciphertext does not decrypt under this key and label")

// decodeOAEP removes the padding of RSAES-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 8017 section 7.1.2, step 3) for
// tokens that do only the raw RSA step. em is that step's result, padded on the left with zeros to the length of the modulus; it
// is left as it was. The caller owns the message. Every failure is errOAEP.
//
// Until the verdict is known neither a branch nor an index depends on em. What follows shows the length of a good message, as any
// answer does.
func decodeOAEP(em, label []byte) ([]byte, error) {
	const hash = sha256.Size
	if len(em) < 2*hash+2 {
		return nil, errOAEP
	}
	seed, db := slices.Clone(em[1:1+hash]), slices.Clone(em[1+hash:])
	defer clear(seed)
	defer clear(db)
	xorMGF1(seed, db)
	xorMGF1(db, seed)

	// db is the label's hash, zeros, 0x01 and the message.
	labelHash := sha256.Sum256(label)
	good := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeCompare(db[:hash], labelHash[:])
	rest := db[hash:]
	inZeros, start := 1, 0
	for i, b := range rest {
		zero, one := subtle.ConstantTimeByteEq(b, 0), subtle.ConstantTimeByteEq(b, 1)
		start = subtle.ConstantTimeSelect(inZeros&one, i+1, start)
		good = subtle.ConstantTimeSelect(inZeros, good&(zero|one), good)
		inZeros &= zero
	}
	good &= 1 - inZeros
	if good != 1 {
		return nil, errOAEP
	}
	return slices.Clone(rest[start:]), nil
}

// xorMGF1 XORs the mask that MGF1 with SHA-256 (RFC 8017 appendix B.2.1) makes of seed into out.
func xorMGF1(out, seed []byte) {
	block := append(slices.Clone(seed), 0, 0, 0, 0)
	defer clear(block)
	for counter := uint32(0); len(out) > 0; counter++ {
		binary.BigEndian.PutUint32(block[len(seed):], counter)
		mask := sha256.Sum256(block)
		out = out[subtle.XORBytes(out, out, mask[:]):]
	}
}
