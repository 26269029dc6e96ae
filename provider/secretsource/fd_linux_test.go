package secretsource

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestFDOfTheRuntimeIsRefusedAndLeftOpen(t *testing.T) {
	n, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	require.NoError(t, err)
	defer unix.Close(n)
	_, err = get(t, spec("fd", n))
	require.ErrorContains(t, err, "is no file, pipe, socket or terminal")
	require.NoError(t, unix.Fstat(n, &unix.Stat_t{}))
}
