package chart

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

type schema struct {
	Type                 any                `json:"type"`
	Description          string             `json:"description"`
	AdditionalProperties json.RawMessage    `json:"additionalProperties"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
}

// open are the values whose keys are somebody else's: Rancher's, Kubernetes', or the netboot program's own.
var open = []string{"global", "global.cattle", "affinity", "netboot.config", "networkPolicy.extraEgress[]"}

// free are values that have no default to stand in values.yaml.
var free = []string{"resources.limits.cpu", "netboot.resources.limits.cpu"}

// Every value has an entry in the schema with a description and every entry is a value, which values.yaml describes, too.
func TestEveryValueIsDescribed(t *testing.T) {
	t.Parallel()
	for _, name := range []string{operator, operator + "-crd"} {
		var root schema
		body, err := os.ReadFile(filepath.Join(chart(name), "values.schema.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(body, &root))
		text, err := os.ReadFile(filepath.Join(chart(name), "values.yaml"))
		require.NoError(t, err)
		var values map[string]any
		require.NoError(t, yaml.UnmarshalStrict(text, &values))

		described := map[string]bool{}
		walkSchema(t, "", &root, described)
		present := map[string]bool{}
		walkValues("", values, described, present)
		for path := range described {
			if !strings.Contains(path, "[]") && !slices.Contains(free, path) {
				require.True(t, present[path], "%s: the schema has %s, values.yaml has not", name, path)
			}
		}
		for path := range present {
			require.True(t, described[path], "%s: values.yaml has %s, the schema has not", name, path)
		}
		require.Empty(t, uncommented(string(text)), "%s: values without a comment in values.yaml", name)
	}
}

// walkSchema collects the paths of all entries, and fails for what is not described, and for objects that let unknown keys in.
func walkSchema(t *testing.T, path string, s *schema, described map[string]bool) {
	t.Helper()
	closed := string(s.AdditionalProperties) == "false"
	typed := strings.HasPrefix(string(s.AdditionalProperties), "{")
	kinds, _ := json.Marshal(s.Type)
	if strings.Contains(string(kinds), "object") && !closed && !typed {
		require.Contains(t, open, path, "%q lets unknown keys in", path)
	}
	for key, entry := range s.Properties {
		below := strings.TrimPrefix(path+"."+key, ".")
		require.NotEmpty(t, entry.Description, below)
		described[below] = true
		walkSchema(t, below, entry, described)
	}
	if s.Items != nil {
		walkSchema(t, path+"[]", s.Items, described)
	}
}

// walkValues collects the paths of all defaults, down to where a schema ends: the keys of labels are nobody's values.
func walkValues(path string, value any, described, present map[string]bool) {
	object, ok := value.(map[string]any)
	if !ok {
		return
	}
	for key, entry := range object {
		below := strings.TrimPrefix(path+"."+key, ".")
		if path != "" && !described[below] && !hasBelow(described, path) {
			continue
		}
		present[below] = true
		walkValues(below, entry, described, present)
	}
}

func hasBelow(described map[string]bool, path string) bool {
	for entry := range described {
		if strings.HasPrefix(entry, path+".") {
			return true
		}
	}
	return false
}

// uncommented are the lines of values.yaml that set a plain value with no comment above them. What holds others may go without.
func uncommented(text string) []string {
	value := regexp.MustCompile(`^ *[A-Za-z]+: \S`)
	var bare []string
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if !value.MatchString(line) || strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		// The requests and limits of Kubernetes need no words of ours.
		if key, _, _ := strings.Cut(strings.TrimSpace(line), ":"); slices.Contains([]string{"cpu", "memory", "requests", "limits"}, key) {
			continue
		}
		if i == 0 || !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "#") {
			bare = append(bare, line)
		}
	}
	return bare
}

type question struct {
	Variable     string     `json:"variable"`
	Default      any        `json:"default"`
	Subquestions []question `json:"subquestions"`
}

// Rancher's UI asks for values that there are, and shows the default that they have.
func TestQuestionsAskForValues(t *testing.T) {
	t.Parallel()
	var asked struct {
		Questions []question `json:"questions"`
	}
	body, err := os.ReadFile(filepath.Join(chart(operator), "questions.yaml"))
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(body, &asked))
	require.NotEmpty(t, asked.Questions)
	text, err := os.ReadFile(filepath.Join(chart(operator), "values.yaml"))
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.Unmarshal(text, &values))
	for _, q := range asked.Questions {
		for _, q := range append([]question{q}, q.Subquestions...) {
			value, found, err := unstructured.NestedFieldNoCopy(values, strings.Split(q.Variable, ".")...)
			require.NoError(t, err)
			require.True(t, found, q.Variable)
			require.Equal(t, value, q.Default, q.Variable)
		}
	}
}
