package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionJSON is the output of version.
type versionJSON struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	PKCS11   bool   `json:"pkcs11"`
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  args(0),
		RunE: func(*cobra.Command, []string) error {
			v := readVersion()
			if a.options.json() {
				return a.printJSON(v)
			}
			tokens := "with PKCS#11"
			if !v.PKCS11 {
				tokens = "without PKCS#11: built without cgo"
			}
			_, err := fmt.Fprintf(a.out, "hsmmirror %s (%s, %s, %s)\n", v.Version, v.Go, v.Platform, tokens)
			return err
		},
	}
}

func readVersion() versionJSON {
	v := versionJSON{Version: "(unknown)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH, PKCS11: cgo}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Revision = s.Value
		}
	}
	return v
}
