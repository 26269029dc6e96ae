package hsm

import (
	"bytes"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// signatureDER turns the r||s of C_Sign (Current Mechanisms v3.0, section 2.3.1) into the ASN.1 of crypto/ecdsa. r and s have
// one length; a module that leaves out leading zeros of both gives a shorter signature, whose middle is still the border.
// [provider.ErrUnavailable] for what is no signature: the token did not do its work.
func (c *curve) signatureDER(raw []byte) ([]byte, error) {
	half := len(raw) / 2
	r, s := bytes.TrimLeft(raw[:half], "\x00"), bytes.TrimLeft(raw[half:], "\x00")
	if len(raw)%2 != 0 || half > len(c.order) || !c.inOrder(r) || !c.inOrder(s) {
		return nil, fmt.Errorf("%w: the token made a signature of %d bytes that is none: want r and s of %d bytes each for %s",
			provider.ErrUnavailable, len(raw), len(c.order), c.name)
	}
	body := integerDERSize(r) + integerDERSize(s)
	der := make([]byte, 0, 3+body)
	if der = append(der, 0x30); body >= 0x80 { // SEQUENCE; lengths of 128 and more, which are those of P-521, have a byte before them
		der = append(der, 0x81)
	}
	der = append(der, byte(body))
	return appendIntegerDER(appendIntegerDER(der, r), s), nil
}

// inOrder tells whether x may be the r or the s of a signature. x has no leading zeros.
func (c *curve) inOrder(x []byte) bool {
	return len(x) > 0 && (len(x) < len(c.order) || bytes.Compare(x, c.order) < 0)
}

// appendIntegerDER appends an INTEGER of less than 128 bytes, which is x: not zero, and without leading zeros.
func appendIntegerDER(der, x []byte) []byte {
	der = append(der, 0x02, byte(integerDERSize(x)-2))
	if x[0]&0x80 != 0 { // or else it would be negative
		der = append(der, 0)
	}
	return append(der, x...)
}

func integerDERSize(x []byte) int { return 2 + len(x) + int(x[0]>>7) }
