// Command hsmmirror works with keys in a PKCS#11 token, and keeps their public halves available in a directory when the token
// is not. Run hsmmirror help.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(realMain()) }

// realMain ends gently at the first Ctrl-C or SIGTERM, and at once at the second.
func realMain() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}
