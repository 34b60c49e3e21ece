package main

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestKubeconfigStandsAlone(t *testing.T) {
	c := mustEnsure(t, t.TempDir())
	content, err := kubeconfig(c, "https://127.0.0.1:20001", adminName)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(c.dir); err != nil { // it must not point at files
		t.Fatal(err)
	}
	config, err := clientcmd.RESTConfigFromKubeConfig(content)
	if err != nil {
		t.Fatal(err)
	}
	if config.Host != "https://127.0.0.1:20001" || config.Insecure {
		t.Errorf("got host %s, insecure %t", config.Host, config.Insecure)
	}
	if len(config.CAData) == 0 || len(config.CertData) == 0 || len(config.KeyData) == 0 {
		t.Error("certificates are not embedded")
	}
	raw, err := clientcmd.Load(content)
	if err != nil || raw.CurrentContext != "rancheros-test" || raw.Contexts["rancheros-test"].Cluster != "rancheros-test" {
		t.Errorf("got context %q, %v", raw.CurrentContext, err)
	}
}

func TestWriteFileReplacesAndCloses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, []byte("old and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeFile(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want 0600", info.Mode(), err)
	}
	if got := string(mustRead(t, path)); got != "new" {
		t.Errorf("got %q", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left something behind: %v, %v", entries, err)
	}
}
