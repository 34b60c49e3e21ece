package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// layout names every file and folder inside DIR. Delete DIR while nothing runs
// on it to start from nothing.
type layout struct {
	dir string

	lock  string // held by the running process
	ports string // remembered ports, JSON
	pki   string // certificates and keys, PEM

	etcdData   string // the objects
	etcdSocket string // where the API server reaches etcd; see etcd.go

	auditPolicy                 string
	controllerManagerKubeconfig string

	kubernetesLog string
	etcdLog       string
}

func newLayout(dir string) layout {
	in := func(elements ...string) string {
		return filepath.Join(append([]string{dir}, elements...)...)
	}
	return layout{
		dir:                         dir,
		lock:                        in("lock"),
		ports:                       in("ports.json"),
		pki:                         in("pki"),
		etcdData:                    in("etcd"),
		etcdSocket:                  in("run", "etcd.sock"),
		auditPolicy:                 in("audit-policy.yaml"),
		controllerManagerKubeconfig: in("controller-manager.kubeconfig"),
		kubernetesLog:               in("kubernetes.log"),
		etcdLog:                     in("etcd.log"),
	}
}

// create makes the folders, and those of the files elsewhere that are to be
// written later. Folders with secrets are closed to other users by their own
// mode, because DIR may exist already with a mode of its own.
func (l layout) create(elsewhere ...string) error {
	dirs := []string{l.dir, l.pki, l.etcdData, filepath.Dir(l.etcdSocket)}
	for _, file := range elsewhere {
		dirs = append(dirs, filepath.Dir(file))
	}
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("creating folder: %w", err)
		}
	}
	return nil
}
