//go:build cgo && unix

package main

import (
	"fmt"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

func printSignaturesHead() {
	fmt.Println()
	fmt.Println("| signatures in a second | goroutines | C loop | miekg loop | crypto11 | hsmmirror | to C | to miekg | to crypto11 | CPU to C |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|")
}

func printSignatures(alg provider.KeyAlg, goroutines int, r rounds) {
	fmt.Printf("| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s |\n", alg, goroutines,
		rate(r.rate("C")), rate(r.rate("miekg")), rate(r.rate("crypto11")), rate(r.rate("hsmmirror")),
		ratio(r.ratio("hsmmirror", "C")), ratio(r.ratio("hsmmirror", "miekg")), ratio(r.ratio("hsmmirror", "crypto11")),
		ratio(r.cpuRatio("hsmmirror", "C")))
}

func printLookupsHead(o options) {
	fmt.Println()
	fmt.Printf("| look up by name and sign, in a second | goroutines | %d keys | %d keys, %d in use | ratio | %d keys, all in use | ratio |\n",
		o.fewKeys, o.manyKeys, inUse, o.manyKeys)
	fmt.Println("|---|---|---|---|---|---|---|")
}

// printLookups prints what looking up costs with few and with many keys on the token: ten of them in use, and all.
func printLookups(name string, goroutines int, ten, all rounds) {
	fmt.Printf("| %s | %d | %s | %s | %s | %s | %s |\n", name, goroutines, rate(ten.rate("few")),
		rate(ten.rate("many")), ratio(ten.ratio("many", "few")), rate(all.rate("many")), ratio(all.ratio("many", "few")))
}

// printCounts prints the calls of each contender, in the order of names, for each operation.
func printCounts(names []string, cells [][]string) {
	fmt.Println()
	fmt.Println("| calls for one |", strings.Join(names, " | "), "|")
	fmt.Println("|---|" + strings.Repeat("---|", len(names)))
	for i, c := range counted {
		fmt.Println("|", c.title, "|", strings.Join(cells[i], " | "), "|")
	}
}

func rate(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

func ratio(v float64) string {
	if v == 0 {
		return "-"
	}
	if v < 0.01 {
		return fmt.Sprintf("%.5f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
