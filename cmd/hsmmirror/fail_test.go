package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

func TestHowAFailureIsTold(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	here := t.Context()
	token, keystore := options{token: "demo"}, options{store: "store"}
	tests := []struct {
		name    string
		ctx     context.Context
		options options
		err     error
		want    string // after "hsmmirror: error: "
		code    int
	}{
		{"anything", here, token, errors.New("one\ntwo"), "one; two\n", exitRefused},
		{"bad input", here, token, fmt.Errorf("read: %w", provider.Invalidf("a: %w", provider.Invalidf("b"))), "read: invalid: a: b\n", exitUsage},
		{"a wrong command line", here, token, usagef("do so", "want %s", "that"), "want that\nhsmmirror: hint: do so\n", exitUsage},
		{"a wrong command line, without more to say", here, token, usagef("", "want that"), "want that\n", exitUsage},
		{"advice", here, token, &hintedError{errors.New("no"), "try so"}, "no\nhsmmirror: hint: try so\n", exitRefused},
		{"a wrong PIN", here, token, fmt.Errorf("%w: %w", provider.ErrAuth, &hsm.Error{Token: "demo", Call: "C_Login", Code: 0xA0}),
			"the PIN was refused: authentication refused: token \"demo\": C_Login: CKR_PIN_INCORRECT\nhsmmirror: hint: check the PIN before you try again: a few wrong ones lock most tokens\n", exitRefused},
		{"a locked PIN", here, token, &hsm.Error{Token: "demo", Call: "C_Login", Code: ckrPINLocked},
			"the PIN was refused: token \"demo\": C_Login: CKR_PIN_LOCKED\nhsmmirror: hint: unlock it with the security officer's PIN, such as by pkcs11-tool --init-pin\n", exitRefused},
		{"no secret", here, token, fmt.Errorf("%w: file pin: others can read it", provider.ErrAuth),
			"authentication refused: file pin: others can read it\nhsmmirror: hint: name the source of the PIN with --pin-source, of a keystore's passphrase with --passphrase-source; a file has to be one that only its owner can read\n", exitRefused},
		{"another answer of the token is no refused PIN", here, token, &hsm.Error{Token: "demo", Call: "C_Sign", Code: 0x68}, "token \"demo\": C_Sign: CKR_KEY_FUNCTION_NOT_PERMITTED\n", exitRefused},
		{"no such key", here, token, provider.NotFound("k", 1), "key not found: \"k\" version 1\nhsmmirror: hint: hsmmirror key list shows the keys of the store\n", exitRefused},
		{"a key that is there", here, token, fmt.Errorf("%w: k", provider.ErrExists), "key exists: k\nhsmmirror: hint: hsmmirror key rotate makes a new version of a key\n", exitRefused},
		{"no such token", here, token, errNoSuchToken, "token \"demo\" is unavailable: no module shows such a token\nhsmmirror: hint: hsmmirror token list shows the tokens that are there\n", exitRefused},
		{"an outage", here, token, fmt.Errorf("%w: token \"demo\": %w: unplugged", provider.ErrUnavailable, provider.ErrUnavailable), "token \"demo\" is unavailable: unplugged\n", exitRefused},
		{"an outage of what is no token", here, keystore, fmt.Errorf("%w: %w: unplugged", provider.ErrUnavailable, provider.ErrUnavailable), "store unavailable: unplugged\n", exitRefused},
		{"a file that can't be read is no outage of the token", here, token, fmt.Errorf("%w: %w", provider.ErrUnavailable, &fs.PathError{Op: "open", Path: "store", Err: fs.ErrPermission}),
			"store unavailable: open store: permission denied\n", exitRefused},
		{"a module that crashed is no outage of the token", here, token, &errModule{"/m.so", "C_Sign", "crashed", false}, "module /m.so: C_Sign crashed\n", exitRefused},
		{"an interrupt", cancelled, token, fmt.Errorf("%w: %w", provider.ErrUnavailable, context.Canceled), "interrupted\n", exitRefused},
		{"what failed before the interrupt came", cancelled, token, errors.New("disk full"), "disk full\n", exitRefused},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stderr bytes.Buffer
			a := &app{streams: streams{err: &stderr}, options: test.options, primary: `token "demo"`, started: true}
			a.notes.degrade("and this")
			require.Equal(t, test.code, a.fail(test.ctx, test.err))
			require.Equal(t, "hsmmirror: warning: and this\nhsmmirror: error: "+test.want, stderr.String())

			a.started = false // what is wrong with a command line has no other exit code, whatever it is
			require.Equal(t, exitUsage, a.fail(test.ctx, test.err))
		})
	}
}
