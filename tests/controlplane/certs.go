package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	certificateLifetime = 10 * 365 * 24 * time.Hour
	// A certificate that is closer to its end than this is made anew.
	certificateReserve = 30 * 24 * time.Hour
)

// The certificates by name; each is NAME.crt and NAME.key.
const (
	authorityName         = "ca"
	servingName           = "apiserver"
	adminName             = "admin"
	controllerManagerName = "controller-manager"
)

// adminUser is how the administrator appears in the audit log.
const adminUser = "rancheros-test-admin"

// firstServiceIP is what the Service kubernetes.default gets: the first
// address of serviceRange (see apiserver.go).
var firstServiceIP = net.IPv4(10, 96, 0, 1)

// identity is what one certificate proves.
type identity struct {
	name         string // of its files
	commonName   string
	organization []string
	usage        x509.ExtKeyUsage
	dnsNames     []string
	addresses    []net.IP
}

var identities = []identity{
	{
		name:       servingName,
		commonName: "kube-apiserver",
		usage:      x509.ExtKeyUsageServerAuth,
		dnsNames: []string{
			"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local",
		},
		addresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, firstServiceIP},
	},
	{
		name:         adminName,
		commonName:   adminUser,
		organization: []string{"system:masters"},
		usage:        x509.ExtKeyUsageClientAuth,
	},
	{
		name:       controllerManagerName,
		commonName: "system:kube-controller-manager", // bound to its role by RBAC's own bootstrap
		usage:      x509.ExtKeyUsageClientAuth,
	},
}

// certificates are the files of one cluster's trust.
type certificates struct {
	dir string
}

func (c certificates) authorityFile() string              { return c.certificateFile(authorityName) }
func (c certificates) serviceAccountKey() string          { return c.keyFile("service-account") }
func (c certificates) certificateFile(name string) string { return filepath.Join(c.dir, name+".crt") }
func (c certificates) keyFile(name string) string         { return filepath.Join(c.dir, name+".key") }

// ensureCertificates makes what is missing in dir and keeps what is good, so
// that kubeconfigs and tokens outlive a restart.
func ensureCertificates(dir string) (certificates, error) {
	c := certificates{dir: dir}
	ca, err := c.ensureAuthority()
	if err != nil {
		return c, fmt.Errorf("preparing the certificate authority (delete %s to make a new one): %w", dir, err)
	}
	for _, id := range identities {
		if err := c.ensure(id, ca); err != nil {
			return c, fmt.Errorf("preparing the certificate of %s: %w", id.name, err)
		}
	}
	if err := c.ensureServiceAccountKey(); err != nil {
		return c, fmt.Errorf("preparing the key that signs ServiceAccount tokens: %w", err)
	}
	return c, nil
}

// authority signs. It is the only one the API server trusts for clients and
// the only one clients trust for the API server.
type authority struct {
	certificate *x509.Certificate
	key         crypto.PrivateKey
}

func (c certificates) ensureAuthority() (authority, error) {
	pair, err := c.load(authorityName)
	if err == nil {
		return authority{certificate: pair.Leaf, key: pair.PrivateKey}, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return authority{}, err
	}
	template := newTemplate("rancheros-test-ca", nil)
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	if err := c.issue(authorityName, template, nil); err != nil {
		return authority{}, err
	}
	pair, err = c.load(authorityName)
	return authority{certificate: pair.Leaf, key: pair.PrivateKey}, err
}

// ensure keeps the certificate of id if it still proves what it should, and
// issues it otherwise.
func (c certificates) ensure(id identity, ca authority) error {
	if pair, err := c.load(id.name); err == nil && stillGood(pair.Leaf, id, ca) {
		return nil
	}
	template := newTemplate(id.commonName, id.organization)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{id.usage}
	template.DNSNames = id.dnsNames
	template.IPAddresses = id.addresses
	return c.issue(id.name, template, &ca)
}

func stillGood(leaf *x509.Certificate, id identity, ca authority) bool {
	roots := x509.NewCertPool()
	roots.AddCert(ca.certificate)
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		KeyUsages:   []x509.ExtKeyUsage{id.usage},
		CurrentTime: time.Now().Add(certificateReserve),
	})
	if err != nil || leaf.Subject.CommonName != id.commonName {
		return false
	}
	for _, name := range id.dnsNames {
		if leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	for _, address := range id.addresses {
		if leaf.VerifyHostname(address.String()) != nil {
			return false
		}
	}
	return true
}

func newTemplate(commonName string, organization []string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: commonName, Organization: organization},
		NotBefore: now.Add(-time.Hour), // a guest's clock may be a little behind
		NotAfter:  now.Add(certificateLifetime),
	}
}

// issue makes a key and has it certified by ca, or by itself if ca is nil.
func (c certificates) issue(name string, template *x509.Certificate, ca *authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generating key: %w", err)
	}
	// 127 random bits: unique, positive, and at most 20 bytes in DER.
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fmt.Errorf("drawing serial number: %w", err)
	}
	parent, signer := template, crypto.PrivateKey(key)
	if ca != nil {
		parent, signer = ca.certificate, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return fmt.Errorf("signing certificate: %w", err)
	}
	if err := writeKey(c.keyFile(name), key); err != nil {
		return err
	}
	return writePEM(c.certificateFile(name), "CERTIFICATE", der)
}

// load fails with os.ErrNotExist when there is nothing, and otherwise when the
// two files do not belong together.
func (c certificates) load(name string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(c.certificateFile(name), c.keyFile(name))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("loading key pair %s: %w", name, err)
	}
	return pair, nil
}

func (c certificates) ensureServiceAccountKey() error {
	_, err := os.Stat(c.serviceAccountKey())
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("generating key: %w", err)
	}
	return writeKey(c.serviceAccountKey(), key)
}

// writeKey uses the older of the two formats: Kubernetes takes the public half
// of a private key from that one only.
func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return fmt.Errorf("encoding key: %w", err)
	}
	return writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return writeFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
