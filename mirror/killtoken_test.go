package mirror

import (
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/hsm"
)

// onToken requires that the token itself, if there is one, holds what was acknowledged, with its label, and nothing that was destroyed.
// It returns the versions of which it holds the rest of an operation that was cut off.
func (s *killScene) onToken(notes killNotes) {
	s.t.Helper()
	labels := map[Version][]string{}
	for _, o := range s.objects() {
		v := Version{o.KID, o.Version}
		if o.Class == "CKO_DATA" {
			continue
		}
		require.False(s.t, notes.destroyed[v], "%s: a %s is back on the token", v, o.Class)
		labels[v] = append(labels[v], o.Label)
	}
	for v := range notes.made {
		if s.PINFile == "" || notes.destroying[v] {
			continue
		}
		require.Len(s.t, labels[v], 2, "%s: a private and a public key", v)
		if label := notes.labelled[v]; label != "" {
			require.Equal(s.t, []string{label, label}, labels[v])
		}
	}
}

// onTokenRepaired requires that no destroy is unfinished on the token. What is left of the making of a key that nobody was told of has
// its claim, by which the token's next writer knows it.
func (s *killScene) onTokenRepaired() {
	s.t.Helper()
	for _, o := range s.objects() {
		v := Version{o.KID, o.Version}
		require.NotEqual(s.t, hsm.StatusForeign, o.Status, "%s %q belongs to nothing", o.Class, o.Label)
		if o.Status != hsm.StatusHalf {
			require.Empty(s.t, o.Problem)
		} else {
			require.Empty(s.t, s.seen[v], "%s was there, and half of it is left", v)
		}
	}
}

// tidied requires that nothing half-made is left when the token was tidied, and that nothing else went with it but records that others
// have overtaken.
func (s *killScene) tidied() {
	s.t.Helper()
	if s.PINFile == "" {
		return
	}
	keys := func(objects []hsm.ObjectInfo) (n int) {
		for _, o := range objects {
			if o.Status == hsm.StatusOurs && o.Class != "CKO_DATA" {
				n++
			}
		}
		return n
	}
	whole := keys(s.objects())
	token, err := hsm.Open(s.t.Context(), s.token())
	require.NoError(s.t, err)
	removed, err := token.Tidy(s.t.Context(), 0)
	require.NoError(s.t, err)
	require.NoError(s.t, token.Close())
	s.t.Logf("%d objects tidied away", len(removed))
	left := s.objects()
	for _, o := range left {
		require.Equal(s.t, hsm.StatusOurs, o.Status, "%s %q is left", o.Class, o.Label)
	}
	require.Equal(s.t, whole, keys(left))
}

// objects returns what stands on the token. The process must not have it open.
func (s *killScene) objects() []hsm.ObjectInfo {
	s.t.Helper()
	if s.PINFile == "" {
		return nil
	}
	seen, err := hsm.InspectObjects(s.t.Context(), s.token(), nil)
	require.NoError(s.t, err)
	require.True(s.t, seen.LoggedIn)
	return seen.Objects
}
