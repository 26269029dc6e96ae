//go:build cgo && unix

package main

import (
	"errors"
	"math/rand/v2"
	"slices"
	"time"
)

// rounds are the figures of each contender, in the order of the rounds.
type rounds map[string][]figures

// takeTurns has every process that can do the same in each round, in random order. A first round warms up and is not counted.
func takeTurns(ps []*process, op operation, goroutines, n int, window time.Duration) (rounds, error) {
	all := rounds{}
	for round := range n + 1 {
		for _, i := range rand.Perm(len(ps)) {
			f, err := ps[i].run(op, goroutines, window)
			if errors.Is(err, errNotOffered) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if name := ps[i].name; round > 0 {
				all[name] = append(all[name], f)
			}
		}
	}
	return all, nil
}

// rate is the median of the operations that a contender did in a second; 0 if it did not take part.
func (r rounds) rate(name string) float64 {
	return median(r[name], func(i int) float64 { return 1e9 / r[name][i].wall })
}

// ratio is the median of a contender's throughput to another's in the same round; 0 if one did not take part.
func (r rounds) ratio(name, to string) float64 {
	return median(r.both(name, to), func(i int) float64 { return r[to][i].wall / r[name][i].wall })
}

// cpuRatio is the median of a contender's CPU time per operation to another's in the same round; 0 if one did not take part.
func (r rounds) cpuRatio(name, to string) float64 {
	return median(r.both(name, to), func(i int) float64 { return r[name][i].cpu / r[to][i].cpu })
}

// both returns the rounds of a contender that another took part in too.
func (r rounds) both(name, other string) []figures { return r[name][:min(len(r[name]), len(r[other]))] }

// median returns the middle of the values of all rounds, or the mean of the two in the middle; 0 of none.
func median(rounds []figures, value func(round int) float64) float64 {
	values := make([]float64, len(rounds))
	for i := range values {
		values[i] = value(i)
	}
	slices.Sort(values)
	if n := len(values); n > 0 {
		return (values[(n-1)/2] + values[n/2]) / 2
	}
	return 0
}
