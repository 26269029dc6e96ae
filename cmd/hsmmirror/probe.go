package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// Inspection loads modules that may crash or hang, so each look at one is made by a process of its own: this program, started with
// probeArg alone. It reads a probeRequest from its stdin, and writes probeEvents to its file descriptor 3: each call into the module
// before it is made, and at last the answer. Its stdin stays open as long as the answer is wanted.

// probeArg makes the program a probe.
const probeArg = "__probe"

// probeRequest says what to look at.
type probeRequest struct {
	Module   string
	InitArgs string      // as in hsm.Config
	Objects  *probeToken // nil: the module and its slots
	Trial    *hsm.Trial  // nil: look only
}

// probeToken is the token to look at, and how. A PIN goes through the pipe, and stands in no argument and no environment.
type probeToken struct {
	Slot          uint
	Label, Serial string
	LogIn         bool
	PINPad        bool // the token asks for the PIN itself
	PIN           []byte
}

// probeEvent is one message of a probe. Exactly one member is set.
type probeEvent struct {
	Call    string            // it is about to be made
	Module  *hsm.ModuleInfo   // the answer about a module
	Objects *hsm.TokenObjects // the answer about a token's objects
	Trial   *hsm.TrialResult  // of one step of a trial; others follow
	Done    bool              // the end of a trial
	Failure *probeFailure     // the answer is an error
}

// probeFailure is an error on its way between processes.
type probeFailure struct {
	Text     string
	Sentinel int        // 1 + index in sentinels; 0: none
	Answer   *hsm.Error // of the token; nil if it gave none
}

var sentinels = []error{
	provider.ErrNotFound, provider.ErrExists, provider.ErrUnsupported, provider.ErrInvalid, provider.ErrNotExportable, provider.ErrUnavailable,
	provider.ErrAuth, provider.ErrTampered, provider.ErrStale, provider.ErrClosed,
}

func newProbeFailure(err error) *probeFailure {
	f := &probeFailure{Text: err.Error()}
	f.Answer, _ = errors.AsType[*hsm.Error](err)
	for i, s := range sentinels {
		if errors.Is(err, s) {
			f.Sentinel = i + 1
			break
		}
	}
	return f
}

func (f *probeFailure) Error() string { return f.Text }

func (f *probeFailure) Unwrap() (errs []error) {
	if f.Sentinel >= 1 && f.Sentinel <= len(sentinels) {
		errs = append(errs, sentinels[f.Sentinel-1])
	}
	if f.Answer != nil {
		errs = append(errs, f.Answer)
	}
	return errs
}

// errModule is what a module that crashed, hung or ended the process makes of every question.
type errModule struct {
	path, call, what string
	hung             bool
}

func (e *errModule) Error() string {
	return fmt.Sprintf("module %s: %s %s", printable(e.path), cmp.Or(e.call, "loading it"), e.what)
}

// Unwrap says that the module gave no answer.
func (e *errModule) Unwrap() error { return provider.ErrUnavailable }

// probe has another process do what req says, and hands its events to each as they come; those about calls it keeps. A call that does
// not come back within the time limit, or ends the process, is an errModule.
func (a *app) probe(ctx context.Context, req probeRequest, each func(probeEvent)) error {
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd, events, in, err := startProbe(running)
	if err != nil {
		return fmt.Errorf("look at module %s: %w", printable(req.Module), err)
	}
	defer in.Close()
	defer events.Close()
	last, hung, failure := followProbe(running, cancel, req, events, in, a.options.limit(), each)
	werr := cmd.Wait()
	switch {
	case failure == nil:
		return nil
	case !errors.Is(failure, errNoAnswer):
		return failure
	case hung:
		return &errModule{req.Module, last, fmt.Sprintf("did not come back within %v", limitOf(last, a.options.limit())), true}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return &errModule{req.Module, last, "crashed the process that looked at it" + crashReason(cmd.Stderr.(*headBuffer), werr), false}
}

// errNoAnswer means that a probe ended before it had answered.
var errNoAnswer = errors.New("the probe gave no answer")

// startProbe starts the other process.
func startProbe(ctx context.Context) (cmd *exec.Cmd, events *os.File, in io.WriteCloser, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, nil, err
	}
	events, theirs, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, err
	}
	defer theirs.Close()
	cmd = exec.CommandContext(ctx, self)
	cmd.Args = []string{os.Args[0], probeArg}
	cmd.Env = append(os.Environ(), "GOTRACEBACK=none")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = &headBuffer{}
	cmd.WaitDelay = time.Second // what the module started may hold stderr open
	if in, err = cmd.StdinPipe(); err == nil {
		err = cmd.Start()
	}
	if err != nil {
		events.Close()
		return nil, nil, nil, err
	}
	return cmd, events, in, nil
}

// followProbe sends the request and reads events until the answer. It ends the process if a call hangs.
func followProbe(ctx context.Context, cancel func(), req probeRequest, events io.Reader, in io.Writer, limit time.Duration, each func(probeEvent)) (last string, hung bool, err error) {
	type message struct {
		event probeEvent
		err   error
	}
	messages := make(chan message)
	go func() {
		defer close(messages)
		if gob.NewEncoder(in).Encode(req) != nil {
			return
		}
		decoder := gob.NewDecoder(events)
		for {
			var m message
			m.err = decoder.Decode(&m.event)
			messages <- m
			if m.err != nil || m.event.last() {
				return
			}
		}
	}()
	defer func() {
		cancel()
		for range messages { // the goroutine ends with the process
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		select {
		case m, ok := <-messages:
			switch {
			case !ok || m.err != nil:
				return last, false, errNoAnswer
			case m.event.Failure != nil:
				return last, false, m.event.Failure
			case m.event.Call != "":
				last = m.event.Call
			case !m.event.Done:
				each(m.event)
			}
			if m.event.last() {
				return last, false, nil
			}
			timer.Reset(limitOf(last, limit))
		case <-timer.C:
			return last, true, errNoAnswer
		case <-ctx.Done():
			return last, false, ctx.Err()
		}
	}
}

// generationLimits is how many time limits the generation of a key may take: RSA keys take minutes on some tokens.
const generationLimits = 12

func limitOf(call string, limit time.Duration) time.Duration {
	if call == "C_GenerateKeyPair" || call == "C_GenerateKey" {
		return generationLimits * limit
	}
	return limit
}

// last tells whether the event ends the stream.
func (e probeEvent) last() bool {
	return e.Module != nil || e.Objects != nil || e.Done || e.Failure != nil
}

// headBuffer keeps the first bytes that are written to it.
type headBuffer struct{ bytes.Buffer }

func (b *headBuffer) Write(p []byte) (int, error) {
	if room := 4096 - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// crashReason says why a probe ended: what the Go runtime, or the system, tells.
func crashReason(stderr *headBuffer, err error) string {
	for line := range strings.Lines(stderr.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "SIG") || strings.HasPrefix(line, "fatal error:") || strings.HasPrefix(line, "panic:") {
			return " (" + line + ")"
		}
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return " (" + exit.String() + ")"
	}
	return ""
}
