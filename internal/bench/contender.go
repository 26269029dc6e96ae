//go:build cgo && unix

package main

import (
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/hsmmirror/hsmmirror/provider"
)

// operation is what contenders do again and again.
type operation string

const (
	signWith  operation = "sign:"     // and an algorithm: a signature with a key that is at hand
	signByKID operation = "signbykid" // look one of ten keys up by its name, and sign with it
	signByAny operation = "signbyany" // look one of all keys up by its name, and sign with it
	publicKey operation = "publickey" // the public half of a key, by its name
	publicAll operation = "publicall" // those of all keys
)

// signing is the operation for an algorithm.
func signing(alg provider.KeyAlg) operation { return signWith + operation(alg) }

// alg is the algorithm of signWith; empty for every other operation.
func (o operation) alg() provider.KeyAlg {
	alg, _ := strings.CutPrefix(string(o), string(signWith))
	if alg == string(o) {
		return ""
	}
	return provider.KeyAlg(alg)
}

// contender is one way to use a token, open on one.
type contender interface {
	// prepare returns n functions, for n goroutines, that each do the operation once. errNotOffered if the contender can't.
	prepare(ctx context.Context, op operation, n int) ([]func() error, error)

	io.Closer
}

// errNotOffered means that a contender has no such operation.
var errNotOffered = errors.New("not offered")

// opening is what a contender is opened with. The PIN is the user's.
type opening struct {
	module, token string
	pin           provider.Secret
	keys          int
}

// contenders are those written in Go, by name; the loop in C is a program of its own.
var contenders = map[string]func(context.Context, opening) (contender, error){
	"hsmmirror": openOurs,
	"crypto11":  openCrypto11,
	"miekg":     openMiekg,
}

// digest is what is signed, of every algorithm.
var digest = sha256.Sum256(nil)

// kid is the name of the i-th of many keys; the keys of the algorithms are named after them. The objects of a key are labelled with
// kid and version.
func kid(i int) string { return fmt.Sprintf("key-%04d", i) }

func label(kid string) string { return kid + ".v1" }

// sign makes a signature with s as its algorithm does it.
func sign(s crypto.Signer, alg provider.KeyAlg) error {
	_, err := s.Sign(nil, digest[:], alg.SignerOpts())
	return err
}

// inUse is how many keys are used again and again. A module may be slower at using many, whoever looks them up.
const inUse = 10

// inTurn returns a function that calls f with the name of another key each time.
func inTurn(keys int, f func(kid string) error) func() error {
	var next atomic.Int64
	return func() error { return f(kid(int(next.Add(1)) % keys)) }
}

// same returns f n times.
func same(f func() error, n int) []func() error {
	all := make([]func() error, n)
	for i := range all {
		all[i] = f
	}
	return all
}
