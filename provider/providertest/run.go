package providertest

import (
	"testing"

	"github.com/hsmmirror/hsmmirror/provider"
)

// Option says more about a store, so that Run can check more.
type Option func(*suite)

// SameStore says that open returns handles on one store, whose keys outlive a handle.
func SameStore() Option { return func(s *suite) { s.sameStore = true } }

// FakeClock says that the store can be opened inside a testing/synctest bubble, where Run lets days go by.
func FakeClock() Option { return func(s *suite) { s.fakeClock = true } }

// KeyURI gives the URI by which a [provider.Resolving] store names the version that ref describes.
func KeyURI(uri func(ref provider.KeyRef) string) Option { return func(s *suite) { s.uri = uri } }

// Run checks every sentence of the contract of package provider on the store that open opens.
//
// open returns a new handle, which Run closes. It may be a handle on the same store each time, and the store may hold
// other keys: Run names its keys at random, looks at these only, and destroys them. No two handles are open at once.
//
// What a store need not do, it says in its Capabilities: an algorithm that it can't create, import or use is answered with
// ErrUnsupported, and the error repeats the Missing text of the algorithm. Optional interfaces that the store does not
// satisfy are not checked.
func Run(t *testing.T, open func(t *testing.T) provider.Provider, options ...Option) {
	s := &suite{open: open, prefix: "pt-" + provider.NewKID()[:12] + "-"}
	for _, o := range options {
		o(s)
	}
	if s.sameStore {
		t.Cleanup(func() { s.sweep(t) })
	}
	t.Run("with one handle", s.testWithOneHandle)
	t.Run("after close", s.testClose)
	if s.sameStore {
		t.Run("the next handle", s.testNextHandle)
	}
	if s.fakeClock {
		t.Run("over days", s.testOverDays)
	}
}

func (s *suite) testWithOneHandle(t *testing.T) {
	s.use(t)
	tests := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"capabilities", s.testCapabilities},
		{"create", s.testCreate},
		{"import", s.testImport},
		{"rotate", s.testRotate},
		{"destroy", s.testDestroy},
		{"lifecycle", s.testLifecycle},
		{"read", s.testRead},
		{"jwk", s.testJWK},
		{"jwks", s.testJWKS},
		{"random", s.testRandom},
		{"hkdf", s.testHKDF},
		{"sign", s.testSign},
		{"sign in protocols", s.testProtocols},
		{"decrypt", s.testDecrypt},
		{"encrypt", s.testAEAD},
		{"authenticate", s.testMAC},
		{"agree on a key", s.testECDH},
		{"export", s.testExport},
		{"keep copies", s.testReplica},
		{"label", s.testLabel},
		{"health", s.testHealth},
		{"key by uri", s.testKeyByURI},
		{"bad input", s.testBadInput},
		{"ended context", s.testContext},
		{"secrets", s.testSecrets},
		{"caller's memory", s.testAliasing},
		{"concurrency", s.testConcurrency},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}
