package commandline

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// Call is a command line as far as it can be read.
type Call struct {
	// Args are what is left of the arguments that were given: all that urfave/cli can read.
	Args []string
	// Problems are sentences, one each, in the order of the command line and then of the command's flags.
	Problems []string
	// Origins tells of each flag that is set, by its name, where that was: OnCommandLine, or the name of a variable.
	Origins map[string]string
}

// OnCommandLine is the origin of a flag that was given as one.
const OnCommandLine = "command line"

// Examine reads the arguments of one command, those behind its name, and the environment of its flags. It trims the variables
// (files and charts leave newlines around a value), and takes away those that are empty, overruled or wrong.
func Examine(flags []cli.Flag, args []string) Call {
	e := examination{flags: flags, call: Call{Origins: map[string]string{}}}
	if asksForHelp(args) {
		e.call.Args = []string{"--help"}
		return e.call
	}
	e.arguments(args)
	for _, flag := range flags {
		e.environment(flag)
	}
	return e.call
}

type examination struct {
	flags []cli.Flag
	call  Call
}

func asksForHelp(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(arg string) bool { return slices.Contains([]string{"-h", "--h", "-help", "--help"}, arg) })
}

func (e *examination) problem(format string, args ...any) {
	e.call.Problems = append(e.call.Problems, fmt.Sprintf(format, args...))
}

func (e *examination) arguments(args []string) {
	var rest []string
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			rest = append(rest, args...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			rest = append(rest, arg)
			continue
		}
		args = e.flag(arg, args)
	}
	if len(rest) > 0 {
		e.call.Args = append(append(e.call.Args, "--"), rest...)
	}
}

// flag reads one flag and returns the arguments behind it and its value.
func (e *examination) flag(arg string, args []string) []string {
	name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	flag := e.find(name)
	takesNext := !given && len(args) > 0 && !isBool(flag)
	if flag == nil {
		e.problem("there is no flag --%s%s", name, e.suggestion(name))
		if takesNext && !strings.HasPrefix(args[0], "-") {
			args = args[1:]
		}
		return args
	}
	switch {
	case takesNext:
		value, args = args[0], args[1:]
	case !given && isBool(flag):
		value = "true"
	case !given:
		e.problem("--%s has no value", name)
		return args
	}
	_, several := flag.(*cli.StringSliceFlag)
	if !several && e.call.Origins[flag.Names()[0]] != "" {
		e.problem("--%s is given twice", name)
		return args
	}
	e.call.Origins[flag.Names()[0]] = OnCommandLine
	if wrong := unreadable(flag, value); wrong != "" {
		e.problem("--%s %s", name, wrong)
		return args
	}
	e.call.Args = append(e.call.Args, "--"+name+"="+value)
	return args
}

func (e *examination) find(name string) cli.Flag {
	for _, flag := range e.flags {
		if slices.Contains(flag.Names(), name) {
			return flag
		}
	}
	return nil
}

// suggestion is for a slip of the fingers: the flag that is the fewest letters away, and not more than a third of them.
func (e *examination) suggestion(name string) string {
	nearest, least := "", max(2, len(name)/3)+1
	for _, flag := range e.flags {
		if far := distance(flag.Names()[0], name); far < least {
			nearest, least = flag.Names()[0], far
		}
	}
	if nearest == "" {
		return "; see --help"
	}
	return "; did you mean --" + nearest + "?"
}

func (e *examination) environment(flag cli.Flag) {
	documented, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return
	}
	name := flag.Names()[0]
	for _, variable := range documented.GetEnvVars() {
		value := strings.TrimSpace(os.Getenv(variable))
		if value == "" || e.call.Origins[name] != "" {
			_ = os.Unsetenv(variable)
			continue
		}
		e.call.Origins[name] = variable
		if wrong := unreadable(flag, value); wrong != "" {
			e.problem("--%s, set by %s, %s", name, variable, wrong)
			_ = os.Unsetenv(variable)
			continue
		}
		_ = os.Setenv(variable, value)
	}
}

// unreadable says what is wrong with the value for a flag of that type; empty when nothing is.
func unreadable(flag cli.Flag, value string) string {
	if !utf8.ValidString(value) {
		return fmt.Sprintf("must be text in UTF-8, not %q", value)
	}
	var err error
	var wanted string
	switch flag.(type) {
	case *cli.BoolFlag:
		_, err = strconv.ParseBool(value)
		wanted = "true or false"
	case *cli.IntFlag:
		_, err = strconv.ParseInt(value, 0, strconv.IntSize)
		wanted = "a whole number"
	case *cli.DurationFlag:
		_, err = time.ParseDuration(value)
		wanted = "a duration with its unit, such as 15s or 5m"
	}
	if err != nil {
		return fmt.Sprintf("must be %s, not %q", wanted, value)
	}
	return ""
}

func isBool(flag cli.Flag) bool {
	_, ok := flag.(*cli.BoolFlag)
	return ok
}

// distance is how many letters have to be added, taken away or changed to make one of the other.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			changed := diagonal
			if a[i] != b[j] {
				changed++
			}
			diagonal = row[j+1]
			row[j+1] = min(changed, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
