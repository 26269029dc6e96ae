package hsm

import "time"

// Stats is what a Token has done since it was made, and what it is doing. The numbers are read one after the other, while they move.
type Stats struct {
	Status Status

	Sessions int // most sessions for operations at a time, as the token allows
	InUse    int // sessions with an operation under way, the stuck ones included
	Idle     int // sessions that are open and wait for the next operation
	Waiting  int // operations that wait for a session
	Stuck    int // calls into the module that have outlived their time limit

	Epochs       uint64        // connections that were made, the first one included
	Logins       uint64        // logins that the token accepted
	Refusals     uint64        // logins that it refused
	Recoveries   uint64        // outages that have ended
	LastRecovery time.Duration // how long the last of them was
	LongRecovery time.Duration // how long the longest of them was

	// Calls counts the calls by PKCS#11 function, such as "C_Sign". One made by crypto11 counts under its main function.
	Calls map[string]uint64
	// Errors counts those that failed, by function and return value, such as "C_Sign" and "CKR_DEVICE_REMOVED".
	Errors map[string]map[string]uint64
}

// Stats returns a copy of the numbers, without a call.
func (t *Token) Stats() Stats { return t.link.stats() }
