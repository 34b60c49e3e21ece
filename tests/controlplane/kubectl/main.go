// Command kubectl is the real kubectl, of the same version as the control
// plane next door, so that the demo and the tests need no download.
//
// It adds nothing to kubectl: the flags, plugins and exit codes are kubectl's.
package main

import (
	_ "k8s.io/client-go/plugin/pkg/client/auth" // what kubeconfigs may name
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	// CheckErr prints an error the way kubectl's users know it, and exits
	// with the code that belongs to it (diff and wait have codes of their own).
	util.CheckErr(cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()))
}
