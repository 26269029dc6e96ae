// What the files of the shim share.
#ifndef SHIM_H
#define SHIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cryptoki.h"

// fn numbers the functions in the order of functions.h.
enum fn {
#define FUNCTION(name, needs, by, params, args) FN_##name,
#include "functions.h"
#undef FUNCTION
	FUNCTIONS
};

enum needs { NOTHING, LIBRARY, SLOT, TOKEN, SESSION };

// A fault is something that happens to the calls of one or more functions. See fault.c.
enum kind { FAIL = 1, LOSE, DELAY, HANG, CRASH };

enum { FAULTS = 64 }; // one bit each in the mask of a function

struct fault {
	_Atomic uint64_t kind;
	_Atomic uint64_t skip;     // so many calls pass first
	_Atomic uint64_t times;    // then so many are hit; 0: all
	_Atomic uint64_t rv;       // FAIL, LOSE: the answer. HANG: the answer once released; CKR_OK: that of the real module
	_Atomic uint64_t delay;    // DELAY: in nanoseconds
	_Atomic uint64_t released; // HANG: not 0: no call hangs any longer
	_Atomic uint64_t seen;     // calls so far
	_Atomic uint64_t hits;     // calls that the fault has happened to
	_Atomic uint64_t waiting;  // calls that hang now
	_Atomic uint64_t users;    // threads that look at the fault; it may be given another meaning only while there are none
};

struct function {
	_Atomic uint64_t calls;
	_Atomic uint64_t faults; // bit i: fault i is armed for this function
};

// Acts that the next call of any function carries out first.
enum { DROP_SESSIONS = 1, DROP_LOGIN = 2, FINALIZE = 4 };

// How a token is away.
enum { UNPLUGGED = 1, UNREACHABLE = 2 };

// control is the file beside the module that Go and the shim both have mapped. control.go has the same members in the same
// order.
struct control {
	uint64_t size; // of this structure, so that two versions of it are not mixed
	char real[1024];
	char pin[256];
	_Atomic uint64_t pin_len; // the PIN is known to the shim, for tokens that get it by themselves

	_Atomic uint64_t acts;
	_Atomic uint64_t away;   // UNPLUGGED, UNREACHABLE; 0: the token is there
	_Atomic uint64_t sticky; // how the token seems away once it has been, until C_Finalize and C_Initialize; 0: it is seen at once
	_Atomic uint64_t losses; // times that the token went away
	_Atomic uint64_t set_flags, clear_flags; // of every token
	_Atomic uint64_t session_limit;          // 0: that of the real module
	_Atomic uint64_t always_authenticate;    // private keys that are made get CKA_ALWAYS_AUTHENTICATE
	_Atomic uint64_t label_limit;            // C_CreateObject keeps so many bytes of a CKA_LABEL; 0: all
	_Atomic uint64_t shy_login;              // C_GetSessionInfo tells of a login on the session of C_Login alone

	uint64_t apart[8]; // what every call writes stands on another cache line than what every call reads
	_Atomic uint64_t inside; // calls under way
	_Atomic uint64_t most_inside;
	_Atomic uint64_t sessions; // open now
	_Atomic uint64_t most_sessions;
	_Atomic uint64_t finalized_inside; // calls of C_Finalize with another call under way, which crash other modules

	struct function functions[FUNCTIONS];
	struct fault faults[FAULTS];
};

extern struct control *control;
extern CK_FUNCTION_LIST *real; // module that does the work

// fault.c
struct verdict {
	bool answered; // rv is the answer, and the call does not reach the real module
	bool lost;     // rv is the answer, though the real module gives another
	CK_RV rv;
};
struct verdict faults_of(enum fn fn);

// token.c
void perform(uint64_t acts); // with no other call inside the real module
bool away(enum needs needs, CK_RV *rv);
#define FUNCTION(name, needs, by, params, args) DECLARE_##by(name, params)
#define DECLARE_REAL(name, params)
#define DECLARE_OWN(name, params) CK_RV own_##name params;
#include "functions.h"
#undef FUNCTION

#endif
