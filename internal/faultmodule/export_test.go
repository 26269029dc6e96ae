//go:build unix

package faultmodule

// Compile is compile, for tests of the C sources.
var Compile = compile
