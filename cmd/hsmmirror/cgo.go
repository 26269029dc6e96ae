//go:build cgo

package main

const cgo = true // a PKCS#11 module can be loaded
