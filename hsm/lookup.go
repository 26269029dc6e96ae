package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/provider"
)

// lookupVersion returns a live version, 0 for the highest, and its key: what is known of them while the token is up, and what the
// token says if nothing is, or if that is too old. Errors as for find.
func (t *Token) lookupVersion(ctx context.Context, kid string, n int) (*key, *version, error) {
	if err := t.begin(ctx); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(provider.ValidateKID(kid), provider.ValidateVersion(n)); err != nil {
		return nil, nil, err
	}
	if err := t.current(ctx); err != nil {
		return nil, nil, err
	}
	t.mu.RLock()
	k := t.idx.keys[kid]
	t.mu.RUnlock()
	if v := k.version(n); v != nil {
		return k, v, nil
	}
	k, err := t.reload(ctx, kid) // another process may have made it
	if err != nil {
		return nil, nil, err
	}
	v, err := k.find(n)
	return k, v, err
}

// current makes sure that the index is of this epoch and no older than twice refreshAfter. From once that age on it is made anew beside
// the caller, who need not wait.
func (t *Token) current(ctx context.Context) error {
	if _, err := t.keyed(ctx); err != nil {
		return err
	}
	refreshAfter := t.refreshAfter()
	if t.younger(refreshAfter) {
		return nil
	}
	if t.younger(2 * refreshAfter) {
		t.refreshBeside()
		return nil
	}
	select {
	case t.refresh <- struct{}{}:
		defer func() { <-t.refresh }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.younger(refreshAfter) {
		return nil
	}
	return t.enumerate(ctx)
}

// refreshBeside makes the index anew in a goroutine, unless that is being done. If it fails, the index gets too old, and the next
// caller finds out why.
func (t *Token) refreshBeside() {
	select {
	case t.refresh <- struct{}{}:
	default:
		return
	}
	done := t.background.start(func(ctx context.Context) {
		defer func() { <-t.refresh }()
		if err := t.enumerate(ctx); err != nil {
			t.cfg.Logger.Debug("keys on the token not read anew", slog.String("token", t.cfg.name()), slog.Any("error", err))
		}
	})
	if !done {
		<-t.refresh
	}
}

// keyed describes a token whose private objects can be seen. Without a login a token that wants one shows none, which would look
// as if they were gone.
func (t *Token) keyed(ctx context.Context) (TokenInfo, error) {
	info, _, err := t.link.token(ctx)
	if err == nil && !t.cfg.logsIn() && info.flags&ckfLoginRequired != 0 {
		err = fmt.Errorf("%w: token %s wants a login: want a PIN", provider.ErrAuth, quote(info.Label))
	}
	return info, err
}

// younger tells whether the index is of this epoch and younger than age.
func (t *Token) younger(age time.Duration) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.idx.epoch != 0 && t.idx.epoch == t.link.epoch() && time.Since(t.idx.at) < age
}

// refreshShare is which part of the time is spent at most on making the index anew, where Config does not say how often that is to be.
const refreshShare = 20

// refreshAfter is Config.RefreshAfter or its default: DefaultRefreshAfter is too often for a token with thousands of keys, which would be
// busy with little else.
func (t *Token) refreshAfter() time.Duration {
	if t.cfg.RefreshAfter > 0 {
		return t.cfg.RefreshAfter
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return max(DefaultRefreshAfter, refreshShare*t.idx.took)
}

// enumerate reads the whole token into a new index. What this Token changed in the meantime stays as the change left it.
func (t *Token) enumerate(ctx context.Context) error {
	return settledErr(t.cfg, func() error { return t.enumerateOnce(ctx) })
}

func (t *Token) enumerateOnce(ctx context.Context) error {
	t.mu.RLock()
	before := t.changes
	t.mu.RUnlock()
	at := time.Now()
	objects, err := t.link.find(ctx)
	if objects == nil && err != nil {
		return err
	}
	t.noteKeepers(objects)
	next := index{at: at, took: time.Since(at), epoch: t.link.epoch()}
	if len(objects) > 0 {
		next.epoch = objects[0].epoch
	}
	records, damaged := locate(objects)
	if next.keys, err = t.assembleEach(ctx, records, objects); err != nil {
		return err
	}
	for _, u := range damaged {
		if k := next.keys[u.label]; k != nil {
			k.problems = append(k.problems, problem{0, u.err})
		} else {
			next.problems = append(next.problems, u.err)
		}
	}
	t.install(next, objects, before)
	return nil
}

// assembleEach returns the keys of all records, by kid.
func (t *Token) assembleEach(ctx context.Context, records []*located, objects []*object) (map[string]*key, error) {
	byID, unread := map[string][]*object{}, []*object(nil)
	for _, o := range objects {
		if o.unread() {
			unread = append(unread, o)
		} else {
			byID[string(o.id)] = append(byID[string(o.id)], o)
		}
	}
	kids := byKID(records)
	keys := make(map[string]*key, len(kids))
	for kid, rs := range kids {
		k := &key{kid: kid}
		k.byVersion(rs)
		if err := t.assembleAll(ctx, k, nil, func(r *located) ([]*object, error) { return slices.Concat(byID[string(r.idBytes())], unread), nil }); err != nil {
			return nil, err
		}
		keys[kid] = k
	}
	return keys, nil
}

// install makes next, which was made of objects, the index, but for the keys that this Token has changed since the given number of
// changes, and for what the token failed to show.
func (t *Token) install(next index, objects []*object, before uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next.believe(t.idx, objects)
	for kid, n := range t.changed {
		switch k := t.idx.keys[kid]; {
		case n <= before:
			delete(t.changed, kid)
		case k != nil:
			next.keys[kid] = k
		}
	}
	t.idx = next
}

// reload reads the records of one kid from the token, and the objects of the versions that are not known yet on this
// connection.
func (t *Token) reload(ctx context.Context, kid string) (*key, error) {
	t.mu.RLock()
	known := t.idx.keys[kid]
	t.mu.RUnlock()
	return t.reloadExcept(ctx, kid, known)
}

// reloadExcept is reload with what is to be believed of the key without a look; nil: nothing.
func (t *Token) reloadExcept(ctx context.Context, kid string, known *key) (*key, error) {
	return settled(t.cfg, func() (*key, error) { return t.reloadOnce(ctx, kid, known) })
}

func (t *Token) reloadOnce(ctx context.Context, kid string, known *key) (*key, error) {
	objects, err := t.findRecords(ctx, kid)
	if err != nil {
		return nil, err
	}
	k := &key{kid: kid}
	records, damaged := locate(objects)
	k.byVersion(records)
	for _, u := range damaged {
		k.problems = append(k.problems, problem{0, u.err})
	}
	err = t.assembleAll(ctx, k, known, func(r *located) ([]*object, error) {
		return t.link.find(ctx, attribute{ckaID, r.idBytes()})
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changes++
	t.changed[kid] = t.changes
	t.idx.keys[kid] = k
	return k, nil
}

// assembleAll joins the live records of k with the objects that objectsOf finds, or takes the version from known. What does
// not fit is a problem of the key, logged; an error means that the token gave no answer.
func (t *Token) assembleAll(ctx context.Context, k, known *key, objectsOf func(*located) ([]*object, error)) error {
	for _, r := range k.records {
		if r.Stage != live {
			continue
		}
		if v := known.version(r.Version); v != nil && v.located.same(r) {
			k.versions = append(k.versions, v)
			continue
		}
		objects, err := objectsOf(r)
		if err != nil {
			return err
		}
		v, err := t.assembled(ctx, r, objects)
		switch {
		case provider.IsOutage(err) && !errors.Is(err, errUnread):
			return err
		case err != nil:
			k.problems = append(k.problems, problem{r.Version, err})
			t.tellLeftOut(k.kid, r.Version, err)
		default:
			k.versions = append(k.versions, v)
		}
	}
	return nil
}

// assembled is assemble with a public half that is missing made good, and with further looks for a key object that is not there: while
// another process writes, SoftHSM2 does not find some of what has been on the token for long.
func (t *Token) assembled(ctx context.Context, r *located, objects []*object) (*version, error) {
	for try := 1; ; try++ {
		v, err := assemble(r, objects)
		if errors.Is(err, errNoPublic) {
			err = t.rebuildPublic(ctx, v, objects)
		}
		if !errors.Is(err, errNoKey) || try == keyLooks {
			return v, err
		}
		select {
		case <-time.After(keyPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if objects, err = t.link.find(ctx, attribute{ckaID, r.idBytes()}); err != nil {
			return nil, err
		}
	}
}

const (
	keyLooks = 3
	keyPause = 20 * time.Millisecond
)

// tellLeftOut logs that a version is not served, unless the index says the same of it already: each read of such a version looks at
// the token again.
func (t *Token) tellLeftOut(kid string, n int, err error) {
	t.mu.RLock()
	known := t.idx.keys[kid].has(problem{n, err})
	t.mu.RUnlock()
	if !known {
		t.cfg.Logger.Warn("key on the token left out", slog.String("kid", kid), slog.Int("version", n), slog.Any("error", err))
	}
}

// rebuildPublic finds out a public half whose object is missing, from the private key or a certificate beside it.
func (t *Token) rebuildPublic(ctx context.Context, v *version, objects []*object) error {
	for _, o := range objects {
		if o != v.private && o.class != ckoCertificate {
			continue
		}
		parts, err := t.link.publicParts(ctx, o)
		if err != nil {
			return err
		}
		if v.public, err = publicKey(parts); err == nil {
			return v.publish()
		}
		if parts.unread() {
			return fmt.Errorf("%q: %w: %w", v.jwkKID(), errUnread, parts.problem)
		}
	}
	return fmt.Errorf("%q: %w, and neither the private key nor a certificate tells it", v.jwkKID(), errNoPublic)
}

// same tells whether a and b are one record in one object, found on one connection.
func (a *located) same(b *located) bool {
	return a.ID == b.ID && a.Stage == b.Stage && a.object.handle == b.object.handle && a.object.epoch == b.object.epoch
}
