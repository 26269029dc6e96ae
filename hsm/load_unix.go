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

// functions is CK_FUNCTION_LIST (PKCS#11 v3.0 section 3.6): a version, and the functions in the specification's order. The three that end an
// operation have one type.
typedef unsigned long (*finish_function)(unsigned long session, void *in, unsigned long in_length, void *out, unsigned long *out_length);
struct functions {
	unsigned char version[2];
	finish_function list[68];
};
enum { GET_ATTRIBUTE_VALUE = 24, ENCRYPT = 30, DECRYPT = 34, SIGN = 43, CKR_FUNCTION_NOT_SUPPORTED = 0x54, MOST_ATTRIBUTES = 16 };

static unsigned long finish(struct functions *module, int function, unsigned long session, void *in, unsigned long in_length, void *out,
                            unsigned long *out_length) {
	finish_function f = module->list[function];
	return f != NULL ? f(session, in, in_length, out, out_length) : CKR_FUNCTION_NOT_SUPPORTED;
}

struct attribute {
	unsigned long type;
	void *value;
	unsigned long length;
};

// attributes is C_GetAttributeValue: offsets and lengths are those of n values in room.
static unsigned long attributes(struct functions *module, unsigned long session, unsigned long object, unsigned long n, unsigned long *types,
                                unsigned long *offsets, unsigned long *lengths, unsigned char *room) {
	unsigned long (*get)(unsigned long, unsigned long, struct attribute *, unsigned long) =
	    (unsigned long (*)(unsigned long, unsigned long, struct attribute *, unsigned long))module->list[GET_ATTRIBUTE_VALUE];
	struct attribute template[MOST_ATTRIBUTES];
	if (get == NULL) {
		return CKR_FUNCTION_NOT_SUPPORTED;
	}
	for (unsigned long i = 0; i < n; i++) {
		template[i] = (struct attribute){types[i], room + offsets[i], lengths[i]};
	}
	unsigned long rv = get(session, object, template, n);
	for (unsigned long i = 0; i < n; i++) {
		lengths[i] = template[i].length;
	}
	return rv;
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

// loadModule loads the module at path, and returns its functions as miekg/pkcs11 has them and, if they are the same, by themselves.
// [provider.ErrInvalid], with the reason, for what is no PKCS#11 library, or hands out no functions, as pkcs11-spy.so does unless it is
// told what to spy on: pkcs11.New takes no notice of that, and the next call would end the process.
func loadModule(path string) (*pkcs11.Ctx, directCalls, error) {
	runtime.LockOSThread() // to which dlerror belongs
	defer runtime.UnlockOSThread()
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	library := C.dlopen(name, C.RTLD_LAZY)
	if library == nil {
		return nil, nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded: %s", path, C.GoString(C.dlerror()))
	}
	defer C.dlclose(library) // pkcs11.New has it loaded, too
	var list, again unsafe.Pointer
	var rv C.ulong
	switch has := C.function_list(library, &list, &rv); {
	case has == 0:
		return nil, nil, provider.Invalidf("module %s: want a PKCS#11 library: it has no C_GetFunctionList", path)
	case rv != 0:
		return nil, nil, provider.Invalidf("module %s: want one that works: %v", path, newError("", "C_GetFunctionList", pkcs11.Error(rv)))
	case list == nil:
		return nil, nil, provider.Invalidf("module %s: want one that works: C_GetFunctionList gives no functions", path)
	}
	// p11-kit's modules give each C_GetFunctionList functions with a state of their own. Those that pkcs11.New gets are not told.
	shared := C.function_list(library, &again, &rv) != 0 && rv == 0 && again == list
	p11 := pkcs11.New(path)
	if p11 == nil {
		return nil, nil, provider.Invalidf("module %s: want a PKCS#11 library: it can't be loaded again", path)
	}
	if !shared {
		return p11, nil, nil
	}
	return p11, (*functionList)(list), nil
}

// functionList are the functions of a loaded module.
type functionList C.struct_functions

func (l *functionList) finish(f function, s pkcs11.SessionHandle, in, out []byte) (uint, error) {
	var which C.int
	switch f {
	case fnEncrypt:
		which = C.ENCRYPT
	case fnDecrypt:
		which = C.DECRYPT
	case fnSign:
		which = C.SIGN
	}
	n := C.ulong(len(out))
	rv := C.finish((*C.struct_functions)(l), which, C.ulong(s), pointer(in), C.ulong(len(in)), pointer(out), &n)
	if rv != 0 {
		return uint(n), pkcs11.Error(rv)
	}
	return uint(n), nil
}

func (l *functionList) attributes(s pkcs11.SessionHandle, h pkcs11.ObjectHandle, places []place, room []byte) error {
	var types, offsets, lengths [C.MOST_ATTRIBUTES]C.ulong
	for i, p := range places {
		types[i], offsets[i], lengths[i] = C.ulong(p.typ), C.ulong(p.offset), C.ulong(p.length)
	}
	rv := C.attributes((*C.struct_functions)(l), C.ulong(s), C.ulong(h), C.ulong(len(places)), &types[0], &offsets[0], &lengths[0],
		(*C.uchar)(unsafe.SliceData(room)))
	for i := range places {
		places[i].length = int(lengths[i]) // all ones are unshown
	}
	if rv != 0 {
		return pkcs11.Error(rv)
	}
	return nil
}

// pointer is never NULL: some modules refuse that even for no bytes.
func pointer(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		b = make([]byte, 1)
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}
