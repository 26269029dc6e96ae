package softfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// material returns the key of one version of an original store. A private half that can't be had is reported, and the
// public one is returned without it; but two halves that are not one pair are an error.
func (m *mover) material(files *fileops.Dir, ref provider.KeyRef) (provider.ParsedMaterial, error) {
	if ref.Alg.Class() == provider.Symmetric {
		return m.symmetric(files, ref)
	}
	public, err := publicHalf(files, ref)
	if err != nil {
		return public, err
	}
	private, err := m.privateHalf(files, ref)
	switch {
	case public.Public == nil && err != nil && !errors.Is(err, provider.ErrNotFound):
		return public, err
	case public.Public == nil && private.Private == nil:
		return public, fmt.Errorf("%w: neither %s nor %s", provider.ErrNotFound, originalPublic, originalPrivate)
	case err != nil:
		m.report.leavePrivate(ref.JWKKID(), err)
		return public, nil
	case private.Private == nil:
		return public, nil
	case public.Public != nil && !samePublic(private.Public, public.Public):
		return public, provider.Invalidf("%s and %s do not belong together", originalPrivate, originalPublic)
	}
	return private, nil
}

// publicHalf returns an empty key if there is no public.pem: a private half has its public half in it.
func publicHalf(files *fileops.Dir, ref provider.KeyRef) (key provider.ParsedMaterial, err error) {
	data, err := readOriginalKey(files, originalPublic)
	if err != nil || len(data) == 0 {
		return key, err
	}
	if key, err = (provider.KeyMaterial{Public: data}).Parse(ref.Alg, 0); err != nil {
		return provider.ParsedMaterial{}, fmt.Errorf("%s: %w", originalPublic, err)
	}
	return key, nil
}

// privateHalf returns an empty key if there is no private.pem and none is to be expected.
func (m *mover) privateHalf(files *fileops.Dir, ref provider.KeyRef) (key provider.ParsedMaterial, err error) {
	data, err := m.readPrivate(files)
	defer clear(data)
	if err != nil {
		return key, err
	}
	if len(data) == 0 {
		if ref.Export == provider.ExportPublicOnly { // under which the original kept none
			return key, nil
		}
		return key, fmt.Errorf("%w: no %s", provider.ErrNotFound, originalPrivate)
	}
	secret := provider.NewSecret(data)
	defer secret.Wipe()
	if key, err = (provider.KeyMaterial{Private: secret}).Parse(ref.Alg, 0); err != nil {
		return provider.ParsedMaterial{}, fmt.Errorf("%s: %w", originalPrivate, err)
	}
	return key, nil
}

// symmetric reads a secret key: JSON, in spite of the file's name.
func (m *mover) symmetric(files *fileops.Dir, ref provider.KeyRef) (provider.ParsedMaterial, error) {
	data, err := m.readPrivate(files)
	defer clear(data)
	if err != nil {
		return provider.ParsedMaterial{}, err
	}
	if len(data) == 0 {
		return provider.ParsedMaterial{}, fmt.Errorf("%w: no %s", provider.ErrNotFound, originalPrivate)
	}
	var k struct {
		Kty string  `json:"kty"`
		K   *string `json:"k"` // null under the policy public_only, where the original threw the key away
	}
	if err := json.Unmarshal(data, &k); err != nil || k.Kty != "oct" {
		return provider.ParsedMaterial{}, provider.Invalidf("%s: not the JSON in which the original keeps a secret key", originalPrivate)
	}
	if k.K == nil {
		return provider.ParsedMaterial{}, fmt.Errorf("%w: %s without a key: the original threw it away", provider.ErrNotFound, originalPrivate)
	}
	key, err := b64.DecodeString(strings.TrimRight(*k.K, "="))
	defer clear(key)
	if err != nil {
		return provider.ParsedMaterial{}, provider.Invalidf("%s: k: not base64url", originalPrivate)
	}
	secret := provider.NewSecret(key)
	defer secret.Wipe()
	return provider.KeyMaterial{Private: secret}.Parse(ref.Alg, 0)
}

// readPrivate does not even read a private half that this store could not keep.
func (m *mover) readPrivate(files *fileops.Dir) ([]byte, error) {
	if m.store.vault == nil {
		_, err := files.Lstat(originalPrivate)
		if err == nil {
			err = errLocked("store a private key")
		}
		return nil, ignoreMissing(err)
	}
	return readOriginalKey(files, originalPrivate)
}

// readOriginalKey returns nothing if there is no such file, or nothing in it because its writer died.
func readOriginalKey(files *fileops.Dir, name string) ([]byte, error) {
	data, _, err := files.ReadFile(name, maxOriginal)
	return data, ignoreMissing(err)
}

func ignoreMissing(err error) error {
	switch {
	case err == nil || errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, provider.ErrAuth):
		return err
	}
	return classify(err)
}
