//go:build cgo

package hsm

import (
	"errors"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// function is a PKCS#11 function that a connection calls.
type function int

const (
	fnInitialize function = iota
	fnFinalize
	fnGetTokenInfo
	fnGetMechanismList
	fnGetMechanismInfo
	fnOpenSession
	fnCloseSession
	fnGetSessionInfo
	fnLogin
	fnCreateObject
	fnDestroyObject
	fnGetAttributeValue
	fnSetAttributeValue
	fnFindObjectsInit
	fnFindObjects
	fnFindObjectsFinal
	fnEncryptInit
	fnEncrypt
	fnDecryptInit
	fnDecrypt
	fnSignInit
	fnSign
	fnVerifyInit
	fnVerify
	fnGenerateKey
	fnGenerateKeyPair
	fnWrapKey
	fnUnwrapKey
	fnDeriveKey
	fnGenerateRandom
	functions // how many there are
)

var functionNames = [functions]string{
	"C_Initialize", "C_Finalize", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_OpenSession",
	"C_CloseSession", "C_GetSessionInfo", "C_Login", "C_CreateObject", "C_DestroyObject", "C_GetAttributeValue", "C_SetAttributeValue",
	"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_EncryptInit", "C_Encrypt", "C_DecryptInit", "C_Decrypt", "C_SignInit", "C_Sign",
	"C_VerifyInit", "C_Verify", "C_GenerateKey", "C_GenerateKeyPair", "C_WrapKey", "C_UnwrapKey", "C_DeriveKey", "C_GenerateRandom",
}

func (f function) String() string { return functionNames[f] }

// counters counts the calls of one connection.
type counters struct {
	calls [functions]atomic.Uint64

	mu     sync.Mutex
	errors map[function]map[string]uint64
}

// count counts a call that returned err, and returns err.
func (n *counters) count(f function, err error) error {
	n.calls[f].Add(1)
	if err != nil {
		n.fail(f, err)
	}
	return err
}

func (n *counters) fail(f function, err error) {
	code, ok := errors.AsType[pkcs11.Error](err)
	if !ok {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.errors == nil {
		n.errors = map[function]map[string]uint64{}
	}
	if n.errors[f] == nil {
		n.errors[f] = map[string]uint64{}
	}
	n.errors[f][codeName(uint(code))]++
}

// fill adds the counts to s.
func (n *counters) fill(s *Stats) {
	s.Calls, s.Errors = map[string]uint64{}, map[string]map[string]uint64{}
	for f := range functions {
		if calls := n.calls[f].Load(); calls > 0 {
			s.Calls[f.String()] = calls
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for f, codes := range n.errors {
		s.Errors[f.String()] = maps.Clone(codes)
	}
}
