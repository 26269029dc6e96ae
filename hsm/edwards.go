package hsm

import (
	"math/big"
	"slices"
)

// The field and the constant of edwards25519, RFC 8032 section 5.1.
var (
	edwardsP = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	edwardsD = func() *big.Int {
		d := new(big.Int).ModInverse(big.NewInt(121666), edwardsP)
		return d.Mod(d.Mul(d, big.NewInt(-121665)), edwardsP)
	}()
)

// onEdwards25519 tells whether b is the encoding of a point (RFC 8032 section 5.1.3). The standard library finds out at the
// first signature only, and then calls the signature wrong. It works on public bytes, in time that depends on them.
func onEdwards25519(b []byte) bool {
	if len(b) != 32 {
		return false
	}
	be := slices.Clone(b)
	slices.Reverse(be)
	sign := be[0] >> 7
	be[0] &= 0x7F
	y := new(big.Int).SetBytes(be)
	if y.Cmp(edwardsP) >= 0 {
		return false
	}
	// x² = u/v with u = y²-1 and v = dy²+1, which is never 0. So x exists if u·v is a square.
	yy := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(yy, big.NewInt(1))
	v := new(big.Int).Mul(yy, edwardsD)
	v.Add(v, big.NewInt(1))
	uv := u.Mod(u.Mul(u, v), edwardsP)
	switch big.Jacobi(uv, edwardsP) {
	case 0:
		return sign == 0 // x is 0, which has no sign
	case 1:
		return true
	}
	return false
}
