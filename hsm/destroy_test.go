package hsm

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func TestWhichTombstonesHaveToStay(t *testing.T) {
	later := start.Add(time.Hour)
	tests := []struct {
		name    string
		records []*located
		tomb    int
		want    bool
	}{
		{"the highest keeps its number", []*located{at(live, 1), at(destroyed, 2)}, 2, true},
		{"also alone", []*located{at(destroyed, 9)}, 9, true},
		{"also before its time", []*located{at(destroyed, 1, activeFrom(later))}, 1, true},
		{"one that was active keeps the version before it retired", []*located{at(live, 1), at(destroyed, 2), at(live, 3)}, 2, true},
		{"one that was never active keeps nothing", []*located{at(live, 1), at(destroyed, 2, activeFrom(later)), at(live, 3)}, 2, false},
		{"one without a live version before it keeps nothing", []*located{at(destroyed, 1), at(destroyed, 2), at(live, 3)}, 2, false},
		{"a claim before it is no version", []*located{at(claimed, 1), at(destroyed, 2), at(live, 3)}, 2, false},
		{"a claim after it may be withdrawn", []*located{at(destroyed, 2), at(claimed, 3)}, 2, true},
		{"a version after it keeps the highest number", []*located{at(destroyed, 2), at(live, 3)}, 2, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := keyOf(tt.records...)
			for _, r := range k.records {
				if r.Version == tt.tomb {
					require.Equal(t, tt.want, k.needs(r, start))
				}
			}
		})
	}
	t.Run("a version that can't be served counts", func(t *testing.T) {
		k := keyOf(at(live, 1), at(destroyed, 2), at(live, 3))
		k.versions = k.versions[1:]
		require.True(t, k.needs(k.records[1], start))
	})
}

func TestADestroyMeansAContestedVersionOnce(t *testing.T) {
	k := keyOf(at(live, 1, withID("0b")), at(live, 1, withID("0c")), at(live, 1, withID("0d")), at(live, 2))
	targets := k.targets(provider.AllVersions)
	require.Len(t, targets, 2)
	require.Equal(t, []int{1, 2}, []int{targets[0].Version, targets[1].Version})
	require.Equal(t, live, targets[0].Stage)
}

func TestWhatADestroyMeans(t *testing.T) {
	k := keyOf(at(live, 1), at(destroyed, 2), at(live, 3), at(claimed, 4))
	k.versions = k.versions[:1] // version 3 is damaged
	tests := []struct {
		name string
		n    int
		want []int
	}{
		{"one version", 1, []int{1}},
		{"one whose objects are damaged", 3, []int{3}},
		{"one that is destroyed already", 2, nil},
		{"one that is being made", 4, nil},
		{"one that never was", 5, nil},
		{"all", provider.AllVersions, []int{1, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []int
			for _, r := range k.targets(tt.n) {
				got = append(got, r.Version)
			}
			require.Equal(t, tt.want, got)
		})
	}
}
