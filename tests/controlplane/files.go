package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// writeFile puts data at path in one step, so that a reader sees the old
// content or the new one and never a part of it. Only the owner may read it:
// all that is written here is a secret or harmless to close.
func writeFile(path string, data []byte) error {
	temporary, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return fmt.Errorf("creating temporary file: %w", err)
	}
	defer os.Remove(temporary.Name()) // fails, as it should, after the rename

	_, err = temporary.Write(data)
	if closeErr := temporary.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(temporary.Name(), path); err != nil {
		return fmt.Errorf("replacing file: %w", err)
	}
	return nil
}
