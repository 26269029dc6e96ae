//go:build !cgo

package hsm

import (
	"context"

	"github.com/hsmmirror/hsmmirror/provider"
)

// errNoCgo is what every use of the package returns in such a program.
var errNoCgo = provider.Unsupportedf("PKCS#11: this program was built without cgo, which loading a module needs: build it with CGO_ENABLED=1 and a C compiler")

func newLink(Config) (link, error) { return nil, errNoCgo }

func inspectModule(string, string, Trace) (ModuleInfo, error) { return ModuleInfo{}, errNoCgo }

func inspectObjects(context.Context, Config, Trace) (TokenObjects, error) {
	return TokenObjects{}, errNoCgo
}

func try(context.Context, Config, Trial, Trace, func(TrialResult)) error { return errNoCgo }
