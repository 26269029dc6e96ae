//go:build cgo && unix

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hsmmirror/hsmmirror/provider"
)

// serve is the process of a contender. It reads the PIN from the first line of standard input and answers "ready". Each further line,
// "OPERATION GOROUTINES NANOSECONDS", has it do the operation for so long; the answer is "OPERATIONS NANOSECONDS CPU", the last being
// the nanoseconds that the process spent on all processors, or "error REASON".
func serve(ctx context.Context, o options) error {
	in := bufio.NewScanner(os.Stdin)
	if !in.Scan() {
		return errors.New("no PIN on standard input")
	}
	opening := opening{o.module, o.token, provider.NewSecret(in.Bytes()), o.keys}
	if o.contender == maker {
		if err := makeKeys(ctx, opening, algs); err != nil {
			return err
		}
		fmt.Println("ready")
		return nil
	}
	open := contenders[o.contender]
	if open == nil {
		return fmt.Errorf("no contender %s", o.contender)
	}
	c, err := open(ctx, opening)
	if err != nil {
		return err
	}
	stop, err := profile(o.profile)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	w := worker{c, map[string][]func() error{}}
	for in.Scan() {
		if r, err := w.answer(ctx, in.Text()); err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", "; "))
		} else {
			fmt.Println(r.operations, r.took.Nanoseconds(), r.cpu.Nanoseconds())
		}
	}
	return errors.Join(in.Err(), stop(), c.Close())
}

// profile writes a CPU profile to a file until stop is called, if path is not empty.
func profile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	return func() error { pprof.StopCPUProfile(); return f.Close() }, pprof.StartCPUProfile(f)
}

// worker is a contender with what it has prepared, by operation and goroutines.
type worker struct {
	contender
	prepared map[string][]func() error
}

func (w worker) answer(ctx context.Context, request string) (result, error) {
	var op operation
	var n int
	var d time.Duration
	if _, err := fmt.Sscan(request, &op, &n, (*int64)(&d)); err != nil {
		return result{}, fmt.Errorf("request %q: %w", request, err)
	}
	key := fmt.Sprint(op, n)
	fs := w.prepared[key]
	if fs == nil {
		var err error
		if fs, err = w.prepare(ctx, op, n); err != nil {
			return result{}, err
		}
		w.prepared[key] = fs
	}
	return measure(fs, d)
}

// result is what a contender did in a window.
type result struct {
	operations int64
	took, cpu  time.Duration
}

// measure calls each of fs, in a goroutine of its own, again and again for d, but once at least.
func measure(fs []func() error, d time.Duration) (result, error) {
	var stop atomic.Bool
	var operations atomic.Int64
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	start, cpu := time.Now(), cpuTime()
	for i, f := range fs {
		wg.Go(func() {
			var n int64
			for ok := true; ok; ok = !stop.Load() {
				if errs[i] = f(); errs[i] != nil {
					break
				}
				n++
			}
			operations.Add(n)
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	return result{operations.Load(), time.Since(start), cpuTime() - cpu}, errors.Join(errs...)
}

// cpuTime is what this process has spent on all processors.
func cpuTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		panic(err) // every Unix has this clock
	}
	return time.Duration(t.Nano())
}
