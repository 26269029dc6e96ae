package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Nothing but a yes in full destroys.
func TestTheQuestionBeforeADestruction(t *testing.T) {
	t.Parallel()
	store := filepath.Join(t.TempDir(), "store")
	env := []string{"HSMMIRROR_STORE=" + store}
	public := filepath.Join(t.TempDir(), "public.pem")
	require.NoError(t, os.WriteFile(public, []byte(publicPEM), 0o600))
	succeeded(t, env, "key", "import", "k", "--alg", "ED25519", "--in", public)
	refused := result{exitRefused, "", "hsmmirror: error: " + errNotConfirmed.Error() + "\n"}
	interrupted := result{exitRefused, "", "hsmmirror: error: interrupted\n"}
	destroyed := func(version string) result { return result{exitDone, "destroyed k." + version + "\n", ""} }
	for _, tt := range []struct {
		name, version, keys string
		signal              os.Signal // in place of keys
		want                result
	}{
		{"no answer", "1", "\r", nil, refused},
		{"no", "1", "no\r", nil, refused},
		{"more than a yes", "1", "yes and no\r", nil, refused},
		{"a yes in another language", "1", "yo\r", nil, refused},
		{"the end of the input", "1", "\x04", nil, refused},
		{"the end of the input after a yes", "1", "yes\x04\x04", nil, refused},
		{"Ctrl-C", "1", "yes\x03", nil, interrupted},
		{"an interrupt from elsewhere", "1", "", os.Interrupt, interrupted},
		{"a SIGTERM", "1", "", syscall.SIGTERM, interrupted},
		{"y", "1", "y\r", nil, destroyed("1")},
		{"a yes, carelessly", "2", " YES \r", nil, destroyed("2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.version != "1" {
				succeeded(t, env, "key", "import", "k", "--alg", "ED25519", "--in", public)
			}
			m := newTerminal(t)
			cmd := command(t, env, "key", "destroy", "k."+tt.version, "--force")
			cmd.Stdin = m.tty
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
			wait := started(t, cmd)
			m.reads("destroy version " + tt.version + ` of key "k" for good? [y/N] `)
			if tt.signal != nil {
				require.NoError(t, cmd.Process.Signal(tt.signal))
			}
			_, err := m.person.WriteString(tt.keys)
			require.NoError(t, err)
			require.Equal(t, tt.want, wait())
			require.Equal(t, tt.want.code != exitDone, ended(t, env, "key", "show", "k."+tt.version).code == exitDone)
		})
	}
}

// Without a terminal nobody says yes, whatever stands on stdin.
func TestNobodyToAskIsNoYes(t *testing.T) {
	t.Parallel()
	env := []string{"HSMMIRROR_STORE=" + filepath.Join(t.TempDir(), "store")}
	public := filepath.Join(t.TempDir(), "public.pem")
	require.NoError(t, os.WriteFile(public, []byte(publicPEM), 0o600))
	succeeded(t, env, "key", "import", "k", "--alg", "ED25519", "--in", public)
	for question, args := range map[string][]string{
		`destroy version 1 of key "k" for good?`:                                         {"key", "destroy", "k.1", "--force"},
		`destroy every version of key "k" for good?`:                                     {"key", "destroy", "k", "--all-versions"},
		`revoke version 1 of key "k", so that nothing that it signed verifies any more?`: {"key", "revoke", "k"},
	} {
		cmd := command(t, env, args...)
		cmd.Stdin = strings.NewReader("yes\n")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a session without a terminal
		require.Equal(t, result{exitUsage, "", "hsmmirror: error: no terminal to ask on: " + printable(question) + "\nhsmmirror: hint: give --yes if you are sure\n"}, started(t, cmd)())
		succeeded(t, env, "key", "show", "k.1")
	}
}

func TestBytesAreKeptFromATerminal(t *testing.T) {
	m := newTerminal(t)
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	terminal := &app{streams: streams{out: m.tty}}
	var usage *usageError
	require.ErrorAs(t, terminal.checkBinary(""), &usage)
	require.NoError(t, terminal.checkBinary("-"), "it was asked for")
	require.NoError(t, terminal.checkBinary("out"))
	require.NoError(t, (&app{streams: streams{out: file}}).checkBinary(""))
	_, err = terminal.encoding("raw", "")
	require.ErrorAs(t, err, &usage)
	require.ErrorAs(t, (&signFlags{format: formatDER}).check(terminal), &usage)
	require.ErrorAs(t, (&signFlags{format: formatRaw}).check(terminal), &usage)
	require.NoError(t, (&signFlags{format: formatJWS}).check(terminal))
}

func TestATableIsAsWideAsTheTerminal(t *testing.T) {
	m := newTerminal(t)
	conn, err := m.person.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, conn.Control(func(fd uintptr) {
		err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 40})
	}))
	require.NoError(t, err)
	require.Equal(t, 40, (&app{streams: streams{out: m.tty}}).width())
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer file.Close()
	require.Zero(t, (&app{streams: streams{out: file}}).width())
}

func TestProgressIsToldOnATerminal(t *testing.T) {
	m := newTerminal(t)
	synctest.Test(t, func(t *testing.T) {
		a := &app{streams: streams{err: m.tty}}
		stop := a.progress(t.Context(), "the key is being made")
		time.Sleep(1500 * time.Millisecond)
		stop()
	})
	m.reads("\r\x1b[Khsmmirror: the key is being made, 1 s\r\x1b[K")
}
