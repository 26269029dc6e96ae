//go:build !cgo

package main

import "github.com/rogpeppe/go-internal/testscript"

func storeRawObjects(ts *testscript.TestScript, _ bool, _ []string) { ts.Fatalf("built without cgo") }
