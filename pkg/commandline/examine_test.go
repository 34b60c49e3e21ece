package commandline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

func flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "name", EnvVars: []string{"TEST_NAME"}},
		&cli.IntFlag{Name: "count", EnvVars: []string{"TEST_COUNT"}},
		&cli.BoolFlag{Name: "quick", EnvVars: []string{"TEST_QUICK"}},
		&cli.StringSliceFlag{Name: "of", Aliases: []string{"o"}},
	}
}

func TestExamine(t *testing.T) {
	for _, c := range []struct {
		why      string
		args     []string
		want     []string
		problems []string
	}{
		{"nothing", nil, nil, nil},
		{"flags of every kind, in every spelling", []string{"--name", "a", "-count=2", "--quick", "--of=x", "-o", "y"}, []string{"--name=a", "--count=2", "--quick=true", "--of=x", "--o=y"}, nil},
		{"arguments between flags", []string{"one", "--quick", "two"}, []string{"--quick=true", "--", "one", "two"}, nil},
		{"what follows -- is no flag", []string{"--", "--name"}, []string{"--", "--name"}, nil},
		{"a value may begin with a dash", []string{"--count", "-5"}, []string{"--count=-5"}, nil},
		{"a single dash is an argument", []string{"-"}, []string{"--", "-"}, nil},
		{"an unknown flag takes its value along", []string{"--naem", "a", "--count", "x"}, nil, []string{"there is no flag --naem; did you mean --name?", `--count must be a whole number, not "x"`}},
		{"help is help, whatever else", []string{"--nope", "--help"}, []string{"--help"}, nil},
	} {
		got := Examine(flags(), c.args)
		require.Equal(t, c.want, got.Args, c.why)
		require.Equal(t, c.problems, got.Problems, c.why)
	}
}

func TestName(t *testing.T) {
	t.Setenv("TEST_NAME", "a\n")
	t.Setenv("TEST_COUNT", "many")
	call := Examine(flags(), []string{"--count=1"})
	require.Equal(t, map[string]string{"name": "TEST_NAME", "count": OnCommandLine}, call.Origins)
	require.Empty(t, call.Problems, "what is overruled may be wrong")
	require.Equal(t, "--name, set by TEST_NAME, must be longer", call.Name("--name must be longer"))
	require.Equal(t, "--count must be more", call.Name("--count must be more"))
	require.Equal(t, "a sentence about --name", call.Name("a sentence about --name"))
}

func TestDistance(t *testing.T) {
	require.Equal(t, 0, distance("qps", "qps"))
	require.Equal(t, 2, distance("qps", "qsp"))
	require.Equal(t, 3, distance("", "qps"))
	require.Equal(t, 1, distance("listen-addr", "listen-adr"))
}
