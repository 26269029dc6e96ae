package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/hsm"
)

func newToken(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Look into PKCS#11 modules and their tokens",
		Long: `Look into PKCS#11 modules and their tokens. Nothing is written to a token but by
tidy, and no hsmmirror needs to have been there before. Without --module all modules are
looked at that p11-kit has configured, and those in well-known places. Each is
loaded by a process of its own, so one that crashes or hangs spoils nothing but
its own answer.`,
	}, newTokenList(a), newTokenInfo(a), newTokenMechanisms(a), newTokenObjects(a), newTokenDoctor(a), newTokenTidy(a))
}

// withToken is withStore for commands that work on the token itself.
func (a *app) withToken(ctx context.Context, f func(context.Context, *hsm.Token) error) error {
	if !a.options.hasPrimary() || a.options.uri != "" && !isPKCS11(a.options.uri) {
		return usagef("name a token with --module and --token (or --serial, --slot), or with --uri pkcs11:…", "no token was named")
	}
	t, err := a.openToken(ctx)
	if err != nil {
		return err
	}
	defer a.close(t)
	return f(ctx, t)
}
