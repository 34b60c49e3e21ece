package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticksPerSecond is the unit of /proc/<pid>/stat on Linux.
const ticksPerSecond = 100

// spent is CPU time, in user and system, by who used it.
type spent struct {
	// serving is the replica that machines talk to, which is not the leader; leading is the one whose controllers work.
	serving, leading time.Duration
	// apiServer is etcd too.
	apiServer time.Duration
	// clients is the benchmark itself: machines with their TPMs, and the pretend Rancher.
	clients time.Duration
}

func (s spent) less(other spent) spent {
	return spent{s.serving - other.serving, s.leading - other.leading, s.apiServer - other.apiServer, s.clients - other.clients}
}

func (s spent) times(factor float64) spent {
	times := func(d time.Duration) time.Duration { return time.Duration(float64(d) * factor) }
	return spent{times(s.serving), times(s.leading), times(s.apiServer), times(s.clients)}
}

// cpu is what everybody has used so far.
func (b *bench) cpu() (spent, error) {
	var s spent
	var errs []error
	for pid, into := range map[int]*time.Duration{
		b.serving.PID: &s.serving, b.world.Operator.PID: &s.leading, b.world.ControlPlanePID(): &s.apiServer, os.Getpid(): &s.clients,
	} {
		var err error
		*into, err = cpuOf(pid)
		errs = append(errs, err)
	}
	return s, errors.Join(errs...)
}

// cpuOf is what a process has used so far.
func cpuOf(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading CPU time: %w", err)
	}
	// The program's name, in brackets, may hold spaces; what follows does not.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("reading CPU time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, nil
}
