//go:build cgo

package hsm

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errWrong means that the token did its work, and what came of it is wrong.
var errWrong = fmt.Errorf("%w: what the token made does not fit the public half", provider.ErrTampered)

// work does with a key what its algorithm is for, and says what was done.
func (r *trialRun) work(k *trialKey, alg provider.KeyAlg) (string, error) {
	switch {
	case alg.Signs():
		err := r.sign(k, alg)
		if err == nil && r.signer == nil {
			r.signer = &trialKey{record: k.record, private: k.private, public: k.public}
			r.signer.Alg = alg
		}
		return "signed with, and verified here", err
	case alg == provider.RSAOAEPSHA256:
		return r.decrypt(k)
	case alg == provider.AES256GCM:
		return "encrypted and decrypted with", r.seal(k)
	case alg == provider.HMACSHA256:
		return "authenticated and verified with", r.authenticate(k)
	}
	return "a secret agreed on with, and the same here", r.agree(k)
}

// publicHalf reads the public key object of a pair.
func (r *trialRun) publicHalf(k *trialKey) (*object, error) {
	o, _ := r.object(r.s, k.public)
	if o == nil {
		return nil, fmt.Errorf("%w: the public key that was just made is not there", provider.ErrTampered)
	}
	return o, o.problem
}

func (r *trialRun) sign(k *trialKey, alg provider.KeyAlg) error {
	o, err := r.publicHalf(k)
	if err != nil {
		return err
	}
	public, err := publicKey(o)
	if err != nil {
		return err
	}
	jwk, err := provider.NewJWK(provider.KeyRef{KID: trialKID, Version: 1, Alg: alg, Uses: alg.Uses()}, public)
	if err != nil {
		return err
	}
	message := []byte("a message that nobody wants")
	raw, err := r.signOnce(r.s, k.private, alg, message)
	if err == nil && alg.KeyType() == "EC" {
		raw, err = curveFor(alg).signatureDER(raw)
	}
	if err != nil {
		return err
	}
	if jwk.Verify(message, raw) != nil {
		return errWrong
	}
	return nil
}

// signOnce is one C_SignInit and one C_Sign.
func (r *trialRun) signOnce(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, alg provider.KeyAlg, message []byte) ([]byte, error) {
	m, data, err := signature(alg, alg.Digest(message), alg.SignerOpts())
	if err != nil {
		return nil, err
	}
	return r.operation(s, key, m, data, "C_Sign", r.p11.SignInit, r.p11.Sign)
}

func (r *trialRun) operation(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, m mechanism, data []byte, call string,
	begin func(pkcs11.SessionHandle, []*pkcs11.Mechanism, pkcs11.ObjectHandle) error, final func(pkcs11.SessionHandle, []byte) ([]byte, error),
) ([]byte, error) {
	param, free := toMechanism(m)
	defer free()
	r.trace.call(call + "Init")
	if err := begin(s, param, key); err != nil {
		return nil, r.fail(call+"Init", err)
	}
	r.trace.call(call)
	out, err := final(s, data)
	if err != nil {
		return nil, r.fail(call, err)
	}
	return out, nil
}

// decrypt tries OAEP with SHA-256, and the raw RSA step where the token refuses that.
func (r *trialRun) decrypt(k *trialKey) (string, error) {
	o, err := r.publicHalf(k)
	if err != nil {
		return "", err
	}
	key, err := publicKey(o)
	public, ok := key.(*rsa.PublicKey)
	if err != nil || !ok {
		return "", errors.Join(err, errWrong)
	}
	want := []byte("nothing")
	message, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, public, want, nil)
	if err != nil {
		return "", err
	}
	oaep := mechanism{typ: ckmRSAPKCSOAEP, oaep: &oaepParams{ckmSHA256, ckgMGF1SHA256, nil}}
	got, err := r.operation(r.s, k.private, oaep, message, "C_Decrypt", r.p11.DecryptInit, r.p11.Decrypt)
	how := "decrypted with"
	if refusesParameters(err) {
		how = "decrypted with by the raw RSA step: it refuses OAEP with SHA-256"
		got, err = r.operation(r.s, k.private, mechanism{typ: ckmRSAX509}, message, "C_Decrypt", r.p11.DecryptInit, r.p11.Decrypt)
		if err == nil {
			got, err = decodeOAEP(padded(got, public.Size()), nil)
		}
	}
	if err == nil && !bytes.Equal(got, want) {
		err = errWrong
	}
	return how, err
}

func (r *trialRun) seal(k *trialKey) error {
	want, nonce := []byte("nothing"), make([]byte, gcmNonce)
	rand.Read(nonce)
	m := mechanism{typ: ckmAESGCM, gcm: &gcmParams{nonce, nil}}
	sealed, err := r.operation(r.s, k.private, m, want, "C_Encrypt", r.p11.EncryptInit, r.p11.Encrypt)
	if err != nil {
		return err
	}
	got, err := r.operation(r.s, k.private, m, sealed, "C_Decrypt", r.p11.DecryptInit, r.p11.Decrypt)
	if err == nil && !bytes.Equal(got, want) {
		err = errWrong
	}
	return err
}

func (r *trialRun) authenticate(k *trialKey) error {
	message := []byte("a message that nobody wants")
	m := mechanism{typ: ckmSHA256HMAC}
	code, err := r.operation(r.s, k.private, m, message, "C_Sign", r.p11.SignInit, r.p11.Sign)
	if err != nil {
		return err
	}
	_, err = r.operation(r.s, k.private, m, message, "C_Verify", r.p11.VerifyInit, func(s pkcs11.SessionHandle, data []byte) ([]byte, error) {
		return nil, r.p11.Verify(s, data, code)
	})
	return err
}

// agree derives a secret with a peer that is made here, and compares it with the peer's own.
func (r *trialRun) agree(k *trialKey) error {
	o, err := r.publicHalf(k)
	if err != nil {
		return err
	}
	key, err := publicKey(o)
	public, ok := key.(*ecdh.PublicKey)
	if err != nil || !ok {
		return errors.Join(err, errWrong)
	}
	peer, err := public.Curve().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	want, err := peer.ECDH(public)
	if err != nil {
		return err
	}
	r.trace.call("C_DeriveKey")
	secret, err := r.p11.DeriveKey(r.s, agreement(peer.PublicKey().Bytes()), k.private, sharedSecret())
	if err != nil {
		return r.fail("C_DeriveKey", err)
	}
	defer func() { _ = r.p11.DestroyObject(r.s, secret) }() // it goes with the session in any case
	got, err := r.p11.GetAttributeValue(r.s, secret, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return r.fail("C_GetAttributeValue", err)
	}
	if !bytes.Equal(got[0].Value, want) {
		return errWrong
	}
	return nil
}

// speed measures signatures in one session, and in several at once.
func (r *trialRun) speed() (string, error) {
	quiet := r.trace
	defer func() { r.trace = quiet }()
	r.trace.call("C_Sign, measured")
	r.trace = nil // not for each signature
	one, median, err := r.measure(1)
	if err != nil {
		return "", err
	}
	many, _, err := r.measure(r.Sessions)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s: %s a signature, %.0f a second in 1 session, %.0f in %d", r.signer.Alg, median.Round(time.Microsecond), one, many, r.Sessions), nil
}

// measure signs in n sessions at once, at least once in each, and returns how many signatures were made in a second, and their
// median time.
func (r *trialRun) measure(n int) (rate float64, median time.Duration, err error) {
	sessions, times, errs := make([]pkcs11.SessionHandle, n), make([][]time.Duration, n), make([]error, n)
	for i := range sessions {
		if sessions[i], err = r.openSession(r.token, pkcs11.CKF_SERIAL_SESSION); err != nil {
			return 0, 0, err
		}
		defer func() { _ = r.p11.CloseSession(sessions[i]) }()
	}
	var all sync.WaitGroup
	start := time.Now() // opening sessions may take long
	for i, s := range sessions {
		all.Go(func() {
			for len(times[i]) == 0 || errs[i] == nil && time.Since(start) < r.Time {
				before := time.Now()
				_, errs[i] = r.signOnce(s, r.signer.private, r.signer.Alg, []byte("message"))
				times[i] = append(times[i], time.Since(before))
			}
		})
	}
	all.Wait()
	took := time.Since(start)
	if err := errors.Join(errs...); err != nil {
		return 0, 0, err
	}
	list := slices.Concat(times...)
	slices.Sort(list)
	return float64(len(list)) / took.Seconds(), list[len(list)/2], nil
}
