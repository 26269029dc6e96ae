package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/mirror"
	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/secretsource"
	"github.com/hsmmirror/hsmmirror/softfile"
)

// withStore opens the store that the options name, runs f with it and closes it.
func (a *app) withStore(ctx context.Context, f func(context.Context, provider.Provider) error) error {
	p, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer a.close(p)
	return f(ctx, p)
}

// close closes a store. What the command did is done, so a failure is a note and no error.
func (a *app) close(p io.Closer) {
	if m, ok := p.(*mirror.Mirror); ok && m.Status().SignedBySecondary > 0 {
		a.notes.degrade("signed with the keystore's copy of the key, and not by %s", a.primary)
	}
	if err := p.Close(); err != nil {
		a.notes.degrade("the store was not closed as it should be: %v", err)
	}
}

// openStore opens the primary, the keystore, or the mirror of both.
func (a *app) openStore(ctx context.Context) (provider.Provider, error) {
	o := &a.options
	if !o.hasPrimary() && o.store == "" {
		return nil, errNoStore
	}
	if err := o.checkStateDir(); err != nil {
		return nil, err
	}
	if !o.hasPrimary() {
		if o.manifestPin != "" {
			return a.openReader(ctx)
		}
		if err := a.checkStore(o.store); err != nil {
			return nil, err
		}
		return a.openKeystore(ctx)
	}
	primary, err := a.openPrimary(ctx)
	if err != nil || o.store == "" {
		return primary, err
	}
	secondary, err := a.openKeystore(ctx)
	if err != nil {
		return nil, errors.Join(err, primary.Close())
	}
	m, err := mirror.New(primary, secondary, o.mirrorConfig())
	if err != nil {
		return nil, err
	}
	a.noteMirror(m)
	return m, nil
}

// checkStateDir refuses a memory of what was seen that lies where it can be changed together with what was seen.
func (o *options) checkStateDir() error {
	if o.stateDir == "" || o.store == "" {
		return nil
	}
	store, err := filepath.Abs(o.store)
	if err != nil {
		return err
	}
	own, err := filepath.Abs(o.stateDir)
	if err != nil {
		return err
	}
	if path, err := filepath.Rel(store, own); err == nil && filepath.IsLocal(path) {
		return usagef("name one that who can write the keystore's files can't", "--state-dir %s lies in the keystore", printable(o.stateDir))
	}
	return nil
}

func (o *options) mirrorConfig() mirror.Config {
	return mirror.Config{
		Mode:            mirror.Mode(o.mode),
		NoFailOpenReads: !o.failOpenReads,
		FailOverSigning: o.failOverSigning,
		ManifestDir:     filepath.Join(o.store, "mirror"),
		Pin:             o.manifestPin,
		StateDir:        o.stateDir,
	}
}

// checkStore returns an error if the keystore is not there and the command makes no key: a directory with a misspelt name must
// not look like a store without keys.
func (a *app) checkStore(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) && !a.makes {
		return usagef("hsmmirror key create makes it", "there is no keystore %s", printable(dir))
	}
	return nil
}

func (o *options) hasPrimary() bool {
	return o.uri != "" || o.module != "" || o.token != "" || o.serial != "" || o.slot != ""
}

func (a *app) openPrimary(ctx context.Context) (provider.Provider, error) {
	if a.options.uri != "" && !isPKCS11(a.options.uri) {
		if cfg, err := softfile.ParseURI(a.options.uri); err == nil {
			if err := a.checkStore(cfg.Dir); err != nil {
				return nil, err
			}
			a.opensKeystore(cfg.Dir)
		}
		return provider.Open(ctx, a.options.uri)
	}
	t, err := a.openToken(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.checkPIN(ctx, t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// checkPIN returns an error if the token wants a login and no PIN source was named. Without the login it would hide its keys,
// which looks as if they were gone.
func (a *app) checkPIN(ctx context.Context, t *hsm.Token) error {
	if a.hasPIN {
		return nil
	}
	info, err := t.Info(ctx)
	if err != nil || !slices.Contains(info.Flags, "LOGIN_REQUIRED") {
		return nil // a token that is away is dealt with by the command
	}
	return usagef("name its source with --pin-source "+secretsource.Syntax, "%s wants a PIN", a.primary)
}

// openToken returns the token that the options name. It connects at the first call.
func (a *app) openToken(ctx context.Context) (*hsm.Token, error) {
	cfg, err := a.options.tokenConfig(ctx)
	if err != nil {
		return nil, err
	}
	a.primary, a.hasPIN = tokenName(cfg), cfg.PIN != nil
	return hsm.New(cfg)
}

// openKeystore opens the keystore of --store, and makes it if it is not there.
func (a *app) openKeystore(ctx context.Context) (*softfile.Store, error) {
	o := &a.options
	a.opensKeystore(o.store)
	cfg := softfile.Config{Dir: o.store}
	if o.passphraseSource != "" {
		var err error
		ask := secretSource
		if a.makes && missing(filepath.Join(o.store, keystoreKey)) {
			ask = newSecretSource
		}
		if cfg.Passphrase, err = ask(ctx, "passphrase-source", o.passphraseSource, "passphrase of keystore "+o.store); err != nil {
			return nil, err
		}
	}
	return softfile.Open(ctx, cfg)
}

// tokenConfig returns the token's configuration. A PIN source of the options counts where a URI names none.
func (o *options) tokenConfig(ctx context.Context) (hsm.Config, error) {
	cfg := hsm.Config{Module: o.module, Label: o.token, Serial: o.serial, Timeout: o.timeout}
	if o.uri != "" {
		var err error
		if cfg, err = hsm.ConfigFromURI(o.uri); err != nil {
			return cfg, err
		}
		cfg.Timeout = o.timeout
	}
	if o.slot != "" {
		var err error
		if cfg.Slot, err = o.slotID(); err != nil {
			return cfg, err
		}
	}
	if cfg.Module == "" {
		return cfg, usagef("hsmmirror token list --module PATH shows the tokens of a module", "no module: want --module with the path of a PKCS#11 library")
	}
	if cfg.Label == "" && cfg.Serial == "" && cfg.Slot == nil {
		return cfg, usagef("name it with --token, --serial or --slot; hsmmirror token list shows what is there", "no token was named")
	}
	if cfg.PIN != nil || cfg.PINPad || o.pinSource == "" {
		return cfg, nil
	}
	if o.pinSource == hsm.PINPadSource {
		cfg.PINPad = true
		return cfg, nil
	}
	var err error
	cfg.PIN, err = secretSource(ctx, "pin-source", o.pinSource, "PIN of "+tokenName(cfg))
	return cfg, err
}

// secretSource returns the source that a flag names. A prompt asks for what, and asks now: later the store's time limits would
// run while a person types.
func secretSource(ctx context.Context, flag, spec, what string) (provider.SecretSource, error) {
	if spec != "prompt" {
		source, err := secretsource.Parse(spec)
		if err != nil {
			return nil, usagef("", "--%s: want %s", flag, secretsource.Syntax)
		}
		return source, nil
	}
	secret, err := secretsource.Prompt(printable(what))(ctx)
	return func(context.Context) (provider.Secret, error) { return provider.NewSecret(secret.Expose()), nil }, err
}

// newSecretSource is secretSource for a secret that nothing knows yet: a prompt asks twice, because a mistake would show only when the
// secret is needed.
func newSecretSource(ctx context.Context, flag, spec, what string) (provider.SecretSource, error) {
	source, err := secretSource(ctx, flag, spec, what)
	if err != nil || spec != "prompt" {
		return source, err
	}
	again, err := secretsource.Prompt(printable(what) + ", again")(ctx)
	if err != nil {
		return nil, err
	}
	defer again.Wipe()
	first, err := source(ctx)
	if err != nil {
		return nil, err
	}
	defer first.Wipe()
	if subtle.ConstantTimeCompare(first.Expose(), again.Expose()) != 1 {
		return nil, usagef("", "%s: the two answers differ", printable(what))
	}
	return source, nil
}

func isPKCS11(uri string) bool {
	scheme, _, _ := strings.Cut(uri, ":")
	return strings.EqualFold(scheme, "pkcs11")
}

// tokenName is how warnings and questions name a token.
func tokenName(cfg hsm.Config) string {
	switch {
	case cfg.Label != "":
		return "token " + strconv.Quote(cfg.Label)
	case cfg.Serial != "":
		return "token with serial number " + strconv.Quote(cfg.Serial)
	case cfg.Slot != nil:
		return "token in slot " + strconv.FormatUint(uint64(*cfg.Slot), 10)
	}
	return "the token"
}
