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
	found, err := t.link.find(ctx)
	if err != nil {
		return nil, err
	}
	owners := ownersOf(found)
	objects := make([]Object, len(found))
	for i, o := range found {
		objects[i] = describe(o, owners)
		objects[i].URI = objectURI(info, objects[i])
	}
	return objects, nil
}
