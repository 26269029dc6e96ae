// A PKCS#11 module that passes every call on to a real one, counts it, and lets the faults happen that its control file asks for.
//
// The control file stands beside the module, under the module's name and ".control". See shim.h.
#define _GNU_SOURCE // dladdr, and the lock that prefers writers
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim.h"

struct control *control;
CK_FUNCTION_LIST *real;

static void *library; // of real
static CK_FUNCTION_LIST list;

// calls is held by every call into the real module, and by one alone that others would crash it in.
#ifdef PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP
static pthread_rwlock_t calls = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
#else
static pthread_rwlock_t calls = PTHREAD_RWLOCK_INITIALIZER;
#endif

static void lock(enum fn fn)
{
	switch (fn) {
	case FN_C_Initialize:
	case FN_C_Finalize:
		pthread_rwlock_wrlock(&calls);
		return;
	case FN_C_WaitForSlotEvent: // may wait for hours
		return;
	default:
		pthread_rwlock_rdlock(&calls);
	}
}

static void unlock(enum fn fn)
{
	if (fn != FN_C_WaitForSlotEvent)
		pthread_rwlock_unlock(&calls);
}

static void enter(enum fn fn)
{
	control->functions[fn].calls++;
	uint64_t n = ++control->inside, most = control->most_inside;
	while (n > most && !atomic_compare_exchange_weak(&control->most_inside, &most, n)) {
	}
}

static void leave(void) { control->inside--; }

static void act(void)
{
	if (control->acts == 0)
		return;
	pthread_rwlock_wrlock(&calls);
	perform(atomic_exchange(&control->acts, 0));
	pthread_rwlock_unlock(&calls);
}

// The wrappers.
#define CARRY_OUT_REAL(name) real->name
#define CARRY_OUT_OWN(name) own_##name
#define FUNCTION(name, needs, by, params, args)                                                                                  \
	static CK_RV shim_##name params                                                                                          \
	{                                                                                                                        \
		enter(FN_##name);                                                                                                \
		struct verdict v = faults_of(FN_##name);                                                                         \
		CK_RV rv = v.rv;                                                                                                 \
		if (!v.answered) {                                                                                               \
			act();                                                                                                   \
			if (!away(needs, &rv)) {                                                                                 \
				lock(FN_##name);                                                                                 \
				rv = CARRY_OUT_##by(name) args;                                                                  \
				unlock(FN_##name);                                                                               \
			}                                                                                                        \
			if (v.lost)                                                                                              \
				rv = v.rv;                                                                                       \
		}                                                                                                                \
		leave();                                                                                                         \
		return rv;                                                                                                       \
	}
#include "functions.h"
#undef FUNCTION

static CK_FUNCTION_LIST list = {
	{0, 0},
#define FUNCTION(name, needs, by, params, args) shim_##name,
#include "functions.h"
#undef FUNCTION
};

CK_RV own_C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	if (out == NULL)
		return CKR_ARGUMENTS_BAD;
	*out = &list;
	return CKR_OK;
}

static bool refuse(const char *what)
{
	fprintf(stderr, "fault module: %s\n", what);
	return false;
}

// map maps the control file.
static bool map(void)
{
	Dl_info self;
	char path[4096];
	struct stat st;
	if (dladdr((void *)&list, &self) == 0 || (size_t)snprintf(path, sizeof path, "%s.control", self.dli_fname) >= sizeof path)
		return refuse("its own path is not known");
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return refuse("no control file beside it");
	void *p = MAP_FAILED;
	if (fstat(fd, &st) == 0 && st.st_size == (off_t)sizeof *control)
		p = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return refuse("its control file is of another size");
	control = p;
	return control->size == sizeof *control || refuse("its control file is of another version");
}

// load loads the real module.
static bool load(void)
{
	CK_RV (*get)(CK_FUNCTION_LIST **);
	if (!map())
		return false;
	library = dlopen(control->real, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return refuse(dlerror());
	*(void **)&get = dlsym(library, "C_GetFunctionList");
	if (get == NULL || get(&real) != CKR_OK)
		return refuse("the real module gives no list of functions");
	list.version = real->version;
	return true;
}

static bool loaded;

__attribute__((constructor)) static void start(void) { loaded = load(); }

__attribute__((destructor)) static void stop(void)
{
	if (library != NULL)
		dlclose(library);
	if (control != NULL)
		munmap(control, sizeof *control);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	return loaded ? shim_C_GetFunctionList(out) : CKR_GENERAL_ERROR;
}
