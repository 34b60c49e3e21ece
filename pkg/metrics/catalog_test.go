package metrics

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	_ "github.com/rancher/rancheros-operator/tests/golden" // Its flag -update writes the guide anew, too.
)

var guide = filepath.Join("..", "..", ".github", "guide", "metrics.md")

// registered are the names and labels of all that the registry can tell, by name, but those of the Go runtime and the process.
func registered(t *testing.T, w *world) map[string][]string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1000)
	w.registry.Describe(descs)
	close(descs)
	shape := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ".*", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}`)
	all := map[string][]string{}
	for desc := range descs {
		match := shape.FindStringSubmatch(desc.String())
		require.NotNil(t, match, desc)
		if strings.HasPrefix(match[1], "go_") || strings.HasPrefix(match[1], "process_") {
			continue
		}
		all[match[1]] = nil
		if match[2] != "" {
			all[match[1]] = strings.Split(match[2], ",")
		}
	}
	return all
}

// What is registered is in the catalog, and the other way round.
func TestCatalogIsComplete(t *testing.T) {
	all := registered(t, newWorld(t))
	require.Greater(t, len(all), 25)
	for name, labels := range all {
		at := slices.IndexFunc(Catalog, func(m Metric) bool { return m.Name == name })
		if at < 0 {
			t.Errorf("%s is registered and not in the catalog", name)
			continue
		}
		require.Equal(t, labels, Catalog[at].Labels, name)
	}
	for _, metric := range Catalog {
		require.Contains(t, all, metric.Name, "the catalog has it, and nobody tells of it")
		require.Contains(t, Chapters, metric.Of, metric.Name)
		require.Regexp(t, `^[A-Z0-9].{20,}\.$`, metric.Help, "%s says what it is, in a sentence", metric.Name)
		require.Contains(t, []string{counter, gauge, histogram}, metric.Type)
		if strings.HasPrefix(metric.Name, "rancheros_") {
			require.Equal(t, metric.Type == counter, strings.HasSuffix(metric.Name, "_total"), "%s is named as its type is", metric.Name)
			require.Equal(t, metric.Type == histogram, strings.HasSuffix(metric.Name, "_duration_seconds"), metric.Name)
		}
	}
}

// A label with a value for each machine, or with a secret, would be a burden and a leak.
func TestLabelsAreFew(t *testing.T) {
	known := []string{"outcome", "surface", "reason", "of", "assurance", "state", "ready", "namespace", "image", "channel", "result", "version", "commit",
		"go_version", "name", "code", "method", "verb", "host", "ctx", "controller_name", "handler_name", "has_error"}
	for _, metric := range Catalog {
		for _, label := range metric.Labels {
			require.Contains(t, known, label, "%s: is the number of this label's values bounded?", metric.Name)
		}
	}
}

// The guide's tables are the catalog.
func TestGuide(t *testing.T) {
	body, err := os.ReadFile(guide)
	require.NoError(t, err)
	text := string(body)
	const begin, end = "<!-- Written by `go test ./pkg/metrics -update`. -->\n", "<!-- The end of what is written so. -->\n"
	before, rest, found := strings.Cut(text, begin)
	require.True(t, found)
	_, after, found := strings.Cut(rest, end)
	require.True(t, found)
	want := before + begin + tables() + end + after
	if flag.Lookup("update").Value.String() == "true" {
		require.NoError(t, os.WriteFile(guide, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, text, "run `go test ./pkg/metrics -update`")
}

func tables() string {
	var all strings.Builder
	for _, chapter := range Chapters {
		fmt.Fprintf(&all, "\n### %s\n\n| metric | type | labels | what it is |\n| --- | --- | --- | --- |\n", chapter)
		for _, metric := range Catalog {
			if metric.Of == chapter {
				help := strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(metric.Help)
				fmt.Fprintf(&all, "| %s | %s | %s | %s |\n", metric.Name, metric.Type, strings.Join(metric.Labels, ", "), help)
			}
		}
	}
	return all.String() + "\n"
}
