// Package softhsm makes throwaway SoftHSM2 tokens, for tests and for the demo. It needs SoftHSM2 on the machine, and no cgo:
// it does not load the module.
//
// SoftHSM2 reads its configuration from the file that the environment variable SOFTHSM2_CONF names, at C_Initialize, and
// finds the tokens then. So a process has one SoftHSM2, whose tokens are all made before the module is loaded.
package softhsm

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// ConfEnv names the environment variable through which the module finds its configuration.
const ConfEnv = "SOFTHSM2_CONF"

//go:embed softhsm2.conf
var confTemplate string

// HSM is a SoftHSM2 in a temporary directory of its own.
type HSM struct {
	Module string // path of the PKCS#11 module
	Conf   string // path of its configuration
	Tokens []Token

	dir string
}

// Token is one initialised, empty token.
type Token struct {
	Label   string
	PIN     provider.Secret // of the user
	SOPIN   provider.Secret // of the security officer
	PINFile string          // holds PIN and a newline, mode 0600
}

// New makes an HSM with one token for each label, in a new directory under dir; the default directory for temporary files
// if dir is empty. [ErrMissing] if SoftHSM2 is not installed. The caller calls Close.
func New(ctx context.Context, dir string, labels ...string) (_ *HSM, err error) {
	module, err := Find()
	if err != nil {
		return nil, err
	}
	util, err := findUtil()
	if err != nil {
		return nil, err
	}
	if dir, err = os.MkdirTemp(dir, "hsmmirror-softhsm-"); err != nil {
		return nil, fmt.Errorf("directory for SoftHSM2: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	h := &HSM{Module: module, Conf: filepath.Join(dir, "softhsm2.conf"), dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := os.Mkdir(h.TokenDir(), 0o700); err != nil {
		return nil, err
	}
	conf := strings.ReplaceAll(confTemplate, "@TOKENDIR@", h.TokenDir())
	if err := os.WriteFile(h.Conf, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	for _, label := range labels {
		if err := h.initToken(ctx, util, label); err != nil {
			return nil, fmt.Errorf("make token %q: %w", label, err)
		}
	}
	return h, nil
}

// initToken makes a token with random PINs. softhsm2-util takes a PIN as an argument or from a terminal, so for a moment the
// list of processes shows them. They guard nothing: the token is empty, is readable by this user only, and goes away.
func (h *HSM) initToken(ctx context.Context, util, label string) error {
	pin, soPIN := rand.Text(), rand.Text()
	cmd := exec.CommandContext(ctx, util, "--init-token", "--free", "--module", h.Module, "--label", label, "--pin", pin, "--so-pin", soPIN)
	cmd.Env = append(os.Environ(), h.Env())
	out, err := cmd.CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("softhsm2-util: %w: %s", err, strings.TrimSpace(string(out)))
	}
	file := filepath.Join(h.dir, fmt.Sprintf("pin.%d", len(h.Tokens)+1))
	if err := os.WriteFile(file, []byte(pin+"\n"), 0o600); err != nil {
		return err
	}
	h.Tokens = append(h.Tokens, Token{label, provider.NewSecret([]byte(pin)), provider.NewSecret([]byte(soPIN)), file})
	return nil
}

// Env returns the assignment SOFTHSM2_CONF=… for the environment of a process that loads the module.
func (h *HSM) Env() string { return ConfEnv + "=" + h.Conf }

// TokenDir returns the directory that holds the tokens' files.
func (h *HSM) TokenDir() string { return filepath.Join(h.dir, "tokens") }

// Remove takes all tokens away, also from the processes that have the module loaded. Restore puts them back.
func (h *HSM) Remove() error { return os.Rename(h.TokenDir(), h.awayDir()) }

// Restore puts back what Remove took away.
func (h *HSM) Restore() error { return os.Rename(h.awayDir(), h.TokenDir()) }

// Removed tells whether the tokens are away.
func (h *HSM) Removed() bool {
	_, err := os.Lstat(h.TokenDir())
	return errors.Is(err, fs.ErrNotExist)
}

// Close removes everything, whether the tokens are there or away.
func (h *HSM) Close() error { return os.RemoveAll(h.dir) }

func (h *HSM) awayDir() string { return h.TokenDir() + ".away" }

// PINSource returns the user's PIN as often as it is asked. Each answer may be wiped.
func (t Token) PINSource() provider.SecretSource {
	return func(context.Context) (provider.Secret, error) { return provider.NewSecret(t.PIN.Expose()), nil }
}
