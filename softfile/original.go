package softfile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/hsmmirror/hsmmirror/internal/fileops"
	"github.com/hsmmirror/hsmmirror/provider"
)

// The names in a store of the Python program that this one succeeds, below keys/<kid>. There is a public.jwk too, which
// says nothing that meta.json does not.
const (
	originalMeta    = "meta.json"
	originalVersion = "v" // and the number: a directory
	originalPublic  = "public.pem"
	originalPrivate = "private.pem"
)

// maxOriginal is the limit in bytes of each file that is read of an original store.
const maxOriginal = maxRecord

// ImportOriginal brings the keys of a store of swarmauri_keyprovider_file, the Python program that this one succeeds, into
// this store, with their kids and versions. dir is the directory in which keys stands. Nothing in it is changed, and no
// symbolic link in it is followed. docs/softfile-format.md says what becomes of each file.
//
// The rules are those of ImportSet: each version as a whole or not at all, again as often as one likes, nothing that stands
// here is changed, and private halves only if the store was opened with a passphrase. The original published the latest
// version of a key only; so the versions before it arrive as retired. A version whose public and private half are not one
// pair is not taken: nothing tells which of them is right.
//
// [provider.ErrUnavailable], with nothing stored, if dir can't be read, and [provider.ErrInvalid] if there is no keys in it.
// After any other error the report holds what was taken until then.
func (s *Store) ImportOriginal(ctx context.Context, dir string) (Report, error) {
	if err := s.enter(ctx); err != nil {
		return Report{}, err
	}
	root, err := fileops.Open(dir, nil)
	if err != nil {
		return Report{}, classify(err)
	}
	defer root.Close()
	keys, err := root.Sub(keysDir)
	if errors.Is(err, fs.ErrNotExist) {
		return Report{}, provider.Invalidf("%w: no store of the original", err)
	}
	if err != nil {
		return Report{}, classify(err)
	}
	defer keys.Close()
	kids, err := keys.List()
	if err != nil {
		return Report{}, classify(err)
	}
	m := mover{store: s}
	for _, kid := range kids {
		if err := ctx.Err(); err != nil {
			return m.report, err
		}
		if err := m.key(ctx, keys, kid); err != nil {
			return m.report, err
		}
	}
	return m.report, nil
}

// mover moves an original store.
type mover struct {
	store  *Store
	report Report
}

// key moves one key. It returns an error only for what would befall the next key too.
func (m *mover) key(ctx context.Context, keys *fileops.Dir, kid string) error {
	name := foreignName(keysDir, kid)
	if err := provider.ValidateKID(kid); err != nil {
		m.report.leave(name, provider.Invalidf("the name is no kid: want 1 to %d of A-Z a-z 0-9 . _ - and no dot at the start", provider.MaxKID))
		return nil
	}
	dir, err := keys.Sub(kid)
	if err != nil {
		m.report.leave(name, classify(err))
		return nil
	}
	defer dir.Close()
	names, err := dir.List()
	if err != nil {
		m.report.leave(name, classify(err))
		return nil
	}
	meta, err := readOriginalMeta(dir, kid)
	if err != nil {
		m.report.leave(name, err)
		return nil
	}
	ref, err := meta.describe(&m.report)
	if err != nil {
		m.report.leave(name, err)
		return nil
	}
	in := arrivals{kid: kid}
	defer func() {
		for _, a := range in.versions {
			a.key.Symmetric.Wipe()
		}
	}()
	for _, n := range names {
		if n == originalMeta {
			continue
		}
		a, err := m.version(dir, n, ref)
		if err != nil {
			m.report.leave(foreignName(name, n), err)
			continue
		}
		in.versions = append(in.versions, a)
	}
	if len(in.versions) == 0 {
		m.report.leave(name, fmt.Errorf("%w: it has no version that can be taken", provider.ErrNotFound))
		return nil
	}
	return m.store.takeIn(ctx, in, &m.report)
}

// version reads one version of the key that ref describes.
func (m *mover) version(dir *fileops.Dir, name string, ref provider.KeyRef) (arrival, error) {
	number, err := strconv.Atoi(strings.TrimPrefix(name, originalVersion))
	if err != nil || originalVersion+strconv.Itoa(number) != name || number < 1 {
		return arrival{}, provider.Invalidf("not a file of the original's store")
	}
	ref.Version = number
	files, err := dir.Sub(name)
	if err != nil {
		return arrival{}, classify(err)
	}
	defer files.Close()
	key, err := m.material(files, ref)
	if err != nil {
		return arrival{}, err
	}
	a, err := m.store.admit(ref, key, &m.report)
	if err != nil {
		key.Symmetric.Wipe()
	}
	return a, err
}

// foreignName is a name below a directory, as a report shows it: what does not print is quoted, and long names are cut.
func foreignName(dir, name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` || len(name) > 2*provider.MaxKID {
		name = fmt.Sprintf("%.256q", name)
	}
	return dir + "/" + name
}

// originalTime returns the time that created_at tells. One that lies ahead would keep a key from being used.
func originalTime(text string) (time.Time, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	t := time.Unix(n, 0).UTC()
	if err != nil || n <= 0 || t.After(time.Now()) {
		return time.Time{}, provider.Invalidf("%s: created_at: want seconds since 1970, not in the future", originalMeta)
	}
	return t, nil
}
