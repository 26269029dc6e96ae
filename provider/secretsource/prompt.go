package secretsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Prompt asks for the secret on the terminal of the process (/dev/tty), at each call, and does not show what is typed. what
// names the secret: "PIN of token demo". Ctrl-C and Ctrl-D end the question without an answer.
func Prompt(what string) provider.SecretSource {
	return source(func(ctx context.Context) ([]byte, error) {
		tty, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, fmt.Errorf("no terminal to ask for the %s", what)
		}
		defer tty.Close()
		return ask(ctx, tty, what)
	}, "answer")
}

// ask puts the terminal in raw mode, where it echoes nothing and where Ctrl-C is a byte and no signal, so that no way out
// leaves it without echo.
func ask(ctx context.Context, tty *os.File, what string) (_ []byte, err error) {
	restore, err := makeRaw(tty)
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	defer func() { err = errors.Join(err, restore()) }()
	// A terminal that the runtime can't poll does not support this, and then only Ctrl-C ends the question.
	defer context.AfterFunc(ctx, func() { tty.SetReadDeadline(time.Unix(1, 0)) })()
	if _, err := fmt.Fprintf(tty, "%s: ", what); err != nil {
		return nil, err
	}
	defer fmt.Fprint(tty, "\r\n")
	return readLine(tty)
}

// makeRaw avoids File.Fd, which would take the file from the runtime's poller.
func makeRaw(tty *os.File) (restore func() error, err error) {
	conn, err := tty.SyscallConn()
	if err != nil {
		return nil, err
	}
	var state *term.State
	if cerr := conn.Control(func(fd uintptr) { state, err = term.MakeRaw(int(fd)) }); cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	return func() error {
		var err error
		cerr := conn.Control(func(fd uintptr) { err = term.Restore(int(fd), state) })
		return errors.Join(cerr, err)
	}, nil
}

// Keys that raw mode hands over as they are.
const (
	ctrlC     = 0x03
	ctrlD     = 0x04
	backspace = 0x08
	ctrlU     = 0x15
	del       = 0x7f
)

func readLine(tty *os.File) ([]byte, error) {
	line := make([]byte, 0, maxRead)
	var key [1]byte
	for {
		if _, err := tty.Read(key[:]); err != nil {
			clear(line)
			return nil, fmt.Errorf("terminal: %w", err)
		}
		switch key[0] {
		case '\r', '\n':
			return line, nil
		case ctrlC, ctrlD:
			clear(line)
			return nil, errors.New("the question was not answered")
		case ctrlU:
			line = line[:0]
		case backspace, del:
			_, size := utf8.DecodeLastRune(line)
			line = line[:len(line)-size]
		default:
			if len(line) < maxRead { // what is too long is refused, not cut
				line = append(line, key[0])
			}
		}
	}
}
