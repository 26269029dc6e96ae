//go:build cgo && !unix

package hsm

import "context"

// exclusive keeps nobody away: there is no flock here.
func (c *conn) exclusive(ctx context.Context) (release func(), err error) {
	_, err = c.ready(ctx)
	return func() {}, err
}

func (c *conn) startTurn() (done func()) { return func() {} }
