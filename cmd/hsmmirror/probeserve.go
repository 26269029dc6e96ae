package main

import (
	"bufio"
	"context"
	"encoding/gob"
	"io"
	"os"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// serveProbe is the whole life of a probe. It returns the exit code.
func serveProbe(ctx context.Context, in io.Reader) int {
	events := os.NewFile(3, "events")
	if events == nil {
		return exitUsage
	}
	closeOnExec(events)
	buffered := bufio.NewReader(in)
	var req probeRequest
	if err := gob.NewDecoder(buffered).Decode(&req); err != nil {
		return exitUsage // it is not for people to call
	}
	go func() { // who asked is gone: nobody is left to end this process if a call hangs
		_, _ = io.Copy(io.Discard, buffered)
		os.Exit(exitRefused)
	}()
	out := gob.NewEncoder(events)
	send := func(e probeEvent) { _ = out.Encode(e) } // who does not read any more does not want to know
	if err := req.serve(ctx, send); err != nil {
		send(probeEvent{Failure: newProbeFailure(err)})
	}
	return exitDone
}

func (r probeRequest) serve(ctx context.Context, send func(probeEvent)) error {
	trace := func(call string) { send(probeEvent{Call: call}) }
	switch {
	case r.Objects == nil:
		m, err := hsm.InspectModule(ctx, r.Module, r.InitArgs, trace)
		if err != nil {
			return err
		}
		send(probeEvent{Module: &m})
	case r.Trial != nil:
		err := hsm.Try(ctx, r.config(), *r.Trial, trace, func(result hsm.TrialResult) { send(probeEvent{Trial: &result}) })
		if err != nil {
			return err
		}
		send(probeEvent{Done: true})
	default:
		t, err := hsm.InspectObjects(ctx, r.config(), trace)
		if err != nil {
			return err
		}
		send(probeEvent{Objects: &t})
	}
	return nil
}

func (r probeRequest) config() hsm.Config {
	cfg := hsm.Config{Module: r.Module, InitArgs: r.InitArgs, Label: r.Objects.Label, Serial: r.Objects.Serial, Slot: &r.Objects.Slot}
	cfg.PINPad = r.Objects.PINPad
	if r.Objects.LogIn && !cfg.PINPad {
		cfg.PIN = func(context.Context) (provider.Secret, error) { return provider.NewSecret(r.Objects.PIN), nil }
	}
	return cfg
}
