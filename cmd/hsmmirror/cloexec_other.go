//go:build !unix

package main

import "os"

func closeOnExec(*os.File) {}
