package hsm

import (
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/hsmmirror/hsmmirror/provider"
)

// orderBytes is the length of the group's order, which is that of r and of s, in bytes. NIST curves only.
func (c *curve) orderBytes() int { return (c.nist.Params().N.BitLen() + 7) / 8 }

// signatureDER turns the r||s of C_Sign (Current Mechanisms v3.0, section 2.3.1) into the ASN.1 of crypto/ecdsa. r and s have
// one length; a module that leaves out leading zeros of both gives a shorter signature, whose middle is still the border.
// [provider.ErrUnavailable] for what is no signature: the token did not do its work.
func (c *curve) signatureDER(raw []byte) ([]byte, error) {
	half := len(raw) / 2
	r, s := new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])
	if len(raw)%2 != 0 || half > c.orderBytes() || !c.inOrder(r) || !c.inOrder(s) {
		return nil, fmt.Errorf("%w: the token made a signature of %d bytes that is none: want r and s of %d bytes each for %s",
			provider.ErrUnavailable, len(raw), c.orderBytes(), c.name)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(r)
		b.AddASN1BigInt(s)
	})
	return b.Bytes()
}

// inOrder tells whether x may be the r or the s of a signature.
func (c *curve) inOrder(x *big.Int) bool { return x.Sign() > 0 && x.Cmp(c.nist.Params().N) < 0 }
