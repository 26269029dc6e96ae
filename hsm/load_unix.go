//go:build cgo && unix

package hsm

/*
#cgo linux CFLAGS: -D_GNU_SOURCE
#cgo linux LDFLAGS: -ldl

#include <dlfcn.h>
#include <stdlib.h>

// function_list calls C_GetFunctionList (PKCS#11 v3.0 section 5.4). It returns 0 if the library has none.
static int function_list(void *library, void **list, unsigned long *rv) {
	unsigned long (*get)(void **) = (unsigned long (*)(void **))dlsym(library, "C_GetFunctionList");
	if (get != NULL) {
		*rv = get(list);
	}
	return get != NULL;
}

// file_of returns the file from which the linker has loaded a library; NULL if it is none of PKCS#11.
static const char *file_of(void *library) {
	Dl_info info;
	void *get = dlsym(library, "C_GetFunctionList");
	return get != NULL && dladdr(get, &info) != 0 ? info.dli_fname : NULL;
}
*/
import "C"

import (
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/miekg/pkcs11"

	"github.com/hsmmirror/hsmmirror/provider"
)

// searchedFor returns the file that the dynamic linker takes for a module that is named without a slash, so that it is the same module
// under either name, and can be locked. It stays loaded until release is called. Empty for other names, and for what
// loadModule will refuse.
func searchedFor(path string) (file string, release func()) {
	if strings.Contains(path, "/") {
		return "", nil
	}
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	library := C.dlopen(name, C.RTLD_LAZY)
	if library == nil {
		return "", nil
	}
	file = C.GoString(C.file_of(library))
	if !filepath.IsAbs(file) { // found by a relative search path, which a change of directory turns into another
		C.dlclose(library)
		return "", nil
	}
	return file, func() { C.dlclose(library) }
}

// loadModule loads the module at path. [provider.ErrInvalid], with the reason, for what is no PKCS#11 library, or hands out no
// functions, as pkcs11-spy.so does unless it is told what to spy on: pkcs11.New takes no notice of that, and the next call would end the
// process.
func loadModule(path string) (*pkcs11.Ctx, error) {
	runtime.LockOSThread() // to which dlerror belongs
	defer runtime.UnlockOSThread()
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	library := C.dlopen(name, C.RTLD_LAZY)
	if library == nil {
		return nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded: %s", path, C.GoString(C.dlerror()))
	}
	defer C.dlclose(library) // pkcs11.New has it loaded, too
	var list unsafe.Pointer
	var rv C.ulong
	switch has := C.function_list(library, &list, &rv); {
	case has == 0:
		return nil, provider.Invalidf("module %s: want a PKCS#11 library: it has no C_GetFunctionList", path)
	case rv != 0:
		return nil, provider.Invalidf("module %s: want one that works: %v", path, newError("", "C_GetFunctionList", pkcs11.Error(rv)))
	case list == nil:
		return nil, provider.Invalidf("module %s: want one that works: C_GetFunctionList gives no functions", path)
	}
	p11 := pkcs11.New(path)
	if p11 == nil {
		return nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded again", path)
	}
	return p11, nil
}
