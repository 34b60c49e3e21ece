package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockIsHeldByOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := acquireLock(path)
	if err != nil {
		t.Fatal(err)
	}

	_, err = acquireLock(path)
	if err == nil {
		t.Fatal("two hold the lock")
	}
	for _, want := range []string{filepath.Dir(path), fmt.Sprintf("process %d", os.Getpid())} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}

	first.release()
	second, err := acquireLock(path)
	if err != nil {
		t.Fatalf("the lock outlived its holder: %v", err)
	}
	second.release()
}
