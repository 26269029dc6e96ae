//go:build cgo

package hsm

import (
	"context"
	"strings"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/hsmmirror/hsmmirror/internal/softhsm/softhsmtest"
)

func (*strange) attributes(pkcs11.SessionHandle, pkcs11.ObjectHandle, []place, []byte) error {
	panic("no attribute is wanted")
}

// talkative answers C_GetAttributeValue as no module does that is at hand.
type talkative struct {
	*strange
	answer func(places []place, room []byte) error
}

func (t talkative) attributes(_ pkcs11.SessionHandle, _ pkcs11.ObjectHandle, places []place, room []byte) error {
	return t.answer(places, room)
}

func TestValuesHaveTheirPlaces(t *testing.T) {
	types := []uint{ckaPrivate, ckaClass, ckaLabel, ckaID}
	m := module{counters: &counters{}, direct: talkative{answer: func(places []place, room []byte) error {
		require.Equal(t, []place{{ckaPrivate, 0, 1}, {ckaClass, 8, 8}, {ckaLabel, 16, 1024}, {ckaID, 1040, 1024}}, places)
		require.Len(t, room, 2064)
		room[0], room[8], room[16], room[17] = 1, 2, 'a', 'b'
		places[2].length, places[3].length = 2, unshown
		return nil
	}}}
	values, err := m.attributes(1, 2, types)
	require.NoError(t, err)
	require.Equal(t, [][]byte{{1}, {2, 0, 0, 0, 0, 0, 0, 0}, []byte("ab"), nil}, values)
	require.Equal(t, 2, cap(values[2]))
	require.EqualValues(t, 1, m.calls[fnGetAttributeValue].Load())
}

func TestAValueThatIsLongerThanItsRoom(t *testing.T) {
	for name, answer := range map[string]func([]place, []byte) error{
		"by the module's word":       func([]place, []byte) error { return pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL) },
		"by the length that it says": func(p []place, _ []byte) error { p[0].length++; return nil },
	} {
		m := module{counters: &counters{}, direct: talkative{answer: answer}}
		_, err := m.roomy(1, 2, []uint{ckaLabel})
		require.ErrorIs(t, err, errNoRoom, name)
	}
	m := module{counters: &counters{}, direct: talkative{answer: func([]place, []byte) error { return pkcs11.Error(pkcs11.CKR_DEVICE_ERROR) }}}
	_, err := m.attributes(1, 2, []uint{ckaLabel})
	require.ErrorIs(t, err, pkcs11.Error(pkcs11.CKR_DEVICE_ERROR), "and nobody else is asked")
}

// What one call can't take is read in two.
func TestLongValuesAreReadWhole(t *testing.T) {
	softhsmtest.Get(t)
	token := open(t, sharedToken)
	for _, n := range []int{1023, 1024, 1025, 5000} {
		label := strings.Repeat("l", n)
		require.NoError(t, token.link.create(t.Context(), []attribute{
			{ckaClass, uint(ckoData)}, {ckaToken, true}, {ckaPrivate, false}, {ckaLabel, label}, {ckaApplication, []byte("long")}, {ckaValue, []byte("v")},
		}))
		found, err := token.link.find(t.Context(), attribute{ckaLabel, label})
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, label, found[0].label)
		require.Equal(t, "long", found[0].application)
		require.NoError(t, token.link.destroy(context.WithoutCancel(t.Context()), found[0]))
	}
}
