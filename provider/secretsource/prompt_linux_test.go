package secretsource

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// openPTY returns both ends of a new pseudo-terminal: what the person sees and types on, and what the program opens.
func openPTY(t *testing.T) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { person.Close() })
	conn, err := person.SyscallConn()
	require.NoError(t, err)
	n := 0
	require.NoError(t, conn.Control(func(fd uintptr) {
		require.NoError(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		require.NoError(t, err)
	}))
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { tty.Close() })
	return person, tty
}

// answer types keys once the question is read. It returns at once.
func answer(person *os.File, keys func()) {
	go func() {
		b := make([]byte, len("PIN: "))
		if _, err := io.ReadFull(person, b); err == nil && string(b) == "PIN: " {
			keys()
		}
	}()
}

func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	conn, err := tty.SyscallConn()
	require.NoError(t, err)
	var termios *unix.Termios
	require.NoError(t, conn.Control(func(fd uintptr) { termios, err = unix.IoctlGetTermios(int(fd), unix.TCGETS) }))
	require.NoError(t, err)
	return termios.Lflag&unix.ECHO != 0
}

func TestPrompt(t *testing.T) {
	tests := []struct {
		name, keys, want, err string
	}{
		{"a line", "4711\r", "4711", ""},
		{"a line with LF", "4711\n", "4711", ""},
		{"a mistake taken back", "47x\x7f11\r", "4711", ""},
		{"a wide character taken back", "4711ä\b\r", "4711", ""},
		{"nothing left to take back", "\x7f\x7f4711\r", "4711", ""},
		{"begun again", "wrong\x154711\r", "4711", ""},
		{"too long to be cut", strings.Repeat("x", 3*MaxBytes) + "\r", strings.Repeat("x", maxRead), ""},
		{"Ctrl-C", "47\x03", "", "the question was not answered"},
		{"Ctrl-D", "\x04", "", "the question was not answered"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			person, tty := openPTY(t)
			answer(person, func() { person.WriteString(test.keys) })
			got, err := ask(t.Context(), tty, "PIN")
			if test.err != "" {
				require.EqualError(t, err, test.err)
				require.Nil(t, got)
			} else {
				require.NoError(t, err)
				require.Equal(t, test.want, string(got))
			}
			require.True(t, echoes(t, tty), "the terminal was left without echo")
			b := make([]byte, 100)
			n, err := person.Read(b)
			require.NoError(t, err)
			require.Equal(t, "\r\n", string(b[:n]), "what was typed can be seen")
		})
	}
}

func TestPromptEndsWithTheContext(t *testing.T) {
	person, tty := openPTY(t)
	ctx, cancel := context.WithCancel(t.Context())
	answer(person, cancel)
	_, err := Func(func(ctx context.Context) ([]byte, error) { return ask(ctx, tty, "PIN") })(ctx)
	require.Equal(t, context.Canceled, err)
	require.True(t, echoes(t, tty), "the terminal was left without echo")
}
