//go:build cgo

package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// trialRun is a trial under way.
type trialRun struct {
	*visit
	Trial
	token      TokenInfo
	s          pkcs11.SessionHandle // holds the login
	mechanisms map[uint]mechanismInfo
	report     func(TrialResult)

	made   []pkcs11.ObjectHandle // the halves of keys
	rsa    *trialKey             // one pair serves all algorithms of RSA: it takes long to make
	signer *trialKey             // the first that signs; measured
}

// trialKey is a key made for a trial.
type trialKey struct {
	record
	private, public pkcs11.ObjectHandle // public is 0 for a secret key
	took            time.Duration
}

func try(ctx context.Context, cfg Config, trial Trial, trace Trace, report func(TrialResult)) error {
	v, err := visitModule(cfg.Module, cfg.InitArgs, trace)
	if err != nil {
		return err
	}
	defer v.leave()
	info, err := v.pick(cfg)
	if err != nil {
		return err
	}
	s, err := v.openSession(info, sessionFlags(info))
	if err != nil {
		return err
	}
	defer func() { _ = v.p11.CloseSession(s) }() // with it go its objects
	r := &trialRun{visit: v, Trial: trial, token: info, s: s, report: report, mechanisms: map[uint]mechanismInfo{}}
	defer r.tidy()
	list, err := v.mechanisms(info.Slot)
	if err != nil {
		return err
	}
	for _, m := range list {
		r.mechanisms[m.Type] = mechanismInfo{min: m.MinKey, max: m.MaxKey}
	}
	in, err := v.logIn(ctx, s, info, cfg)
	if err != nil {
		r.tell(TrialLogin, "", err)
		return nil
	}
	if in {
		r.tell(TrialLogin, "as user", nil)
	}
	return r.steps(ctx)
}

// tidy destroys the keys that were made. They should go with the session, but some modules let them stay.
func (r *trialRun) tidy() {
	for _, h := range r.made {
		r.trace.call("C_DestroyObject")
		_ = r.p11.DestroyObject(r.s, h)
	}
}

// steps goes through all steps but the login.
func (r *trialRun) steps(ctx context.Context) error {
	r.random()
	for _, alg := range provider.Algs() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(r.Algs) > 0 && !slices.Contains(r.Algs, alg) {
			continue
		}
		if s := support(alg, quirksOf(r.token), r.mechanisms); s.Create && s.Use {
			text, err := r.alg(alg)
			r.tell(string(alg), text, err)
		}
	}
	if r.token.flags&pkcs11.CKF_WRITE_PROTECTED == 0 { // objects of a session say nothing of what such a token keeps
		r.data()
	}
	if r.signer != nil {
		text, err := r.speed()
		r.tell(TrialSpeed, text, err)
	}
	return nil
}

func (r *trialRun) tell(step, text string, err error) {
	result := TrialResult{Step: step, Text: text}
	if err != nil {
		result.Failure, result.Auth = err.Error(), errors.Is(err, provider.ErrAuth)
		e, answered := errors.AsType[*Error](err)
		result.Refused = answered && classOf(e.Code) == classCaller || errors.Is(err, provider.ErrUnsupported)
	}
	r.report(result)
}

func (r *trialRun) fail(call string, err error) error { return newError(r.token.Label, call, err) }

// random draws twice: a generator that is stuck says the same again.
func (r *trialRun) random() {
	const n = 32
	var drawn [2][]byte
	for i := range drawn {
		r.trace.call("C_GenerateRandom")
		b, err := r.p11.GenerateRandom(r.s, n)
		if err != nil {
			r.tell(TrialRandom, "", r.fail("C_GenerateRandom", err))
			return
		}
		drawn[i] = b
	}
	if len(drawn[0]) != n || bytes.Equal(drawn[0], drawn[1]) || bytes.Equal(drawn[0], make([]byte, n)) {
		r.tell(TrialRandom, "", errors.New("the generator gives the same bytes again"))
		return
	}
	r.tell(TrialRandom, "the generator gives bytes, and others each time", nil)
}

// data stores what our records are kept in, but for the session only: a private data object, or where the token takes none a secret key.
func (r *trialRun) data() {
	rec := record{KID: trialKID, Version: 1}
	data := r.store(rec.dataTemplate())
	if data == nil {
		r.tell(TrialData, "it takes private data objects, in which records are kept", nil)
		return
	}
	if quirksOf(r.token).noSessionKeys {
		r.tell(TrialData, "not tried: the token takes no object that ends with a session", nil)
		return
	}
	if r.store(rec.carrierTemplate()) == nil {
		r.tell(TrialData, fmt.Sprintf("it takes secret keys, in which records are kept, since it takes no private data objects: %v", data), nil)
		return
	}
	r.tell(TrialData, "", data)
}

func (r *trialRun) store(template []attribute, err error) error {
	if err != nil {
		return err
	}
	r.trace.call("C_CreateObject")
	h, err := r.p11.CreateObject(r.s, forSession(template))
	if err != nil {
		return r.fail("C_CreateObject", err)
	}
	r.trace.call("C_DestroyObject")
	_ = r.p11.DestroyObject(r.s, h) // it goes with the session in any case
	return nil
}

// forSession makes a template one of an object that is gone with its session.
func forSession(template []attribute) []*pkcs11.Attribute {
	for i := range template {
		if template[i].typ == ckaToken {
			template[i].value = false
		}
	}
	return toAttributes(template)
}

// trialKID names what a trial makes, should a token show it to someone.
const trialKID = "hsmmirror-trial"

// generate makes a session key.
func (r *trialRun) generate(alg provider.KeyAlg) (*trialKey, error) {
	if alg.KeyType() == "RSA" && r.rsa != nil {
		return r.rsa, nil
	}
	id := make([]byte, 16)
	rand.Read(id)
	bits, standard, _ := alg.Bits() // the smallest RSA, to be quick
	if alg == provider.HMACSHA256 {
		bits = standard
	}
	k := &trialKey{record: record{KID: trialKID, Version: 1, ID: hex.EncodeToString(id), Alg: alg, Bits: bits, Uses: alg.Uses()}}
	if alg.KeyType() == "RSA" {
		k.Uses = []provider.KeyUse{provider.UseSign, provider.UseVerify, provider.UseEncrypt, provider.UseDecrypt}
	}
	g := k.generation(quirksOf(r.token))
	start := time.Now()
	err := r.make(k, g)
	k.took = time.Since(start)
	if err != nil {
		return nil, err
	}
	if alg.KeyType() == "RSA" {
		r.rsa = k
	}
	return k, nil
}

// make is one C_GenerateKeyPair or C_GenerateKey of an object of the session.
func (r *trialRun) make(k *trialKey, g generation) error {
	mechanism := []*pkcs11.Mechanism{pkcs11.NewMechanism(ownMechanisms[g.alg], nil)}
	var err error
	switch g.alg {
	case generateAES, generateSecret:
		r.trace.call("C_GenerateKey")
		k.private, err = r.p11.GenerateKey(r.s, mechanism, forSession(append(g.private, attribute{ckaValueLen, uint(g.bits / 8)})))
		if err != nil {
			return r.fail("C_GenerateKey", err)
		}
		r.made = append(r.made, k.private)
		return nil
	case generateRSA:
		g.public = append(g.public, attribute{ckaModulusBits, uint(g.bits)}, attribute{ckaPublicExponent, []byte{1, 0, 1}})
	}
	r.trace.call("C_GenerateKeyPair")
	k.public, k.private, err = r.p11.GenerateKeyPair(r.s, mechanism, forSession(g.public), forSession(g.private))
	if err != nil {
		return r.fail("C_GenerateKeyPair", err)
	}
	r.made = append(r.made, k.private, k.public)
	return nil
}

// alg makes a key for an algorithm and works with it.
func (r *trialRun) alg(alg provider.KeyAlg) (string, error) {
	if quirksOf(r.token).noSessionKeys {
		return "not tried: the token makes no key that ends with a session", nil
	}
	k, err := r.generate(alg)
	if err != nil {
		return "", err
	}
	what, err := r.work(k, alg)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("a session key of %d bits, made in %s, %s", k.Bits, k.took.Round(100*time.Microsecond), what), nil
}
