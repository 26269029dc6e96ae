//go:build cgo

package hsm

import (
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

func TestTokenKeepsTheContract(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider { return open(t, contractToken) }, providertest.SameStore())
}
