package main

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/util/keyutil"
)

func mustEnsure(t *testing.T, dir string) certificates {
	t.Helper()
	c, err := ensureCertificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func mustLoad(t *testing.T, c certificates, name string) *x509.Certificate {
	t.Helper()
	pair, err := c.load(name)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestCertificatesProveWhatTheyShould(t *testing.T) {
	c := mustEnsure(t, t.TempDir())
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(mustRead(t, c.authorityFile()))

	serving := mustLoad(t, c, servingName)
	for _, host := range []string{"127.0.0.1", "::1", "10.96.0.1", "localhost", "kubernetes.default.svc"} {
		options := x509.VerifyOptions{Roots: roots, DNSName: host}
		if _, err := serving.Verify(options); err != nil {
			t.Errorf("the API server cannot be reached as %s: %v", host, err)
		}
	}
	for name, user := range map[string]string{
		adminName:             "rancheros-test-admin",
		controllerManagerName: "system:kube-controller-manager",
	} {
		leaf := mustLoad(t, c, name)
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil || leaf.Subject.CommonName != user {
			t.Errorf("%s is user %q, %v; want %q", name, leaf.Subject.CommonName, err, user)
		}
		if almighty := slices.Contains(leaf.Subject.Organization, "system:masters"); almighty != (name == adminName) {
			t.Errorf("%s has groups %v", name, leaf.Subject.Organization)
		}
	}
	// kube-apiserver takes the public half from the same file.
	if _, err := keyutil.PublicKeysFromFile(c.serviceAccountKey()); err != nil {
		t.Errorf("ServiceAccount tokens could not be verified: %v", err)
	}
}

func TestCertificatesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	mustEnsure(t, dir)
	before := map[string][]byte{}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) != 9 { // four pairs and the ServiceAccount key
		t.Fatalf("got files %v, %v", files, err)
	}
	for _, file := range files {
		before[file] = mustRead(t, file)
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v, %v", file, info.Mode(), err)
		}
	}
	mustEnsure(t, dir)
	for _, file := range files {
		if !bytes.Equal(before[file], mustRead(t, file)) {
			t.Errorf("%s was replaced", file)
		}
	}
}

func TestCertificatesAreReplacedWhenOfNoUse(t *testing.T) {
	tests := []struct {
		reason string
		spoil  func(t *testing.T, c certificates)
	}{
		{"the key is lost", func(t *testing.T, c certificates) {
			if err := os.Remove(c.keyFile(adminName)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the start was interrupted between key and certificate", func(t *testing.T, c certificates) {
			if err := os.Rename(c.keyFile(servingName), c.keyFile(adminName)); err != nil {
				t.Fatal(err)
			}
		}},
		{"it ends soon", func(t *testing.T, c certificates) {
			ca, err := c.ensureAuthority()
			if err != nil {
				t.Fatal(err)
			}
			template := newTemplate(adminUser, nil)
			template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
			template.NotAfter = time.Now().Add(time.Hour)
			if err := c.issue(adminName, template, &ca); err != nil {
				t.Fatal(err)
			}
		}},
		{"its authority is another", func(t *testing.T, c certificates) {
			other := mustEnsure(t, t.TempDir())
			for _, name := range []string{adminName + ".crt", adminName + ".key"} {
				if err := os.Rename(filepath.Join(other.dir, name), filepath.Join(c.dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.reason, func(t *testing.T) {
			c := mustEnsure(t, t.TempDir())
			authorityBefore := mustRead(t, c.authorityFile())
			test.spoil(t, c)

			c = mustEnsure(t, c.dir)
			ca, err := c.ensureAuthority()
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range identities {
				if !stillGood(mustLoad(t, c, id.name), id, ca) {
					t.Errorf("%s is of no use", id.name)
				}
			}
			if !bytes.Equal(authorityBefore, mustRead(t, c.authorityFile())) {
				t.Error("the authority was replaced too")
			}
		})
	}
}

func TestBrokenAuthorityIsReported(t *testing.T) {
	c := mustEnsure(t, t.TempDir())
	if err := os.WriteFile(c.authorityFile(), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Replacing it would silently lock out everybody with an old kubeconfig.
	if _, err := ensureCertificates(c.dir); err == nil {
		t.Error("a broken authority was accepted or replaced")
	}
}
