package cache

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is said is the same on every try, and says what to do where somebody can.
func TestWhatFails(t *testing.T) {
	refused := &url.Error{Op: "Get", URL: "https://media.example.com", Err: &net.OpError{Op: "read", Source: &net.TCPAddr{Port: 41234}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}}
	for _, c := range []struct {
		err    error
		reason Reason
		want   string
	}{
		{&os.PathError{Op: "write", Err: syscall.ENOSPC}, Full, "the disk of the cache is full; give it more room, or delete SeedImages that are not needed"},
		{fmt.Errorf("copying: %w", syscall.EDQUOT), Full, "the disk of the cache is full; give it more room, or delete SeedImages that are not needed"},
		{refused, Unavailable, "fetching the base: connection refused"},
		{fmt.Errorf("try 3: %w", invalid("the image is empty")), Invalid, "the image is empty"},
	} {
		var known *Error
		require.ErrorAs(t, failed("fetching the base", c.err), &known)
		require.Equal(t, c.reason, known.Reason)
		require.Equal(t, c.want, known.Error())
	}
	cause := errors.New("cause")
	require.ErrorIs(t, failed("x", cause), cause)
}

// A disk without room is noticed before it is full.
func TestDiskWithoutRoom(t *testing.T) {
	c := newCache(t, func(o *Options) { o.MaxBytes, o.MaxBase = 1<<62, 1<<61 })
	err := c.roomFor("key", 1<<60)
	var known *Error
	require.ErrorAs(t, err, &known)
	require.Equal(t, Full, known.Reason)
	require.NoError(t, c.roomFor("key", 1))
}
