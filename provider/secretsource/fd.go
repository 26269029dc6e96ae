package secretsource

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/hsmmirror/hsmmirror/provider"
)

// FD returns what comes from file descriptor n until its end. The first call reads and closes the descriptor; the source
// keeps the secret for those after it, because the number may by then stand for another file. On other systems than Unix the
// source has none to give.
func FD(n int) provider.SecretSource {
	s := &fdSource{n: n}
	return source(s.read, fmt.Sprintf("file descriptor %d", n))
}

type fdSource struct {
	n int

	mu     sync.Mutex
	done   bool // the descriptor is closed
	secret provider.Secret
	err    error
}

func (s *fdSource) read(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.done {
		b, err := s.readOnceLocked(ctx)
		defer clear(b)
		s.secret, s.err = provider.NewSecret(b), err
		if ctx.Err() != nil { // the caller gets that error; those after it are told what happened
			s.err = fmt.Errorf("the reading of file descriptor %d was broken off", s.n)
		}
	}
	return slices.Clone(s.secret.Expose()), s.err
}
