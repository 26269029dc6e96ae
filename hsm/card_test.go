//go:build cgo && unix

package hsm

import (
	"context"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/provider"
)

func init() {
	row := quirkTable[0]
	row.module, row.tried, row.because = "a card of the tests", "none", "the tests want it so"
	row.fits = func(t TokenInfo) bool { return t.Label == cardToken }
	row.quirks = quirksOf(TokenInfo{Library: "OpenSC smartcard framework"})
	row.quirks.mostOfAKind = 0 // tests that are run again and again fill the token
	quirkTable = append(quirkTable, row)
}

func openCard(t *testing.T, change func(*Config)) faultyToken {
	t.Helper()
	card := configFor(t, cardToken)
	return openFaulty(t, func(c *Config) {
		c.Label, c.PIN = card.Label, card.PIN
		if change != nil {
			change(c)
		}
	})
}

// A module that writes from memory would write over what another process has stored since it was started: the other's keys would be lost
// without a word.
func TestAModuleThatWritesFromMemoryIsStartedAfreshBeforeEachWrite(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, nil)
	ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	writes := map[string]func() error{
		"rotate":  func() error { _, err := f.RotateKey(ctx, ref.KID, provider.Rotation{}); return err },
		"destroy": func() error { _, err := f.DestroyKey(ctx, ref.KID, 1); return err },
	}
	for _, name := range []string{"rotate", "destroy"} {
		before := f.Stats().Epochs
		require.NoError(t, writes[name](), name)
		require.Equal(t, before+1, f.Stats().Epochs, name)
	}
	before := f.Stats().Epochs
	_, err = f.GetKey(ctx, ref.KID, 0)
	require.NoError(t, err)
	require.Equal(t, before, f.Stats().Epochs, "a read leaves it as it is")
}

func TestAWriteWaitsForNoLockOfAModuleThatDoesNotStart(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, nil)
	fault := f.m.On("C_Initialize").Fail(pkcs11.CKR_GENERAL_ERROR)
	_, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnavailable)
	fault.Stop()
	comesBack(t, func(ctx context.Context) error {
		_, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
		return err
	})
}

// The lock of a write ends the epoch in which the objects to adopt were found.
func TestAKeyIsAdoptedFromAModuleThatWritesFromMemory(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, nil)
	ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	_, v, err := f.lookupVersion(ctx, ref.KID, 1)
	require.NoError(t, err)
	require.NoError(t, f.link.destroy(ctx, v.object))
	adopted, err := f.Adopt(ctx, Adoption{ID: v.private.id})
	require.NoError(t, err)
	require.Equal(t, ref.Alg, adopted.Alg)
}

// reused is a token on which another process has put another key in the place of ours.
type reused struct {
	link
	other   *object
	started *int // how often the module was started afresh
	after   bool // that helps
}

func (r reused) sign(ctx context.Context, key *object, m mechanism, data []byte) ([]byte, error) {
	if *r.started == 0 || !r.after {
		other := *r.other
		other.epoch = key.epoch
		key = &other
	}
	return r.link.sign(ctx, key, m, data)
}

func (r reused) afresh(ctx context.Context) error { *r.started++; return nil }

// The place of a key that another process has destroyed is given to the next one. OpenSC signs with that, for who still knows the old one.
func TestASignatureOfTheKeyInItsPlaceIsNotGivenOut(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, nil)
	for _, spec := range []provider.KeySpec{{Alg: provider.ECDSAP256SHA256}, {Alg: provider.RSAPSSSHA256, Bits: 2048}, {Alg: provider.RSAPKCS1SHA256, Bits: 2048}, {Alg: provider.Ed25519}} {
		t.Run(string(spec.Alg), func(t *testing.T) {
			ours, err := f.CreateKey(ctx, spec)
			require.NoError(t, err)
			theirs, err := f.CreateKey(ctx, spec)
			require.NoError(t, err)
			signer, err := f.Signer(ctx, ours.KID, 1)
			require.NoError(t, err)
			jwk, err := f.PublicJWK(ctx, ours.KID, 1)
			require.NoError(t, err)
			_, v, err := f.lookupVersion(ctx, theirs.KID, 1)
			require.NoError(t, err)
			good := f.link
			defer func() { f.link = good }()

			var started int
			f.link = reused{good, v.private, &started, true}
			out, err := signer.SignContext(ctx, ours.Alg.Digest([]byte("m")), nil)
			require.NoError(t, err)
			require.NoError(t, jwk.Verify([]byte("m"), out))
			require.Equal(t, 1, started)
			_, err = signer.SignContext(ctx, ours.Alg.Digest([]byte("m")), nil)
			require.NoError(t, err)
			require.Equal(t, 1, started, "not again")

			started = 0
			f.link = reused{good, v.private, &started, false}
			_, err = signer.SignContext(ctx, ours.Alg.Digest([]byte("m")), nil)
			require.ErrorIs(t, err, provider.ErrTampered)
			require.Equal(t, 1, started)
		})
	}
}

// OpenSC writes the file of a 34th data object over that of another.
func TestAKeyIsMadeWhileThereIsRoomForItsEndToo(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, nil)
	ref, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
	require.NoError(t, err)
	records, err := f.link.find(ctx, attribute{ckaClass, uint(ckoData)})
	require.NoError(t, err)
	require.NoError(t, f.Close())
	row := &quirkTable[len(quirkTable)-1]
	row.quirks.mostOfAKind = len(records) + roomForKey - 1
	defer func() { row.quirks.mostOfAKind = 0 }()

	f = openCard(t, nil)
	defer func() { require.NoError(t, f.Close()) }()
	_, err = f.CreateKey(ctx, provider.KeySpec{KID: "too-many", Alg: provider.ECDSAP256SHA256})
	require.ErrorIs(t, err, provider.ErrUnsupported)
	require.ErrorContains(t, err, "objects of a kind")
	_, err = f.GetKey(ctx, "too-many", 0)
	require.ErrorIs(t, err, provider.ErrNotFound, "nothing is left of it")
	_, err = f.DestroyKey(ctx, ref.KID, 1)
	require.NoError(t, err)
}

// A card may make an RSA key for longer than a check may take, and does nothing else meanwhile.
func TestACheckThatWaitsForItsTurnIsNoOutage(t *testing.T) {
	ctx := context.Background()
	f := openCard(t, hanging)
	other, err := Open(ctx, f.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, other.Close()) }()
	u := newUser(t, other)

	long := f.m.On("C_GenerateKeyPair").Hang()
	made := make(chan error, 1)
	go func() {
		_, err := f.CreateKey(ctx, provider.KeySpec{Alg: provider.ECDSAP256SHA256})
		made <- err
	}()
	soon(t, func() bool { return long.Waiting() == 1 }, "no key is made")
	c := other.link.(*conn)
	require.ErrorIs(t, u.sign(ctx), provider.ErrUnavailable, "its time is up")
	<-c.check(c.up.Load(), nil)
	require.NotNil(t, c.up.Load(), "the call that has the turn is watched itself")
	long.Release()
	require.NoError(t, <-made)
	require.NoError(t, u.sign(ctx))
}

// GET CHALLENGE of a smart card gives some 256 bytes at once, and nothing tells how many.
func TestRandomBytesAreDrawnInStepsThatTheTokenTakes(t *testing.T) {
	f := openFaulty(t, nil)
	refusals := f.m.On("C_GenerateRandom").Times(4).Fail(pkcs11.CKR_DATA_LEN_RANGE)
	out, err := f.RandomBytes(context.Background(), 5000)
	require.NoError(t, err)
	require.Len(t, out, 5000)
	require.Equal(t, 4, refusals.Hits())
	require.NotEqual(t, out[:256], out[256:512])

	f.m.On("C_GenerateRandom").Fail(pkcs11.CKR_DATA_LEN_RANGE)
	_, err = f.RandomBytes(context.Background(), 5000)
	require.ErrorIs(t, err, provider.ErrInvalid, "not even one")
}
