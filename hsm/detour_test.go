//go:build cgo

package hsm

import (
	"context"
	"testing"
)

// detour is a token's link that the test can make answer otherwise than the token does.
type detour struct {
	link
	info       func(*TokenInfo) // what the token says of itself, changed
	mechanisms func(map[uint]mechanismInfo) map[uint]mechanismInfo
	onFind     func(match []attribute, found []*object) ([]*object, error) // what a search shows, changed
	onDestroy  func(o *object) error
	onDecrypt  func(m mechanism) error
	onCreate   func(template []attribute) error // refuses objects
	onWrap     func(w wrapping, key *object) (*object, error)
	onUnwrap   func(w wrapping) error
}

func (d *detour) token(ctx context.Context) (TokenInfo, map[uint]mechanismInfo, error) {
	info, mechanisms, err := d.link.token(ctx)
	if d.info != nil {
		d.info(&info)
	}
	if d.mechanisms != nil {
		mechanisms = d.mechanisms(mechanisms)
	}
	return info, mechanisms, err
}

func (d *detour) find(ctx context.Context, match ...attribute) ([]*object, error) {
	found, err := d.link.find(ctx, match...)
	if d.onFind != nil && err == nil {
		return d.onFind(match, found)
	}
	return found, err
}

func (d *detour) destroy(ctx context.Context, o *object) error {
	if d.onDestroy != nil {
		if err := d.onDestroy(o); err != nil {
			return err
		}
	}
	return d.link.destroy(ctx, o)
}

func (d *detour) create(ctx context.Context, template []attribute) error {
	if d.onCreate != nil {
		if err := d.onCreate(template); err != nil {
			return err
		}
	}
	return d.link.create(ctx, template)
}

func (d *detour) wrap(ctx context.Context, w wrapping, key *object) ([]byte, error) {
	if d.onWrap != nil {
		var err error
		if key, err = d.onWrap(w, key); err != nil {
			return nil, err
		}
	}
	return d.link.wrap(ctx, w, key)
}

func (d *detour) unwrap(ctx context.Context, w wrapping, wrapped []byte, template []attribute) error {
	if d.onUnwrap != nil {
		if err := d.onUnwrap(w); err != nil {
			return err
		}
	}
	return d.link.unwrap(ctx, w, wrapped, template)
}

func (d *detour) decrypt(ctx context.Context, key *object, m mechanism, ciphertext []byte) ([]byte, error) {
	if d.onDecrypt != nil {
		if err := d.onDecrypt(m); err != nil {
			return nil, err
		}
	}
	return d.link.decrypt(ctx, key, m, ciphertext)
}

// moveTwice has the next two destroys of objects of a class find out that another Token has restarted the module. It returns how many
// have.
func (d *detour) moveTwice(class uint) (moved *int) {
	moved = new(int)
	d.onDestroy = func(o *object) error {
		if o.class != class || *moved == 2 {
			return nil
		}
		*moved++
		return errMoved
	}
	return moved
}

// openDetour opens the shared token behind a detour.
func openDetour(t *testing.T) (*Token, *detour) {
	t.Helper()
	token := open(t, sharedToken)
	d := &detour{link: token.link}
	token.link = d
	return token, d
}
