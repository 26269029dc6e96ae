// What happens to the calls that a fault is armed for.
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "shim.h"

static void pause_for(uint64_t ns)
{
	struct timespec left = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
	while (nanosleep(&left, &left) != 0 && errno == EINTR) { // the Go runtime signals its threads often
	}
}

// hang does not return before the fault is released. It asks every millisecond: the two processes share memory and nothing that
// one could wake the other by on every system.
static void hang(struct fault *f)
{
	f->waiting++;
	while (!f->released)
		pause_for(1000000);
	f->waiting--;
}

static void suffer(struct fault *f, struct verdict *v)
{
	uint64_t n = f->seen++, times = f->times;
	if (n < f->skip || (times != 0 && n - f->skip >= times))
		return;
	f->hits++;
	switch ((enum kind)f->kind) {
	case FAIL:
		v->answered = true;
		v->rv = f->rv;
		return;
	case LOSE:
		v->lost = true;
		v->rv = f->rv;
		return;
	case DELAY:
		pause_for(f->delay);
		return;
	case HANG:
		hang(f);
		v->answered = f->rv != CKR_OK;
		v->rv = f->rv;
		return;
	case CRASH:
		abort();
	}
}

// faults_of lets happen what is armed for a function. A fault that decides the answer ends it.
struct verdict faults_of(enum fn fn)
{
	struct verdict v = {0};
	for (uint64_t left = control->functions[fn].faults; left != 0 && !v.answered; left &= left - 1) {
		int i = __builtin_ctzll(left);
		struct fault *f = &control->faults[i];
		f->users++;
		if (control->functions[fn].faults >> i & 1) // not disarmed before users was counted
			suffer(f, &v);
		f->users--;
	}
	return v;
}
