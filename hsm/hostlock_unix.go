//go:build cgo && unix

package hsm

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// exclusive is a lock on the module's own file: every process that uses the module can open it, nothing is made, and it ends
// with the process that holds it.
func (c *conn) exclusive(ctx context.Context) (release func(), err error) {
	m, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	if !quirksOf(m.info).writersInTurn {
		return func() {}, nil
	}
	limit := generationLimits * c.cfg.Timeout // as long as another process may need to make a key
	ctx, cancel := context.WithTimeoutCause(ctx, limit, timeLimit(limit))
	defer cancel()
	unlock, err := lockModule(ctx, c.lib.path)
	switch {
	case err == nil:
		c.lib.locked.Add(1)
		release := func() { c.lib.locked.Add(-1); unlock() }
		if err := c.upToDate(ctx, m); err != nil {
			release()
			return nil, err
		}
		return release, nil
	case ctx.Err() != nil:
		return nil, c.late(ctx, "another process kept the module's file locked")
	}
	return nil, c.unavailable("lock the module's file: %w", err)
}

// startTurn lets the processes of one host start a module one by one, as far as that can be had within startWait: SoftHSM2
// misses tokens that another process is just reading or writing. One that makes an RSA key keeps the lock for longer than a caller may
// wait for a connection, and is no reason to fail it.
func (c *conn) startTurn() (done func()) {
	if c.lib.locked.Load() > 0 { // by this process, for a write that waits for the start
		return func() {}
	}
	ctx, cancel := context.WithTimeout(c.life, min(startWait, c.cfg.Timeout/startPart))
	defer cancel()
	release, err := lockModule(ctx, c.lib.path)
	if err != nil {
		return func() {}
	}
	return release
}

const (
	startWait = 2 * time.Second
	startPart = 5 // of Config.Timeout; a connection may wait twice, the second time to log in
)

// lockModule holds the lock on a module's file until release is called. A module that the dynamic linker finds by a relative path has none.
func lockModule(ctx context.Context, path string) (release func(), err error) {
	if !strings.Contains(path, "/") {
		return func() {}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing releases the lock
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(err, f.Close())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		}
	}
}
