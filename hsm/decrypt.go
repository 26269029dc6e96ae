package hsm

import (
	"context"
	"crypto"
	"crypto/rsa"
	"errors"
	"io"
	"math/big"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Decrypter returns the decrypter of a version. Where the token refuses OAEP with SHA-256 (SoftHSM2 does), it does the raw RSA
// step and the padding is removed in this process, in constant time; Capabilities says so.
func (t *Token) Decrypter(ctx context.Context, kid string, n int) (provider.Decrypter, error) {
	k, v, err := t.lookupVersion(ctx, kid, n)
	if err != nil {
		return nil, err
	}
	if err := v.usable("decrypt", v.Alg == provider.RSAOAEPSHA256, provider.UseDecrypt, provider.UseUnwrap); err != nil {
		return nil, err
	}
	return &decrypter{held{t, v, k.ref(v, now())}}, nil
}

type decrypter struct{ held }

var _ provider.Decrypter = (*decrypter)(nil)

// Public returns the public half.
func (d *decrypter) Public() crypto.PublicKey { return d.v.public }

// Decrypt is DecryptContext bounded by Config.Timeout alone.
func (d *decrypter) Decrypt(_ io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return d.DecryptContext(context.Background(), ciphertext, opts)
}

// DecryptContext decrypts on the token. ErrInvalid, one and the same, for whatever is wrong with the ciphertext.
func (d *decrypter) DecryptContext(ctx context.Context, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	label, err := oaepLabel(opts)
	if err != nil {
		return nil, err
	}
	public, ok := d.v.public.(*rsa.PublicKey)
	if !ok || len(ciphertext) != public.Size() || new(big.Int).SetBytes(ciphertext).Cmp(public.N) >= 0 {
		return nil, errOAEP // a module may call the last of these a bad argument, as NSS does
	}
	q, err := d.t.quirks(ctx)
	if err != nil {
		return nil, err
	}
	if !q.oaepSHA1Only && !(q.noOAEPLabel && len(label) > 0) && !d.t.rawOAEP.Load() {
		plain, err := d.use(ctx, func(private *object) ([]byte, error) {
			return d.t.link.decrypt(ctx, private, mechanism{typ: ckmRSAPKCSOAEP, oaep: &oaepParams{ckmSHA256, ckgMGF1SHA256, label}}, ciphertext)
		})
		switch {
		case refusesParameters(err):
			d.t.rawOAEP.Store(true)
		case !tooSmall(err) && !(q.noEmptyOAEP && err != nil):
			return plain, oaepVerdict(err)
		}
	}
	raw, err := d.use(ctx, func(private *object) ([]byte, error) {
		return d.t.link.decrypt(ctx, private, mechanism{typ: ckmRSAX509}, ciphertext)
	})
	if err != nil {
		return nil, oaepVerdict(err)
	}
	defer clear(raw)
	return decodeOAEP(padded(raw, public.Size()), label)
}

// oaepLabel checks the options and returns the label.
func oaepLabel(opts crypto.DecrypterOpts) ([]byte, error) {
	if opts == nil {
		return nil, nil
	}
	o, ok := opts.(*rsa.OAEPOptions)
	if !ok || o == nil || o.Hash != crypto.SHA256 || o.MGFHash != 0 && o.MGFHash != crypto.SHA256 {
		return nil, provider.Invalidf("decrypt with options of type %T: want nil or *rsa.OAEPOptions with SHA-256", opts)
	}
	return o.Label, nil
}

// oaepVerdict makes every refusal of a ciphertext the same error.
func oaepVerdict(err error) error {
	var e *Error
	if errors.Is(err, provider.ErrInvalid) && errors.As(err, &e) {
		return errOAEP
	}
	return err
}

// refusesParameters tells whether the token can't do the mechanism with these parameters, whatever the ciphertext.
func refusesParameters(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch codeName(e.Code) {
	case "CKR_MECHANISM_PARAM_INVALID", "CKR_MECHANISM_INVALID":
		return true
	case "CKR_ARGUMENTS_BAD": // at the end it may be the ciphertext that is meant
		return e.Call == "C_DecryptInit"
	}
	return false
}

// tooSmall tells whether the module wants more room than it has asked for. p11-kit's remoting does for an empty message: to it a
// buffer of no bytes is the question how large it has to be.
func tooSmall(err error) bool {
	var e *Error
	return errors.As(err, &e) && codeName(e.Code) == "CKR_BUFFER_TOO_SMALL"
}

// padded returns b with zeros in front, up to n bytes: some modules leave out what a number does not need.
func padded(b []byte, n int) []byte {
	out := make([]byte, max(n, len(b)))
	copy(out[len(out)-len(b):], b)
	return out
}
