//go:build unix

package main

import (
	"strconv"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
)

// faultModules are the modules that fail on demand, by the directory of the script.
var faultModules sync.Map

// injectFault is the command fault. The first one makes the module.
func injectFault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: fault crash|hang|delay|fail|removed|flags|none|reached [CALL] [CODE]")
	}
	m := faultModule(ts)
	if args[0] == "reached" && len(args) == 2 {
		waitForCall(ts, m, args[1])
		return
	}
	m.Clear()
	switch {
	case args[0] == "crash" && len(args) == 2:
		m.On(args[1]).Crash()
	case args[0] == "hang" && len(args) == 2:
		m.On(args[1]).Hang()
	case args[0] == "delay" && len(args) == 2:
		m.On(args[1]).Delay(2 * time.Second)
	case args[0] == "fail" && len(args) == 3:
		m.On(args[1]).Fail(uint(number(ts, args[2])))
	case args[0] == "removed" && len(args) == 1:
		m.Remove(faultmodule.Unplugged)
	case args[0] == "flags" && len(args) == 2:
		m.SetTokenFlags(uint(number(ts, args[1])), 0)
	case args[0] == "none":
	default:
		ts.Fatalf("fault: unknown %v", args)
	}
}

// waitForCall waits until a call has begun, of a process in the background.
func waitForCall(ts *testscript.TestScript, m *faultmodule.Module, call string) {
	for end := time.Now().Add(time.Minute); m.Calls()[call] == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			ts.Fatalf("%s was not called", call)
		}
	}
}

func faultModule(ts *testscript.TestScript) *faultmodule.Module {
	if m, ok := faultModules.Load(ts.Getenv("WORK")); ok {
		return m.(*faultmodule.Module)
	}
	m, err := faultmodule.New(ts.MkAbs("."), ts.Getenv("MODULE"))
	ts.Check(err)
	ts.Defer(func() {
		faultModules.Delete(ts.Getenv("WORK"))
		ts.Check(m.Close())
	})
	faultModules.Store(ts.Getenv("WORK"), m)
	ts.Setenv("HSMMIRROR_MODULE", m.Path)
	return m
}

func number(ts *testscript.TestScript, s string) uint64 {
	n, err := strconv.ParseUint(s, 0, 32)
	ts.Check(err)
	return n
}
