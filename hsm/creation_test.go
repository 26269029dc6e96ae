//go:build cgo

package hsm

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever comes first, one of the two takes the object back: who asked for it, or the call that makes it.
func TestACreationIsTakenBackByOneOfTheTwo(t *testing.T) {
	t.Run("the call ends first", func(t *testing.T) {
		var c creation
		require.True(t, c.begin())
		require.True(t, c.end(), "someone waits")
		require.True(t, c.begin(), "it may be made again")
		require.True(t, c.end())
		require.True(t, c.leave(), "no call runs")
	})
	t.Run("who asked leaves first", func(t *testing.T) {
		var c creation
		require.True(t, c.begin())
		require.False(t, c.leave(), "a call runs")
		require.False(t, c.end(), "what it made must go")
		require.False(t, c.begin(), "and it makes no other")
	})
	t.Run("the call would begin too late", func(t *testing.T) {
		var c creation
		require.True(t, c.leave(), "no call runs, nor will")
		require.False(t, c.begin())
	})
}
