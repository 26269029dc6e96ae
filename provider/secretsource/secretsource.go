// Package secretsource makes sources of PINs and passphrases: a file, an environment variable, a file descriptor, a prompt
// on the terminal, or a function of the program. No source runs a command, and none takes the secret itself as text.
//
// [Parse] returns [provider.ErrInvalid] for a specification that breaks a rule. A source that has no secret to give returns
// [provider.ErrAuth], which says why, or the error of its context. No error repeats a secret, nor any part of a
// specification that could be one given by mistake.
//
// A secret is 1 to [MaxBytes] bytes. One newline at its end (LF or CR LF) is left out.
package secretsource

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// MaxBytes is the greatest length of a secret.
const MaxBytes = 4096

// Syntax is what [Parse] understands, in words.
const Syntax = "file:PATH, env:NAME, fd:N or prompt"

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Parse returns the source that spec names: file:PATH ([File]), env:NAME ([Env]), fd:N ([FD]) or prompt ([Prompt]). It opens
// and reads nothing. [provider.ErrInvalid] for everything else.
func Parse(spec string) (provider.SecretSource, error) {
	if spec == "prompt" {
		return Prompt("PIN or passphrase"), nil
	}
	scheme, rest, _ := strings.Cut(spec, ":")
	switch scheme {
	case "file":
		if rest == "" || strings.ContainsRune(rest, 0) {
			return nil, provider.Invalidf("secret source: want a path after file:")
		}
		return File(rest), nil
	case "env":
		if !envName.MatchString(rest) {
			return nil, provider.Invalidf("secret source: want the name of an environment variable after env:")
		}
		return Env(rest), nil
	case "fd":
		n, err := strconv.Atoi(rest)
		if err != nil || n < 0 || n == 1 || n == 2 {
			return nil, provider.Invalidf("secret source: want the number of an open file descriptor after fd:, 0 or from 3 on")
		}
		return FD(n), nil
	}
	return nil, provider.Invalidf("secret source: want %s", Syntax)
}

// Env returns the value of an environment variable, read at each call.
func Env(name string) provider.SecretSource {
	return source(func(context.Context) ([]byte, error) {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not set", name)
		}
		return []byte(value), nil
	}, "environment variable "+name)
}

// Func returns what f returns, and wipes f's slice.
func Func(f func(context.Context) ([]byte, error)) provider.SecretSource {
	return source(f, "secret source")
}

// source makes a SecretSource of read, whose slice it wipes. what names it in errors.
func source(read func(context.Context) ([]byte, error), what string) provider.SecretSource {
	return func(ctx context.Context) (provider.Secret, error) {
		if err := ctx.Err(); err != nil {
			return provider.Secret{}, err
		}
		b, err := read(ctx)
		defer clear(b)
		if ctx.Err() != nil {
			return provider.Secret{}, ctx.Err()
		}
		if err != nil {
			return provider.Secret{}, fmt.Errorf("%w: %w", provider.ErrAuth, err)
		}
		secret := trimNewline(b)
		if len(secret) == 0 {
			return provider.Secret{}, fmt.Errorf("%w: %s is empty", provider.ErrAuth, what)
		}
		if len(secret) > MaxBytes {
			return provider.Secret{}, fmt.Errorf("%w: %s holds more than %d bytes", provider.ErrAuth, what, MaxBytes)
		}
		return provider.NewSecret(secret), nil
	}
}

// maxRead is enough to see that a secret is too long.
const maxRead = MaxBytes + len("\r\n") + 1

func trimNewline(b []byte) []byte {
	if line, ok := bytes.CutSuffix(b, []byte("\n")); ok {
		return bytes.TrimSuffix(line, []byte("\r"))
	}
	return b
}
