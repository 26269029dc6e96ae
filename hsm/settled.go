package hsm

import (
	"errors"
	"time"
)

// settled calls f, and calls it again while that finds out that it was using objects of an earlier connection, for Config.Timeout at
// most. Who restarts the module for a token that is gone ends the connections to those that are well, and often twice in a row.
func settled[T any](cfg Config, f func() (T, error)) (T, error) {
	for start := time.Now(); ; {
		v, err := f()
		if !errors.Is(err, errMoved) || time.Since(start) > cfg.Timeout {
			return v, err
		}
	}
}

// settledErr is settled for what returns an error and no more.
func settledErr(cfg Config, f func() error) error {
	_, err := settled(cfg, func() (struct{}, error) { return struct{}{}, f() })
	return err
}
