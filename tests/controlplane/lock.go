package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dirLock keeps a second process off a directory. The kernel holds it, not the
// file: it is gone when its process is gone, so a crash leaves nothing behind
// that would have to be cleaned up.
type dirLock struct {
	file *os.File
}

// acquireLock takes the lock or says who has it.
func acquireLock(path string) (*dirLock, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening lock file: %w", err)
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		defer file.Close()
		return nil, fmt.Errorf("another control plane%s is running on %s", holder(path), filepath.Dir(path))
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	// The process id is a courtesy to whoever is refused.
	if err := file.Truncate(0); err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("writing lock file: %w", err)
	}
	return &dirLock{file: file}, nil
}

func holder(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(content))); err == nil {
		return fmt.Sprintf(" (process %d)", pid)
	}
	return ""
}

// release leaves the file in place: removing it would let two processes hold
// locks on two files of one name.
func (l *dirLock) release() {
	l.file.Close()
}
