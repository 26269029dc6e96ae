//go:build cgo && unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/softhsm"
)

// process is a contender as the process that compares sees it.
type process struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

// start starts the program of a contender, which takes args, on a token of h.
func start(ctx context.Context, name string, h *softhsm.HSM, program string, args ...string) (*process, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), h.Env()), os.Stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name, cmd, in, bufio.NewScanner(out)}
	if answer, err := p.ask(string(h.Tokens[0].PIN.Expose())); err != nil || answer != "ready" {
		return nil, errors.Join(fmt.Errorf("%s did not start: %q", name, answer), err, p.stop())
	}
	return p, nil
}

// ask sends a line and returns the line that answers it.
func (p *process) ask(line string) (string, error) {
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		return "", err
	}
	if !p.out.Scan() {
		return "", errors.Join(io.ErrUnexpectedEOF, p.out.Err())
	}
	return p.out.Text(), nil
}

// figures are what a contender did in a window, and how long an operation took: by the clock, divided by the goroutines, and of
// processors. Both are nanoseconds.
type figures struct{ operations, wall, cpu float64 }

// run has the contender do the operation for d, at least once in each goroutine.
func (p *process) run(op operation, goroutines int, d time.Duration) (figures, error) {
	answer, err := p.ask(fmt.Sprintf("%s %d %d", op, goroutines, d.Nanoseconds()))
	if err != nil {
		return figures{}, fmt.Errorf("%s: %s: %w", p.name, op, err)
	}
	var f figures
	switch _, err := fmt.Sscan(answer, &f.operations, &f.wall, &f.cpu); {
	case answer == "error "+errNotOffered.Error():
		return figures{}, errNotOffered
	case err != nil || f.operations == 0:
		return figures{}, fmt.Errorf("%s: %s: %s", p.name, op, answer)
	}
	f.wall /= f.operations
	f.cpu /= f.operations
	return f, nil
}

// stop ends the process by closing its input.
func (p *process) stop() error {
	_ = p.in.Close() // fails if the process has ended, as Wait then says
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	return nil
}
