//go:build cgo

package hsm

import "context"

// objects describes every object on the token, as InspectObjects does, which can't while the process has the module open.
func (t *Token) objects(ctx context.Context) ([]Object, error) {
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	info, _, err := t.link.token(ctx)
	if err != nil {
		return nil, err
	}
	found, err := t.everything(ctx)
	objects := described(found)
	for i, o := range objects {
		objects[i].URI = objectURI(info, o)
	}
	return objects, err
}
