// Package providertest checks a store against the contract of package provider, and has a store in memory that fails on
// command.
//
// A store's own test is one call of [Run], which checks every sentence of the contract:
//
//	func TestConformance(t *testing.T) {
//		providertest.Run(t, func(t *testing.T) provider.Provider {
//			p, err := mystore.Open(t.Context(), t.TempDir())
//			require.NoError(t, err)
//			return p
//		})
//	}
//
// A program that uses keys tests itself with a [Fake], which passes Run too, so that a test built on it means something.
package providertest
