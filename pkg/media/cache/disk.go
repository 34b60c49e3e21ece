package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// writeWhole writes a small file so that it is there with all of its content, or not at all.
func writeWhole(name string, content []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.Write(content)
	if err = errors.Join(err, temporary.Sync(), temporary.Close()); err != nil {
		return err
	}
	return moveInto(temporary.Name(), name)
}

// moveInto renames, and makes that last.
func moveInto(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// lockPoll is how often a lock that another process holds is tried again.
const lockPoll = 500 * time.Millisecond

// openLocked opens a partial, alone among all processes; the lock ends with the file, also when the process is killed.
func openLocked(ctx context.Context, name string) (*os.File, error) {
	for {
		file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isStill(file, name) {
			return file, nil
		}
		file.Close()
		if err != nil && !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking: %w", err)
		}
		if err := wait(ctx, lockPoll); err != nil {
			return nil, err
		}
	}
}

// unlocked tells whether no process holds the file, which may be gone.
func unlocked(name string) bool {
	file, err := os.Open(name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer file.Close()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// isStill tells whether the name still leads to the file: the one who had the lock may have renamed or removed it.
func isStill(file *os.File, name string) bool {
	own, err := file.Stat()
	named, namedErr := os.Stat(name)
	return err == nil && namedErr == nil && os.SameFile(own, named)
}

func wait(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// free is how much room the folder's disk has for us.
func free(folder string) (int64, error) {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(folder, &stat); err != nil {
		return 0, fmt.Errorf("looking at the disk: %w", err)
	}
	return int64(stat.Bavail) * stat.Bsize, nil
}
