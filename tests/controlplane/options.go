package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// options is what the command line says, with every path made absolute,
// because the process changes into its directory (see etcd.go).
type options struct {
	dir            string
	kubeconfig     string
	auditLog       string
	verbose        bool
	exitWithParent bool
}

const usage = `controlplane runs etcd, kube-apiserver and kube-controller-manager as one process.

  controlplane --dir DIR [flags]

It prints one line to standard output when the cluster can be used:

  READY <path of the kubeconfig>

and stops in good order on SIGTERM or SIGINT. Exit codes: 0 stopped as asked,
1 failed (the reason is on standard error), 2 wrong flags.

Flags:
`

// parseOptions reads the command line and reports everything that is wrong
// with it in one error. It returns flag.ErrHelp after printing the help.
func parseOptions(args []string, help io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.dir, "dir", "", "`DIR` for data, certificates and logs; made if missing. One control plane per directory.")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`FILE` for the administrator's kubeconfig (default DIR/admin.kubeconfig). Written when the cluster is ready.")
	flags.StringVar(&o.auditLog, "audit-log", "", "`FILE` for the API server's audit log: JSON lines, level Metadata, every user and verb. Appended to if it exists.")
	flags.BoolVar(&o.verbose, "verbose", false, "Show the logs of etcd and Kubernetes on standard error as well as in DIR, and let Kubernetes say more.")
	flags.BoolVar(&o.exitWithParent, "exit-with-parent", false, "Stop when the process that started this one has died, however it died.")

	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(help, usage)
		flags.SetOutput(help)
		flags.PrintDefaults()
		return o, err
	} else if err != nil {
		return o, err
	}

	var problems []error
	if flags.NArg() > 0 {
		problems = append(problems, fmt.Errorf("unexpected arguments: %s", strings.Join(flags.Args(), " ")))
	}
	if o.dir == "" {
		problems = append(problems, errors.New("--dir is required"))
		return o, errors.Join(problems...)
	}
	if o.kubeconfig == "" {
		o.kubeconfig = filepath.Join(o.dir, "admin.kubeconfig")
	}
	for _, path := range []*string{&o.dir, &o.kubeconfig, &o.auditLog} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			problems = append(problems, fmt.Errorf("resolving path %q: %w", *path, err))
		}
		*path = absolute
	}
	problems = append(problems, notAFolder("--kubeconfig", o.kubeconfig), notAFolder("--audit-log", o.auditLog))
	return o, errors.Join(problems...)
}

// notAFolder finds early what would otherwise fail after the start.
func notAFolder(flag, path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("%s needs a file, and %s is a folder", flag, path)
	}
	return nil
}
