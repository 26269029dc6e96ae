package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
	"github.com/hsmmirror/hsmmirror/provider"
)

// What the doctor makes of what a token says. Most of it no token here can be brought to say.
func TestTheDoctorsFindings(t *testing.T) {
	pin := func(flags ...string) func(*doctor) {
		return func(d *doctor) {
			d.pinState(seenSlot{slot: hsm.SlotInfo{Token: &hsm.TokenDetails{TokenInfo: hsm.TokenInfo{Flags: flags}}}})
		}
	}
	gives := func(sessions int, algs ...provider.AlgSupport) func(*doctor) {
		return func(d *doctor) {
			d.need = []provider.KeyAlg{provider.X25519}
			d.capabilities(seenSlot{slot: hsm.SlotInfo{Token: &hsm.TokenDetails{Algs: algs, MaxRWSessions: sessions}}})
		}
	}
	whole := provider.AlgSupport{Alg: provider.Ed25519, Create: true, Use: true}
	can := checkJSON{"algorithms", checkOK, "it gives ED25519", ""}
	step := func(r hsm.TrialResult) func(*doctor) {
		return func(d *doctor) {
			d.need = []provider.KeyAlg{provider.X25519}
			d.step(r)
		}
	}
	keys := func(objects ...hsm.ObjectInfo) func(*doctor) {
		return func(d *doctor) { d.keys(hsm.TokenObjects{Objects: objects}) }
	}
	object := func(status, problem string, findings ...string) hsm.ObjectInfo {
		o := hsm.ObjectInfo{Object: hsm.Object{Class: "CKO_PRIVATE_KEY", Label: "a.v1", Status: status, Problem: problem}}
		if status == hsm.StatusOurs {
			o.KID, o.Version = "a", 1
		}
		for _, code := range findings {
			o.Findings = append(o.Findings, hsm.Finding{Code: code, Text: "as " + code})
		}
		return o
	}
	clock := func(says string) func(*doctor) {
		return func(d *doctor) {
			d.tokenClock(seenSlot{slot: hsm.SlotInfo{Token: &hsm.TokenDetails{Clock: says}}})
		}
	}
	tests := []struct {
		name  string
		check func(*doctor)
		want  []checkJSON
	}{
		{"a PIN", pin("LOGIN_REQUIRED", "USER_PIN_INITIALIZED"), []checkJSON{{"PIN", checkOK, "ok", ""}}},
		{"a PIN pad", pin("LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "PROTECTED_AUTHENTICATION_PATH"), []checkJSON{{"PIN", checkOK, "entered on the device", ""}}},
		{"no PIN is wanted", pin(), []checkJSON{{"PIN", checkOK, "not wanted", ""}}},
		{"no PIN is set", pin("LOGIN_REQUIRED"), []checkJSON{
			{"PIN", checkFailure, "the user PIN is not set", "set it with the security officer's PIN, such as by pkcs11-tool --init-pin"}}},
		{"the maker's PIN", pin("LOGIN_REQUIRED", "USER_PIN_INITIALIZED", "USER_PIN_TO_BE_CHANGED"), []checkJSON{
			{"PIN", checkWarning, "the user PIN is to be changed", "change it"}}},

		{"all that it gives", gives(0, whole), []checkJSON{can}},
		{"an algorithm that it lacks", gives(0, whole, provider.AlgSupport{Alg: provider.AES256GCM, Create: true, Missing: "CKM_AES_GCM"}), []checkJSON{
			{"algorithms", checkOK, "it gives ED25519; it does not give AES256_GCM (it lacks CKM_AES_GCM)", ""}}},
		{"one that is needed", gives(0, whole, provider.AlgSupport{Alg: provider.X25519, Use: true, Missing: "CKM_EC_MONTGOMERY_KEY_PAIR_GEN"}), []checkJSON{
			{"algorithms", checkFailure, "X25519 is needed, and the token lacks CKM_EC_MONTGOMERY_KEY_PAIR_GEN", "choose another algorithm or token"}, can}},
		{"none of ours", gives(0, provider.AlgSupport{Alg: provider.Ed25519, Missing: "CKM_EDDSA"}), []checkJSON{
			{"algorithms", checkFailure, "it gives none of ours; it does not give ED25519 (it lacks CKM_EDDSA)", "choose another token, or have its mechanisms allowed"}}},
		{"fewer sessions than a service takes", gives(hsm.DefaultSessions+1, whole), []checkJSON{can,
			{"sessions", checkWarning, "the token has 17 sessions: a service takes up to 18", "expect less speed"}}},
		{"as many sessions as a service takes", gives(hsm.DefaultSessions+2, whole), []checkJSON{can}},

		{"a step that was done", step(hsm.TrialResult{Step: "random", Text: "seen"}), []checkJSON{{"random", checkOK, "seen", ""}}},
		{"a PIN that was refused", step(hsm.TrialResult{Step: hsm.TrialLogin, Failure: "CKR", Auth: true, Refused: true}), []checkJSON{
			{"login", checkFailure, "the PIN was tried once and refused: CKR", "check the PIN before you try again: a few wrong ones lock most tokens"}}},
		{"no data objects", step(hsm.TrialResult{Step: hsm.TrialData, Failure: "CKR", Refused: true}), []checkJSON{
			{"data", checkFailure, "it takes no object for our records: CKR", "it can be inspected and not written to"}}},
		{"an algorithm that it refuses", step(hsm.TrialResult{Step: "ED25519", Failure: "CKR", Refused: true}), []checkJSON{
			{"ED25519", checkWarning, "CKR", "do not use it for this"}}},
		{"a needed one that it refuses", step(hsm.TrialResult{Step: "X25519", Failure: "CKR", Refused: true}), []checkJSON{
			{"X25519", checkFailure, "CKR", "see what the token's maker says of it"}}},
		{"a step that got no answer", step(hsm.TrialResult{Step: "ED25519", Failure: "CKR"}), []checkJSON{
			{"ED25519", checkFailure, "CKR", "see what the token's maker says of it"}}},

		{"keys of ours and of others", keys(object(hsm.StatusOurs, ""), object(hsm.StatusOurs, ""), object(hsm.StatusForeign, ""), object(hsm.StatusForeign, "", hsm.FindWeak)),
			[]checkJSON{{"keys", checkOK, "1 versions of ours, 2 objects of other tools", ""}}},
		{"a key that is as it should not be", keys(object(hsm.StatusOurs, "", hsm.FindNotSensitive, hsm.FindWeak)), []checkJSON{
			{"keys", checkWarning, "private key of a.1: as " + hsm.FindNotSensitive, "rotate the key"},
			{"keys", checkOK, "1 versions of ours, 0 objects of other tools", ""}}},
		{"the rest of an operation", keys(object(hsm.StatusHalf, "")), []checkJSON{
			{"keys", checkWarning, `private key "a.v1" is the rest of an operation that was cut off`, "hsmmirror token tidy takes it away; so does the next write to that key, after an hour"},
			{"keys", checkOK, "0 versions of ours, 0 objects of other tools", ""}}},
		{"objects that can't be read, each kind of trouble once", keys(object(hsm.StatusHalf, "refused"), object(hsm.StatusForeign, "refused"), object(hsm.StatusForeign, "gone")), []checkJSON{
			{"keys", checkWarning, "1 object that can't be read: gone", "look with hsmmirror token objects --long"},
			{"keys", checkWarning, "2 objects that can't be read: refused", "look with hsmmirror token objects --long"},
			{"keys", checkOK, "0 versions of ours, 2 objects of other tools", ""}}},

		{"no clock", clock(""), nil},
		{"a clock that agrees", clock("2000010100000000"), []checkJSON{{"clock", checkOK, "the token's clock agrees with this machine's", ""}}},
		{"a clock a minute ahead", clock("20000101000100"), []checkJSON{{"clock", checkOK, "the token's clock agrees with this machine's", ""}}},
		{"a clock a minute behind", clock("19991231235900"), []checkJSON{{"clock", checkOK, "the token's clock agrees with this machine's", ""}}},
		{"a clock that is ahead", clock("20000101000101"), []checkJSON{{"clock", checkWarning, "the token's clock is -1m1s apart from this machine's", "set one of the two"}}},
		{"a clock that is behind", clock("19991231235859"), []checkJSON{{"clock", checkWarning, "the token's clock is 1m1s apart from this machine's", "set one of the two"}}},
		{"a clock that was never set", clock("0000000000000000"), []checkJSON{{"clock", checkWarning, "the token's clock says 0000000000000000", "set the token's clock"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // whose clock says 2000-01-01
				d := &doctor{app: &app{options: options{output: outputJSON}}}
				test.check(d)
				require.Equal(t, test.want, d.checks)
			})
		})
	}
}

func TestEachHarmfulFindingIsWarnedOf(t *testing.T) {
	for _, code := range []string{hsm.FindNotSensitive, hsm.FindWasExposed, hsm.FindExpired, hsm.FindDuplicateID, hsm.FindMismatch, hsm.FindUndecodable, hsm.FindNoPublic, hsm.FindKeyGone} {
		d := &doctor{app: &app{options: options{output: outputJSON}}}
		d.finding(hsm.ObjectInfo{Object: hsm.Object{Class: "CKO_PUBLIC_KEY", KID: "a", Version: 2}, Findings: []hsm.Finding{{Code: code, Text: "the text"}}})
		require.Equal(t, []checkJSON{{"keys", checkWarning, "public key of a.2: the text", harmful[code]}}, d.checks)
		require.NotEmpty(t, harmful[code])
	}
}

func TestTheDoctorsVerdict(t *testing.T) {
	tests := []struct {
		name   string
		checks func(*doctor)
		code   int
		out    string
		err    string
	}{
		{"all is well", func(d *doctor) { d.ok("PIN", "ok") }, exitDone, "ok       PIN                ok\n", ""},
		{"a warning", func(d *doctor) { d.ok("PIN", "ok"); d.warn("clock", "set it", "late") }, exitDegraded,
			"ok       PIN                ok\nwarning  clock              late: set it\n", "hsmmirror: warning: 1 of 2 checks have a warning\n"},
		{"a failure counts more than warnings", func(d *doctor) { d.warn("clock", "set it", "late"); d.failed("library", "look", "one\ntwo") }, exitRefused,
			"warning  clock              late: set it\nfailure  library            one; two: look\n", "hsmmirror: error: 1 of 2 checks failed\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out, stderr bytes.Buffer
			d := &doctor{app: &app{streams: streams{out: &out, err: &stderr}, options: options{output: outputTable}, started: true}}
			test.checks(d)
			code := exitDone
			if err := d.conclude(); err != nil {
				code = d.fail(t.Context(), err)
			} else {
				code = d.report()
			}
			require.Equal(t, test.code, code)
			require.Equal(t, test.out, out.String())
			require.Equal(t, test.err, stderr.String())
		})
	}
}

func TestTheDoctorNoticesAClockThatIsLate(t *testing.T) {
	store := filepath.Join(t.TempDir(), "store")
	t.Setenv("PASSPHRASE", "correct-horse")
	do(t, nil, "key", "create", "--store", store, "--passphrase-source", "env:PASSPHRASE", "--kid", "k", "--alg", "ED25519")
	synctest.Test(t, func(t *testing.T) { // whose clock says 2000-01-01
		d := &doctor{app: &app{options: options{output: outputJSON, store: store}}}
		d.keystore(t.Context())
		require.Len(t, d.checks, 3)
		require.Equal(t, "clock", d.checks[1].Check)
		require.Regexp(t, `^k\.1 was made \d+h\d+m\d+s from now$`, d.checks[1].Text)
		require.Equal(t, checkJSON{"records", checkOK, "1 keys, all readable", ""}, d.checks[2])
	})
}
