// The types of PKCS#11 v2.40 (OASIS, pkcs11-base section 2 and appendix C) that the shim looks into. All else passes through
// it as numbers and pointers.
#ifndef CRYPTOKI_H
#define CRYPTOKI_H

typedef unsigned char CK_BYTE;
typedef unsigned long CK_ULONG; // also every handle, flag and CKR_ value
typedef CK_ULONG CK_RV;

enum { CK_FALSE, CK_TRUE };

#define CKR_OK 0x00UL
#define CKR_SLOT_ID_INVALID 0x03UL
#define CKR_GENERAL_ERROR 0x05UL
#define CKR_ARGUMENTS_BAD 0x07UL
#define CKR_DEVICE_ERROR 0x30UL
#define CKR_DEVICE_REMOVED 0x32UL
#define CKR_HOST_MEMORY 0x02UL
#define CKR_SESSION_COUNT 0xB1UL
#define CKR_SESSION_HANDLE_INVALID 0xB3UL
#define CKR_TOKEN_NOT_PRESENT 0xE0UL
#define CKR_TOKEN_WRITE_PROTECTED 0xE2UL

#define CKF_TOKEN_PRESENT 0x01UL                // of a slot
#define CKF_RW_SESSION 0x02UL                   // of a session
#define CKF_WRITE_PROTECTED 0x02UL              // of a token
#define CKF_LOGIN_REQUIRED 0x04UL               // of a token
#define CKF_PROTECTED_AUTHENTICATION_PATH 0x100UL // of a token

#define CKS_RO_PUBLIC_SESSION 0UL
#define CKS_RO_USER_FUNCTIONS 1UL
#define CKS_RW_PUBLIC_SESSION 2UL
#define CKS_RW_USER_FUNCTIONS 3UL

#define CKU_USER 1UL
#define CKO_PRIVATE_KEY 3UL
#define CKA_CLASS 0x000UL
#define CKA_LABEL 0x003UL
#define CKA_ALWAYS_AUTHENTICATE 0x202UL

typedef struct {
	CK_BYTE major, minor;
} CK_VERSION;

typedef struct {
	CK_BYTE slotDescription[64], manufacturerID[32];
	CK_ULONG flags;
	CK_VERSION hardwareVersion, firmwareVersion;
} CK_SLOT_INFO;

typedef struct {
	CK_BYTE label[32], manufacturerID[32], model[16], serialNumber[16];
	CK_ULONG flags;
	CK_ULONG ulMaxSessionCount, ulSessionCount, ulMaxRwSessionCount, ulRwSessionCount;
	CK_ULONG ulMaxPinLen, ulMinPinLen;
	CK_ULONG ulTotalPublicMemory, ulFreePublicMemory, ulTotalPrivateMemory, ulFreePrivateMemory;
	CK_VERSION hardwareVersion, firmwareVersion;
	CK_BYTE utcTime[16];
} CK_TOKEN_INFO;

typedef struct {
	CK_ULONG slotID, state, flags, ulDeviceError;
} CK_SESSION_INFO;

typedef struct {
	CK_ULONG type;
	void *pValue;
	CK_ULONG ulValueLen;
} CK_ATTRIBUTE;

// The functions in the order of the specification, which is the order of this structure.
typedef struct CK_FUNCTION_LIST CK_FUNCTION_LIST;
struct CK_FUNCTION_LIST {
	CK_VERSION version;
#define FUNCTION(name, needs, by, params, args) CK_RV(*name) params;
#include "functions.h"
#undef FUNCTION
};

#endif
