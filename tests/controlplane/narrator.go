package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// narrator tells in plain sentences what happens and how long after the start
// it happened.
type narrator struct {
	mu    sync.Mutex
	out   io.Writer
	begin time.Time
}

func newNarrator(out io.Writer) *narrator {
	return &narrator{out: out, begin: time.Now()}
}

func (n *narrator) sayf(format string, arguments ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(n.out, "controlplane %6.2fs  %s\n", time.Since(n.begin).Seconds(), fmt.Sprintf(format, arguments...))
}
