package operator

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const relaxedChild = "RANCHEROS_RELAXED_CHILD"

// The test runs itself as a process of its own, which prints its number before and after: it starts anew in between.
func TestRelaxTimers(t *testing.T) {
	if os.Getenv(relaxedChild) != "" {
		fmt.Println("process", os.Getpid())
		require.NoError(t, RelaxTimers(3*time.Millisecond))
		threads, err := filepath.Glob("/proc/self/task/*")
		require.NoError(t, err)
		for _, thread := range threads {
			slack, err := os.ReadFile(filepath.Join("/proc", filepath.Base(thread), "timerslack_ns"))
			require.NoError(t, err)
			fmt.Println("slack", strings.TrimSpace(string(slack)))
		}
		return
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestRelaxTimers$", "-test.v")
	child.Env = append(os.Environ(), relaxedChild+"=1")
	output, err := child.CombinedOutput()
	require.NoError(t, err, string(output))
	var processes, slacks []string
	for line := range strings.Lines(string(output)) {
		if process, found := strings.CutPrefix(strings.TrimSpace(line), "process "); found {
			processes = append(processes, process)
		}
		if slack, found := strings.CutPrefix(strings.TrimSpace(line), "slack "); found {
			slacks = append(slacks, slack)
		}
	}
	require.Len(t, processes, 2, string(output))
	require.Equal(t, processes[0], processes[1], "it stays the same process")
	require.Greater(t, len(slacks), 2, "main and the runtime's own threads")
	for _, slack := range slacks {
		require.Equal(t, "3000000", slack, string(output))
	}
}

func TestRelaxTimersNot(t *testing.T) {
	require.NoError(t, RelaxTimers(0))
}
