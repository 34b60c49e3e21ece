package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Cause is why something failed, as far as what to do about it differs.
type Cause int

const (
	// CauseUnknown is none of the below, and no error of a connection: a defect.
	CauseUnknown Cause = iota
	// CauseConfig: a flag or file is wrong. Nothing changes until somebody corrects it.
	CauseConfig
	// CauseTPM: the TPM cannot be used; Err is a *tpm.Error that says why.
	CauseTPM
	// CauseUnreachable: nobody answers at the server's address, or the way to it is broken.
	CauseUnreachable
	// CauseUntrusted: somebody answers who cannot show a certificate that this machine trusts.
	CauseUntrusted
	// CauseClock: the machine's clock is wrong.
	CauseClock
	// CauseRefused: the server has said no.
	CauseRefused
	// CauseNotYet: the server has said later.
	CauseNotYet
	// CauseBadAnswer: the server has said something that makes no sense.
	CauseBadAnswer
	// CauseDisk: what was learnt could not be written.
	CauseDisk
	// CauseInstall: Rancher's install script failed.
	CauseInstall
)

// Failure is an error for the person at the machine.
type Failure struct {
	Cause Cause
	// Message says what happened.
	Message string
	// Hint says what to do about it.
	Hint string
	// RetryAfter is when the server wants to be asked again; zero if it did not say.
	RetryAfter time.Duration
	// Clock is what is wrong with this machine's clock, by the server's; it may be why. Empty if nothing is known to be wrong.
	Clock string
	Err   error
}

// Error is the sentence.
func (f *Failure) Error() string { return f.Message }

// Unwrap gives errors.Is and errors.As the underlying error.
func (f *Failure) Unwrap() error { return f.Err }

// Explain turns any error of this package's into a Failure. server is how the sentence calls the other side.
func Explain(err error, server string) *Failure {
	if err == nil {
		return nil
	}
	failure := explain(err, server)
	if clock := clockOf(err); clock != "" {
		failure.Clock = clock
	}
	return failure
}

func explain(err error, server string) *Failure {
	var failure *Failure
	if errors.As(err, &failure) {
		return failure
	}
	if errors.Is(err, tpm.ErrNotForUs) {
		return &Failure{Cause: CauseBadAnswer, Message: "this machine's TPM cannot read the challenge of " + server,
			Hint: "if it stays so, the TPM's endorsement key was made from a template that is not supported (SHA-384, AES-256)", Err: err}
	}
	var tpmError *tpm.Error
	if errors.As(err, &tpmError) {
		return &Failure{Cause: CauseTPM, Message: tpmError.Message, Hint: tpmError.Hint, Err: err}
	}
	var refusal *protocol.Error
	if errors.As(err, &refusal) {
		return explainRefusal(refusal, server)
	}
	if failure := explainTLS(err, server, time.Now()); failure != nil {
		return failure
	}
	return explainNetwork(err, server)
}

func explainRefusal(refusal *protocol.Error, server string) *Failure {
	f := &Failure{
		Cause:      CauseRefused,
		Message:    fmt.Sprintf("%s says: %s", server, refusal.Message),
		Hint:       refusal.Hint,
		RetryAfter: refusal.RetryAfter,
		Err:        refusal,
	}
	if refusal.Code.Retriable() {
		f.Cause = CauseNotYet
	}
	if refusal.Code == protocol.CodePending {
		f.Message = fmt.Sprintf("waiting for approval by an administrator: %s", refusal.Message)
	}
	if f.Hint != "" {
		return f
	}
	switch refusal.Code {
	case protocol.CodeNotFound:
		f.Hint = "the registration was deleted, has expired or got a new token: take the URL from `kubectl get machineregistration -o wide`"
	case protocol.CodeUnauthorized, protocol.CodeAttestationFailed:
		f.Hint = "the server did not accept this machine's proof; the operator's log has the reason"
	case protocol.CodeBadRequest, protocol.CodeUnsupported, protocol.CodeTooLarge:
		f.Hint = "the server, or a proxy before it, does not understand this machine: check the URL's scheme and port, and both sides' versions"
	case protocol.CodeCertificateRequired:
		f.Hint = "this TPM has no certificate of its maker: list its TPM hash (`rancheros-register tpm-hash`) in the machineregistration instead"
	case protocol.CodeForbidden:
		f.Hint = "the registration does not admit this machine: list its TPM hash (`rancheros-register tpm-hash`), or look at the machineinventory"
	case protocol.CodeRevoked:
		f.Hint = "another machine has taken this one's place: delete its old machineinventory to use this hardware as a new machine"
	case protocol.CodePending:
		f.Hint = "somebody must approve this machine: set spec.approved on its machineinventory"
	case protocol.CodeNotAssigned:
		f.Hint = "set spec.clusterName on this machine's machineinventory"
	case protocol.CodePaused, protocol.CodeFull:
		f.Hint = "the machineregistration takes no new machines at the moment"
	case protocol.CodeUnavailable, protocol.CodeRateLimited, protocol.CodeInternal:
		f.Hint = "nothing is wrong with this machine; it asks again"
	}
	return f
}

func explainTLS(err error, server string, now time.Time) *Failure {
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	f := &Failure{Cause: CauseUntrusted, Err: err}
	switch {
	case errors.As(err, &unknown):
		f.Message = fmt.Sprintf("%s shows a certificate of a CA that this machine does not trust%s", server, issuer(unknown.Cert))
		f.Hint = "give the server's CA as rancheros.install.registrationCaCert (a CA that is given replaces the system's); " +
			"if one is given, Rancher's CA has changed: take it anew from the registration URL"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		explainValidity(f, invalid.Cert, server, now)
	case errors.As(err, &invalid):
		f.Message = fmt.Sprintf("%s shows a certificate that cannot be used: %v", server, invalid)
		f.Hint = "have the server's certificate replaced"
	case errors.As(err, &name):
		f.Message = fmt.Sprintf("the certificate of %s is for another name (%s)", server, strings.Join(certificateNames(name.Certificate), ", "))
		f.Hint = "use the name in the certificate, or have the certificate replaced; a captive portal looks like this too"
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		f.Message = server + " does not speak TLS"
		f.Hint = "check the port in the URL"
	default:
		return nil
	}
	return f
}

// explainValidity tells a wrong clock from an expired certificate: before the certificate's time only the clock can be wrong.
func explainValidity(f *Failure, certificate *x509.Certificate, server string, now time.Time) {
	clock := now.UTC().Format(time.DateTime)
	switch {
	case certificate != nil && now.Before(certificate.NotBefore):
		f.Cause = CauseClock
		f.Message = fmt.Sprintf("this machine's clock says %s UTC, before the certificate of %s was made (%s)",
			clock, server, certificate.NotBefore.UTC().Format(time.DateTime))
		f.Hint = "set the clock in the firmware's setup, or give the machine a time server"
	case certificate != nil:
		f.Message = fmt.Sprintf("the certificate of %s ended on %s; this machine's clock says %s UTC",
			server, certificate.NotAfter.UTC().Format(time.DateTime), clock)
		f.Hint = "if the clock is right, have the server's certificate renewed"
	default:
		f.Message = fmt.Sprintf("the certificate of %s is not valid at this time; this machine's clock says %s UTC", server, clock)
		f.Hint = "check the clock first"
	}
}

func explainNetwork(err error, server string) *Failure {
	f := &Failure{Cause: CauseUnreachable, Err: err}
	var dns *net.DNSError
	var operation *net.OpError
	var timeout net.Error
	var exchange *exchangeError
	switch {
	case errors.Is(err, context.Canceled):
		f.Message = "interrupted"
	case errors.As(err, &dns):
		f.Message = fmt.Sprintf("the name %s cannot be resolved", dns.Name)
		f.Hint = "check the machine's name server and the host name in the URL"
	case errors.Is(err, syscall.ECONNREFUSED):
		f.Message = server + " refuses connections"
		f.Hint = "check the port in the URL, and that Rancher is running"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		f.Message = "no route to " + server
		f.Hint = "check the machine's cable, address and gateway"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Message = server + " did not answer in time"
		f.Hint = "check firewalls and proxies between this machine and the server"
	case errors.As(err, &operation):
		f.Message = fmt.Sprintf("the connection to %s broke: %v", server, operation.Err)
		f.Hint = "check firewalls and proxies between this machine and the server"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		// As of a server, or a proxy in front of it, that is being replaced.
		f.Message = fmt.Sprintf("the connection to %s ended before the answer", server)
		f.Hint = "nothing, if it works the next time; otherwise check firewalls and proxies between this machine and the server"
	case errors.As(err, &exchange) && notHTTP(exchange):
		f.Cause, f.Message = CauseBadAnswer, server+" answered with something that is not HTTP"
		f.Hint = "check the port in the URL, and proxies between this machine and the server"
	case errors.As(err, &exchange):
		// Nobody is at the machine to try again, and most of what can happen to a connection passes.
		f.Message = fmt.Sprintf("the connection to %s failed: %s", server, protocol.CleanText(exchange.Error()))
		f.Hint = "check firewalls and proxies between this machine and the server"
	default:
		f.Cause, f.Message = CauseUnknown, protocol.CleanText(err.Error())
	}
	if errors.As(err, &exchange) && exchange.proxy != "" && f.Hint != "" {
		f.Hint += fmt.Sprintf("; the way there is by the proxy %s (HTTPS_PROXY)", protocol.CleanText(exchange.proxy))
	}
	return f
}

func issuer(certificate *x509.Certificate) string {
	if certificate == nil {
		return ""
	}
	return " (issuer " + protocol.CleanText(certificate.Issuer.String()) + ")"
}

func certificateNames(certificate *x509.Certificate) []string {
	if certificate == nil {
		return nil
	}
	const few = 4
	names := append([]string{}, certificate.DNSNames...)
	for _, address := range certificate.IPAddresses {
		names = append(names, address.String())
	}
	for i := range names {
		names[i] = protocol.CleanText(names[i])
	}
	return names[:min(len(names), few)]
}

// temporaryTPM tells the one cause of a TPM that passes by itself.
func temporaryTPM(err error) bool {
	var tpmError *tpm.Error
	return errors.As(err, &tpmError) && tpmError.Cause == tpm.Busy
}
