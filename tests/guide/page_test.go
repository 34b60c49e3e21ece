package guide

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// How a block of shell says what it is, in the line that opens it. GitHub shows the block and hides the rest of that line.
//
//	```sh                    is run, in the same shell as the blocks before it
//	```sh settings           holds the reader's own values, one assignment in each line; the test has others
//	```sh on-machine NAME    is run on the machine of that name, which has a TPM of its own
//	```sh waits NAME         the same, and goes on while the reader does something else; it must have succeeded at the page's end
//	```sh not-run: REASON    cannot be run here
type block struct {
	kind    string
	machine string
	reason  string
	line    int
	text    string
}

const (
	plain     = ""
	settings  = "settings"
	onMachine = "on-machine"
	waits     = "waits"
	notRun    = "not-run"
)

var root = filepath.Join("..", "..")

// pages are the guide's pages in the order of its index, which is that of a first reading.
func pages(t *testing.T) []string {
	t.Helper()
	index, err := os.ReadFile(filepath.Join(root, ".github", "guide", "README.md"))
	require.NoError(t, err)
	seen := map[string]bool{}
	var names []string
	for _, match := range regexp.MustCompile(`\]\(([a-z-]+\.md)\)`).FindAllStringSubmatch(string(index), -1) {
		if !seen[match[1]] {
			seen[match[1]] = true
			names = append(names, filepath.Join(".github", "guide", match[1]))
		}
	}
	files, err := filepath.Glob(filepath.Join(root, ".github", "guide", "*.md"))
	require.NoError(t, err)
	for _, file := range files {
		if name := filepath.Base(file); name != "README.md" && !seen[name] {
			t.Errorf("the guide's index does not lead to %s", name)
		}
	}
	return append(names, "README.md", ".github/guide/README.md")
}

// blocks are the blocks of shell of a page. Any other way to write a command than a fenced block of sh is refused, so that none
// is missed.
func blocks(t *testing.T, page string) []block {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, page))
	require.NoError(t, err)
	var all []block
	var open *block
	fenced := false
	for i, line := range strings.Split(string(body), "\n") {
		switch {
		case !strings.HasPrefix(line, "```"):
			if open != nil {
				open.text += line + "\n"
			}
			if !fenced && regexp.MustCompile(`^    +(kubectl|helm|curl|make|rancheros-)`).MatchString(line) {
				t.Errorf("%s:%d: a command outside of a block of sh: %s", page, i+1, line)
			}
			continue
		case open != nil:
			all = append(all, *open)
			open = nil
		case !fenced:
			open = opened(t, page, i+1, strings.TrimPrefix(line, "```"))
		}
		fenced = !fenced
	}
	require.False(t, fenced, "%s ends within a block", page)
	return all
}

// opened reads the line that opens a block; nil for one that is no shell.
func opened(t *testing.T, page string, line int, info string) *block {
	t.Helper()
	language, kind, _ := strings.Cut(info, " ")
	if language != "sh" {
		require.NotContains(t, []string{"", "bash", "shell", "console", "shell-session"}, language, "%s:%d: give the block a language; shell is sh", page, line)
		return nil
	}
	b := &block{line: line}
	if reason, found := strings.CutPrefix(kind, notRun+": "); found {
		require.Greater(t, len(reason), 10, "%s:%d: say why it is not run", page, line)
		b.kind, b.reason = notRun, reason
		return b
	}
	b.kind, b.machine, _ = strings.Cut(kind, " ")
	require.Contains(t, []string{plain, settings, onMachine, waits}, b.kind, "%s:%d: there is no such kind of block", page, line)
	require.Equal(t, b.kind == onMachine || b.kind == waits, b.machine != "", "%s:%d: a block on a machine names it, another does not", page, line)
	return b
}

// joining is the one command that is not run as it is: a pretend machine is a folder, and a join would change the machine that
// the test runs on. What it would run is printed, and run here, against a Rancher whose script leaves everything as it is.
const joining = `rancheros-register() {
	if [ "$*" = join ]; then
		sh -c "$(command rancheros-register join --dry-run)"
	else
		command rancheros-register "$@"
	fi
}
`

var assignment = regexp.MustCompile(`^([A-Z_]+)=\S`)

// script is the page as a program: what its blocks say, each under its own heading, and the test's settings.
func script(t *testing.T, page string, all []block, values map[string]string) string {
	t.Helper()
	var program strings.Builder
	program.WriteString("set -euo pipefail\nwaiting=()\n" + joining)
	for _, b := range all {
		if b.kind != notRun {
			fmt.Fprintf(&program, "echo '### %s:%d' >&2\n", page, b.line)
		}
		switch b.kind {
		case plain:
			program.WriteString(b.text)
		case settings:
			for _, line := range strings.Split(strings.TrimSpace(b.text), "\n") {
				match := assignment.FindStringSubmatch(line)
				require.NotNil(t, match, "%s:%d: a setting is NAME=value: %s", page, b.line, line)
				require.Contains(t, values, match[1], "%s:%d: the test has no value for it", page, b.line)
				fmt.Fprintf(&program, "%s='%s'\n", match[1], values[match[1]])
			}
		case onMachine:
			fmt.Fprintf(&program, "(\nRANCHEROS_ROOT=\"$MACHINES/%s\"\nexport RANCHEROS_ROOT\n%s)\n", b.machine, b.text)
		case waits:
			fmt.Fprintf(&program, "(\nRANCHEROS_ROOT=\"$MACHINES/%s\"\nexport RANCHEROS_ROOT\n%s) &\nwaiting+=($!)\n", b.machine, b.text)
		}
	}
	program.WriteString("for one in \"${waiting[@]}\"; do wait \"$one\"; done\n")
	return program.String()
}
