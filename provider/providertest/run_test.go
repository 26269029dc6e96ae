package providertest_test

import (
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
	"github.com/hsmmirror/hsmmirror/provider/providertest"
)

func TestFakePassesRun(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider { return spoil(t, providertest.NewFake(t)) }, providertest.FakeClock())
}

func TestReopenedFakePassesRun(t *testing.T) {
	store := providertest.NewFake(t)
	t.Cleanup(func() { _ = store.Close() })
	providertest.Run(t, func(*testing.T) provider.Provider { return store.Reopen() },
		providertest.SameStore(), providertest.KeyURI(store.URI))
}

func TestPlainFakePassesRun(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider { return providertest.NewFake(t).Plain() })
}

func TestFakeThatLacksAlgorithmsPassesRun(t *testing.T) {
	providertest.Run(t, func(t *testing.T) provider.Provider {
		f := providertest.NewFake(t)
		f.Lack(provider.X25519, provider.AES256GCM, provider.RSAOAEPSHA256, provider.ECDSAP256SHA256)
		return f
	})
}
