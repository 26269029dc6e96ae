package providertest

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
)

// traces is what a secret looks like where it shows.
type traces struct {
	exact []string // as text, in base64, as one number
	loose []string // byte for byte as numbers, in small letters, a space between
}

// tracesOf returns the traces of secret and of a good part of it at either end. A secret of fewer than 8 bytes has none: it
// can't be told from chance.
func tracesOf(secret []byte) (s traces) {
	if len(secret) < 8 {
		return s
	}
	s.exact = append(s.exact, new(big.Int).SetBytes(secret).String())
	for _, part := range [][]byte{secret[:min(15, len(secret))], secret[max(0, len(secret)-15):]} {
		s.exact = append(s.exact, string(part), strings.Trim(fmt.Sprintf("%q", part), `"`), string(fmt.Appendf(nil, "%+q", part)),
			base64.RawStdEncoding.EncodeToString(part), base64.RawURLEncoding.EncodeToString(part))
		s.loose = append(s.loose, hex.EncodeToString(part))
		for _, verb := range []string{"%d", "%02x", "0x%x", "0x%02x", "%o", "%b", "%08b"} {
			words := make([]string, len(part))
			for i, c := range part {
				words[i] = fmt.Sprintf(verb, c)
			}
			s.loose = append(s.loose, strings.Join(words, " "))
		}
	}
	return s
}

// in tells whether text shows the secret.
func (s traces) in(text string) bool {
	for _, trace := range s.exact {
		if strings.Contains(text, trace) {
			return true
		}
	}
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return strings.ContainsRune(" ,:\t\n", r) })
	text = strings.Join(words, " ")
	for _, trace := range s.loose {
		if strings.Contains(text, trace) {
			return true
		}
	}
	return false
}
