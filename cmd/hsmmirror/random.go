package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/hsmmirror/hsmmirror/provider"
)

func newRandom(a *app) *cobra.Command {
	var format, out string
	cmd := &cobra.Command{
		Use:   "random N",
		Short: "Print N random bytes from the store",
		Long: `Print N bytes from the random number generator of the store: of the token, if
there is one.`,
		Example: `  hsmmirror random 32
  hsmmirror random 32 --format raw --out key.bin`,
		Args: args(1, "the number of bytes"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("", "%s: want a number of bytes", printable(args[0]))
			}
			encode, err := a.encoding(format, out)
			if err != nil {
				return err
			}
			if err := provider.ValidateRandom(n); err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(ctx context.Context, p provider.Provider) error {
				b, err := p.RandomBytes(ctx, n)
				if err != nil {
					return err
				}
				defer clear(b)
				return a.writeOutput(out, encode(b), 0o600)
			})
		},
	}
	cmd.Flags().StringVar(&format, "format", "hex", "hex, base64 or raw")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write, mode 0600; stdout if left out or -")
	complete(cmd, "format", "hex", "base64", "raw")
	return prints("the bytes, as --format says", cmd)
}

// encoding returns how random bytes are written in the given format.
func (a *app) encoding(format, out string) (func([]byte) []byte, error) {
	switch format {
	case "hex":
		return func(b []byte) []byte { return []byte(hex.EncodeToString(b) + "\n") }, nil
	case "base64":
		return func(b []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(b) + "\n") }, nil
	case "raw":
		return func(b []byte) []byte { return b }, a.checkBinary(out)
	}
	return nil, usagef("", "format %q: want hex, base64 or raw", format)
}
