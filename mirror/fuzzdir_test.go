package mirror

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// FuzzFilesOfAnAttacker changes the files of a mirror whose primary is away: data is a list of edits, each of which takes a
// file and cuts, flips, swaps, empties or removes something, or puts an old copy back. Whatever comes of it, nothing is
// served that was not vouched for.
func FuzzFilesOfAnAttacker(f *testing.F) {
	f.Add([]byte{0, 0, 10, 1})
	f.Add([]byte{1, 1, 0, 0, 2, 2, 50, 7})
	f.Add([]byte{3, 5, 0, 0, 4, 4, 9, 9, 5, 3, 1, 1})
	s := newScene(f)
	s.put(statePath, s.vouching("evil"))
	s.put("keystore/keys/evil/1.json", s.evilRecord("evil"))
	whole := filepath.Join(f.TempDir(), "whole")
	if err := os.CopyFS(whole, os.DirFS(s.dir)); err != nil {
		f.Fatal(err)
	}
	own, old := s.own, s.old
	f.Fuzz(func(t *testing.T, edits []byte) {
		s := *s
		s.t, s.dir, s.own, s.old = t, tempDir(t), own, old
		s.copyFrom(whole, "keystore", "mirror")
		for edit := range slices.Chunk(edits, 4) {
			if len(edit) == 4 {
				s.edit(edit)
			}
		}
		_, _ = s.innocent(s.read(Config{}))
	})
}

// edit makes one change: what, to which file, where, with what.
func (s *scene) edit(edit []byte) {
	s.t.Helper()
	files := []string{
		manifestPath, statePath, "keystore/keys/a/1.json", "keystore/keys/a/2.json", "keystore/keys/b/1.json",
		"keystore/keys/gone/1.json", "keystore/keys/gone/destroyed.json", "keystore/keys/evil/1.json",
	}
	name := files[int(edit[1])%len(files)]
	other := files[int(edit[3])%len(files)]
	data, err := os.ReadFile(s.path(name))
	at := 0
	if len(data) > 0 {
		at = int(edit[2]) * len(data) / 256
	}
	switch edit[0] % 7 {
	case 0: // flip a bit
		if len(data) > 0 {
			data[at] ^= 1 << (edit[3] % 8)
		}
	case 1: // cut
		data = data[:at]
	case 2: // insert a byte
		data = slices.Insert(data, at, edit[3])
	case 3: // another file's content
		data, err = os.ReadFile(s.path(other))
	case 4: // an old copy
		data, err = os.ReadFile(filepath.Join(s.old, name))
	case 5: // another file's head, and its own tail
		head, rerr := os.ReadFile(s.path(other))
		err = rerr
		data = append(head[:min(at, len(head))], data[at:]...)
	case 6:
		_ = os.RemoveAll(s.path(name))
		return
	}
	if err == nil {
		s.put(name, string(data))
	}
}
