package client

import (
	"context"
	"net/http"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxSMBIOSHeader keeps the facts in a header that proxies let pass: nginx refuses headers beyond 8 kB, and the proof needs up to six.
const maxSMBIOSHeader = 2 << 10

// Registration is one machine that asks to be registered.
type Registration struct {
	// Endpoint is the registration URL and the CA to trust.
	Endpoint Endpoint
	Prover   attestation.Prover
	// SMBIOS is what the firmware says; may be nil.
	SMBIOS map[string]any
}

// Answer is what a registered machine is told.
type Answer struct {
	// Config is the machine's cloud-config.
	Config map[string]any
	// Hostname is the name that the server has given to the machine; empty if it gave none.
	Hostname string
}

// Register proves the machine to the server and returns its cloud-config. The error is a *Failure.
func Register(ctx context.Context, registration Registration) (*Answer, error) {
	answer, err := register(ctx, &registration)
	if err != nil {
		return nil, Explain(err, registration.Endpoint.host())
	}
	return answer, nil
}

func register(ctx context.Context, registration *Registration) (*Answer, error) {
	target, err := registration.Endpoint.ParseRegistrationURL()
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if facts, err := smbiosHeader(registration.SMBIOS); err != nil {
		return nil, err
	} else if facts != "" {
		header.Set(protocol.HeaderSMBIOS, facts)
	}
	frame, err := exchange(ctx, &registration.Endpoint, target, registration.Prover, header)
	if err != nil {
		return nil, err
	}
	config, err := protocol.ParseAnswer(frame)
	if err != nil {
		return nil, err
	}
	hostname, _ := config["hostname"].(string)
	if !validHostname(hostname) {
		hostname = ""
	}
	return &Answer{Config: config, Hostname: hostname}, nil
}

// smbiosHeader drops what is least telling until the rest fits.
func smbiosHeader(smbios map[string]any) (string, error) {
	if len(smbios) == 0 {
		return "", nil
	}
	header, err := protocol.EncodeSMBIOSHeader(smbios)
	if err != nil || len(header) <= maxSMBIOSHeader {
		return header, err
	}
	system, ok := smbios["System Information"]
	if !ok {
		return "", nil
	}
	header, err = protocol.EncodeSMBIOSHeader(map[string]any{"System Information": system})
	if len(header) > maxSMBIOSHeader {
		return "", err
	}
	return header, err
}

// validHostname accepts DNS names: labels of letters, digits and dashes. A name is written to a file that many programs read.
func validHostname(name string) bool {
	if name == "" || len(name) > 253 || name == "localhost" {
		return false
	}
	label := 0
	for i := 0; i < len(name); i++ {
		c := name[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		edge := label == 0 || i+1 == len(name) || name[i+1] == '.'
		switch {
		case c == '.' && label > 0:
			label = 0
			continue
		case alphanumeric, c == '-' && !edge:
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return label > 0
}
