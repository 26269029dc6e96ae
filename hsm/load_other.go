//go:build cgo && !unix

package hsm

import (
	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// searchedFor finds no file: there is no dladdr here.
func searchedFor(string) (file string, release func()) { return "", nil }

// loadModule loads the module at path; its functions are known to miekg/pkcs11 alone. [provider.ErrInvalid] for what is no PKCS#11 library.
func loadModule(path string) (*pkcs11.Ctx, directCalls, error) {
	p11 := pkcs11.New(path)
	if p11 == nil {
		return nil, nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded or has no C_GetFunctionList", path)
	}
	return p11, nil, nil
}
