package hsm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Tidy removes what operations that were cut off have left on the token, and says what that was: keys whose making was begun at least age
// ago, the rest of keys that were destroyed, and the objects without a name and content that SoftHSM2 keeps of a process that ended
// while it stored one. Every write does the same for its own key, with an age of an hour; Tidy does it for keys that nobody
// writes to any more. An age of less than an hour wants that no other process or host is making a key. provider.ErrInvalid
// for a negative age.
func (t *Token) Tidy(ctx context.Context, age time.Duration) ([]Object, error) {
	if err := t.begin(ctx); err != nil {
		return nil, err
	}
	if age < 0 {
		return nil, provider.Invalidf("age %v: want none negative", age)
	}
	before, err := t.everything(ctx)
	if err != nil {
		return nil, err
	}
	for _, kid := range untidy(before, age) {
		if err = t.tidyKey(ctx, kid, age); err != nil {
			break
		}
	}
	if err == nil {
		err = t.removeShells(ctx)
	}
	after, aerr := t.everything(ctx)
	if aerr != nil {
		return nil, cmp.Or(err, aerr)
	}
	return less(described(before), described(after)), err
}

// untidy returns the kids of which something would be removed.
func untidy(objects []*object, age time.Duration) []string {
	records, _ := locate(objects)
	at := now()
	var kids []string
	for kid, rs := range byKID(records) {
		k := &key{kid: kid}
		k.byVersion(rs)
		if len(k.dead(at, age)) > 0 {
			kids = append(kids, kid)
		}
	}
	slices.Sort(kids)
	return kids
}

// less returns the objects that are in before and not in after; of those that look the same, as many as there are fewer.
func less(before, after []Object) []Object {
	type look struct{ class, label, id string }
	of := func(o Object) look { return look{o.Class, o.Label, string(o.ID)} }
	left := map[look]int{}
	for _, o := range after {
		left[of(o)]++
	}
	return slices.DeleteFunc(before, func(o Object) bool {
		left[of(o)]--
		return left[of(o)] >= 0
	})
}

func (t *Token) tidyKey(ctx context.Context, kid string, age time.Duration) error {
	unlock, err := t.lock(ctx, kid)
	if err != nil {
		return err
	}
	defer unlock()
	return settledErr(t.cfg, func() error {
		k, err := t.reload(ctx, kid)
		if err == nil {
			_, err = t.tidy(ctx, k, age)
		}
		return err
	})
}

// everything returns all objects on the token.
func (t *Token) everything(ctx context.Context) ([]*object, error) {
	if _, err := t.keyed(ctx); err != nil {
		return nil, err
	}
	found, err := t.link.find(ctx)
	if err != nil {
		return nil, err
	}
	return found, nil
}

// described describes all objects of a token.
func described(found []*object) []Object {
	owners := ownersOf(found)
	objects := make([]Object, len(found))
	for i, o := range found {
		objects[i] = describe(o, owners)
	}
	return objects
}

// shellPause is how long an object stays without a name and content before it counts as a shell: another program may be just making it.
const shellPause = time.Second

// removeShells removes what [quirks].leavesShells says.
func (t *Token) removeShells(ctx context.Context) error {
	info, err := t.keyed(ctx)
	if err != nil || !quirksOf(info).leavesShells {
		return err
	}
	first, err := t.shells(ctx)
	if err != nil || len(first) == 0 {
		return err
	}
	select {
	case <-time.After(shellPause):
	case <-ctx.Done():
		return ctx.Err()
	}
	unlock, err := t.lock(ctx, "") // of no key: for the turn among the writers of the host
	if err != nil {
		return err
	}
	defer unlock()
	again, err := t.shells(ctx)
	if err != nil {
		return err
	}
	for _, o := range again {
		if !slices.ContainsFunc(first, func(p *object) bool { return p.handle == o.handle && p.epoch == o.epoch }) {
			continue
		}
		err := t.link.destroy(ctx, o)
		if e, answered := errors.AsType[*Error](err); answered && o.isEmpty() && codeName(e.Code) == "CKR_FUNCTION_FAILED" {
			continue // SoftHSM2 has removed it, and misses the lock file that should stand beside it
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// shells finds the objects that are empty, and those that call themselves session objects and have neither a name nor content. Our
// own session objects have content.
func (t *Token) shells(ctx context.Context) ([]*object, error) {
	return settled(t.cfg, func() ([]*object, error) {
		shells, err := t.link.find(ctx)
		if err != nil {
			return nil, err
		}
		shells = slices.DeleteFunc(shells, func(o *object) bool { return !o.isEmpty() })
		found, err := t.link.find(ctx, attribute{ckaToken, false}, attribute{ckaLabel, ""})
		if err != nil {
			return nil, err
		}
		for _, o := range found {
			parts, err := t.link.publicParts(ctx, o)
			if err != nil {
				return nil, err
			}
			if parts.unread() {
				return nil, parts.problem
			}
			if o.label == "" && len(o.id) == 0 && o.application == "" && !parts.hasContent() {
				shells = append(shells, o)
			}
		}
		return shells, nil
	})
}

// isEmpty tells whether an object has not even a class, as SoftHSM2 says it (CKR_ATTRIBUTE_VALUE_INVALID): the process that made it ended
// before it had stored the first attribute.
func (o *object) isEmpty() bool {
	e, answered := errors.AsType[*Error](o.problem)
	return o.class == classUnknown && answered && codeName(e.Code) == "CKR_ATTRIBUTE_VALUE_INVALID"
}

// hasContent tells whether there is anything in o that a key or a data object is made of.
func (o *object) hasContent() bool {
	parts := [][]byte{o.modulus, o.exponent, o.ecParams, o.ecPoint, o.publicKeyInfo, o.value}
	return o.length > 0 || strings.TrimRight(string(slices.Concat(parts...)), "\x00") != ""
}
