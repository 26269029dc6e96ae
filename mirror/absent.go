package mirror

import (
	"context"
	"fmt"

	"github.com/hsmmirror/hsmmirror/provider"
)

// NewReader returns the Mirror of who only verifies: it has no primary, and reads what another process's or host's Mirror keeps.
// Reads are answered from secondary as during an outage; a write is [provider.ErrUnavailable], and a signer
// [provider.ErrUnsupported]. Neither secondary nor the files in Config.ManifestDir are changed.
//
// Give it Config.ManifestDir, where that Mirror's manifest is, its Pin, and a StateDir of its own. Mode and FailOverSigning do not
// matter. Ownership and errors are as in [New].
func NewReader(secondary provider.Provider, cfg Config) (*Mirror, error) {
	cfg.Mode, cfg.FailOverSigning = None, false
	return New(absent{}, secondary, cfg)
}

// absent is the primary that a reader does not have: it answers nothing.
type absent struct{}

var errAbsent = fmt.Errorf("%w: a reader has no primary", provider.ErrUnavailable)

var _ provider.Provider = absent{}

// writes returns the error of a reader for what would note something in the files before it asks the primary.
func (m *Mirror) writes() error {
	if _, reader := m.primary.(absent); reader {
		return errAbsent
	}
	return nil
}

func (absent) Capabilities(context.Context) (provider.Capabilities, error) {
	return provider.Capabilities{}, errAbsent
}

func (absent) CreateKey(context.Context, provider.KeySpec) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) ImportKey(context.Context, provider.KeySpec, provider.KeyMaterial) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) RotateKey(context.Context, string, provider.Rotation) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) DestroyKey(context.Context, string, int) (provider.Destruction, error) {
	return provider.Destruction{}, errAbsent
}

func (absent) GetKey(context.Context, string, int) (provider.KeyRef, error) {
	return provider.KeyRef{}, errAbsent
}

func (absent) ListKeys(context.Context) (provider.KeyList, error) {
	return provider.KeyList{}, errAbsent
}

func (absent) ListVersions(context.Context, string) (provider.KeyList, error) {
	return provider.KeyList{}, errAbsent
}

func (absent) PublicJWK(context.Context, string, int) (provider.JWK, error) {
	return provider.JWK{}, errAbsent
}

func (absent) JWKS(context.Context, string) (provider.JWKSet, error) {
	return provider.JWKSet{}, errAbsent
}

func (absent) RandomBytes(context.Context, int) ([]byte, error) { return nil, errAbsent }

func (absent) HKDF(context.Context, []byte, []byte, []byte, int) ([]byte, error) {
	return nil, errAbsent
}

func (absent) Close() error { return nil }
