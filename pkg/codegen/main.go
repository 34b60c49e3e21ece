// Command codegen writes everything in this repository that is generated, and nothing else does:
//
//	pkg/apis/.../zz_generated_*.go   deep copies, lists and scheme registration of our kinds
//	pkg/generated/                   Wrangler's typed controllers, for our kinds and for those of others that we touch
//	pkg/crds/*.yaml                  the CRDs, from the markers and comments in pkg/apis
//	chart/rancheros-operator-crd/    the same CRDs, for the chart that installs them
//	.github/guide/reference.md       every field of every kind, from the CRDs
//	.github/guide/reasons.md         every condition and reason, from the comments of their constants
//
// It is run by `make generate` in the root of the repository. Running it again changes nothing: CI fails on a diff.
package main

import (
	"os"

	"github.com/sirupsen/logrus"
)

func main() {
	// Wrangler's generator reads GOPATH-relative paths unless modules are forced on.
	if err := os.Unsetenv("GOPATH"); err != nil {
		logrus.Fatalf("clearing GOPATH: %v", err)
	}
	generateControllers()
	if err := generateCRDs("./pkg/apis/rancheros.cattle.io/v1", "pkg/crds", "chart/rancheros-operator-crd/files"); err != nil {
		logrus.Fatalf("generating CRDs: %v", err)
	}
	if err := generateReference("pkg/crds", ".github/guide/reference.md"); err != nil {
		logrus.Fatalf("generating reference: %v", err)
	}
	if err := generateReasons("pkg/apis/rancheros.cattle.io/v1", ".github/guide/reasons.md"); err != nil {
		logrus.Fatalf("generating reasons: %v", err)
	}
}
