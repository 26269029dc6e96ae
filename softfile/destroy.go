package softfile

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// DestroyKey implements [provider.Provider]. It needs no passphrase. Several versions are destroyed in one step.
//
// [provider.ErrTampered], with nothing destroyed, if the version's record can't be read, or that of any version for
// [provider.AllVersions]. [provider.ErrUnavailable] if a record could not be removed: its version is out of use, and
// calling again removes the file.
func (s *Store) DestroyKey(ctx context.Context, kid string, version int) (provider.Destruction, error) {
	d := provider.Destruction{KID: kid}
	if err := s.enter(ctx, provider.ValidateKID(kid), validateDestroy(version)); err != nil {
		return d, err
	}
	err := s.alter(ctx, kid, func(c *change) error {
		doomed, err := c.doomed(version)
		if err != nil {
			return err
		}
		if err := c.bury(doomed); err != nil {
			return err
		}
		d.Versions = c.destroyed(version, doomed)
		if len(d.Versions) == 0 {
			return provider.NotFound(kid, max(version, 0))
		}
		return nil
	})
	if err != nil {
		d.Versions = nil
	}
	return d, err
}

func validateDestroy(version int) error {
	if version == 0 || version < provider.AllVersions {
		return provider.Invalidf("destroy version %d: want 1 or more, or AllVersions", version)
	}
	return nil
}

// doomed returns the versions to destroy.
func (c *change) doomed(number int) ([]*version, error) {
	if c.entry == nil {
		return nil, nil
	}
	for _, p := range c.entry.problems {
		if p.version > 0 && (p.version == number || number == provider.AllVersions) {
			return nil, fmt.Errorf("destroy %q: %w", c.kid, p.err)
		}
	}
	return slices.DeleteFunc(slices.Clone(c.entry.versions), func(v *version) bool {
		return number != provider.AllVersions && v.rec.Version != number
	}), nil
}

// destroyed returns the numbers of what is gone now and was asked for, with what an earlier destroy had left.
func (c *change) destroyed(number int, doomed []*version) []int {
	gone := slices.Clone(c.swept)
	for _, v := range doomed {
		gone = append(gone, v.rec.Version)
	}
	gone = slices.DeleteFunc(gone, func(n int) bool { return number != provider.AllVersions && n != number })
	slices.Sort(gone)
	return gone
}

// bury writes the tombstones of versions, which destroys them, and then removes their records.
func (c *change) bury(doomed []*version) error {
	if len(doomed) == 0 {
		return nil
	}
	now := time.Now()
	stones := slices.Clone(c.entry.tombstones)
	paths := make([]string, len(doomed))
	for i, v := range doomed {
		stones = append(stones, newTombstone(v.rec, now))
		paths[i] = recordPath(c.kid, v.rec.Version)
	}
	slices.SortFunc(stones, func(a, b tombstone) int { return cmp.Compare(a.Version, b.Version) })
	data, err := encodeTombstones(c.kid, stones)
	if err != nil {
		return err
	}
	c.stale = true
	if err := c.dir.Replace(tombstonePath(c.kid), data); err != nil {
		return classify(err)
	}
	return classify(c.dir.Remove(paths...))
}

// removeLeftovers removes the records of destroyed versions that a writer left when it died.
func (e *entry) removeLeftovers(dir *fileops.Dir) error {
	paths := make([]string, len(e.leftovers))
	for i, n := range e.leftovers {
		paths[i] = recordPath(e.kid, n)
	}
	return classify(dir.Remove(paths...))
}
