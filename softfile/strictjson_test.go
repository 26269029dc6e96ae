package softfile

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// The walker finds its way through all that JSON can hold, and a member twice however it is written.
func TestMembersThatStandTwice(t *testing.T) {
	tests := []struct{ name, json, want string }{
		{"all kinds of values", " {\"a\" : [ 1 , -2.5e+3 , true,false , \"\" , [ ] , { } ] ,\n\"b\":\"x\\\"y\\\\\",\"c\":{\"a\":0} } ", ""},
		{"twice", `{"a":1,"a":1}`, `member "a" twice`},
		{"twice, once escaped", `{"a":1,"\u0061":1}`, `member "a" twice`},
		{"twice behind a quote", `{"a":"\"","b":"\\","a":1}`, `member "a" twice`},
		{"twice in an array below", `{"a":[[],{"b":1,"b":2}]}`, `member "a": member "b" twice`},
		{"null in an array", `{"a":[0,null]}`, `member "a": null`},
		{"null itself", `null`, `null`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			require.True(t, json.Valid([]byte(tt.json)))
			err := (&walker{[]byte(tt.json)}).value(nil)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tt.want)
		})
	}
}
