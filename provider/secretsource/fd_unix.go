//go:build unix

package secretsource

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

func (s *fdSource) readOnceLocked(ctx context.Context) ([]byte, error) {
	s.done = true
	var stat unix.Stat_t
	if err := unix.Fstat(s.n, &stat); err != nil {
		return nil, fmt.Errorf("file descriptor %d is not open", s.n)
	}
	// A number that nobody passed may be one of the runtime's own, such as that of epoll, which has no type.
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFIFO, unix.S_IFREG, unix.S_IFSOCK, unix.S_IFCHR:
	default:
		return nil, fmt.Errorf("file descriptor %d is no file, pipe, socket or terminal", s.n)
	}
	defer unix.Close(s.n)
	return readLimited(fdReader{ctx, s.n})
}

// fdReader reads a descriptor of unknown kind in a way that ends with ctx and leaves the descriptor's flags, which other
// processes may share, as they are.
type fdReader struct {
	ctx context.Context
	n   int
}

const pollMillis = 100 // how late the end of a context may be noticed

func (r fdReader) Read(p []byte) (int, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(r.n), Events: unix.POLLIN}}, pollMillis)
		if ready == 0 || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("file descriptor %d: %w", r.n, err)
		}
		n, err := unix.Read(r.n, p)
		switch {
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
		case err != nil:
			return 0, fmt.Errorf("file descriptor %d: %w", r.n, err)
		case n == 0:
			return 0, io.EOF
		default:
			return n, nil
		}
	}
}
