//go:build cgo && !unix

package hsm

import "context"

// exclusive keeps nobody away: there is no flock here.
func (c *conn) exclusive(ctx context.Context) (release func(), err error) {
	m, err := c.ready(ctx)
	if err != nil {
		return nil, err
	}
	return func() {}, c.upToDate(ctx, m)
}

func (c *conn) startTurn() (done func()) { return func() {} }
