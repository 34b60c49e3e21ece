package main

import (
	"fmt"
	"strings"
	"time"
)

// narrator prints what happens, each line with the seconds since the start.
type narrator struct {
	started time.Time
	chapter int
}

func (n *narrator) title(text string) {
	n.chapter++
	fmt.Printf("\n%d. %s\n\n", n.chapter, text)
}

func (n *narrator) say(text string) {
	fmt.Printf("%6.1fs  %s\n", time.Since(n.started).Seconds(), text)
}

func (n *narrator) sayf(format string, args ...any) {
	n.say(fmt.Sprintf(format, args...))
}

// command shows what a user would type, and what came back.
func (n *narrator) command(line, output string) {
	fmt.Printf("\n         $ %s\n", line)
	for _, printed := range strings.Split(strings.TrimRight(output, "\n"), "\n") {
		if output != "" {
			fmt.Printf("         %s\n", printed)
		}
	}
	fmt.Println()
}
