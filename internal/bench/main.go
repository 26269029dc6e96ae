//go:build cgo && unix

// Command bench compares what a signature costs: through hsm.Token, through crypto11, in a bare loop over miekg/pkcs11, and in a loop
// in C, which is the limit. It makes its own SoftHSM2 tokens and removes them. Run it by ci/bench.
//
// Every contender is a process of its own, because some finalise the module for their whole process. They take turns: in each
// round, each of them does the same for a short time, in random order, so that what else the machine does slows all of them. The
// figures are medians over the rounds, also those of the ratios, which are taken within a round.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// options are the command line.
type options struct {
	cloop      string // the compiled loop in C
	tokens     string // directory for them
	algs       []provider.KeyAlg
	goroutines []int
	rounds     int
	window     time.Duration
	profile    string

	byKID             bool
	fewKeys, manyKeys int

	// Of the process of a contender.
	contender, module, token string
	keys                     int
}

func main() {
	o := options{fewKeys: inUse}
	quick := flag.Bool("quick", false, "a rough answer in half a minute: 3 rounds, 100 keys")
	flag.IntVar(&o.rounds, "rounds", 11, "how often each contender signs for a window")
	flag.DurationVar(&o.window, "window", 150*time.Millisecond, "how long a contender signs at a time; ten times as long when it looks keys up")
	flag.IntVar(&o.manyKeys, "keys", 2000, "how many keys there are to look up, against 10")
	flag.Func("alg", "sign with this algorithm only; may be given several times", func(s string) error {
		alg, err := provider.ParseKeyAlg(s)
		o.algs = append(o.algs, alg)
		return err
	})
	flag.Func("goroutines", "sign in so many goroutines only; may be given several times", func(s string) error {
		n, err := strconv.Atoi(s)
		o.goroutines = append(o.goroutines, n)
		return err
	})
	flag.BoolVar(&o.byKID, "bykid", true, "look keys up, too")
	flag.StringVar(&o.profile, "profile", "", "write CPU profiles of hsm.Token to files whose names begin so")
	flag.StringVar(&o.tokens, "tokens", "", "directory to make the tokens in; better one in memory: on a disk 2,000 keys take minutes")
	flag.StringVar(&o.cloop, "cloop", "", "path of the compiled loop in C")
	flag.StringVar(&o.contender, "contender", "", "be this contender, for the process that started this one")
	flag.StringVar(&o.module, "module", "", "of a contender: PKCS#11 library")
	flag.StringVar(&o.token, "token", "", "of a contender: label of the token")
	flag.IntVar(&o.keys, "of", 0, "of a contender: number of keys to look up")
	flag.Parse()
	if *quick {
		o.rounds, o.manyKeys = 3, 100
	}
	if o.algs == nil {
		o.algs = algs
	}
	if o.goroutines == nil {
		o.goroutines = []int{1, 4, 16, 64}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	if o.contender != "" {
		return serve(ctx, o)
	}
	if o.cloop == "" {
		return errors.New("no loop in C: run ci/bench, which compiles it")
	}
	return compare(ctx, o)
}
