package provider_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestStates(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	// v is a version that signs from the given hour on, and retires the one before after the given hours.
	v := func(hour, retireAfter time.Duration) provider.Schedule {
		return provider.Schedule{ActiveFrom: now.Add(hour * time.Hour), RetireAfter: retireAfter * time.Hour}
	}
	gone := func(s provider.Schedule) provider.Schedule { s.Destroyed = true; return s }
	const (
		pending, active, retiring, retired, destroyed = provider.Pending, provider.Active, provider.Retiring, provider.Retired, provider.Destroyed
	)
	type (
		versions []provider.Schedule
		states   []provider.State
	)
	tests := []struct {
		name     string
		versions versions
		want     states
	}{
		{"no version", nil, states{}},
		{"the first one signs", versions{v(-1, 0)}, states{active}},
		{"from its very second on", versions{v(0, 0)}, states{active}},
		{"a new one is published before it signs", versions{v(-9, 0), v(+1, 24)}, states{active, pending}},
		{"then it signs, and the old one stays published", versions{v(-9, 0), v(-1, 24)}, states{retiring, active}},
		{"until its time is over", versions{v(-99, 0), v(-24, 24)}, states{retired, active}},
		{"not a second earlier", versions{v(-99, 0), {ActiveFrom: now.Add(-24*time.Hour + 1), RetireAfter: 24 * time.Hour}}, states{retiring, active}},
		{"with no windows the old one is retired at once", versions{v(-1, 0), v(0, 0)}, states{retired, active}},
		{"two are pending", versions{v(-1, 0), v(+1, 24), v(+2, 24)}, states{active, pending, pending}},
		{"two are retiring", versions{v(-9, 0), v(-2, 24), v(-1, 24)}, states{retiring, retiring, active}},
		{"each version starts the end of all before it", versions{v(-99, 0), v(-30, 24), v(-1, 24)}, states{retired, retiring, active}},
		{"the earliest end counts: a rotation now after one with a long window", versions{v(-9, 0), v(-2, 72), v(-1, 0)}, states{retired, retired, active}},
		{"the earliest end counts: a long window after a short one", versions{v(-99, 0), v(-50, 24), v(-1, 72)}, states{retired, retiring, active}},
		{"a rotation now overtakes a pending version", versions{v(-9, 0), v(+1, 24), v(0, 0)}, states{retired, retired, active}},
		{"an overtaken version stays published as long as the others", versions{v(-9, 0), v(+1, 24), v(0, 24)}, states{retiring, retiring, active}},
		{"an overtaken version never signs when its time comes", versions{v(-9, 0), v(-1, 24), v(-2, 48)}, states{retiring, retiring, active}},
		{"a destroyed one between changes nothing", versions{v(-9, 0), gone(v(-5, 24)), v(-1, 24)}, states{retiring, destroyed, active}},
		{"a destroyed newest gives a retired one no place back", versions{v(-9, 0), gone(v(-5, 0))}, states{retired, destroyed}},
		{"a destroyed newest does not make a retiring one sign", versions{v(-9, 0), gone(v(-5, 24))}, states{retiring, destroyed}},
		{"a retiring one ends in time though its successor is gone", versions{v(-99, 0), gone(v(-24, 24))}, states{retired, destroyed}},
		{"a destroyed one whose time has not come supersedes nobody yet", versions{v(-9, 0), gone(v(+1, 24))}, states{active, destroyed}},
		{"a destroyed first one does not matter", versions{gone(v(-9, 0)), v(-1, 0)}, states{destroyed, active}},
		{"all are gone", versions{gone(v(-9, 0)), gone(v(-1, 24))}, states{destroyed, destroyed}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.Equal(t, tt.want, states(provider.States(now, tt.versions)))
		})
	}
}

func TestOneVersionSignsAtMost(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hours := []time.Duration{-30, -2, 0, +1}
	windows := []time.Duration{0, 24}
	var schedules []provider.Schedule
	for _, h := range hours {
		for _, w := range windows {
			for _, gone := range []bool{false, true} {
				schedules = append(schedules, provider.Schedule{ActiveFrom: now.Add(h * time.Hour), RetireAfter: w * time.Hour, Destroyed: gone})
			}
		}
	}
	for _, a := range schedules {
		for _, b := range schedules {
			for _, c := range schedules {
				versions := []provider.Schedule{a, b, c}
				signing := 0
				for i, state := range provider.States(now, versions) {
					require.Equal(t, versions[i].Destroyed, state == provider.Destroyed)
					if state == provider.Active {
						signing++
					}
				}
				require.LessOrEqual(t, signing, 1, "%+v", versions)
			}
		}
	}
}

func TestPublishedStates(t *testing.T) {
	for state, want := range map[provider.State]bool{
		provider.Pending: true, provider.Active: true, provider.Retiring: true, provider.Retired: false, provider.Destroyed: false, "": false,
	} {
		require.Equal(t, want, state.Published(), state)
	}
}
