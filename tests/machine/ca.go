package machine

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// MakerCA is a pretend TPM maker: a root that certifies an intermediate that certifies endorsement keys.
type MakerCA struct {
	Root, Intermediate *x509.Certificate
	rootKey, key       *ecdsa.PrivateKey
}

// EKCertificate says what to put into an endorsement certificate. The zero value is as the TCG profile prescribes.
type EKCertificate struct {
	// WithoutUsage leaves out the extended key usage tcg-kp-EKCertificate.
	WithoutUsage bool
	// ByRoot has the root issue the certificate, without the intermediate.
	ByRoot bool
	// IsCA makes it a CA's certificate.
	IsCA bool
	// NotBefore and NotAfter default to an hour ago and to ten years from now.
	NotBefore, NotAfter time.Time
	// Extra is added to the certificate's extensions.
	Extra []pkix.Extension
}

// Padding is an extension of so many bytes that nobody knows: real makers' certificates hold long URLs and platform data.
func Padding(size int) []pkix.Extension {
	return []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, size)}}
}

// NewMakerCA makes a maker of the given name. Two of one name are two CAs with different keys.
func NewMakerCA(name string) (*MakerCA, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &MakerCA{rootKey: rootKey, key: key}
	root := caTemplate(name+" TPM Root CA", 1)
	if ca.Root, err = sign(root, root, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if ca.Intermediate, err = sign(caTemplate(name+" TPM EK Intermediate CA", 2), ca.Root, key.Public(), rootKey); err != nil {
		return nil, err
	}
	return ca, nil
}

// RootPEM and IntermediatePEM are the CAs as they go into a bundle.
func (ca *MakerCA) RootPEM() []byte { return certificatePEM(ca.Root) }

// IntermediatePEM is the CA that signs endorsement certificates.
func (ca *MakerCA) IntermediatePEM() []byte { return certificatePEM(ca.Intermediate) }

// Certify issues an endorsement certificate (DER) for a key: empty subject, the TPM named in a critical subjectAltName, TCG's own
// extended key usage.
func (ca *MakerCA) Certify(key crypto.PublicKey, options EKCertificate) ([]byte, error) {
	name, err := tpmName()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		NotBefore:             options.NotBefore,
		NotAfter:              options.NotAfter,
		BasicConstraintsValid: true,
		IsCA:                  options.IsCA,
		KeyUsage:              x509.KeyUsageKeyAgreement,
		ExtraExtensions:       append([]pkix.Extension{name}, options.Extra...),
	}
	if _, isRSA := key.(*rsa.PublicKey); isRSA {
		template.KeyUsage = x509.KeyUsageKeyEncipherment
	}
	if options.IsCA {
		template.KeyUsage = x509.KeyUsageCertSign
	}
	if template.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = time.Now().AddDate(10, 0, 0)
	}
	if !options.WithoutUsage {
		template.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}
	}
	issuer, signer := ca.Intermediate, ca.key
	if options.ByRoot {
		issuer, signer = ca.Root, ca.rootKey
	}
	certificate, err := sign(template, issuer, key, signer)
	if err != nil {
		return nil, err
	}
	return certificate.Raw, nil
}

func caTemplate(name string, serial int64) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               pkix.Name{CommonName: name, Organization: []string{"Pretend TPM maker"}},
		NotBefore:             time.Now().AddDate(-10, 0, 0),
		NotAfter:              time.Now().AddDate(20, 0, 0),
		BasicConstraintsValid: true,
		IsCA:                  true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
}

func sign(template, issuer *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key, signer)
	if err != nil {
		return nil, fmt.Errorf("issuing pretend certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// tpmName is the critical subjectAltName of the TCG profile: a directory name of manufacturer, model and version.
func tpmName() (pkix.Extension, error) {
	var name pkix.RDNSequence
	for i, value := range []string{"id:54455354", "Pretend TPM", "id:00010002"} {
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: asn1.ObjectIdentifier{2, 23, 133, 2, i + 1}, Value: value}})
	}
	directoryName, err := asn1.Marshal(name)
	if err != nil {
		return pkix.Extension{}, err
	}
	const contextSpecific, directoryNameTag = 2, 4
	names, err := asn1.Marshal([]asn1.RawValue{{Class: contextSpecific, Tag: directoryNameTag, IsCompound: true, Bytes: directoryName}})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: names}, err
}

func certificatePEM(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}
