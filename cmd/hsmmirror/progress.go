package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// progressAfter is how long a command may take before it says that it is at work.
const progressAfter = time.Second

// progress says on a terminal, from a second on, that the command is at work and for how long. The caller calls stop before anything
// else is written. Elsewhere than on a terminal nothing is said.
func (a *app) progress(ctx context.Context, what string) (stop func()) {
	f, ok := a.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tell(ctx, f, what)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// tell writes the line over and over, and wipes it when ctx ends.
func tell(ctx context.Context, w io.Writer, what string) {
	start, tick := time.Now(), time.NewTicker(progressAfter)
	defer tick.Stop()
	told := false
	for {
		select {
		case <-tick.C:
			told = true
			fmt.Fprintf(w, "\r\x1b[Khsmmirror: %s, %d s", what, int(time.Since(start)/time.Second))
		case <-ctx.Done():
			if told {
				fmt.Fprint(w, "\r\x1b[K")
			}
			return
		}
	}
}
