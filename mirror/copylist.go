package mirror

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/hsmmirror/hsmmirror/provider"
)

// versions describes every copy of a version of kid, ascending. No copies are no error.
func (c *copies) versions(ctx context.Context, l *ledger, kid string) (provider.KeyList, error) {
	list, err := read(ctx, c, func(ctx context.Context) (provider.KeyList, error) { return c.store.ListVersions(ctx, kid) })
	if err != nil && !errors.Is(err, provider.ErrNotFound) {
		return provider.KeyList{}, err
	}
	for _, n := range l.numbers(kid) {
		if e, _ := l.get(Version{kid, n}); e.Copy == nil {
			continue
		}
		ref, err := c.key(ctx, l, Version{kid, n})
		if errors.Is(err, provider.ErrNotFound) {
			continue
		}
		if err != nil {
			return provider.KeyList{}, err
		}
		list.Keys = append(list.Keys, ref)
	}
	list.Keys = slices.DeleteFunc(list.Keys, func(ref provider.KeyRef) bool { return ref.KID != kid })
	slices.SortStableFunc(list.Keys, compareRefs)
	list.Keys = slices.CompactFunc(list.Keys, func(a, b provider.KeyRef) bool { return a.Version == b.Version })
	return list, nil
}

// keys describes the highest copied version of every kid, ascending.
func (c *copies) keys(ctx context.Context, l *ledger) (provider.KeyList, error) {
	list, err := read(ctx, c, c.store.ListKeys)
	if err != nil {
		return provider.KeyList{}, err
	}
	var refs []provider.KeyRef
	for _, ref := range list.Keys {
		if v, ok := l.origin(ref); ok {
			_, own := l.place(v)
			refs = append(refs, l.named(v, own, ref))
		}
	}
	slices.SortStableFunc(refs, func(a, b provider.KeyRef) int { return compareRefs(b, a) })
	refs = slices.CompactFunc(refs, func(a, b provider.KeyRef) bool { return a.KID == b.KID })
	slices.Reverse(refs)
	list.Keys = refs
	return list, nil
}

// jwks returns the JWKs that the secondary publishes of keys whose kid begins with prefix, under the primary's names, but for
// those of destroyed versions; and the JSON of the secondary's own set.
func (c *copies) jwks(ctx context.Context, l *ledger, prefix string) ([]provider.JWK, []byte, error) {
	set, err := c.set(ctx, l, prefix)
	if err != nil {
		return nil, nil, err
	}
	keys, err := l.renamed(set, prefix)
	return keys, set.JSON(), err
}

// renamed returns the keys of a set of the secondary's whose kid begins with prefix, as jwks does.
func (l *ledger) renamed(set provider.JWKSet, prefix string) ([]provider.JWK, error) {
	keys := set.Keys()
	named := keys[:0]
	for _, k := range keys {
		ref := k.Ref()
		v, ok := l.origin(ref)
		if !ok || !strings.HasPrefix(v.KID, prefix) || l.destroyed(v.KID, v.Version) {
			continue
		}
		if _, own := l.place(v); own {
			var err error
			if k, err = provider.NewJWK(l.named(v, own, ref), k.PublicKey()); err != nil {
				return nil, err
			}
		}
		named = append(named, k)
	}
	return named, nil
}

// set returns the secondary's own JWK Set, of at least the keys whose kid begins with prefix.
func (c *copies) set(ctx context.Context, l *ledger, prefix string) (provider.JWKSet, error) {
	if len(l.copies) > 0 {
		prefix = "" // the names there tell nothing
	}
	return read(ctx, c, func(ctx context.Context) (provider.JWKSet, error) { return c.store.JWKS(ctx, prefix) })
}

// origin returns the version that a key of the secondary is a copy of. ok is false for a copy whose place was never noted:
// it has a name that is no key's.
func (l *ledger) origin(ref provider.KeyRef) (v Version, ok bool) {
	at := nameOf(ref)
	if v, ok := l.copies[at]; ok {
		return v, true
	}
	_, copied := ref.Tags[originTag]
	return at, !copied || !strings.HasPrefix(ref.KID, copyPrefix)
}

func compareRefs(a, b provider.KeyRef) int {
	return cmp.Or(strings.Compare(a.KID, b.KID), cmp.Compare(a.Version, b.Version))
}
