package attestation

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strconv"
	"time"

	x509ext "github.com/google/go-attestation/x509"
)

// maxCertificateText bounds what of a certificate's names is kept. A certificate is signed by its maker, not by us.
const maxCertificateText = 256

// judgeCertificate reports what an endorsement certificate says and whether the policy's CAs stand behind it. The error is for
// certificates that are none of an endorsement key, whoever signed them.
func judgeCertificate(certificate *x509.Certificate, policy *Policy) (*Certificate, error) {
	if certificate.IsCA || certificate.KeyUsage&x509.KeyUsageCertSign != 0 {
		return nil, fmt.Errorf("EK certificate is a CA's")
	}
	facts := &Certificate{
		Issuer:   boundedText(certificate.Issuer.String()),
		Serial:   boundedText(certificate.SerialNumber.Text(16)),
		NotAfter: certificate.NotAfter,
	}
	outside, err := verifyCertificate(certificate, policy)
	facts.OutsideValidity = outside
	if err != nil {
		facts.Problem = boundedText(err.Error())
		return facts, nil
	}
	facts.Verified = true
	return facts, nil
}

// verifyCertificate follows the TCG EK credential profile, where crypto/x509 alone refuses every real TPM: the subject is
// empty and the TPM is named in a critical subjectAltName of a kind that Go does not read, and the extended key usage is TCG's own.
func verifyCertificate(certificate *x509.Certificate, policy *Policy) (outsideValidity bool, err error) {
	if policy.Roots == nil {
		return false, errors.New("no CA to verify it against")
	}
	if !policy.AllowMissingKeyUsage && !hasEKUsage(certificate) {
		return false, errors.New("extended key usage tcg-kp-EKCertificate (2.23.133.8.1) is missing")
	}
	leaf := *certificate
	if leaf.UnhandledCriticalExtensions, err = withoutTPMName(certificate); err != nil {
		return false, err
	}
	now := policy.now()
	err = verifyChain(&leaf, policy, now)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		// The maker vouched for the key when it issued the certificate; whether that has an end is for the policy.
		outsideValidity = true
		if !policy.RequireValidity {
			err = verifyOnce(&leaf, policy)
		}
	}
	if err != nil {
		return outsideValidity, fmt.Errorf("certificate chain: %w", err)
	}
	return outsideValidity, nil
}

// verifyOnce asks whether the chain was good at either end of the certificate's validity. Makers issue their CAs anew: one may
// have begun after the certificate did, or have ended before it does.
func verifyOnce(leaf *x509.Certificate, policy *Policy) error {
	err := verifyChain(leaf, policy, leaf.NotBefore)
	if err != nil {
		err = verifyChain(leaf, policy, leaf.NotAfter)
	}
	return err
}

func verifyChain(leaf *x509.Certificate, policy *Policy, at time.Time) error {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots:         policy.Roots,
		Intermediates: policy.Intermediates,
		CurrentTime:   at,
		// The leaf's own usage has been checked; the CAs of TPM makers seldom name TCG's.
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}

// withoutTPMName is the list of critical extensions that remain unknown once a well-formed TPM name is taken off it.
func withoutTPMName(certificate *x509.Certificate) ([]asn1.ObjectIdentifier, error) {
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	var unknown []asn1.ObjectIdentifier
	for _, id := range certificate.UnhandledCriticalExtensions {
		if !id.Equal(subjectAltName) {
			unknown = append(unknown, id)
			continue
		}
		for _, extension := range certificate.Extensions {
			if !extension.Id.Equal(subjectAltName) {
				continue
			}
			if _, err := x509ext.ParseSubjectAltName(extension); err != nil {
				return nil, fmt.Errorf("subjectAltName: %w", err)
			}
		}
	}
	return unknown, nil
}

func hasEKUsage(certificate *x509.Certificate) bool {
	ekCertificate := asn1.ObjectIdentifier{2, 23, 133, 8, 1}
	for _, usage := range certificate.UnknownExtKeyUsage {
		if usage.Equal(ekCertificate) {
			return true
		}
	}
	return false
}

// boundedText is foreign text as printable ASCII, short enough for a status field.
func boundedText(s string) string {
	if len(s) > maxCertificateText {
		s = s[:maxCertificateText]
	}
	quoted := strconv.QuoteToASCII(s)
	quoted = quoted[1 : len(quoted)-1]
	return quoted[:min(len(quoted), maxCertificateText)]
}
