// Package faultmoduletest gives a test a module that fails on demand.
package faultmoduletest
