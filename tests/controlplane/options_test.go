package main

import (
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		reason    string
		arguments string
		want      options
		problems  []string
	}{
		{
			reason:    "a relative path means the folder at the start, not the one we change into",
			arguments: "--dir d --audit-log a.log",
			want: options{
				dir:        filepath.Join(here, "d"),
				kubeconfig: filepath.Join(here, "d", "admin.kubeconfig"),
				auditLog:   filepath.Join(here, "a.log"),
			},
		},
		{
			reason:    "everything can be said",
			arguments: "--dir /d --kubeconfig /k --verbose --exit-with-parent",
			want:      options{dir: "/d", kubeconfig: "/k", verbose: true, exitWithParent: true},
		},
		{
			reason:   "the directory cannot be guessed",
			problems: []string{"--dir is required"},
		},
		{
			reason:    "all problems are told at once",
			arguments: "more",
			problems:  []string{"--dir is required", "unexpected arguments: more"},
		},
		{
			reason:    "a folder can hold a file but not be one",
			arguments: "--dir /d --kubeconfig /tmp --audit-log /",
			problems:  []string{"--kubeconfig needs a file", "--audit-log needs a file"},
		},
		{
			reason:    "a misspelt flag is not passed over",
			arguments: "--dri /d",
			problems:  []string{"dri"},
		},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			got, err := parseOptions(strings.Fields(test.arguments), io.Discard)
			if test.problems == nil {
				if err != nil || got != test.want {
					t.Fatalf("got %+v, %v; want %+v", got, err, test.want)
				}
				return
			}
			if err == nil {
				t.Fatal("no problem found")
			}
			for _, problem := range test.problems {
				if !strings.Contains(err.Error(), problem) {
					t.Errorf("%q does not mention %q", err, problem)
				}
			}
		})
	}
}

func TestHelpNamesEveryFlag(t *testing.T) {
	var help strings.Builder
	if _, err := parseOptions([]string{"--help"}, &help); !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("got %v, want flag.ErrHelp", err)
	}
	for _, name := range []string{"-dir", "-kubeconfig", "-audit-log", "-verbose", "-exit-with-parent", "READY"} {
		if !strings.Contains(help.String(), name) {
			t.Errorf("the help does not mention %s", name)
		}
	}
}
