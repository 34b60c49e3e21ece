package tpm

import (
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel's driver answers a reader that does not wait with "end of file" while the TPM works. Go opens what can be polled so; a FIFO stands for
// the device. On emulated hardware (tests/lab) registering failed now and then before this.
func TestReadingWaitsForTheTPM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "device")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	defer file.Close()
	require.True(t, nonblocking(t, file), "as Go opens it")
	require.NoError(t, waitForAnswers(file))
	require.False(t, nonblocking(t, file))

	require.NoError(t, waitForAnswers(struct{ io.ReadWriteCloser }{}), "a simulator is no file")
	closed, err := os.Create(filepath.Join(t.TempDir(), "closed"))
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	require.Error(t, waitForAnswers(closed))
}

func nonblocking(t *testing.T, file *os.File) bool {
	t.Helper()
	connection, err := file.SyscallConn()
	require.NoError(t, err)
	var flags uintptr
	var errno syscall.Errno
	require.NoError(t, connection.Control(func(fd uintptr) {
		flags, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0)
	}))
	require.Zero(t, errno)
	return flags&syscall.O_NONBLOCK != 0
}
