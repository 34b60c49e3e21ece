package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

const parentCheckInterval = 250 * time.Millisecond

// stopWithParent stops when the process that started this one has died, also
// when it was killed and could say nothing.
//
// The kernel gives an orphan a new parent, and that is all that is looked at.
// The kernel's own death signal is tied to the thread that started us, and a
// Go program ends threads while it lives on. End of file on standard input
// would need every caller to hold a pipe open.
func stopWithParent(ctx context.Context, cancel context.CancelCauseFunc) {
	parent := os.Getppid()
	go func() {
		ticker := time.NewTicker(parentCheckInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			if os.Getppid() != parent {
				cancel(fmt.Errorf("%w by the end of parent process %d", errStopRequested, parent))
				return
			}
		}
	}()
}
