package softfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync/atomic"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Config says how to open a store.
type Config struct {
	// Dir is the store's directory. It is made if it is missing; its parent must exist. A relative path counts from the
	// working directory at the time of Open.
	Dir string

	// Passphrase is asked once, by Open, for the passphrase of the private material. The first Open with a passphrase
	// sets it. nil opens the store for public material only.
	Passphrase provider.SecretSource

	// Logger is told once of each file that can't be read, and of modes that gave others access. nil logs nothing:
	// ListKeys and ListVersions name the files too.
	Logger *slog.Logger
}

// Store is an open store. The package's documentation says what it promises. Open makes one; the zero value is of no use.
type Store struct {
	path       string
	hook       fileops.Hook
	iterations int    // of the key derivation, for what is encrypted from now on
	vault      *vault // nil: opened without a passphrase
	index      index
	writing    semaphore       // held by the goroutine that changes the directory, before it asks for the lock file
	synced     map[string]bool // directories whose own names this store knows to be durable; writing guards it
	closed     atomic.Bool
}

var (
	_ provider.Provider       = (*Store)(nil)
	_ provider.Signing        = (*Store)(nil)
	_ provider.Decrypting     = (*Store)(nil)
	_ provider.Encrypting     = (*Store)(nil)
	_ provider.Authenticating = (*Store)(nil)
	_ provider.KeyAgreement   = (*Store)(nil)
	_ provider.Exporting      = (*Store)(nil)
	_ provider.Replica        = (*Store)(nil)
	_ provider.Checking       = (*Store)(nil)
)

// Format prints the store's directory, whatever the verb: a Store holds the key to its secrets, and changes while it is printed.
func (s *Store) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "softfile.Store(%q)", s.path) }

// Open opens the store in a directory and reads it. Files in it that can't be read are reported by ListKeys and
// ListVersions, and hinder nothing else.
//
// [provider.ErrAuth] if the passphrase is wrong or its source has none; nothing was touched then. [provider.ErrUnavailable]
// if the directory can't be read or made. [provider.ErrTampered] if something stands in the place of the keys' directory
// or of the store key that is neither, or if the store key is missing though records are encrypted under it.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	return open(ctx, cfg, nil, iterations)
}

func open(ctx context.Context, cfg Config, hook fileops.Hook, iterations int) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cfg.Dir == "" {
		return nil, provider.Invalidf("store without a directory")
	}
	path, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, classify(err)
	}
	log := cfg.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Store{path: path, hook: hook, iterations: iterations, writing: make(semaphore, 1), synced: map[string]bool{}}
	s.index = index{path: path, hook: hook, log: log, warn: looseModes{log: log}, loading: make(semaphore, 1)}
	if err := s.start(ctx, cfg.Passphrase); err != nil {
		s.Close() // wipes
		return nil, err
	}
	return s, nil
}

// start asks for the passphrase before anything else, and unlocks before anything is changed.
func (s *Store) start(ctx context.Context, source provider.SecretSource) error {
	var passphrase provider.Secret
	if source != nil {
		var err error
		if passphrase, err = ask(ctx, source); err != nil {
			return err
		}
		defer passphrase.Wipe()
	}
	dir, err := openOrMake(s.path, s.hook)
	if err != nil {
		return classify(err)
	}
	defer dir.Close()
	if source != nil {
		j, err := readStoreKey(dir)
		if err == nil {
			s.vault, err = unlock(j, passphrase)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := s.index.recheck(ctx); err != nil {
		return err
	}
	if source != nil && s.vault == nil {
		if err := s.setPassphrase(ctx, passphrase); err != nil {
			return err
		}
	}
	if s.vault != nil {
		s.tighten(dir, storeKeyFile)
	}
	s.tighten(dir, lockFile)
	s.tidy(dir)
	return nil
}

// tighten repairs the mode of a file in the top of the directory, if there is one.
func (s *Store) tighten(dir *fileops.Dir, name string) {
	if info, err := dir.Lstat(name); err == nil && info.Mode().IsRegular() {
		s.index.warn.tighten(dir, name, info)
	}
}

func openOrMake(path string, hook fileops.Hook) (*fileops.Dir, error) {
	dir, err := fileops.Open(path, hook)
	if !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	if err := fileops.Make(path, hook); err != nil {
		return nil, err
	}
	return fileops.Open(path, hook)
}

// setPassphrase makes the store key, unless another process made it meanwhile.
func (s *Store) setPassphrase(ctx context.Context, passphrase provider.Secret) error {
	entries, _, _ := s.index.all(func(string) bool { return true })
	for _, e := range entries {
		for _, v := range e.versions {
			if v.rec.Private != "" {
				return damaged(filepath.Join(s.path, storeKeyFile), fmt.Errorf("missing, though %q is encrypted under it", v.rec.jwkKID()))
			}
		}
	}
	fresh := newVault()
	file, err := fresh.lock(passphrase, s.iterations)
	if err != nil {
		return err
	}
	return s.exclusive(ctx, func(dir *fileops.Dir) error {
		j, err := readStoreKey(dir)
		if errors.Is(err, fs.ErrNotExist) {
			s.vault = fresh
			return classify(dir.Create(storeKeyFile, file))
		}
		fresh.wipe()
		if err == nil {
			s.vault, err = unlock(j, passphrase)
		}
		return err
	})
}

// tidy removes what a writer left that died: temporary files, and the records of destroyed versions. If another writer is
// at work or the directory can't be written, that waits for the next write or Open.
func (s *Store) tidy(dir *fileops.Dir) {
	unlock, held, err := dir.TryLock(lockFile)
	if err != nil || !held {
		return
	}
	defer unlock()
	_ = dir.Sweep()
	entries, _, _ := s.index.all(func(string) bool { return true })
	for _, e := range entries {
		_ = e.removeLeftovers(dir)
	}
}

// ChangePassphrase encrypts the store key under another passphrase, in one durable step. What a copy of the old file and
// the old passphrase open together stays the same; no key is encrypted anew.
//
// [provider.ErrAuth] if the store was opened without a passphrase, or next has none to give.
func (s *Store) ChangePassphrase(ctx context.Context, next provider.SecretSource) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	if s.vault == nil {
		return errLocked("change the passphrase")
	}
	passphrase, err := ask(ctx, next)
	if err != nil {
		return err
	}
	defer passphrase.Wipe()
	file, err := s.vault.lock(passphrase, s.iterations)
	if err != nil {
		return err
	}
	return s.exclusive(ctx, func(dir *fileops.Dir) error {
		if err := s.vault.verify(dir); err != nil {
			return err
		}
		return classify(dir.Replace(storeKeyFile, file))
	})
}

// Close wipes the store key and ends the use of the store, and of the signers and ciphers that came from it.
func (s *Store) Close() error {
	s.closed.Store(true)
	if s.vault != nil {
		s.vault.wipe()
	}
	return nil
}

// enter is what every method begins with. checks are the results of checking the arguments.
func (s *Store) enter(ctx context.Context, checks ...error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed.Load() {
		return fmt.Errorf("softfile: %w", provider.ErrClosed)
	}
	for _, err := range checks {
		if err != nil {
			return err
		}
	}
	return nil
}

// errLocked is the answer where the passphrase is needed that Open was not given.
func errLocked(what string) error {
	return fmt.Errorf("%w: %s: the store was opened without a passphrase", provider.ErrAuth, what)
}
