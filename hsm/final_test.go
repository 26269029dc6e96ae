//go:build cgo

package hsm

import (
	"bytes"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"
)

// strange answers as no module that is at hand does: each call with the next of its answers.
type strange struct {
	answers []answer
	rooms   []int // of the buffers that it was given
	last    []byte
}

type answer struct {
	length uint
	err    error
}

func (f *strange) finish(_ function, _ pkcs11.SessionHandle, _, out []byte) (uint, error) {
	a := f.answers[len(f.rooms)]
	f.rooms, f.last = append(f.rooms, len(out)), out
	for i := range out {
		out[i] = 'x'
	}
	return a.length, a.err
}

func TestAnAnswerThatDoesNotFit(t *testing.T) {
	const room = 1034
	small := pkcs11.Error(pkcs11.CKR_BUFFER_TOO_SMALL)
	for _, tt := range []struct {
		name    string
		answers []answer
		rooms   []int
		length  int
		err     string
	}{
		{"one that fits takes one call", []answer{{10, nil}}, []int{room}, 10, ""},
		{"an empty one too", []answer{{0, nil}}, []int{room}, 0, ""},
		{"one that fills the buffer too", []answer{{room, nil}}, []int{room}, room, ""},
		{"a longer one gets its room", []answer{{2000, small}, {1999, nil}}, []int{room, 2000}, 1999, ""},
		{"and no third call", []answer{{2000, small}, {3000, small}}, []int{room, 2000}, 0, "CKR_BUFFER_TOO_SMALL"},
		{"one that would have fitted is refused for no reason", []answer{{room, small}}, []int{room}, 0, "CKR_BUFFER_TOO_SMALL"},
		{"nobody means a length like that", []answer{{10 + mostRoom + 1, small}}, []int{room}, 0, "CKR_BUFFER_TOO_SMALL"},
		{"nor writes so much", []answer{{room + 1, nil}}, []int{room}, 0, "an answer of 1035 bytes in a buffer of 1034"},
		{"another error is the answer", []answer{{2000, pkcs11.Error(pkcs11.CKR_DEVICE_ERROR)}}, []int{room}, 0, "CKR_DEVICE_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, n := &strange{answers: tt.answers}, &counters{}
			out, err := module{direct: f, counters: n}.final(fnDecrypt, nil, 1, make([]byte, 10), room)
			require.Equal(t, tt.rooms, f.rooms)
			require.EqualValues(t, len(tt.rooms), n.calls[fnDecrypt].Load(), "each call counts")
			require.Equal(t, len(f.last)-tt.length, bytes.Count(f.last, []byte{0}), "what is not the answer is wiped: it may be a plaintext")
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.Nil(t, out)
				return
			}
			require.NoError(t, err)
			require.Equal(t, bytes.Repeat([]byte("x"), tt.length), out)
			require.Equal(t, tt.length, cap(out))
		})
	}
}
