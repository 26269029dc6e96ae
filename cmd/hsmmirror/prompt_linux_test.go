package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/hsmmirror/hsmmirror/provider/secretsource"
)

// terminal is a pseudo-terminal on which a command runs.
type terminal struct {
	t           *testing.T
	person, tty *os.File
	seen        string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = person.Close() })
	conn, err := person.SyscallConn()
	require.NoError(t, err)
	n := 0
	require.NoError(t, conn.Control(func(fd uintptr) {
		require.NoError(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		require.NoError(t, err)
	}))
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tty.Close()) })
	return &terminal{t: t, person: person, tty: tty}
}

// modes returns how the terminal is set.
func (m *terminal) modes() unix.Termios {
	m.t.Helper()
	conn, err := m.tty.SyscallConn()
	require.NoError(m.t, err)
	var modes *unix.Termios
	require.NoError(m.t, conn.Control(func(fd uintptr) { modes, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }))
	require.NoError(m.t, err)
	return *modes
}

// reads waits until the terminal shows text.
func (m *terminal) reads(text string) {
	m.t.Helper()
	b := make([]byte, 1)
	for !strings.HasSuffix(m.seen, text) {
		_, err := io.ReadFull(m.person, b)
		require.NoError(m.t, err, "want %q, have %q", text, m.seen)
		m.seen += string(b)
	}
}

// The question for a passphrase, on a terminal.
func TestPromptOnATerminal(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse"
	store := filepath.Join(t.TempDir(), "store")
	env := []string{"HSMMIRROR_STORE=" + store, "HSMMIRROR_PASSPHRASE_SOURCE=env:PASSPHRASE", "PASSPHRASE=" + secret}
	succeeded(t, env, "key", "create", "--kid", "old", "--alg", "ED25519", "--export-policy", "secret_when_allowed")
	ask := fmt.Sprintf("passphrase of keystore %s: ", store)
	export := []string{"key", "export", "old", "--key-passphrase-source", "prompt"}
	const sealed, again = "passphrase of the exported key: ", "passphrase of the exported key, again: "

	type step struct{ question, keys string }
	for _, tt := range []struct {
		name  string
		env   string // beside env
		args  []string
		steps []step
		code  int
		err   string
	}{
		{"the right one", "HSMMIRROR_PASSPHRASE_SOURCE=prompt", []string{"key", "rotate", "old"}, []step{{ask, secret + "\r"}}, exitDone, ""},
		{"a wrong one", "HSMMIRROR_PASSPHRASE_SOURCE=prompt", []string{"key", "rotate", "old"}, []step{{ask, "battery\r"}}, exitRefused, "authentication refused: "},
		{"none", "HSMMIRROR_PASSPHRASE_SOURCE=prompt", []string{"key", "rotate", "old"}, []step{{ask, "\r"}}, exitRefused, "authentication refused: answer is empty"},
		{"one that is too long", "HSMMIRROR_PASSPHRASE_SOURCE=prompt", []string{"key", "rotate", "old"}, []step{{ask, strings.Repeat("x", 2*secretsource.MaxBytes) + "\r"}}, exitRefused, "answer holds more than 4096 bytes"},
		{"Ctrl-C", "HSMMIRROR_PASSPHRASE_SOURCE=prompt", []string{"key", "rotate", "old"}, []step{{ask, "corr\x03"}}, exitRefused, "the question was not answered"},
		{"a new one", "", export, []step{{sealed, "new\r"}, {again, "new\r"}}, exitDone, ""},
		{"a new one, with a mistake", "", export, []step{{sealed, "new\r"}, {again, "neu\r"}}, exitUsage, "passphrase of the exported key: the two answers differ"},
		{"a new one, given up", "", export, []step{{sealed, "new\r"}, {again, "\x03"}}, exitRefused, "the question was not answered"},
		{"of a new keystore", "HSMMIRROR_STORE=" + store + "2", []string{"key", "create", "--kid", "k", "--alg", "ED25519", "--passphrase-source", "prompt"},
			[]step{{fmt.Sprintf("passphrase of keystore %s2: ", store), "new\r"}, {fmt.Sprintf("passphrase of keystore %s2, again: ", store), "neu\r"}}, exitUsage, "the two answers differ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newTerminal(t)
			before := m.modes()
			require.NotZero(t, before.Lflag&unix.ECHO)
			cmd := command(t, append(slices.Clone(env), tt.env), tt.args...)
			cmd.Stdin = m.tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			wait := started(t, cmd)
			for _, step := range tt.steps {
				m.reads(step.question)
				require.Zero(t, m.modes().Lflag&unix.ECHO, "what is typed can be seen")
				_, err := m.person.WriteString(step.keys)
				require.NoError(t, err)
				m.reads("\r\n")
			}
			r := wait()
			require.Equal(t, tt.code, r.code, r)
			require.Contains(t, r.stderr, tt.err)
			require.Equal(t, before, m.modes())
			for _, step := range tt.steps {
				typed := strings.TrimRight(step.keys, "\r\x03")
				require.False(t, typed != "" && strings.Contains(m.seen+r.stderr, typed+"\r"), "what was typed can be seen")
			}
			require.NoDirExists(t, store+"2")
		})
	}
}

// Signals while a question waits for its answer, from elsewhere: the terminal is set as before.
func TestPromptIsInterrupted(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	env := []string{"HSMMIRROR_STORE=" + store, "HSMMIRROR_PASSPHRASE_SOURCE=prompt"}
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			m := newTerminal(t)
			before := m.modes()
			cmd := command(t, env, "key", "create", "--kid", "k", "--alg", "ED25519")
			cmd.Stdin = m.tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			wait := started(t, cmd)
			m.reads(": ")
			require.NoError(t, cmd.Process.Signal(signal))
			r := wait()
			require.Equal(t, result{exitRefused, "", "hsmmirror: error: interrupted\n"}, r)
			require.Equal(t, before, m.modes())
			require.NoDirExists(t, store)
		})
	}
}
