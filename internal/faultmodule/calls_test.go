//go:build cgo && unix

package faultmodule_test

import (
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/faultmodule"
)

// Each function of the list is in its place, and is counted under its own name.
func TestEveryFunctionIsCounted(t *testing.T) {
	u := start(t)
	slot := u.slot(t)
	s := u.logIn(t)
	const no = pkcs11.ObjectHandle(0)
	ecdsa := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_ECDSA, nil)}
	sha := []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_SHA256, nil)}
	key, err := u.generate(s)
	require.NoError(t, err)
	data := make([]byte, 32)
	calls := []struct {
		name string
		call func()
	}{
		{"C_Initialize", func() { _ = u.Initialize() }},
		{"C_GetInfo", func() { _, _ = u.GetInfo() }},
		{"C_GetSlotInfo", func() { _, _ = u.GetSlotInfo(slot) }},
		{"C_GetTokenInfo", func() { _, _ = u.GetTokenInfo(slot) }},
		{"C_GetMechanismInfo", func() { _, _ = u.GetMechanismInfo(slot, ecdsa) }},
		{"C_InitToken", func() { _ = u.InitToken(^uint(0), "1234", "x") }},
		{"C_InitPIN", func() { _ = u.InitPIN(0, "1234") }},
		{"C_SetPIN", func() { _ = u.SetPIN(0, "1234", "1234") }},
		{"C_OpenSession", func() { _, _ = u.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION) }},
		{"C_CloseSession", func() { _ = u.CloseSession(0) }},
		{"C_CloseAllSessions", func() { _ = u.CloseAllSessions(^uint(0)) }},
		{"C_GetSessionInfo", func() { _, _ = u.GetSessionInfo(s) }},
		{"C_GetOperationState", func() { _, _ = u.GetOperationState(s) }},
		{"C_SetOperationState", func() { _ = u.SetOperationState(s, data, no, no) }},
		{"C_Login", func() { _ = u.Login(0, pkcs11.CKU_USER, "1234") }},
		{"C_Logout", func() { _ = u.Logout(0) }},
		{"C_CreateObject", func() { _, _ = u.CreateObject(s, nil) }},
		{"C_CopyObject", func() { _, _ = u.CopyObject(s, no, nil) }},
		{"C_DestroyObject", func() { _ = u.DestroyObject(s, no) }},
		{"C_GetObjectSize", func() { _, _ = u.GetObjectSize(s, no) }},
		{"C_GetAttributeValue", func() {
			_, _ = u.GetAttributeValue(s, no, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
		}},
		{"C_SetAttributeValue", func() { _ = u.SetAttributeValue(s, no, nil) }},
		{"C_FindObjectsInit", func() { _ = u.FindObjectsInit(s, nil) }},
		{"C_FindObjects", func() { _, _, _ = u.FindObjects(s, 1) }},
		{"C_FindObjectsFinal", func() { _ = u.FindObjectsFinal(s) }},
		{"C_EncryptInit", func() { _ = u.EncryptInit(s, ecdsa, no) }},
		{"C_Encrypt", func() { _, _ = u.Encrypt(s, data) }},
		{"C_EncryptUpdate", func() { _, _ = u.EncryptUpdate(s, data) }},
		{"C_EncryptFinal", func() { _, _ = u.EncryptFinal(s) }},
		{"C_DecryptInit", func() { _ = u.DecryptInit(s, ecdsa, no) }},
		{"C_Decrypt", func() { _, _ = u.Decrypt(s, data) }},
		{"C_DecryptUpdate", func() { _, _ = u.DecryptUpdate(s, data) }},
		{"C_DecryptFinal", func() { _, _ = u.DecryptFinal(s) }},
		{"C_DigestInit", func() { _ = u.DigestInit(s, sha) }},
		{"C_DigestUpdate", func() { _ = u.DigestUpdate(s, data) }},
		{"C_DigestKey", func() { _ = u.DigestKey(s, no) }},
		{"C_SignInit", func() { _ = u.SignInit(s, ecdsa, no) }},
		{"C_Sign", func() { _, _ = u.Sign(s, data) }},
		{"C_SignUpdate", func() { _ = u.SignUpdate(s, data) }},
		{"C_SignFinal", func() { _, _ = u.SignFinal(s) }},
		{"C_SignRecoverInit", func() { _ = u.SignRecoverInit(s, ecdsa, no) }},
		{"C_SignRecover", func() { _, _ = u.SignRecover(s, data) }},
		{"C_VerifyInit", func() { _ = u.VerifyInit(s, ecdsa, no) }},
		{"C_Verify", func() { _ = u.Verify(s, data, data) }},
		{"C_VerifyUpdate", func() { _ = u.VerifyUpdate(s, data) }},
		{"C_VerifyFinal", func() { _ = u.VerifyFinal(s, data) }},
		{"C_VerifyRecoverInit", func() { _ = u.VerifyRecoverInit(s, ecdsa, no) }},
		// miekg's VerifyRecover calls C_DecryptVerifyUpdate
		{"C_DigestEncryptUpdate", func() { _, _ = u.DigestEncryptUpdate(s, data) }},
		{"C_DecryptDigestUpdate", func() { _, _ = u.DecryptDigestUpdate(s, data) }},
		{"C_SignEncryptUpdate", func() { _, _ = u.SignEncryptUpdate(s, data) }},
		{"C_DecryptVerifyUpdate", func() { _, _ = u.DecryptVerifyUpdate(s, data) }},
		{"C_GenerateKey", func() { _, _ = u.GenerateKey(s, ecdsa, nil) }},
		{"C_GenerateKeyPair", func() { _, _, _ = u.GenerateKeyPair(s, ecdsa, nil, nil) }},
		{"C_WrapKey", func() { _, _ = u.WrapKey(s, ecdsa, no, no) }},
		{"C_UnwrapKey", func() { _, _ = u.UnwrapKey(s, ecdsa, no, data, nil) }},
		{"C_DeriveKey", func() { _, _ = u.DeriveKey(s, ecdsa, no, nil) }},
		{"C_SeedRandom", func() { _ = u.SeedRandom(s, data) }},
		{"C_GenerateRandom", func() { _, _ = u.GenerateRandom(s, 8) }},
		{"C_Finalize", func() { _ = u.Finalize() }},
	}
	for _, tt := range calls {
		require.Equal(t, faultmodule.Calls{tt.name: 1}, u.m.During(tt.call))
	}
	require.NotZero(t, key)
}
