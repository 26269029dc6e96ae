//go:build cgo

package hsm

import (
	"fmt"
	"strings"

	"github.com/miekg/pkcs11"
)

// tokenFlags names the flags of CK_TOKEN_INFO (PKCS#11 v3.0 section 3.2) in the order of their bits.
var tokenFlags = []flagName{
	{pkcs11.CKF_RNG, "RNG"},
	{pkcs11.CKF_WRITE_PROTECTED, "WRITE_PROTECTED"},
	{pkcs11.CKF_LOGIN_REQUIRED, "LOGIN_REQUIRED"},
	{pkcs11.CKF_USER_PIN_INITIALIZED, "USER_PIN_INITIALIZED"},
	{pkcs11.CKF_RESTORE_KEY_NOT_NEEDED, "RESTORE_KEY_NOT_NEEDED"},
	{pkcs11.CKF_CLOCK_ON_TOKEN, "CLOCK_ON_TOKEN"},
	{pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH, "PROTECTED_AUTHENTICATION_PATH"},
	{pkcs11.CKF_DUAL_CRYPTO_OPERATIONS, "DUAL_CRYPTO_OPERATIONS"},
	{pkcs11.CKF_TOKEN_INITIALIZED, "TOKEN_INITIALIZED"},
	{pkcs11.CKF_SECONDARY_AUTHENTICATION, "SECONDARY_AUTHENTICATION"},
	{pkcs11.CKF_USER_PIN_COUNT_LOW, "USER_PIN_COUNT_LOW"},
	{pkcs11.CKF_USER_PIN_FINAL_TRY, "USER_PIN_FINAL_TRY"},
	{pkcs11.CKF_USER_PIN_LOCKED, "USER_PIN_LOCKED"},
	{pkcs11.CKF_USER_PIN_TO_BE_CHANGED, "USER_PIN_TO_BE_CHANGED"},
	{pkcs11.CKF_SO_PIN_COUNT_LOW, "SO_PIN_COUNT_LOW"},
	{pkcs11.CKF_SO_PIN_FINAL_TRY, "SO_PIN_FINAL_TRY"},
	{pkcs11.CKF_SO_PIN_LOCKED, "SO_PIN_LOCKED"},
	{pkcs11.CKF_SO_PIN_TO_BE_CHANGED, "SO_PIN_TO_BE_CHANGED"},
	{pkcs11.CKF_ERROR_STATE, "ERROR_STATE"},
}

// readToken describes the token in a slot; a slot that gives no answer has a Problem.
func readToken(p11 *pkcs11.Ctx, slot uint) TokenInfo {
	raw, err := p11.GetTokenInfo(slot)
	if err != nil {
		return TokenInfo{Slot: slot, Problem: newError("", "C_GetTokenInfo", err).Error()}
	}
	t := TokenInfo{
		Slot:         slot,
		Label:        trim(raw.Label),
		Manufacturer: trim(raw.ManufacturerID),
		Model:        trim(raw.Model),
		Serial:       trim(raw.SerialNumber),
		Hardware:     dotted(raw.HardwareVersion),
		Firmware:     dotted(raw.FirmwareVersion),
		Initialized:  raw.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0,
		flags:        raw.Flags,
		maxSessions:  fewest(raw.MaxSessionCount, raw.MaxRwSessionCount),
	}
	t.Flags = flagNames(tokenFlags, raw.Flags)
	t.URI = tokenURI(t)
	return t
}

// fewest returns the lower one of two session counts, of which either may say that there is no limit, or that it is not told.
func fewest(all, readWrite uint) uint {
	limited := func(n uint) bool {
		return n != pkcs11.CK_EFFECTIVELY_INFINITE && n != pkcs11.CK_UNAVAILABLE_INFORMATION
	}
	if limited(all) && (all < readWrite || !limited(readWrite)) {
		return all
	}
	return readWrite
}

// trim removes the padding: spaces as the specification says, and the NULs that some modules write.
func trim(s string) string { return strings.TrimRight(s, " \x00") }

func dotted(v pkcs11.Version) string { return fmt.Sprintf("%d.%d", v.Major, v.Minor) }
