package mirror

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

// served requires that m serves every version that was acknowledged and that must says it has to, with its own public half and
// tags, unless its destroy began; nothing whose destroy was acknowledged; and no other key under a name that was acknowledged.
func (s *killScene) served(m *Mirror, notes killNotes, must func(Version) bool) {
	s.t.Helper()
	ctx := s.t.Context()
	published := s.published(m, notes)
	sampled := 0
	for v, made := range notes.made {
		if notes.destroyed[v] {
			if sampled++; sampled <= 10 { // each one misses; what came back is seen in the set, the lists and the stores too
				_, err := m.GetKey(ctx, v.KID, v.Version)
				require.ErrorIs(s.t, err, provider.ErrNotFound)
				_, err = m.PublicJWK(ctx, v.KID, v.Version)
				require.ErrorIs(s.t, err, provider.ErrNotFound)
			}
			continue
		}
		if notes.destroying[v] || !must(v) {
			continue
		}
		ref, err := m.GetKey(ctx, v.KID, v.Version)
		require.NoError(s.t, err, "%s was acknowledged and is lost", v)
		require.Equal(s.t, made.thumbprint, ref.Fingerprint)
		require.Equal(s.t, made.tag, ref.Tags["made"])
		k, err := m.PublicJWK(ctx, v.KID, v.Version)
		require.NoError(s.t, err)
		require.Equal(s.t, made.thumbprint, k.Thumbprint())
		require.Equal(s.t, ref.State.Published(), published[v], v)
	}
}

// published returns what stands in m's set. Nothing there, and nothing in a list of versions, may be wrong.
func (s *killScene) published(m *Mirror, notes killNotes) map[Version]bool {
	s.t.Helper()
	ctx := s.t.Context()
	right := func(v Version, thumbprint string) {
		s.t.Helper()
		require.False(s.t, notes.destroyed[v], "%s is back", v)
		if made := notes.made[v].thumbprint; made != "" {
			require.Equal(s.t, made, thumbprint, "%s is another key", v)
		}
	}
	set, err := m.JWKS(ctx, "")
	require.NoError(s.t, err, "a set is never refused for a writer that was killed")
	published := map[Version]bool{}
	for _, k := range set.Keys() {
		published[nameOf(k.Ref())] = true
		right(nameOf(k.Ref()), k.Thumbprint())
	}
	listed := map[string]bool{}
	for v := range notes.made {
		if listed[v.KID] {
			continue
		}
		listed[v.KID] = true
		list, _ := m.ListVersions(ctx, v.KID)
		for _, ref := range list.Keys {
			right(nameOf(ref), ref.Fingerprint)
		}
	}
	return published
}

// signs requires that m signs with every version that was acknowledged, unless its destroy began.
func (s *killScene) signs(m *Mirror, notes killNotes) {
	s.t.Helper()
	ctx := s.t.Context()
	for v := range notes.made {
		if notes.destroying[v] {
			continue
		}
		signer, err := m.Signer(ctx, v.KID, v.Version)
		require.NoError(s.t, err, "%s was acknowledged and does not sign", v)
		alg := signer.KeyRef().Alg
		signature, err := signer.SignContext(ctx, alg.Digest([]byte(v.KID)), alg.SignerOpts())
		require.NoError(s.t, err)
		k, err := m.PublicJWK(ctx, v.KID, v.Version)
		require.NoError(s.t, err)
		require.NoError(s.t, k.Verify([]byte(v.KID), signature))
	}
}

// readOn has two readers read, one with the primary and one without it, until stop is called, which requires that they were
// given every version that was acknowledged.
func (s *killScene) readOn() (stop func()) {
	s.t.Helper()
	with, err := s.open(s.t.Context(), "service")
	require.NoError(s.t, err)
	readers := []*Mirror{with, s.reader()}
	ctx, cancel := context.WithCancel(s.t.Context())
	ended := make(chan error)
	for _, m := range readers {
		go func() {
			pace := time.NewTicker(2 * time.Millisecond) // the victims want the processors too
			defer pace.Stop()
			var err error
			for err == nil && ctx.Err() == nil {
				err = s.read(m)
				<-pace.C
			}
			ended <- errors.Join(err, m.Close())
		}()
	}
	return func() {
		s.t.Helper()
		cancel()
		for range readers {
			require.NoError(s.t, <-ended, "a reader, while writers were killed")
		}
	}
}

// read asks m for a set, and for every version that was acknowledged before and whose destroy has not begun.
func (s *killScene) read(m *Mirror) error {
	ctx := context.Background()
	notes, err := readKillNotes(s.notes)
	if err != nil {
		return err
	}
	if _, err := m.JWKS(ctx, ""); err != nil {
		return err
	}
	wrong := map[Version]error{}
	for v, made := range notes.made {
		if !made.mirrored || notes.destroying[v] {
			continue
		}
		s.answers.Add(1)
		if k, err := m.PublicJWK(ctx, v.KID, v.Version); err != nil {
			wrong[v] = fmt.Errorf("%s was acknowledged: %w", v, err)
		} else if k.Thumbprint() != made.thumbprint {
			wrong[v] = fmt.Errorf("%s is another key", v)
		}
	}
	if len(wrong) > 0 {
		notes, err = readKillNotes(s.notes)
	}
	for v, why := range wrong {
		if !notes.destroying[v] {
			err = errors.Join(err, why)
		}
	}
	return err
}
