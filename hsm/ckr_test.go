package hsm

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestErrorText(t *testing.T) {
	tests := []struct {
		name string
		err  Error
		want string
	}{
		{"names token, call and code", Error{Token: "hsm-a", Call: "C_Sign", Code: 0x32}, `token "hsm-a": C_Sign: CKR_DEVICE_REMOVED`},
		{"leaves out a token that is not known", Error{Call: "C_GetSlotList", Code: 0x190}, `C_GetSlotList: CKR_CRYPTOKI_NOT_INITIALIZED`},
		{"quotes control characters of a label", Error{Token: "a\x1b[2J", Call: "C_Login", Code: 0xA0}, `token "a\x1b[2J": C_Login: CKR_PIN_INCORRECT`},
		{"names the code of an action prohibited", Error{Call: "C_DestroyObject", Code: 0x1B}, `C_DestroyObject: CKR_ACTION_PROHIBITED`},
		{"names a curve that is not supported", Error{Call: "C_GenerateKeyPair", Code: 0x140}, `C_GenerateKeyPair: CKR_CURVE_NOT_SUPPORTED`},
		{"names NSS's database error", Error{Call: "C_SetAttributeValue", Code: 0xCE534352}, `C_SetAttributeValue: CKR_NSS_KEYDB_FAILED`},
		{"counts another vendor's code from the vendors' first", Error{Call: "C_Sign", Code: 0x80000A01}, `C_Sign: CKR_VENDOR_DEFINED+0xA01`},
		{"prints the vendors' first by name", Error{Call: "C_Sign", Code: 0x80000000}, `C_Sign: CKR_VENDOR_DEFINED`},
		{"prints an unknown code in hexadecimal", Error{Call: "C_Sign", Code: 0x77}, `C_Sign: CKR_0x00000077`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.err.Error())
		})
	}
}

func TestErrorMeansProviderError(t *testing.T) {
	err := fmt.Errorf("create key %q: %w", "payments", &Error{Token: "hsm-a", Call: "C_GenerateKeyPair", Code: 0x32})
	require.EqualError(t, err, `create key "payments": token "hsm-a": C_GenerateKeyPair: CKR_DEVICE_REMOVED`)
	require.ErrorIs(t, err, provider.ErrUnavailable)
	var pe *Error
	require.ErrorAs(t, err, &pe)
	require.Equal(t, uint(0x32), pe.Code)

	require.NoError(t, (&Error{Call: "C_Login", Code: 0x100}).Unwrap(), "a login that is there is no error")
}

func TestErrorAsKeepsTheOriginal(t *testing.T) {
	asked := &Error{Token: "t", Call: "C_Decrypt", Code: 0x05}
	answer := asked.as(provider.ErrInvalid)

	require.ErrorIs(t, answer, provider.ErrInvalid)
	require.False(t, provider.IsOutage(answer), "a bad ciphertext must not count as an outage")
	require.Equal(t, asked.Error(), answer.Error())
	require.ErrorIs(t, asked, provider.ErrUnavailable)
}

// TestCodeTable states each row again, by number, because a wrong class locks a PIN or starts a recovery that nobody needs.
func TestCodeTable(t *testing.T) {
	rows := []struct {
		code  uint
		name  string
		class class
		err   error
	}{
		{0x00000000, "CKR_OK", classAnswer, nil},
		{0x00000001, "CKR_CANCEL", classHalfway, provider.ErrUnavailable},
		{0x00000002, "CKR_HOST_MEMORY", classDevice, provider.ErrUnavailable},
		{0x00000003, "CKR_SLOT_ID_INVALID", classToken, provider.ErrUnavailable},
		{0x00000005, "CKR_GENERAL_ERROR", classDevice, provider.ErrUnavailable},
		{0x00000006, "CKR_FUNCTION_FAILED", classDevice, provider.ErrUnavailable},
		{0x00000007, "CKR_ARGUMENTS_BAD", classCaller, provider.ErrUnsupported},
		{0x00000008, "CKR_NO_EVENT", classAnswer, nil},
		{0x00000009, "CKR_NEED_TO_CREATE_THREADS", classCaller, provider.ErrUnsupported},
		{0x0000000A, "CKR_CANT_LOCK", classCaller, provider.ErrUnsupported},
		{0x00000010, "CKR_ATTRIBUTE_READ_ONLY", classCaller, provider.ErrUnsupported},
		{0x00000011, "CKR_ATTRIBUTE_SENSITIVE", classCaller, provider.ErrNotExportable},
		{0x00000012, "CKR_ATTRIBUTE_TYPE_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000013, "CKR_ATTRIBUTE_VALUE_INVALID", classCaller, provider.ErrUnsupported},
		{0x0000001B, "CKR_ACTION_PROHIBITED", classCaller, provider.ErrUnsupported},
		{0x00000020, "CKR_DATA_INVALID", classCaller, provider.ErrInvalid},
		{0x00000021, "CKR_DATA_LEN_RANGE", classCaller, provider.ErrInvalid},
		{0x00000030, "CKR_DEVICE_ERROR", classDevice, provider.ErrUnavailable},
		{0x00000031, "CKR_DEVICE_MEMORY", classBusy, provider.ErrUnavailable},
		{0x00000032, "CKR_DEVICE_REMOVED", classToken, provider.ErrUnavailable},
		{0x00000040, "CKR_ENCRYPTED_DATA_INVALID", classCaller, provider.ErrInvalid},
		{0x00000041, "CKR_ENCRYPTED_DATA_LEN_RANGE", classCaller, provider.ErrInvalid},
		{0x00000042, "CKR_AEAD_DECRYPT_FAILED", classCaller, provider.ErrInvalid},
		{0x00000050, "CKR_FUNCTION_CANCELED", classHalfway, provider.ErrUnavailable},
		{0x00000051, "CKR_FUNCTION_NOT_PARALLEL", classCaller, provider.ErrUnsupported},
		{0x00000054, "CKR_FUNCTION_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x00000060, "CKR_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable},
		{0x00000062, "CKR_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported},
		{0x00000063, "CKR_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported},
		{0x00000064, "CKR_KEY_NOT_NEEDED", classCaller, provider.ErrUnsupported},
		{0x00000065, "CKR_KEY_CHANGED", classCaller, provider.ErrUnsupported},
		{0x00000066, "CKR_KEY_NEEDED", classCaller, provider.ErrUnsupported},
		{0x00000067, "CKR_KEY_INDIGESTIBLE", classCaller, provider.ErrUnsupported},
		{0x00000068, "CKR_KEY_FUNCTION_NOT_PERMITTED", classCaller, provider.ErrUnsupported},
		{0x00000069, "CKR_KEY_NOT_WRAPPABLE", classCaller, provider.ErrNotExportable},
		{0x0000006A, "CKR_KEY_UNEXTRACTABLE", classCaller, provider.ErrNotExportable},
		{0x00000070, "CKR_MECHANISM_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000071, "CKR_MECHANISM_PARAM_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000082, "CKR_OBJECT_HANDLE_INVALID", classKey, provider.ErrUnavailable},
		{0x00000090, "CKR_OPERATION_ACTIVE", classSession, provider.ErrUnavailable},
		{0x00000091, "CKR_OPERATION_NOT_INITIALIZED", classSession, provider.ErrUnavailable},
		{0x000000A0, "CKR_PIN_INCORRECT", classPIN, provider.ErrAuth},
		{0x000000A1, "CKR_PIN_INVALID", classPIN, provider.ErrAuth},
		{0x000000A2, "CKR_PIN_LEN_RANGE", classPIN, provider.ErrAuth},
		{0x000000A3, "CKR_PIN_EXPIRED", classPIN, provider.ErrAuth},
		{0x000000A4, "CKR_PIN_LOCKED", classPIN, provider.ErrAuth},
		{0x000000B0, "CKR_SESSION_CLOSED", classHalfway, provider.ErrUnavailable},
		{0x000000B1, "CKR_SESSION_COUNT", classBusy, provider.ErrUnavailable},
		{0x000000B3, "CKR_SESSION_HANDLE_INVALID", classSession, provider.ErrUnavailable},
		{0x000000B4, "CKR_SESSION_PARALLEL_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x000000B5, "CKR_SESSION_READ_ONLY", classCaller, provider.ErrUnsupported},
		{0x000000B6, "CKR_SESSION_EXISTS", classCaller, provider.ErrUnsupported},
		{0x000000B7, "CKR_SESSION_READ_ONLY_EXISTS", classCaller, provider.ErrUnsupported},
		{0x000000B8, "CKR_SESSION_READ_WRITE_SO_EXISTS", classLogin, provider.ErrUnavailable},
		{0x000000C0, "CKR_SIGNATURE_INVALID", classCaller, provider.ErrInvalid},
		{0x000000C1, "CKR_SIGNATURE_LEN_RANGE", classCaller, provider.ErrInvalid},
		{0x000000D0, "CKR_TEMPLATE_INCOMPLETE", classCaller, provider.ErrUnsupported},
		{0x000000D1, "CKR_TEMPLATE_INCONSISTENT", classCaller, provider.ErrUnsupported},
		{0x000000E0, "CKR_TOKEN_NOT_PRESENT", classToken, provider.ErrUnavailable},
		{0x000000E1, "CKR_TOKEN_NOT_RECOGNIZED", classToken, provider.ErrUnavailable},
		{0x000000E2, "CKR_TOKEN_WRITE_PROTECTED", classCaller, provider.ErrUnsupported},
		{0x000000F0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable},
		{0x000000F1, "CKR_UNWRAPPING_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported},
		{0x000000F2, "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported},
		{0x00000100, "CKR_USER_ALREADY_LOGGED_IN", classAnswer, nil},
		{0x00000101, "CKR_USER_NOT_LOGGED_IN", classLogin, provider.ErrUnavailable},
		{0x00000102, "CKR_USER_PIN_NOT_INITIALIZED", classPIN, provider.ErrAuth},
		{0x00000103, "CKR_USER_TYPE_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000104, "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", classLogin, provider.ErrUnavailable},
		{0x00000105, "CKR_USER_TOO_MANY_TYPES", classLogin, provider.ErrUnavailable},
		{0x00000110, "CKR_WRAPPED_KEY_INVALID", classCaller, provider.ErrInvalid},
		{0x00000112, "CKR_WRAPPED_KEY_LEN_RANGE", classCaller, provider.ErrInvalid},
		{0x00000113, "CKR_WRAPPING_KEY_HANDLE_INVALID", classKey, provider.ErrUnavailable},
		{0x00000114, "CKR_WRAPPING_KEY_SIZE_RANGE", classCaller, provider.ErrUnsupported},
		{0x00000115, "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", classCaller, provider.ErrUnsupported},
		{0x00000120, "CKR_RANDOM_SEED_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x00000121, "CKR_RANDOM_NO_RNG", classCaller, provider.ErrUnsupported},
		{0x00000130, "CKR_DOMAIN_PARAMS_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000140, "CKR_CURVE_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x00000150, "CKR_BUFFER_TOO_SMALL", classCaller, provider.ErrUnsupported},
		{0x00000160, "CKR_SAVED_STATE_INVALID", classCaller, provider.ErrUnsupported},
		{0x00000170, "CKR_INFORMATION_SENSITIVE", classCaller, provider.ErrNotExportable},
		{0x00000180, "CKR_STATE_UNSAVEABLE", classCaller, provider.ErrUnsupported},
		{0x00000190, "CKR_CRYPTOKI_NOT_INITIALIZED", classFatal, provider.ErrUnavailable},
		{0x00000191, "CKR_CRYPTOKI_ALREADY_INITIALIZED", classCaller, provider.ErrInvalid},
		{0x000001A0, "CKR_MUTEX_BAD", classFatal, provider.ErrUnavailable},
		{0x000001A1, "CKR_MUTEX_NOT_LOCKED", classFatal, provider.ErrUnavailable},
		{0x000001B0, "CKR_NEW_PIN_MODE", classPIN, provider.ErrAuth},
		{0x000001B1, "CKR_NEXT_OTP", classPIN, provider.ErrAuth},
		{0x000001B5, "CKR_EXCEEDED_MAX_ITERATIONS", classBusy, provider.ErrUnavailable},
		{0x000001B6, "CKR_FIPS_SELF_TEST_FAILED", classFatal, provider.ErrUnavailable},
		{0x000001B7, "CKR_LIBRARY_LOAD_FAILED", classFatal, provider.ErrUnavailable},
		{0x000001B8, "CKR_PIN_TOO_WEAK", classPIN, provider.ErrAuth},
		{0x000001B9, "CKR_PUBLIC_KEY_INVALID", classCaller, provider.ErrInvalid},
		{0x00000200, "CKR_FUNCTION_REJECTED", classCaller, provider.ErrAuth},
		{0x00000201, "CKR_TOKEN_RESOURCE_EXCEEDED", classBusy, provider.ErrUnavailable},
		{0x00000202, "CKR_OPERATION_CANCEL_FAILED", classHalfway, provider.ErrUnavailable},
		{0x00000203, "CKR_KEY_EXHAUSTED", classCaller, provider.ErrUnsupported},
		{0x00000204, "CKR_PENDING", classHalfway, provider.ErrUnavailable},
		{0x00000205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x00000206, "CKR_SEED_RANDOM_REQUIRED", classCaller, provider.ErrUnsupported},
		{0x00000207, "CKR_OPERATION_NOT_VALIDATED", classCaller, provider.ErrUnsupported},
		{0x00000208, "CKR_TOKEN_NOT_INITIALIZED", classToken, provider.ErrUnavailable},
		{0x00000209, "CKR_PARAMETER_SET_NOT_SUPPORTED", classCaller, provider.ErrUnsupported},
		{0x80000000, "CKR_VENDOR_DEFINED", classVendor, provider.ErrUnavailable},
		{0xCE534352, "CKR_NSS_KEYDB_FAILED", classVendor, provider.ErrUnavailable},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			e := &Error{Call: "C_X", Code: r.code}
			require.Equal(t, "C_X: "+r.name, e.Error())
			require.Equal(t, r.class, classOf(r.code))
			require.Equal(t, r.err, e.Unwrap())
			require.NotEmpty(t, infoOf(r.code).reason)
		})
	}
	require.Len(t, codeTable, len(rows), "every row of the table is tested")
}

// TestCodeTableIsComplete holds the names of pkcs11t.h v3.0 against the table.
func TestCodeTableIsComplete(t *testing.T) {
	v30 := []string{
		"CKR_OK", "CKR_CANCEL", "CKR_HOST_MEMORY", "CKR_SLOT_ID_INVALID", "CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED",
		"CKR_ARGUMENTS_BAD", "CKR_NO_EVENT", "CKR_NEED_TO_CREATE_THREADS", "CKR_CANT_LOCK", "CKR_ATTRIBUTE_READ_ONLY",
		"CKR_ATTRIBUTE_SENSITIVE", "CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_VALUE_INVALID", "CKR_ACTION_PROHIBITED",
		"CKR_DATA_INVALID", "CKR_DATA_LEN_RANGE", "CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY", "CKR_DEVICE_REMOVED",
		"CKR_ENCRYPTED_DATA_INVALID", "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_AEAD_DECRYPT_FAILED", "CKR_FUNCTION_CANCELED",
		"CKR_FUNCTION_NOT_PARALLEL", "CKR_FUNCTION_NOT_SUPPORTED", "CKR_KEY_HANDLE_INVALID", "CKR_KEY_SIZE_RANGE",
		"CKR_KEY_TYPE_INCONSISTENT", "CKR_KEY_NOT_NEEDED", "CKR_KEY_CHANGED", "CKR_KEY_NEEDED", "CKR_KEY_INDIGESTIBLE",
		"CKR_KEY_FUNCTION_NOT_PERMITTED", "CKR_KEY_NOT_WRAPPABLE", "CKR_KEY_UNEXTRACTABLE", "CKR_MECHANISM_INVALID",
		"CKR_MECHANISM_PARAM_INVALID", "CKR_OBJECT_HANDLE_INVALID", "CKR_OPERATION_ACTIVE",
		"CKR_OPERATION_NOT_INITIALIZED", "CKR_PIN_INCORRECT", "CKR_PIN_INVALID", "CKR_PIN_LEN_RANGE", "CKR_PIN_EXPIRED",
		"CKR_PIN_LOCKED", "CKR_SESSION_CLOSED", "CKR_SESSION_COUNT", "CKR_SESSION_HANDLE_INVALID",
		"CKR_SESSION_PARALLEL_NOT_SUPPORTED", "CKR_SESSION_READ_ONLY", "CKR_SESSION_EXISTS",
		"CKR_SESSION_READ_ONLY_EXISTS", "CKR_SESSION_READ_WRITE_SO_EXISTS", "CKR_SIGNATURE_INVALID",
		"CKR_SIGNATURE_LEN_RANGE", "CKR_TEMPLATE_INCOMPLETE", "CKR_TEMPLATE_INCONSISTENT", "CKR_TOKEN_NOT_PRESENT",
		"CKR_TOKEN_NOT_RECOGNIZED", "CKR_TOKEN_WRITE_PROTECTED", "CKR_UNWRAPPING_KEY_HANDLE_INVALID",
		"CKR_UNWRAPPING_KEY_SIZE_RANGE", "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", "CKR_USER_ALREADY_LOGGED_IN",
		"CKR_USER_NOT_LOGGED_IN", "CKR_USER_PIN_NOT_INITIALIZED", "CKR_USER_TYPE_INVALID",
		"CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "CKR_USER_TOO_MANY_TYPES", "CKR_WRAPPED_KEY_INVALID",
		"CKR_WRAPPED_KEY_LEN_RANGE", "CKR_WRAPPING_KEY_HANDLE_INVALID", "CKR_WRAPPING_KEY_SIZE_RANGE",
		"CKR_WRAPPING_KEY_TYPE_INCONSISTENT", "CKR_RANDOM_SEED_NOT_SUPPORTED", "CKR_RANDOM_NO_RNG",
		"CKR_DOMAIN_PARAMS_INVALID", "CKR_CURVE_NOT_SUPPORTED", "CKR_BUFFER_TOO_SMALL", "CKR_SAVED_STATE_INVALID",
		"CKR_INFORMATION_SENSITIVE", "CKR_STATE_UNSAVEABLE", "CKR_CRYPTOKI_NOT_INITIALIZED",
		"CKR_CRYPTOKI_ALREADY_INITIALIZED", "CKR_MUTEX_BAD", "CKR_MUTEX_NOT_LOCKED", "CKR_NEW_PIN_MODE", "CKR_NEXT_OTP",
		"CKR_EXCEEDED_MAX_ITERATIONS", "CKR_FIPS_SELF_TEST_FAILED", "CKR_LIBRARY_LOAD_FAILED", "CKR_PIN_TOO_WEAK",
		"CKR_PUBLIC_KEY_INVALID", "CKR_FUNCTION_REJECTED", "CKR_TOKEN_RESOURCE_EXCEEDED", "CKR_OPERATION_CANCEL_FAILED",
		"CKR_VENDOR_DEFINED",
	}
	require.Len(t, v30, 98)
	have := map[string]bool{}
	for _, info := range codeTable {
		require.False(t, have[info.name], "%s stands in the table twice", info.name)
		have[info.name] = true
	}
	for _, name := range v30 {
		require.True(t, have[name], "no row for %s", name)
	}
}

func TestCodeTableHoldsTogether(t *testing.T) {
	for _, i := range codeTable {
		require.False(t, errors.Is(i.err, provider.ErrNotFound), "%s: no code is proof that a key is gone", i.name)
		switch i.class {
		case classAnswer:
			require.NoError(t, i.err, i.name)
		case classCaller:
			require.Error(t, i.err, i.name)
			require.False(t, provider.IsOutage(i.err), "%s: what the caller asked for is no outage", i.name)
		case classPIN:
			require.Equal(t, provider.ErrAuth, i.err, i.name)
		default:
			require.Equal(t, provider.ErrUnavailable, i.err, i.name)
		}
	}
	require.Equal(t, classVendor, classOf(0x77), "an unknown code says nothing")
	require.ErrorIs(t, &Error{Code: 0x77}, provider.ErrUnavailable)
}

func TestTheTokenIsAskedBeforeADoubtfulCodeIsBelieved(t *testing.T) {
	tests := []struct {
		name  string
		class class
		want  bool
	}{
		{"an answer is no doubt", classAnswer, false},
		{"what the caller asked for is not the connection's fault", classCaller, false},
		{"a refused PIN is an answer", classPIN, false},
		{"a full token answered", classBusy, false},
		{"a handle may have gone with its connection", classKey, true},
		{"a session may have", classSession, true},
		{"a login may have", classLogin, true},
		{"a call that was cut off may have", classHalfway, true},
		{"a token that is absent", classToken, true},
		{"a failure without a cause", classDevice, true},
		{"a code that nobody defines", classVendor, true},
		{"a module that has to start afresh", classFatal, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, tt.class.doubtful())
		})
	}
	require.Len(t, tests, int(classFatal), "every class is tested")
}
