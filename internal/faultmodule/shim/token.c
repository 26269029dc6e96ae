// What the shim adds to the real module: the sessions that are open, a token that is away, and tokens of other kinds.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shim.h"

// table holds the sessions of this process that are open. Opening and closing one are done under its lock, so that none is missed.
static struct {
	pthread_mutex_t mu;
	size_t n;
	struct {
		CK_ULONG session, slot;
	} at[8192];
} table = {.mu = PTHREAD_MUTEX_INITIALIZER};

// The epoch, from one C_Initialize to the next.
static struct {
	_Atomic uint64_t losses; // when it began
	_Atomic bool began_away; // the token was away when it began
} epoch;

static void count_sessions(void)
{
	control->sessions = table.n;
	if (table.n > control->most_sessions)
		control->most_sessions = table.n;
}

static void forget_session(size_t i)
{
	table.at[i] = table.at[--table.n];
	count_sessions();
}

static void forget_all(void)
{
	table.n = 0;
	count_sessions();
}

// each_slot calls f once with a session of each slot that has one.
static void each_slot(void (*f)(CK_ULONG slot, CK_ULONG session))
{
	for (size_t i = 0; i < table.n; i++) {
		size_t first = 0;
		while (table.at[first].slot != table.at[i].slot)
			first++;
		if (first == i)
			f(table.at[i].slot, table.at[i].session);
	}
}

static void close_all(CK_ULONG slot, CK_ULONG session)
{
	(void)session;
	real->C_CloseAllSessions(slot);
}

static void log_out(CK_ULONG slot, CK_ULONG session)
{
	(void)slot;
	real->C_Logout(session);
}

void perform(uint64_t acts)
{
	pthread_mutex_lock(&table.mu);
	if (acts & DROP_LOGIN)
		each_slot(log_out);
	if (acts & DROP_SESSIONS)
		each_slot(close_all);
	if (acts & FINALIZE)
		real->C_Finalize(NULL);
	if (acts & (DROP_SESSIONS | FINALIZE))
		forget_all();
	pthread_mutex_unlock(&table.mu);
}

// absence tells how the token is away for this epoch; 0 if it is there.
static uint64_t absence(void)
{
	uint64_t how = control->away;
	if (how == 0 && (epoch.began_away || epoch.losses != control->losses))
		how = control->sticky;
	return how;
}

// away returns the answer of a function whose token is away. An unplugged one answers as a smart card does, whose reader stays. An
// unreachable one answers as p11-kit's client does when its server has died, and when it is initialised without one.
bool away(enum needs needs, CK_RV *rv)
{
	switch (absence()) {
	case UNPLUGGED:
		if (needs < TOKEN)
			return false;
		*rv = needs == TOKEN ? CKR_TOKEN_NOT_PRESENT : CKR_DEVICE_REMOVED;
		return true;
	case UNREACHABLE:
		if (needs == NOTHING || (epoch.began_away && needs < TOKEN))
			return false;
		if (!epoch.began_away)
			*rv = CKR_DEVICE_ERROR;
		else
			*rv = needs == TOKEN ? CKR_SLOT_ID_INVALID : CKR_SESSION_HANDLE_INVALID;
		return true;
	}
	return false;
}

CK_RV own_C_Initialize(void *init)
{
	uint64_t losses = control->losses;
	bool gone = control->away != 0;
	CK_RV rv = real->C_Initialize(init);
	if (rv == CKR_OK) {
		epoch.losses = losses;
		epoch.began_away = gone;
	}
	return rv;
}

CK_RV own_C_Finalize(void *reserved)
{
	if (control->inside > 1) // this call, and another one
		control->finalized_inside++;
	CK_RV rv = real->C_Finalize(reserved);
	if (rv == CKR_OK) {
		pthread_mutex_lock(&table.mu);
		forget_all();
		pthread_mutex_unlock(&table.mu);
	}
	return rv;
}

CK_RV own_C_GetSlotList(CK_BYTE present, CK_ULONG *slots, CK_ULONG *n)
{
	uint64_t how = absence();
	if (n != NULL && (how == UNREACHABLE || (how == UNPLUGGED && present))) {
		*n = 0;
		return CKR_OK;
	}
	return real->C_GetSlotList(present, slots, n);
}

CK_RV own_C_GetSlotInfo(CK_ULONG slot, CK_SLOT_INFO *info)
{
	uint64_t how = absence();
	if (how == UNREACHABLE)
		return CKR_SLOT_ID_INVALID;
	CK_RV rv = real->C_GetSlotInfo(slot, info);
	if (rv == CKR_OK && how == UNPLUGGED)
		info->flags &= ~CKF_TOKEN_PRESENT;
	return rv;
}

CK_RV own_C_GetTokenInfo(CK_ULONG slot, CK_TOKEN_INFO *info)
{
	CK_RV rv = real->C_GetTokenInfo(slot, info);
	if (rv != CKR_OK)
		return rv;
	info->flags = (info->flags & ~(CK_ULONG)control->clear_flags) | control->set_flags;
	if (control->session_limit != 0)
		info->ulMaxSessionCount = info->ulMaxRwSessionCount = control->session_limit;
	return rv;
}

// log_in logs in with the PIN that the token gets by itself, if there is one.
static CK_RV log_in(CK_ULONG s, CK_ULONG user) { return real->C_Login(s, user, (CK_BYTE *)control->pin, control->pin_len); }

CK_RV own_C_OpenSession(CK_ULONG slot, CK_ULONG flags, void *app, void *notify, CK_ULONG *s)
{
	if ((flags & CKF_RW_SESSION) && (control->set_flags & CKF_WRITE_PROTECTED))
		return CKR_TOKEN_WRITE_PROTECTED;
	CK_RV rv = CKR_SESSION_COUNT;
	pthread_mutex_lock(&table.mu);
	if (table.n < sizeof table.at / sizeof table.at[0] && (control->session_limit == 0 || table.n < control->session_limit))
		rv = real->C_OpenSession(slot, flags, app, notify, s);
	if (rv == CKR_OK) {
		table.at[table.n].session = *s;
		table.at[table.n++].slot = slot;
		count_sessions();
		if ((control->clear_flags & CKF_LOGIN_REQUIRED) && control->pin_len != 0)
			log_in(*s, CKU_USER); // or another session has
	}
	pthread_mutex_unlock(&table.mu);
	return rv;
}

CK_RV own_C_CloseSession(CK_ULONG s)
{
	pthread_mutex_lock(&table.mu);
	CK_RV rv = real->C_CloseSession(s);
	for (size_t i = table.n; rv == CKR_OK && i-- > 0;)
		if (table.at[i].session == s)
			forget_session(i);
	pthread_mutex_unlock(&table.mu);
	return rv;
}

CK_RV own_C_CloseAllSessions(CK_ULONG slot)
{
	pthread_mutex_lock(&table.mu);
	CK_RV rv = real->C_CloseAllSessions(slot);
	for (size_t i = table.n; rv == CKR_OK && i-- > 0;)
		if (table.at[i].slot == slot)
			forget_session(i);
	pthread_mutex_unlock(&table.mu);
	return rv;
}

static _Atomic CK_ULONG login; // the session of the last C_Login

// A PIN of no bytes counts as none: there are callers that can't pass NULL.
CK_RV own_C_Login(CK_ULONG s, CK_ULONG user, CK_BYTE *pin, CK_ULONG pin_len)
{
	login = s;
	if ((pin == NULL || pin_len == 0) && (control->set_flags & CKF_PROTECTED_AUTHENTICATION_PATH) && control->pin_len != 0)
		return log_in(s, user);
	return real->C_Login(s, user, pin, pin_len);
}

CK_RV own_C_GetSessionInfo(CK_ULONG s, CK_SESSION_INFO *info)
{
	CK_RV rv = real->C_GetSessionInfo(s, info);
	if (rv != CKR_OK || !control->shy_login || s == login)
		return rv;
	if (info->state == CKS_RO_USER_FUNCTIONS)
		info->state = CKS_RO_PUBLIC_SESSION;
	if (info->state == CKS_RW_USER_FUNCTIONS)
		info->state = CKS_RW_PUBLIC_SESSION;
	return rv;
}

// shortened returns a copy of a template with the label cut off; NULL if there is no memory. The caller frees it.
static CK_ATTRIBUTE *shortened(const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	CK_ATTRIBUTE *copy = malloc((n + 1) * sizeof *copy);
	if (copy == NULL)
		return NULL;
	for (CK_ULONG i = 0; i < n; i++) {
		copy[i] = attrs[i];
		if (copy[i].type == CKA_LABEL && copy[i].ulValueLen > control->label_limit)
			copy[i].ulValueLen = control->label_limit;
	}
	return copy;
}

// guarded returns a copy of the template of a private key, with CKA_ALWAYS_AUTHENTICATE true; NULL if there is no memory. The
// caller frees it.
static CK_ATTRIBUTE *guarded(const CK_ATTRIBUTE *attrs, CK_ULONG *n)
{
	static CK_BYTE yes = CK_TRUE;
	CK_ATTRIBUTE *copy = malloc((*n + 1) * sizeof *copy);
	if (copy == NULL)
		return NULL;
	CK_ULONG kept = 0;
	for (CK_ULONG i = 0; i < *n; i++)
		if (attrs[i].type != CKA_ALWAYS_AUTHENTICATE)
			copy[kept++] = attrs[i];
	copy[kept++] = (CK_ATTRIBUTE){CKA_ALWAYS_AUTHENTICATE, &yes, sizeof yes};
	*n = kept;
	return copy;
}

static bool is_private_key(const CK_ATTRIBUTE *attrs, CK_ULONG n)
{
	for (CK_ULONG i = 0; i < n; i++)
		if (attrs[i].type == CKA_CLASS && attrs[i].ulValueLen == sizeof(CK_ULONG))
			return *(const CK_ULONG *)attrs[i].pValue == CKO_PRIVATE_KEY;
	return false;
}

CK_RV own_C_CreateObject(CK_ULONG s, CK_ATTRIBUTE *attrs, CK_ULONG n, CK_ULONG *object)
{
	CK_ATTRIBUTE *copy;
	if (control->label_limit != 0)
		copy = shortened(attrs, n);
	else if (control->always_authenticate && is_private_key(attrs, n))
		copy = guarded(attrs, &n);
	else
		return real->C_CreateObject(s, attrs, n, object);
	CK_RV rv = copy == NULL ? CKR_HOST_MEMORY : real->C_CreateObject(s, copy, n, object);
	free(copy);
	return rv;
}

CK_RV own_C_GenerateKeyPair(CK_ULONG s, void *mechanism, CK_ATTRIBUTE *pub, CK_ULONG pub_n, CK_ATTRIBUTE *priv, CK_ULONG priv_n,
	CK_ULONG *pub_key, CK_ULONG *priv_key)
{
	if (!control->always_authenticate)
		return real->C_GenerateKeyPair(s, mechanism, pub, pub_n, priv, priv_n, pub_key, priv_key);
	CK_ATTRIBUTE *copy = guarded(priv, &priv_n);
	CK_RV rv = copy == NULL ? CKR_HOST_MEMORY : real->C_GenerateKeyPair(s, mechanism, pub, pub_n, copy, priv_n, pub_key, priv_key);
	free(copy);
	return rv;
}
