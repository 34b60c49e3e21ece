package operator

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// RelaxTimers lets the kernel wake every thread of this process up to slack later than it asked for, and so less often. See decision
// 0027: while a process works, Go's runtime has a thread that looks after the others and sleeps for 20 µs at a time, and in a virtual
// machine its wake-ups cost more than a tenth of all that answering machines costs.
//
// A thread has the slack of the one that made it, and the runtime makes that thread before main. So the process starts its program
// anew, with the same arguments, and returns from here in the second life at once. It is an error when the kernel does not take
// the slack, as for real-time processes, or the program cannot be started; this life can go on then.
func RelaxTimers(slack time.Duration) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if slack == 0 || hasSlack(slack) {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack.Nanoseconds()), 0, 0, 0); err != nil {
		return fmt.Errorf("setting the slack of timers: %w", err)
	}
	if !hasSlack(slack) {
		return fmt.Errorf("setting the slack of timers: the kernel keeps its own")
	}
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("starting anew with a slack of timers: %w", err)
	}
	return fmt.Errorf("starting %s anew with a slack of timers: %w", program, unix.Exec(program, os.Args, os.Environ()))
}

// hasSlack is about the thread that asks.
func hasSlack(want time.Duration) bool {
	has, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	return err == nil && time.Duration(has) == want
}
