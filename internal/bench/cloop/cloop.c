// cloop signs in a loop on one PKCS#11 session a thread, with nothing in between: the limit for every other contender.
//
// Usage: cloop MODULE TOKEN. It speaks the protocol of internal/bench: the first line of standard input is the PIN, and it answers
// "ready". Each further line "sign:ALG THREADS NANOSECONDS" is answered by "OPERATIONS NANOSECONDS CPU", the last being the nanoseconds
// that the process spent on all processors, or "error REASON".
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// As much of PKCS#11 v2.40 as the loop needs.
typedef unsigned long ulong;
typedef ulong rv; // CK_RV

struct version { unsigned char major, minor; };
struct mechanism { ulong type; void *parameter; ulong length; };
struct attribute { ulong type; void *value; ulong length; };
struct tokenInfo {
	unsigned char label[32], names[64];
	ulong flags, counts[10];
	struct version versions[2];
	unsigned char time[16];
};

enum { CKM_RSA_PKCS = 0x1, CKM_ECDSA = 0x1041, CKM_EDDSA = 0x1057 };
enum { CKA_CLASS = 0x0, CKA_LABEL = 0x3, CKO_PRIVATE_KEY = 3 };
enum { CKF_RW_SESSION = 2, CKF_SERIAL_SESSION = 4, CKU_USER = 1 };

// functions is CK_FUNCTION_LIST: its members in the order of the specification, of which only those used have a type.
struct functions {
	struct version version;
	rv (*Initialize)(void *);
	rv (*Finalize)(void *);
	void *GetInfo, *GetFunctionList;
	rv (*GetSlotList)(unsigned char, ulong *, ulong *);
	void *GetSlotInfo;
	rv (*GetTokenInfo)(ulong, struct tokenInfo *);
	void *GetMechanismList, *GetMechanismInfo, *InitToken, *InitPIN, *SetPIN;
	rv (*OpenSession)(ulong, ulong, void *, void *, ulong *);
	rv (*CloseSession)(ulong);
	void *CloseAllSessions, *GetSessionInfo, *GetOperationState, *SetOperationState;
	rv (*Login)(ulong, ulong, unsigned char *, ulong);
	void *Logout, *CreateObject, *CopyObject, *DestroyObject, *GetObjectSize, *GetAttributeValue, *SetAttributeValue;
	rv (*FindObjectsInit)(ulong, struct attribute *, ulong);
	rv (*FindObjects)(ulong, ulong *, ulong, ulong *);
	rv (*FindObjectsFinal)(ulong);
	void *EncryptInit, *Encrypt, *EncryptUpdate, *EncryptFinal, *DecryptInit, *Decrypt, *DecryptUpdate, *DecryptFinal;
	void *DigestInit, *Digest, *DigestUpdate, *DigestKey, *DigestFinal;
	rv (*SignInit)(ulong, struct mechanism *, ulong);
	rv (*Sign)(ulong, unsigned char *, ulong, unsigned char *, ulong *);
};

// initializeArgs is CK_C_INITIALIZE_ARGS.
struct initializeArgs { void *create, *destroy, *lock, *unlock; ulong flags; void *reserved; };
enum { CKF_OS_LOCKING_OK = 2 };

enum { MOST = 64 }; // threads

static struct functions *p11;
static ulong sessions[MOST];

static void die(const char *format, ...) {
	va_list args;
	va_start(args, format);
	fputs("cloop: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void must(const char *call, rv r) {
	if (r) die("%s: 0x%lx", call, r);
}

static void load(const char *path) {
	void *module = dlopen(path, RTLD_NOW);
	if (!module) die("%s", dlerror());
	rv (*list)(struct functions **) = (rv (*)(struct functions **))dlsym(module, "C_GetFunctionList");
	if (!list) die("%s", dlerror());
	must("C_GetFunctionList", list(&p11));
	struct initializeArgs args = {.flags = CKF_OS_LOCKING_OK};
	must("C_Initialize", p11->Initialize(&args));
}

static ulong findToken(const char *label) {
	ulong slots[64], n = 64;
	unsigned char padded[32];
	memset(padded, ' ', sizeof padded);
	memcpy(padded, label, strnlen(label, sizeof padded));
	must("C_GetSlotList", p11->GetSlotList(1, slots, &n));
	for (ulong i = 0; i < n; i++) {
		struct tokenInfo info;
		if (!p11->GetTokenInfo(slots[i], &info) && !memcmp(info.label, padded, sizeof padded)) return slots[i];
	}
	die("no token %s", label);
	return 0;
}

static void openSessions(ulong slot) {
	for (int i = 0; i < MOST; i++)
		must("C_OpenSession", p11->OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, 0, 0, &sessions[i]));
	char pin[256];
	if (!fgets(pin, sizeof pin, stdin)) die("no PIN on standard input");
	size_t length = strcspn(pin, "\n");
	must("C_Login", p11->Login(sessions[0], CKU_USER, (unsigned char *)pin, length));
}

// findKey remembers the last answer.
static ulong findKey(const char *label) {
	static char last[128];
	static ulong key;
	if (!strcmp(label, last)) return key;
	ulong class = CKO_PRIVATE_KEY, n = 0;
	struct attribute match[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, (void *)label, strlen(label)}};
	must("C_FindObjectsInit", p11->FindObjectsInit(sessions[0], match, 2));
	must("C_FindObjects", p11->FindObjects(sessions[0], &key, 1, &n));
	must("C_FindObjectsFinal", p11->FindObjectsFinal(sessions[0]));
	if (!n) die("no private key %s", label);
	snprintf(last, sizeof last, "%s", label);
	return key;
}

// work is what the threads of one line do.
struct work {
	struct mechanism mechanism;
	ulong key, length;
	unsigned char *data;
	pthread_barrier_t start;
	atomic_int stop;
	atomic_long operations;
	_Atomic rv failed;
};

struct thread { pthread_t id; ulong session; struct work *work; };

static void *sign(void *arg) {
	struct thread *t = arg;
	struct work *w = t->work;
	long n = 0;
	pthread_barrier_wait(&w->start);
	do {
		unsigned char signature[512];
		ulong length = sizeof signature;
		rv r = p11->SignInit(t->session, &w->mechanism, w->key);
		if (!r) r = p11->Sign(t->session, w->data, w->length, signature, &length);
		if (r) {
			w->failed = r;
			break;
		}
		n++;
	} while (!atomic_load_explicit(&w->stop, memory_order_relaxed));
	w->operations += n;
	return 0;
}

static long now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void run(struct work *w, int threads, long duration) {
	struct thread all[MOST];
	pthread_barrier_init(&w->start, 0, threads + 1);
	for (int i = 0; i < threads; i++) {
		all[i].session = sessions[i];
		all[i].work = w;
		if (pthread_create(&all[i].id, 0, sign, &all[i])) die("pthread_create");
	}
	pthread_barrier_wait(&w->start);
	long start = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	struct timespec wait = {duration / 1000000000L, duration % 1000000000L};
	nanosleep(&wait, 0);
	w->stop = 1;
	for (int i = 0; i < threads; i++) pthread_join(all[i].id, 0);
	long took = now(CLOCK_MONOTONIC) - start;
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	pthread_barrier_destroy(&w->start);
	if (w->failed)
		printf("error PKCS#11 0x%lx\n", w->failed);
	else
		printf("%ld %ld %ld\n", w->operations, took, cpu);
}

// prepare sets w up for an algorithm. What is signed is the digest of nothing, with PKCS#1's prefix before it for RSA.
static int prepare(struct work *w, const char *alg) {
	static unsigned char data[] =
		"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
		"\xe3\xb0\xc4\x42\x98\xfc\x1c\x14\x9a\xfb\xf4\xc8\x99\x6f\xb9\x24\x27\xae\x41\xe4\x64\x9b\x93\x4c\xa4\x95\x99\x1b\x78\x52\xb8\x55";
	enum { PREFIX = 19, DIGEST = 32 };
	w->data = data + PREFIX;
	w->length = DIGEST;
	if (!strcmp(alg, "ECDSA_P256_SHA256")) {
		w->mechanism.type = CKM_ECDSA;
	} else if (!strcmp(alg, "ED25519")) {
		w->mechanism.type = CKM_EDDSA;
	} else if (!strcmp(alg, "RSA_PKCS1_SHA256")) {
		w->mechanism.type = CKM_RSA_PKCS;
		w->data = data;
		w->length = PREFIX + DIGEST;
	} else {
		return 0;
	}
	char label[128];
	snprintf(label, sizeof label, "%s.v1", alg);
	w->key = findKey(label);
	return 1;
}

int main(int argc, char **argv) {
	if (argc != 3) die("want a module and a token's label");
	setvbuf(stdout, 0, _IOLBF, 0);
	load(argv[1]);
	openSessions(findToken(argv[2]));
	puts("ready");
	char line[256], alg[64];
	int threads;
	long duration;
	while (fgets(line, sizeof line, stdin)) {
		struct work w = {0};
		if (sscanf(line, "sign:%63s %d %ld", alg, &threads, &duration) != 3 || threads < 1 || threads > MOST || !prepare(&w, alg))
			puts("error not offered");
		else
			run(&w, threads, duration);
	}
	must("C_Finalize", p11->Finalize(0));
	return 0;
}
