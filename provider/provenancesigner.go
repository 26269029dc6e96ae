package provider

import (
	"context"
	"crypto"
	"time"
)

// ProvenanceSigner is satisfied by signers that may sign with another copy of the key than that of the system of record, and
// say so of each signature. Signatures of any other signer are the system of record's own.
type ProvenanceSigner interface {
	Signer
	// SignWithProvenance is SignContext that also says which store signed. The Provenance of an error is zero.
	SignWithProvenance(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, Provenance, error)
}

// SignWithProvenance signs with s and says which store signed, as far as s is a [ProvenanceSigner].
func SignWithProvenance(ctx context.Context, s Signer, digest []byte, opts crypto.SignerOpts) ([]byte, Provenance, error) {
	if p, ok := s.(ProvenanceSigner); ok {
		return p.SignWithProvenance(ctx, digest, opts)
	}
	signature, err := s.SignContext(ctx, digest, opts)
	if err != nil {
		return nil, Provenance{}, err
	}
	return signature, FromPrimary(time.Now()), nil
}
