package main

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestProgressIsToldFromASecondOnAndWiped(t *testing.T) {
	tests := []struct {
		name string
		took time.Duration
		want string
	}{
		{"what is quick says nothing", 900 * time.Millisecond, ""},
		{"what takes longer says so, and leaves nothing behind", 2500 * time.Millisecond,
			"\r\x1b[Khsmmirror: at work, 1 s\r\x1b[Khsmmirror: at work, 2 s\r\x1b[K"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.took)
				defer cancel()
				var out bytes.Buffer
				tell(ctx, &out, "at work")
				require.Equal(t, test.want, out.String())
			})
		})
	}
}

func TestNoProgressIsToldButOnATerminal(t *testing.T) {
	var stderr bytes.Buffer
	a := &app{streams: streams{err: &stderr}}
	stop := a.progress(t.Context(), "at work")
	stop()
	require.Empty(t, stderr.String())
}
