// Package docs keeps what is written for people true: README.md, chart/README.md and everything in .github. What a document
// names must exist: the files that it links to, the targets of the Makefile, the conditions, reasons and kinds, the words
// of our code. And every reason in pkg/apis says what the user does about it.
package docs

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/crds"
)

// root is the repository's, seen from this folder.
var root = filepath.Join("..", "..")

const api = "pkg/apis/rancheros.cattle.io/v1"

// foreign are words in code marks that are neither ours nor files: methods and kinds of Kubernetes, Wrangler and Fleet.
var foreign = []string{"DeepCopy", "Enqueue", "EnqueueAfter", "OnChange"}

type document struct {
	// path is relative to the repository's root.
	path string
	text string
	// code are its code blocks and what stands between backquotes, in its order.
	code []string
}

func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^()\s]+)\)`)
	for _, document := range documents(t) {
		for _, match := range link.FindAllStringSubmatch(document.text, -1) {
			target, anchor, _ := strings.Cut(match[1], "#")
			if strings.Contains(target, ":") {
				continue // An address elsewhere.
			}
			file := document.path
			if target != "" {
				file = filepath.Join(filepath.Dir(document.path), target)
			}
			if !filepath.IsLocal(file) || !exists(file) {
				t.Errorf("%s links to %s, which does not exist", document.path, match[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(t, file), anchor) {
				t.Errorf("%s links to %s, which has no such heading", document.path, match[1])
			}
		}
	}
}

// Paths in code marks, such as `pkg/status`, are promises as links are.
func TestPaths(t *testing.T) {
	path := regexp.MustCompile(`^\.?(pkg|cmd|tests|scripts|chart|github|ci)/[A-Za-z0-9_./-]+$`)
	for _, document := range documents(t) {
		for _, code := range document.code {
			if path.MatchString(code) && !exists(code) {
				t.Errorf("%s names %s, which does not exist", document.path, code)
			}
		}
	}
}

func TestMakeTargets(t *testing.T) {
	makefile := read(t, "Makefile")
	var targets []string
	for _, match := range regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):`).FindAllStringSubmatch(makefile, -1) {
		targets = append(targets, match[1])
	}
	require.Contains(t, targets, "demo", "the Makefile is read rightly")
	call := regexp.MustCompile(`(?:^|[;&|]\s*)make ([a-z][a-z0-9-]*)`)
	for _, document := range documents(t) {
		for _, code := range document.code {
			for _, match := range call.FindAllStringSubmatch(code, -1) {
				if !slices.Contains(targets, match[1]) {
					t.Errorf("%s names make %s, which is no target of the Makefile", document.path, match[1])
				}
			}
		}
	}
}

// A single capitalised word in code marks is a condition, a reason, a kind, or a word of our code.
func TestWords(t *testing.T) {
	known := map[string]bool{}
	for _, word := range foreign {
		known[word] = true
	}
	for _, constant := range conditionsAndReasons(t) {
		known[constant.value] = true
	}
	for kind := range shortNames(t) {
		known[kind] = true
	}
	for _, value := range values(t) {
		known[value] = true
	}
	for _, word := range exportedNames(t) {
		known[word] = true
	}
	word := regexp.MustCompile(`^[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*$`)
	for _, document := range documents(t) {
		for _, code := range document.code {
			if word.MatchString(code) && !known[code] {
				t.Errorf("%s names %s, which is no condition, reason or kind, nor a word of the code", document.path, code)
			}
		}
	}
}

// The guide's table has every kind with its short name.
func TestKinds(t *testing.T) {
	guide := read(t, ".github/guide/README.md")
	for kind, short := range shortNames(t) {
		require.Contains(t, guide, "| "+kind+" | `"+short+"` |")
	}
}

// The guide explains every condition and every reason, and none that there is not; and every exit code of the machine's program.
func TestGuideExplains(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\| (.+) \\|$")
	entries := map[string]int{}
	for _, match := range row.FindAllStringSubmatch(read(t, ".github/guide/reasons.md"), -1) {
		require.Greater(t, len(strings.Fields(match[2])), 2, match[0])
		entries[match[1]]++
	}
	wanted := map[string]int{}
	for _, constant := range conditionsAndReasons(t) {
		wanted[constant.value]++
	}
	require.Equal(t, wanted, entries, "run `make generate`")

	code := regexp.MustCompile(`(?m)^\s+exit[A-Z]\w*\s+= (\d+)$`)
	guide := read(t, ".github/guide/troubleshooting.md")
	codes := code.FindAllStringSubmatch(read(t, "cmd/rancheros-register/exitcode.go"), -1)
	require.Greater(t, len(codes), 15, "exit codes are read rightly")
	for _, match := range codes {
		require.Contains(t, guide, "\n| "+match[1]+" | ")
	}
	require.Len(t, regexp.MustCompile(`(?m)^\| \d+ \| `).FindAllString(guide, -1), len(codes), "no exit code is explained that there is not")
}

// The decisions are numbered without a gap, and their list names all of them.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, ".github", "decisions", "[0-9]*.md"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	list := read(t, ".github/decisions/README.md")
	for i, file := range files {
		name := filepath.Base(file)
		number, err := strconv.Atoi(name[:4])
		require.NoError(t, err, name)
		require.Equal(t, i+1, number, name)
		require.Contains(t, list, "["+name[:4]+"]("+name+")")
		require.True(t, strings.HasPrefix(read(t, ".github/decisions/"+name), "# "+strconv.Itoa(number)+". "), name)
	}
}

// A reason without a way out is a riddle: each comment has a clause that begins with what the user does.
func TestReasonsSayWhatToDo(t *testing.T) {
	clauses := regexp.MustCompile(`[.:;,]\s+`)
	actions := []string{"add", "assign", "clear", "compare", "correct", "create", "delete", "edit", "give", "look", "move", "nothing", "put", "raise",
		"read", "remove", "rename", "restore", "set", "upgrade", "wait"}
	constants := conditionsAndReasons(t)
	require.Greater(t, len(constants), 20)
	for _, constant := range constants {
		comment, found := strings.CutPrefix(constant.comment, constant.name)
		if !found {
			t.Errorf("%s has no comment of its own", constant.name)
			continue
		}
		says := slices.ContainsFunc(clauses.Split(comment, -1), func(clause string) bool {
			first, _, _ := strings.Cut(strings.TrimSpace(clause), " ")
			return slices.Contains(actions, strings.ToLower(strings.Trim(first, ".")))
		})
		if !says {
			t.Errorf("the comment of %s does not say what the user does: no clause of it begins with one of %v:\n%s",
				constant.name, actions, constant.comment)
		}
	}
}

// documents are all that this package keeps true.
func documents(t *testing.T) []document {
	t.Helper()
	paths := []string{"README.md", "chart/README.md"}
	err := filepath.WalkDir(filepath.Join(root, ".github"), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && filepath.Ext(path) == ".md" {
			path, err = filepath.Rel(root, path)
			paths = append(paths, path)
		}
		return err
	})
	require.NoError(t, err)
	var all []document
	for _, path := range paths {
		text := read(t, path)
		all = append(all, document{path: path, text: text, code: codeOf(text)})
	}
	return all
}

// codeOf is each line of a code block, fenced or indented, and each piece between backquotes.
func codeOf(text string) []string {
	inline := regexp.MustCompile("`([^`]+)`")
	var code []string
	fenced := false
	for _, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced, strings.HasPrefix(line, "    "):
			code = append(code, strings.TrimSpace(line))
		default:
			for _, match := range inline.FindAllStringSubmatch(line, -1) {
				code = append(code, match[1])
			}
		}
	}
	return code
}

// anchors are the headings of a document as links spell them.
func anchors(t *testing.T, path string) []string {
	t.Helper()
	dropped := regexp.MustCompile(`[^a-z0-9 _-]`)
	var all []string
	for _, line := range strings.Split(read(t, path), "\n") {
		if heading, found := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); found && strings.HasPrefix(line, "#") {
			all = append(all, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(heading), ""), " ", "-"))
		}
	}
	return all
}

// shortNames are our kinds and what kubectl also calls them.
func shortNames(t *testing.T) map[string]string {
	t.Helper()
	objects, err := crds.Objects()
	require.NoError(t, err)
	names := map[string]string{}
	for _, crd := range objects {
		names[crd.Spec.Names.Kind] = strings.Join(crd.Spec.Names.ShortNames, ", ")
	}
	return names
}

// constant is one condition or reason of the API.
type constant struct{ name, value, comment string }

func conditionsAndReasons(t *testing.T) []constant {
	t.Helper()
	reason := regexp.MustCompile(`^(Condition|Reason|NodeReason)[A-Z]`)
	return slices.DeleteFunc(constants(t), func(c constant) bool { return !reason.MatchString(c.name) })
}

// constants are those of the API that hold text.
func constants(t *testing.T) []constant {
	t.Helper()
	var all []constant
	for _, file := range parse(t, api) {
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.CONST {
				continue
			}
			for _, spec := range group.Specs {
				value := spec.(*ast.ValueSpec)
				literal, ok := first(value.Values).(*ast.BasicLit)
				if !ok || literal.Kind != token.STRING {
					continue
				}
				text, err := strconv.Unquote(literal.Value)
				require.NoError(t, err, value.Names[0].Name)
				all = append(all, constant{name: value.Names[0].Name, value: text, comment: strings.Join(strings.Fields(value.Doc.Text()), " ")})
			}
		}
	}
	return all
}

// values are what fields may hold: the API's constants, and the enums of the CRDs.
func values(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, constant := range constants(t) {
		all = append(all, constant.value)
	}
	objects, err := crds.Objects()
	require.NoError(t, err)
	encoded, err := json.Marshal(objects)
	require.NoError(t, err)
	for _, match := range regexp.MustCompile(`"enum":(\[[^\]]*\])`).FindAllSubmatch(encoded, -1) {
		var enum []any
		require.NoError(t, json.Unmarshal(match[1], &enum))
		for _, value := range enum {
			all = append(all, fmt.Sprint(value))
		}
	}
	return all
}

// exportedNames are the exported words of all our packages: types, functions, methods, constants, variables.
func exportedNames(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, folder := range []string{"pkg", "tests"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil || !entry.IsDir():
				return err
			case entry.Name() == "generated", entry.Name() == "testdata":
				return fs.SkipDir
			}
			relative, err := filepath.Rel(root, path)
			for _, file := range parse(t, relative) {
				names = append(names, declared(file)...)
			}
			return err
		})
		require.NoError(t, err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !ast.IsExported(name) })
}

func declared(file *ast.File) []string {
	var names []string
	for _, declaration := range file.Decls {
		switch declaration := declaration.(type) {
		case *ast.FuncDecl:
			names = append(names, declaration.Name.Name)
		case *ast.GenDecl:
			for _, spec := range declaration.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					names = append(names, spec.Name.Name)
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						names = append(names, name.Name)
					}
				}
			}
		}
	}
	return names
}

// parse reads the Go files of one folder, tests left out.
func parse(t *testing.T, folder string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	return files
}

func first(values []ast.Expr) ast.Expr {
	if len(values) == 0 {
		return nil
	}
	return values[0]
}

func exists(path string) bool {
	_, err := os.Stat(filepath.Join(root, path))
	return err == nil
}

func read(t *testing.T, path string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(body)
}
