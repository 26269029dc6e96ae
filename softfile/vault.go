package softfile

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// vault holds the store key of an opened store, under which the private halves in the records are encrypted.
type vault struct {
	id string // of the store key, as the headers of the JWEs name it

	mu  sync.RWMutex // held for writing by wipe only
	key provider.Secret
}

// storeKeyJWK is the plaintext of the store key's file.
type storeKeyJWK struct {
	Kty string `json:"kty"`
	K   string `json:"k"`
	KID string `json:"kid"`
	Alg string `json:"alg"`
}

func newVault() *vault {
	key := random(keySize)
	defer clear(key)
	return &vault{id: hex.EncodeToString(random(16)), key: provider.NewSecret(key)}
}

// lock encrypts the store key under a passphrase, as its file holds it.
func (v *vault) lock(passphrase provider.Secret, iterations int) (file []byte, err error) {
	h := jweHeader{Alg: algPassphrase, KID: v.id, P2S: b64.EncodeToString(random(saltSize)), P2C: iterations}
	kek, err := h.derive(passphrase.Expose())
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	err = v.use(func(key []byte) error {
		plaintext, err := json.Marshal(storeKeyJWK{Kty: "oct", K: b64.EncodeToString(key), KID: v.id, Alg: algStoreKey})
		if err != nil {
			return err
		}
		defer clear(plaintext)
		text, err := sealJWE(h, kek, plaintext)
		file = []byte(text + "\n")
		return err
	})
	return file, err
}

// readStoreKey reads the store key's file. fs.ErrNotExist if there is none; ErrTampered for one that is no such file.
func readStoreKey(dir *fileops.Dir) (jwe, error) {
	data, _, err := dir.ReadFile(storeKeyFile, maxStoreKey)
	if err != nil {
		return jwe{}, classify(err)
	}
	j, err := parseJWE(strings.TrimSuffix(string(data), "\n"))
	if err == nil && j.header.Alg != algPassphrase {
		err = fmt.Errorf("JWE of alg %s: want %s", j.header.Alg, algPassphrase)
	}
	if err != nil {
		return jwe{}, damaged(dir.Path(storeKeyFile), err)
	}
	return j, nil
}

// unlock decrypts the store key. ErrAuth if the passphrase is another one, which a changed file can't be told from.
func unlock(j jwe, passphrase provider.Secret) (*vault, error) {
	kek, err := j.header.derive(passphrase.Expose())
	if err != nil {
		return nil, err
	}
	defer clear(kek)
	plaintext, err := j.open(kek)
	if err != nil {
		return nil, fmt.Errorf("%w: passphrase of the store: %w", provider.ErrAuth, err)
	}
	defer clear(plaintext)
	var k storeKeyJWK
	if err := decodeStrict(plaintext, &k); err != nil {
		return nil, fmt.Errorf("%w: store key: no JWK", provider.ErrTampered)
	}
	key, err := b64.DecodeString(k.K)
	defer clear(key)
	if err != nil || len(key) != keySize || k.Kty != "oct" || k.Alg != algStoreKey || k.KID != j.header.KID {
		return nil, fmt.Errorf("%w: store key: not the key that its file names", provider.ErrTampered)
	}
	return &vault{id: k.KID, key: provider.NewSecret(key)}, nil
}

// verify returns nil if the directory's store key is still this one: what was encrypted under another could not be
// read back.
func (v *vault) verify(dir *fileops.Dir) error {
	j, err := readStoreKey(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return damaged(dir.Path(storeKeyFile), errors.New("gone since the store was opened"))
	}
	if err == nil && j.header.KID != v.id {
		err = damaged(dir.Path(storeKeyFile), errors.New("not the key that the store was opened with"))
	}
	return err
}

// seal encrypts the private half of a key for its record.
func (v *vault) seal(rec *record, key provider.ParsedMaterial) (text string, err error) {
	plaintext, err := encodePrivate(rec, key)
	if err != nil {
		return "", err
	}
	defer clear(plaintext)
	err = v.use(func(kek []byte) error {
		text, err = sealJWE(jweHeader{Alg: algStoreKey, KID: v.id}, kek, plaintext)
		return err
	})
	return text, err
}

// open decrypts the private half of a version. ErrTampered if it is not this version's, whole and unchanged.
func (v *vault) open(ver *version) (key provider.ParsedMaterial, err error) {
	refuse := func(err error) error {
		return fmt.Errorf("%w: private half of %q: %w", provider.ErrTampered, ver.rec.jwkKID(), err)
	}
	j, err := parseJWE(ver.rec.Private)
	if err != nil {
		return key, refuse(err)
	}
	if j.header.KID != v.id {
		return key, refuse(errors.New("encrypted under another store key"))
	}
	err = v.use(func(kek []byte) error {
		plaintext, err := j.open(kek)
		if err != nil {
			return refuse(err)
		}
		defer clear(plaintext)
		if key, err = decodePrivate(ver, plaintext); err != nil {
			return refuse(err)
		}
		return nil
	})
	return key, err
}

// use calls do with the store key. ErrClosed after wipe.
func (v *vault) use(do func(key []byte) error) error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.key.Empty() {
		return provider.ErrClosed
	}
	return do(v.key.Expose())
}

func (v *vault) wipe() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.key.Wipe()
}

// ask gets the passphrase of the store from its source. ErrAuth if there is none.
func ask(ctx context.Context, source provider.SecretSource) (provider.Secret, error) {
	return askFor(ctx, "the store", source)
}

func askFor(ctx context.Context, what string, source provider.SecretSource) (provider.Secret, error) {
	passphrase, err := source(ctx)
	switch {
	case ctx.Err() != nil:
		passphrase.Wipe()
		return provider.Secret{}, ctx.Err()
	case err != nil:
		return provider.Secret{}, fmt.Errorf("%w: passphrase of %s: %w", provider.ErrAuth, what, err)
	case passphrase.Empty():
		return provider.Secret{}, fmt.Errorf("%w: passphrase of %s: empty", provider.ErrAuth, what)
	}
	return passphrase, nil
}
