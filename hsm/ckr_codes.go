package hsm

import "github.com/hsmmirror/hsmmirror/provider"

// ckrVendorDefined is CKR_VENDOR_DEFINED, from which on the makers of modules define codes of their own.
const ckrVendorDefined = 0x80000000

// ckrDataLenRange is CKR_DATA_LEN_RANGE.
const ckrDataLenRange = 0x21

// codeInfo is what one CKR code means to us.
type codeInfo struct {
	name   string
	class  class
	err    error  // provider error; nil: the code is no error
	reason string // why this class and this error
}

// codeTable holds every return value of PKCS#11 v3.0 (section 5.1, numbers from its pkcs11t.h), those that v3.2 adds, and
// the vendors' codes that were met. It is the one place that decides what a code means.
//
// No code maps to provider.ErrNotFound: that a handle is not valid is no proof that a key is gone.
var codeTable = map[uint]codeInfo{
	0x00000000: {"CKR_OK", classAnswer, nil, "done"},
	0x00000001: {"CKR_CANCEL", classHalfway, provider.ErrUnavailable, "a callback ended the function; we set none, so something else did"},
	0x00000002: {"CKR_HOST_MEMORY", classDevice, provider.ErrUnavailable, "also given for an empty PIN (TPM) and a signature while logged out (NSS)"},
	0x00000003: {"CKR_SLOT_ID_INVALID", classToken, provider.ErrUnavailable, "slots move, and a module that has lost its server has none"},
	0x00000005: {"CKR_GENERAL_ERROR", classDevice, provider.ErrUnavailable, "a lost token directory or TPM, and just as well a bad ciphertext"},
	0x00000006: {"CKR_FUNCTION_FAILED", classDevice, provider.ErrUnavailable, "the function did nothing, for a reason that is not told"},
	0x00000007: {"CKR_ARGUMENTS_BAD", classCaller, provider.ErrUnsupported, "a parameter that the module does not take, as OAEP with SHA-256 in SoftHSM2"},
	0x00000008: {"CKR_NO_EVENT", classAnswer, nil, "C_WaitForSlotEvent had nothing to report"},
	0x00000009: {"CKR_NEED_TO_CREATE_THREADS", classCaller, provider.ErrUnsupported, "C_Initialize wants arguments that we do not give"},
	0x0000000A: {"CKR_CANT_LOCK", classCaller, provider.ErrUnsupported, "the module can't be used from several threads"},
	0x00000010: {"CKR_ATTRIBUTE_READ_ONLY", classCaller, provider.ErrUnsupported, "the token does not change this attribute"},
	0x00000011: {"CKR_ATTRIBUTE_SENSITIVE", classCaller, provider.ErrNotExportable, "the token keeps the value"},
	0x00000012: {"CKR_ATTRIBUTE_TYPE_INVALID", classCaller, provider.ErrUnsupported, "the token does not know the attribute for such an object"},
	0x00000013: {"CKR_ATTRIBUTE_VALUE_INVALID", classCaller, provider.ErrUnsupported, "the token does not take the value for such an object"},
	0x0000001B: {"CKR_ACTION_PROHIBITED", classCaller, provider.ErrUnsupported, "the object has CKA_DESTROYABLE, CKA_MODIFIABLE or CKA_COPYABLE false"},
	0x00000020: {"CKR_DATA_INVALID", classCaller, provider.ErrInvalid, "the input is not what the mechanism takes"},
	0x00000021: {"CKR_DATA_LEN_RANGE", classCaller, provider.ErrInvalid, "the input is longer or shorter than the mechanism takes"},
	0x00000030: {"CKR_DEVICE_ERROR", classDevice, provider.ErrUnavailable, "all that p11-kit says when its server is gone, and also its answer to an attribute that it can't read"},
	0x00000031: {"CKR_DEVICE_MEMORY", classBusy, provider.ErrUnavailable, "the token is full"},
	0x00000032: {"CKR_DEVICE_REMOVED", classToken, provider.ErrUnavailable, "the token was unplugged during the call"},
	0x00000040: {"CKR_ENCRYPTED_DATA_INVALID", classCaller, provider.ErrInvalid, "the ciphertext was not made with this key"},
	0x00000041: {"CKR_ENCRYPTED_DATA_LEN_RANGE", classCaller, provider.ErrInvalid, "no ciphertext of this key is so long or short"},
	0x00000042: {"CKR_AEAD_DECRYPT_FAILED", classCaller, provider.ErrInvalid, "the ciphertext, its tag or the additional data was changed"},
	0x00000050: {"CKR_FUNCTION_CANCELED", classHalfway, provider.ErrUnavailable, "ended half-way, at a PIN pad or by the session's closing"},
	0x00000051: {"CKR_FUNCTION_NOT_PARALLEL", classCaller, provider.ErrUnsupported, "what C_GetFunctionStatus and C_CancelFunction always answer"},
	0x00000054: {"CKR_FUNCTION_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "the module does not have the function, though it may list the mechanism"},
	0x00000060: {"CKR_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable, "handles end with the epoch; the key itself may be there"},
	0x00000062: {"CKR_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported, "the token does not do keys of this size"},
	0x00000063: {"CKR_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported, "the mechanism is for another type of key"},
	0x00000064: {"CKR_KEY_NOT_NEEDED", classCaller, provider.ErrUnsupported, "from C_SetOperationState, which we do not call"},
	0x00000065: {"CKR_KEY_CHANGED", classCaller, provider.ErrUnsupported, "from C_SetOperationState, which we do not call"},
	0x00000066: {"CKR_KEY_NEEDED", classCaller, provider.ErrUnsupported, "from C_SetOperationState, which we do not call"},
	0x00000067: {"CKR_KEY_INDIGESTIBLE", classCaller, provider.ErrUnsupported, "from C_DigestKey, which we do not call"},
	0x00000068: {"CKR_KEY_FUNCTION_NOT_PERMITTED", classCaller, provider.ErrUnsupported, "the key was made without the attribute, such as CKA_SIGN, that allows it"},
	0x00000069: {"CKR_KEY_NOT_WRAPPABLE", classCaller, provider.ErrNotExportable, "the token does not wrap this key"},
	0x0000006A: {"CKR_KEY_UNEXTRACTABLE", classCaller, provider.ErrNotExportable, "the key has CKA_EXTRACTABLE false"},
	0x00000070: {"CKR_MECHANISM_INVALID", classCaller, provider.ErrUnsupported, "the token does not have the mechanism, or not for this function"},
	0x00000071: {"CKR_MECHANISM_PARAM_INVALID", classCaller, provider.ErrUnsupported, "the token does not have the mechanism with these parameters"},
	0x00000082: {"CKR_OBJECT_HANDLE_INVALID", classKey, provider.ErrUnavailable, "also what SoftHSM2 says when its token directory is gone"},
	0x00000090: {"CKR_OPERATION_ACTIVE", classSession, provider.ErrUnavailable, "an operation before this one was not finished"},
	0x00000091: {"CKR_OPERATION_NOT_INITIALIZED", classSession, provider.ErrUnavailable, "the operation was ended from outside, as by a logout"},
	0x000000A0: {"CKR_PIN_INCORRECT", classPIN, provider.ErrAuth, "a wrong PIN, and one try less"},
	0x000000A1: {"CKR_PIN_INVALID", classPIN, provider.ErrAuth, "the PIN has characters that the token does not take"},
	0x000000A2: {"CKR_PIN_LEN_RANGE", classPIN, provider.ErrAuth, "the PIN is longer or shorter than the token takes"},
	0x000000A3: {"CKR_PIN_EXPIRED", classPIN, provider.ErrAuth, "the token wants a new PIN to be set first"},
	0x000000A4: {"CKR_PIN_LOCKED", classPIN, provider.ErrAuth, "too many wrong PINs; the security officer unlocks it"},
	0x000000B0: {"CKR_SESSION_CLOSED", classHalfway, provider.ErrUnavailable, "closed during the call"},
	0x000000B1: {"CKR_SESSION_COUNT", classBusy, provider.ErrUnavailable, "the token has no more sessions to give"},
	0x000000B3: {"CKR_SESSION_HANDLE_INVALID", classSession, provider.ErrUnavailable, "closed before the call, by an epoch's end or the token itself"},
	0x000000B4: {"CKR_SESSION_PARALLEL_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "from C_OpenSession without CKF_SERIAL_SESSION, which we set"},
	0x000000B5: {"CKR_SESSION_READ_ONLY", classCaller, provider.ErrUnsupported, "the token gave a session that can't write"},
	0x000000B6: {"CKR_SESSION_EXISTS", classCaller, provider.ErrUnsupported, "from C_InitToken, which we do not call"},
	0x000000B7: {"CKR_SESSION_READ_ONLY_EXISTS", classCaller, provider.ErrUnsupported, "from a login as security officer, which we do not make"},
	0x000000B8: {"CKR_SESSION_READ_WRITE_SO_EXISTS", classLogin, provider.ErrUnavailable, "something in this process is logged in as security officer"},
	0x000000C0: {"CKR_SIGNATURE_INVALID", classCaller, provider.ErrInvalid, "the signature is not one of this key over this data"},
	0x000000C1: {"CKR_SIGNATURE_LEN_RANGE", classCaller, provider.ErrInvalid, "no signature of this key is so long or short"},
	0x000000D0: {"CKR_TEMPLATE_INCOMPLETE", classCaller, provider.ErrUnsupported, "the token wants an attribute that we do not give"},
	0x000000D1: {"CKR_TEMPLATE_INCONSISTENT", classCaller, provider.ErrUnsupported, "the token does not make objects with these attributes together"},
	0x000000E0: {"CKR_TOKEN_NOT_PRESENT", classToken, provider.ErrUnavailable, "the slot is empty"},
	0x000000E1: {"CKR_TOKEN_NOT_RECOGNIZED", classToken, provider.ErrUnavailable, "the module can't read what is in the slot"},
	0x000000E2: {"CKR_TOKEN_WRITE_PROTECTED", classCaller, provider.ErrUnsupported, "the token can't be written to"},
	0x000000F0: {"CKR_UNWRAPPING_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable, "as CKR_KEY_HANDLE_INVALID"},
	0x000000F1: {"CKR_UNWRAPPING_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported, "the token does not unwrap with a key of this size"},
	0x000000F2: {"CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported, "the mechanism is for another type of key"},
	0x00000100: {"CKR_USER_ALREADY_LOGGED_IN", classAnswer, nil, "the login is shared by all sessions, and is there"},
	0x00000101: {"CKR_USER_NOT_LOGGED_IN", classLogin, provider.ErrUnavailable, "the login was lost; for a key with CKA_ALWAYS_AUTHENTICATE, its own login is missing"},
	0x00000102: {"CKR_USER_PIN_NOT_INITIALIZED", classPIN, provider.ErrAuth, "the token has no user PIN yet"},
	0x00000103: {"CKR_USER_TYPE_INVALID", classCaller, provider.ErrUnsupported, "the token has no such login, as CKU_CONTEXT_SPECIFIC"},
	0x00000104: {"CKR_USER_ANOTHER_ALREADY_LOGGED_IN", classLogin, provider.ErrUnavailable, "something in this process is logged in as another user"},
	0x00000105: {"CKR_USER_TOO_MANY_TYPES", classLogin, provider.ErrUnavailable, "something in this process is logged in as another user"},
	0x00000110: {"CKR_WRAPPED_KEY_INVALID", classCaller, provider.ErrInvalid, "the wrapped key does not unwrap under this key"},
	0x00000112: {"CKR_WRAPPED_KEY_LEN_RANGE", classCaller, provider.ErrInvalid, "no wrapped key is so long or short"},
	0x00000113: {"CKR_WRAPPING_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable, "as CKR_KEY_HANDLE_INVALID"},
	0x00000114: {"CKR_WRAPPING_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported, "the token does not wrap with a key of this size"},
	0x00000115: {"CKR_WRAPPING_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported, "the mechanism is for another type of key"},
	0x00000120: {"CKR_RANDOM_SEED_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "from C_SeedRandom, which we do not call"},
	0x00000121: {"CKR_RANDOM_NO_RNG", classCaller, provider.ErrUnsupported, "the token has no random number generator"},
	0x00000130: {"CKR_DOMAIN_PARAMS_INVALID", classCaller, provider.ErrUnsupported, "the token does not know the curve, or not in this encoding"},
	0x00000140: {"CKR_CURVE_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "the token does not do this curve"},
	0x00000150: {"CKR_BUFFER_TOO_SMALL", classCaller, provider.ErrUnsupported, "the buffer has the size that the module asked for: it does not do this with this key"},
	0x00000160: {"CKR_SAVED_STATE_INVALID", classCaller, provider.ErrUnsupported, "from C_SetOperationState, which we do not call"},
	0x00000170: {"CKR_INFORMATION_SENSITIVE", classCaller, provider.ErrNotExportable, "the token keeps the value"},
	0x00000180: {"CKR_STATE_UNSAVEABLE", classCaller, provider.ErrUnsupported, "from C_GetOperationState, which we do not call"},
	0x00000190: {"CKR_CRYPTOKI_NOT_INITIALIZED", classFatal, provider.ErrUnavailable, "something in this process called C_Finalize, or a daemon's restart did"},
	0x00000191: {"CKR_CRYPTOKI_ALREADY_INITIALIZED", classCaller, provider.ErrInvalid, "something else in this process has the module open, and could close it under us"},
	0x000001A0: {"CKR_MUTEX_BAD", classFatal, provider.ErrUnavailable, "the module's own state is damaged"},
	0x000001A1: {"CKR_MUTEX_NOT_LOCKED", classFatal, provider.ErrUnavailable, "the module's own state is damaged"},
	0x000001B0: {"CKR_NEW_PIN_MODE", classPIN, provider.ErrAuth, "a one-time-password token wants a new PIN"},
	0x000001B1: {"CKR_NEXT_OTP", classPIN, provider.ErrAuth, "a one-time-password token wants another password"},
	0x000001B5: {"CKR_EXCEEDED_MAX_ITERATIONS", classBusy, provider.ErrUnavailable, "no prime was found in the time given; the next try may find one"},
	0x000001B6: {"CKR_FIPS_SELF_TEST_FAILED", classFatal, provider.ErrUnavailable, "the module refuses everything until its self-test passes"},
	0x000001B7: {"CKR_LIBRARY_LOAD_FAILED", classFatal, provider.ErrUnavailable, "a library that the module needs is missing or broken"},
	0x000001B8: {"CKR_PIN_TOO_WEAK", classPIN, provider.ErrAuth, "the token does not take such a PIN"},
	0x000001B9: {"CKR_PUBLIC_KEY_INVALID", classCaller, provider.ErrInvalid, "the peer's public key is not on the curve, or not of this one"},
	0x00000200: {"CKR_FUNCTION_REJECTED", classCaller, provider.ErrAuth, "the person at the device said no"},
	0x00000201: {"CKR_TOKEN_RESOURCE_EXCEEDED", classBusy, provider.ErrUnavailable, "the token has no room for the operation now"},
	0x00000202: {"CKR_OPERATION_CANCEL_FAILED", classHalfway, provider.ErrUnavailable, "an operation could not be cancelled, and is still active"},

	// PKCS#11 v3.2.
	0x00000203: {"CKR_KEY_EXHAUSTED", classCaller, provider.ErrUnsupported, "a hash-based key has signed as often as it may"},
	0x00000204: {"CKR_PENDING", classHalfway, provider.ErrUnavailable, "the call goes on by itself, which we did not ask for"},
	0x00000205: {"CKR_SESSION_ASYNC_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "from C_OpenSession with CKF_ASYNC_SESSION, which we do not set"},
	0x00000206: {"CKR_SEED_RANDOM_REQUIRED", classCaller, provider.ErrUnsupported, "the generator wants C_SeedRandom, which we do not call"},
	0x00000207: {"CKR_OPERATION_NOT_VALIDATED", classCaller, provider.ErrUnsupported, "the token's certification does not cover this"},
	0x00000208: {"CKR_TOKEN_NOT_INITIALIZED", classToken, provider.ErrUnavailable, "the token was reset, or is another one"},
	0x00000209: {"CKR_PARAMETER_SET_NOT_SUPPORTED", classCaller, provider.ErrUnsupported, "the token does not do this parameter set"},

	// Vendors' own.
	ckrVendorDefined: {"CKR_VENDOR_DEFINED", classVendor, provider.ErrUnavailable, "nothing is known of it"},
	0xCE534352:       {"CKR_NSS_KEYDB_FAILED", classVendor, provider.ErrUnavailable, "NSS could not write its key database"},
}
