package commandline

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
)

// Name adds to problems of the form "--flag ..." the variable that the flag was set by, since that is what has to be mended.
func (c Call) Name(problem string) string {
	flag, rest, found := strings.Cut(problem, " ")
	origin := c.Origins[strings.TrimPrefix(flag, "--")]
	if !found || !strings.HasPrefix(flag, "--") || origin == "" || origin == OnCommandLine {
		return problem
	}
	return flag + ", set by " + origin + ", " + rest
}

// Print lists each flag with the value that counts and where that comes from, in a form that can be diffed. A password within
// an address is left out; there are no flags that hold secrets.
func (c Call) Print(context *cli.Context, flags []cli.Flag) error {
	for _, flag := range flags {
		name := flag.Names()[0]
		origin := c.Origins[name]
		switch origin {
		case "":
			origin = "default"
		case OnCommandLine:
		default:
			origin = "environment, " + origin
		}
		if _, err := fmt.Fprintf(context.App.Writer, "%s: %s # %s\n", name, shown(context.Value(name)), origin); err != nil {
			return fmt.Errorf("printing configuration: %w", err)
		}
	}
	return nil
}

func shown(value any) string {
	switch value := value.(type) {
	case string:
		return fmt.Sprintf("%q", withoutPassword(value))
	case cli.StringSlice:
		return fmt.Sprintf("%q", value.Value())
	default:
		return fmt.Sprint(value)
	}
}

func withoutPassword(value string) string {
	parsed, err := url.Parse(value)
	switch {
	case err != nil && strings.Contains(value, "@"):
		return "not shown: it may hold a password"
	case err == nil && parsed.User != nil:
		return parsed.Redacted()
	}
	return value
}
