package main

import (
	"encoding/asn1"
	"math/big"

	"github.com/hsmmirror/hsmmirror/provider"
)

// The forms of a signature on the command line. They differ for ECDSA only: raw is r and s at full length (RFC 7518 section
// 3.4), der is the ASN.1 form of X.509, OpenSSL and crypto.Signer (RFC 3279 section 2.2.3).
const (
	formatRaw = "raw"
	formatDER = "der"
	formatJWS = "jws"
	formatJWT = "jwt"
)

type ecdsaSignature struct{ R, S *big.Int }

// toRaw turns a signature of a provider.Signer into the raw form.
func toRaw(alg provider.KeyAlg, signature []byte) ([]byte, error) {
	if alg.KeyType() != "EC" {
		return signature, nil
	}
	var s ecdsaSignature
	size := coordinateSize(alg)
	rest, err := asn1.Unmarshal(signature, &s)
	if err != nil || len(rest) > 0 || !fits(s.R, size) || !fits(s.S, size) {
		return nil, provider.Invalidf("ECDSA signature of %d bytes: want ASN.1 DER with two numbers of at most %d bytes", len(signature), size)
	}
	raw := make([]byte, 2*size)
	s.R.FillBytes(raw[:size])
	s.S.FillBytes(raw[size:])
	return raw, nil
}

// fromRaw is the reverse of toRaw.
func fromRaw(alg provider.KeyAlg, raw []byte) ([]byte, error) {
	if alg.KeyType() != "EC" {
		return raw, nil
	}
	size := coordinateSize(alg)
	if len(raw) != 2*size {
		return nil, provider.Invalidf("raw ECDSA signature of %d bytes: want %d", len(raw), 2*size)
	}
	return asn1.Marshal(ecdsaSignature{new(big.Int).SetBytes(raw[:size]), new(big.Int).SetBytes(raw[size:])})
}

func fits(n *big.Int, size int) bool { return n.Sign() >= 0 && n.BitLen() <= 8*size }

func coordinateSize(alg provider.KeyAlg) int {
	_, bits, _ := alg.Bits()
	return (bits + 7) / 8
}
