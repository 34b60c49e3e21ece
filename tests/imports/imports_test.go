// Package imports holds the tree together: who may import whom, and that every package has its first page. The table below
// is what was decided, row by row; `go list` says what is so.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	ours = "github.com/rancher/rancheros-operator/"
	root = "../.."
)

// row is one line of the table. A name that ends in /... is a folder and all below it.
type row struct {
	of []string
	// ours are the packages of this repository that it may import.
	ours []string
	// kubernetes are the modules of Kubernetes and Rancher that it may import itself. Pure rows may not even reach one.
	kubernetes []string
	pure       bool
	because    string
}

var table = []row{
	{
		of:         []string{"pkg/apis/..."},
		ours:       []string{"pkg/apis/..."},
		kubernetes: []string{"k8s.io/apimachinery", "k8s.io/api", "github.com/rancher/fleet/pkg/apis", "github.com/rancher/system-upgrade-controller/pkg/apis", "github.com/rancher/rancher/pkg/apis"},
		because:    "the API is types and nothing that works with them",
	},
	{
		of:         []string{"pkg/generated/...", "pkg/clients", "pkg/index", "pkg/settings"},
		ours:       []string{"pkg/apis/...", "pkg/generated/...", "pkg/clients", "pkg/osversion"},
		kubernetes: []string{"k8s.io", "sigs.k8s.io/json", "github.com/rancher/wrangler", "github.com/rancher/lasso", "github.com/rancher/rancher/pkg/apis", "github.com/rancher/fleet/pkg/apis"},
		because:    "what the stages share knows none of the stages",
	},
	{
		of:         []string{"pkg/status"},
		kubernetes: []string{"k8s.io/apimachinery", "github.com/rancher/wrangler/v3/pkg/generic"},
		because:    "it writes the status of any kind and knows none",
	},
	{of: []string{"pkg/version", "pkg/machine", "pkg/cloudconfig", "pkg/osversion", "pkg/media/...", "pkg/registration"}, pure: true, because: "it is pure: bytes in, bytes out"},
	{of: []string{"pkg/channel"}, ours: []string{"pkg/osversion"}, pure: true, because: "it asks strangers, and knows nothing of what becomes of their answers"},
	{of: []string{"pkg/media/cache"}, ours: []string{"pkg/media/iso"}, pure: true, because: "it keeps files, and knows nothing of who wants them"},
	{
		of:         []string{"pkg/media/library"},
		ours:       []string{"pkg/media/iso", "pkg/media/cache", "pkg/registration/protocol", "pkg/cloudconfig", "pkg/settings", "pkg/index", "pkg/status", "pkg/apis/...", "pkg/generated/..."},
		kubernetes: []string{"k8s.io/apimachinery", "k8s.io/client-go/tools/cache", "k8s.io/client-go/util/workqueue"},
		because:    "it hands out media from the caches, and reconciles nothing",
	},
	{of: []string{"pkg/media/netboot"}, ours: []string{"pkg/registration/protocol", "pkg/version"}, pure: true, because: "it runs where there is no cluster"},
	{of: []string{"pkg/registration/protocol"}, ours: []string{"pkg/machine"}, pure: true, because: "both halves share it, and one of them is a small static binary"},
	{of: []string{"pkg/registration/attestation"}, ours: []string{"pkg/registration/protocol"}, pure: true, because: "how a machine proves who it is has nothing to do with where the answer is kept"},
	{of: []string{"pkg/registration/attestation/tpm"}, ours: []string{"pkg/registration/attestation", "pkg/registration/protocol"}, pure: true, because: "it runs on the machine"},
	{of: []string{"pkg/install"}, ours: []string{"pkg/media/iso"}, pure: true, because: "it runs on the machine"},
	{
		of: []string{"pkg/registration/client", "cmd/rancheros-register"},
		ours: []string{"pkg/registration/client", "pkg/registration/protocol", "pkg/registration/attestation", "pkg/registration/attestation/tpm", "pkg/machine",
			"pkg/cloudconfig", "pkg/commandline", "pkg/install", "pkg/version"},
		pure:    true,
		because: "it is a small static binary on the machine",
	},
	{
		// The controllers meet in the API server and import none of one another; pkg/generated is what pkg/clients hands out.
		of:         []string{"pkg/controllers/..."},
		ours:       []string{"pkg/apis/...", "pkg/generated/...", "pkg/clients", "pkg/index", "pkg/settings", "pkg/status", "pkg/channel", "pkg/cloudconfig", "pkg/osversion"},
		kubernetes: []string{"k8s.io", "sigs.k8s.io/yaml", "github.com/rancher/wrangler", "github.com/rancher/rancher/pkg/apis", "github.com/rancher/fleet/pkg/apis", "github.com/rancher/system-upgrade-controller/pkg/apis"},
		because:    "a controller knows no other, nor who talks to machines: they meet in the API server",
	},
	{of: []string{"pkg/controllers"}, ours: []string{"pkg/controllers/...", "pkg/clients", "pkg/index", "pkg/settings"}, kubernetes: []string{"k8s.io/apimachinery"}, because: "it is the one list of the controllers"},
	{
		of: []string{"pkg/registration/server"},
		ours: []string{"pkg/registration/protocol", "pkg/registration/attestation", "pkg/machine", "pkg/cloudconfig", "pkg/settings", "pkg/index",
			"pkg/status", "pkg/apis/...", "pkg/generated/..."},
		kubernetes: []string{"k8s.io/api", "k8s.io/apimachinery", "k8s.io/client-go/tools/record", "github.com/rancher/wrangler", "github.com/rancher/steve/pkg/aggregation", "github.com/rancher/remotedialer"},
		because:    "it answers machines from the caches, and reconciles nothing",
	},
	{
		of:         []string{"pkg/diagnosis/..."},
		ours:       []string{"chart", "pkg/apis/...", "pkg/crds", "pkg/diagnosis/...", "pkg/index", "pkg/settings", "pkg/version"},
		kubernetes: []string{"k8s.io", "sigs.k8s.io/yaml", "github.com/rancher/fleet/pkg/apis"},
		because:    "it looks at a cluster, and is no part of what runs there",
	},
	{of: []string{"chart"}, because: "it is the chart's own files"},
	{
		of:         []string{"pkg/metrics"},
		ours:       []string{"pkg/apis/...", "pkg/generated/...", "pkg/registration/server", "pkg/registration/protocol", "pkg/version"},
		kubernetes: []string{"k8s.io/apimachinery", "k8s.io/client-go/tools", "github.com/rancher/lasso/pkg/metrics"},
		because:    "it reads what others count, and nobody who counts knows it",
	},
	{of: []string{"pkg/crds"}, kubernetes: []string{"k8s.io/apiextensions-apiserver", "sigs.k8s.io/yaml"}, because: "it is the generated YAML"},
	{of: []string{"pkg/codegen"}, ours: []string{"pkg/apis/..."}, kubernetes: []string{"k8s.io", "sigs.k8s.io", "github.com/rancher"}, because: "it writes what is generated from pkg/apis"},
	{
		of: []string{"pkg/operator"},
		ours: []string{"pkg/apis/...", "pkg/clients", "pkg/cloudconfig", "pkg/controllers", "pkg/crds", "pkg/generated/...", "pkg/index", "pkg/machine", "pkg/media/...", "pkg/metrics",
			"pkg/registration/server", "pkg/registration/protocol", "pkg/registration/attestation", "pkg/settings", "pkg/status", "pkg/version"},
		kubernetes: []string{"k8s.io", "github.com/rancher"},
		because:    "it puts the operator together, and the operator is no machine",
	},
	{of: []string{"pkg/commandline"}, pure: true, because: "both programs use it, and one of them is a small static binary"},
	{of: []string{"cmd/rancheros-operator"}, ours: []string{"pkg/operator", "pkg/media/netboot", "pkg/commandline", "pkg/diagnosis/...", "pkg/version"}, because: "there is nothing in it but flags"},
	{of: []string{"cmd/kubectl-rancheros"}, ours: []string{"pkg/commandline", "pkg/diagnosis/why", "pkg/version"}, kubernetes: []string{"k8s.io/client-go/tools/clientcmd"}, because: "there is nothing in it but flags"},
	{of: []string{"scripts/sbom"}, because: "it runs while a release is made, and knows nothing of what is in it"},
	{of: []string{"tests/..."}, ours: []string{"pkg/...", "tests/...", "cmd/..."}, kubernetes: []string{"k8s.io", "sigs.k8s.io", "github.com/rancher"}, because: "tests may import anything"},
}

// listed is what `go list` says of a package.
type listed struct {
	ImportPath, Name, Dir              string
	Imports, Deps                      []string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Module                             *struct{ Path string }
}

// short is the name of a package of ours in the table.
func (p listed) short() string { return strings.TrimPrefix(p.ImportPath, ours) }

// list asks the toolchain, once, for our packages and all that they reach.
func list(t *testing.T) []listed {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Name,Dir,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles,Module", "./...")
	command.Dir = root
	var stderr bytes.Buffer
	command.Stderr = &stderr
	output, err := command.Output()
	require.NoError(t, err, stderr.String())
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && p.Module.Path+"/" == ours {
			packages = append(packages, p)
		}
	}
}

// matches tells whether one of the patterns is the name, a folder above it, or, for modules, its beginning.
func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		folder, deep := strings.CutSuffix(pattern, "/...")
		return name == folder || deep && strings.HasPrefix(name, folder+"/")
	})
}

// below tells whether the import lies in one of the modules, or of their folders.
func below(modules []string, imported string) bool {
	return slices.ContainsFunc(modules, func(module string) bool { return imported == module || strings.HasPrefix(imported, module+"/") })
}

// ofKubernetes are the modules that know of API servers.
func ofKubernetes(imported string) bool {
	return below([]string{"k8s.io", "sigs.k8s.io", "github.com/rancher"}, imported) && !strings.HasPrefix(imported, ours)
}

// rowOf is the most particular row of a package: the one that names it, else the one of its folder.
func rowOf(name string) *row {
	for _, exact := range []bool{true, false} {
		for i := range table {
			if exact && slices.Contains(table[i].of, name) || !exact && matches(table[i].of, name) {
				return &table[i]
			}
		}
	}
	return nil
}

func TestWhoImportsWhom(t *testing.T) {
	packages := list(t)
	require.Greater(t, len(packages), 30)
	for _, p := range packages {
		for _, violation := range violations(p) {
			t.Error(violation)
		}
	}
}

// violations are what the package does against its row, a sentence each.
func violations(p listed) []string {
	row := rowOf(p.short())
	if row == nil {
		return []string{fmt.Sprintf("%s has no row in the table: say there what it may import", p.short())}
	}
	var found []string
	for _, imported := range p.Imports {
		name, isOurs := strings.CutPrefix(imported, ours)
		switch {
		case isOurs && !matches(row.ours, name):
			found = append(found, fmt.Sprintf("%s imports %s: %s", p.short(), name, row.because))
		case ofKubernetes(imported) && !below(row.kubernetes, imported):
			found = append(found, fmt.Sprintf("%s imports %s: %s", p.short(), imported, row.because))
		}
	}
	if row.pure {
		for _, reached := range p.Deps {
			if ofKubernetes(reached) && !slices.Contains(p.Imports, reached) {
				found = append(found, fmt.Sprintf("%s reaches %s through what it imports: %s", p.short(), reached, row.because))
			}
		}
	}
	return found
}

// A test that cannot fail would hold nothing.
func TestViolationsAreFound(t *testing.T) {
	for _, c := range []struct {
		why  string
		of   listed
		want string
	}{
		{"a controller that imports another", listed{ImportPath: ours + "pkg/controllers/inventory", Imports: []string{ours + "pkg/controllers/osimage"}},
			"pkg/controllers/inventory imports pkg/controllers/osimage: a controller knows no other, nor who talks to machines: they meet in the API server"},
		{"a controller that imports the server", listed{ImportPath: ours + "pkg/controllers/new", Imports: []string{ours + "pkg/registration/protocol"}}, "pkg/controllers/new imports pkg/registration/protocol: "},
		{"the machine's side that imports Kubernetes", listed{ImportPath: ours + "cmd/rancheros-register", Imports: []string{"k8s.io/api/core/v1"}}, "cmd/rancheros-register imports k8s.io/api/core/v1: it is a small static binary on the machine"},
		{"or reaches it", listed{ImportPath: ours + "pkg/machine", Deps: []string{"github.com/rancher/wrangler/v3/pkg/data"}}, "pkg/machine reaches github.com/rancher/wrangler/v3/pkg/data through what it imports: "},
		{"the operator as a machine", listed{ImportPath: ours + "pkg/operator", Imports: []string{ours + "pkg/registration/client"}}, "pkg/operator imports pkg/registration/client: "},
		{"what ships, with its tests", listed{ImportPath: ours + "pkg/index", Imports: []string{ours + "tests/memoryapi"}}, "pkg/index imports tests/memoryapi: "},
		{"an API with a client", listed{ImportPath: ours + "pkg/apis/rancheros.cattle.io/v1", Imports: []string{"k8s.io/client-go/rest"}}, "pkg/apis/rancheros.cattle.io/v1 imports k8s.io/client-go/rest: "},
		{"a package that nobody thought of", listed{ImportPath: ours + "pkg/util"}, "pkg/util has no row in the table"},
	} {
		found := violations(c.of)
		require.Len(t, found, 1, c.why)
		require.Contains(t, found[0], c.want, c.why)
	}
	require.Empty(t, violations(listed{ImportPath: ours + "pkg/controllers", Imports: []string{ours + "pkg/controllers/inventory"}}), "but the list imports them all")
}

// tests/controlplane is a module of its own, so that the product's go.mod never sees k8s.io/kubernetes, and imports nothing
// of ours, so that it can be built once.
func TestControlPlaneIsAModuleOfItsOwn(t *testing.T) {
	folder := filepath.Join(root, "tests", "controlplane")
	module, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	require.NoError(t, err)
	require.Contains(t, string(module), "module "+ours+"tests/controlplane\n")
	require.NotContains(t, string(module), strings.TrimSuffix(ours, "/")+" ", "tests/controlplane requires our module")
	require.NoError(t, filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, imported := range file.Imports {
			name := strings.Trim(imported.Path.Value, `"`)
			if strings.HasPrefix(name, ours) && !strings.HasPrefix(name, ours+"tests/controlplane") {
				t.Errorf("%s imports %s: the control plane is built once, from nothing of ours", path, name)
			}
		}
		return nil
	}))
	own, err := os.ReadFile(filepath.Join(root, "go.mod"))
	require.NoError(t, err)
	require.NotContains(t, string(own), "k8s.io/kubernetes ", "the product requires k8s.io/kubernetes")
	for _, p := range list(t) {
		require.False(t, strings.HasPrefix(p.short(), "tests/controlplane"), "%s is in the product's module", p.short())
	}
}

// Every package has a comment that a newcomer can read as the first page of its chapter. What is generated has none.
func TestEveryPackageHasItsFirstPage(t *testing.T) {
	for _, p := range list(t) {
		files, begin := p.GoFiles, "Package "+p.Name+" "
		switch {
		case len(files) == 0:
			files, begin = slices.Concat(p.TestGoFiles, p.XTestGoFiles), "Package "+p.Name
		case p.Name == "main":
			begin = "Command " + filepath.Base(p.ImportPath) + " "
		}
		comment, generated := firstPage(t, p.Dir, files)
		if generated {
			continue
		}
		if !strings.HasPrefix(comment, begin) {
			t.Errorf("%s has no package comment that begins with %q", p.short(), begin)
		}
	}
}

// firstPage joins the package comments of the files that people write; generated is true when there is no such file.
func firstPage(t *testing.T, dir string, files []string) (comment string, generated bool) {
	t.Helper()
	generated = true
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, name), nil, parser.PackageClauseOnly|parser.ParseComments)
		require.NoError(t, err)
		if ast.IsGenerated(file) {
			continue
		}
		generated = false
		comment += file.Doc.Text()
	}
	return comment, generated
}

// No name says nothing.
func TestNoPackageIsCalledNothing(t *testing.T) {
	for _, p := range list(t) {
		for _, part := range strings.Split(p.short(), "/") {
			require.NotContains(t, []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "base", "shared"}, part, "%s: name it after what it is about", p.short())
		}
	}
}

// Only pkg/status writes a status: it writes what changed, on every path, and never over a newer one.
func TestOnlyStatusWritesAStatus(t *testing.T) {
	for _, p := range list(t) {
		if !strings.HasPrefix(p.short(), "pkg/") || strings.HasPrefix(p.short(), "pkg/generated") || p.short() == "pkg/status" {
			continue
		}
		for _, name := range p.GoFiles {
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			require.NoError(t, err)
			ast.Inspect(file, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if ok && writesStatus(call) {
					t.Errorf("%s writes a status itself: leave that to pkg/status", set.Position(call.Pos()))
				}
				return true
			})
		}
	}
}

// writesStatus tells of x.UpdateStatus(...) and x.Patch(..., "status").
func writesStatus(call *ast.CallExpr) bool {
	method, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	last := len(call.Args) - 1
	if last < 0 {
		return false
	}
	literal, ok := call.Args[last].(*ast.BasicLit)
	return method.Sel.Name == "UpdateStatus" || method.Sel.Name == "Patch" && ok && literal.Value == `"status"`
}
