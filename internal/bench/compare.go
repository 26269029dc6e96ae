//go:build cgo && unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// algs are those that are compared.
var algs = []provider.KeyAlg{provider.ECDSAP256SHA256, provider.Ed25519, provider.RSAPKCS1SHA256}

// stage is a throwaway token with the processes that run on it.
type stage struct {
	o    options
	hsm  *softhsm.HSM
	keys int
	ps   []*process
}

const (
	tokenLabel = "bench"
	maker      = "make" // the process that makes the keys
	loopInC    = "C"
)

// newStage makes a token with a key of each algorithm and so many to look up.
func newStage(ctx context.Context, o options, keys int) (*stage, error) {
	h, err := softhsm.New(ctx, o.tokens, tokenLabel)
	if err != nil {
		return nil, err
	}
	s := &stage{o: o, hsm: h, keys: keys}
	p, err := s.start(ctx, maker, h.Module)
	if err == nil {
		err = p.stop()
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// start starts a contender on the token, through the module at the given path.
func (s *stage) start(ctx context.Context, name, module string) (*process, error) {
	if name == loopInC {
		return start(ctx, name, s.hsm, s.o.cloop, module, tokenLabel)
	}
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := []string{"-contender", name, "-module", module, "-token", tokenLabel, "-of", strconv.Itoa(s.keys)}
	if name == "hsmmirror" && s.o.profile != "" {
		args = append(args, "-profile", fmt.Sprintf("%s.%d", s.o.profile, s.keys))
	}
	return start(ctx, name, s.hsm, program, args...)
}

// enter starts contenders that stay until close.
func (s *stage) enter(ctx context.Context, names ...string) error {
	for _, name := range names {
		p, err := s.start(ctx, name, s.hsm.Module)
		if err != nil {
			return err
		}
		s.ps = append(s.ps, p)
	}
	return nil
}

func (s *stage) close() error {
	var errs []error
	for _, p := range s.ps {
		errs = append(errs, p.stop())
	}
	return errors.Join(append(errs, s.hsm.Close())...)
}

// compare runs everything and prints it as it comes.
func compare(ctx context.Context, o options) (err error) {
	fmt.Fprintln(os.Stderr, "bench: making a token with", o.fewKeys, "keys")
	few, err := newStage(ctx, o, o.fewKeys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, few.close()) }()
	if err := few.signatures(ctx); err != nil || !o.byKID {
		return err
	}
	if err := few.counts(ctx, loopInC, "miekg", "crypto11", "hsmmirror"); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: making a token with", o.manyKeys, "keys")
	many, err := newStage(ctx, o, o.manyKeys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, many.close()) }()
	return lookups(ctx, o, few, many)
}

// signatures compares signing with a key that is at hand.
func (s *stage) signatures(ctx context.Context) error {
	if err := s.enter(ctx, loopInC, "miekg", "crypto11", "hsmmirror"); err != nil {
		return err
	}
	printSignaturesHead()
	for _, alg := range s.o.algs {
		for _, n := range s.o.goroutines {
			r, err := takeTurns(s.ps, signing(alg), n, s.o.rounds, s.o.window)
			if err != nil {
				return err
			}
			printSignatures(alg, n, r)
		}
	}
	return nil
}

// lookups compares signing by kid with few and with many keys on the token.
func lookups(ctx context.Context, o options, few, many *stage) error {
	if err := many.enter(ctx, "crypto11", "hsmmirror"); err != nil {
		return err
	}
	printLookupsHead(o)
	for _, name := range []string{"hsmmirror", "crypto11"} {
		for _, n := range []int{1, 16} {
			window, rounds := 10*o.window, o.rounds
			if name == "crypto11" {
				window, rounds = time.Millisecond, 2 // a look-up among many keys lasts longer than that
			}
			a, b := *few.process(name), *many.process(name)
			a.name, b.name = "few", "many"
			pair := []*process{&a, &b}
			r, err := takeTurns(pair, signByKID, n, rounds, window)
			if err != nil {
				return err
			}
			any, err := takeTurns(pair, signByAny, n, rounds, window)
			if err != nil {
				return err
			}
			printLookups(name, n, r, any)
		}
	}
	return nil
}

// process returns the contender's process.
func (s *stage) process(name string) *process {
	for _, p := range s.ps {
		if p.name == name {
			return p
		}
	}
	panic("bench: no process " + name)
}
