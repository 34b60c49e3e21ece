package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"math"

	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// maxSMBIOSHeader keeps the facts in a header that proxies let pass: nginx refuses a line beyond 8 kB. Servers of version 2 get the whole
// as a message.
const maxSMBIOSHeader = 6 << 10

// Registration is one machine that asks to be registered.
type Registration struct {
	// Endpoint is the registration URL and the CA to trust.
	Endpoint Endpoint
	Prover   attestation.Prover
	// SMBIOS is what the firmware says; may be nil.
	SMBIOS map[string]any
	// Facts are what the operating system says.
	Facts machine.Facts
}

// Answer is what a registered machine is told.
type Answer struct {
	// Config is the machine's cloud-config.
	Config map[string]any
	// Hostname is the name that the server has given to the machine; empty if it gave none.
	Hostname string
	// Clock is what is wrong with this machine's clock, by the server's; empty if nothing is.
	Clock string
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
	c := conversation{endpoint: &registration.Endpoint, target: target, prover: registration.Prover,
		report: protocol.Report{SMBIOS: registration.SMBIOS, Facts: registration.Facts}}
	reply, err := c.exchange(ctx)
	if err != nil {
		return nil, err
	}
	parse := protocol.ParseAnswer
	if reply.v2 {
		parse = protocol.ParseConfig
	}
	config, err := parse(reply.frame)
	if err != nil {
		return nil, withClock(err, reply.clock)
	}
	hostname, _ := config["hostname"].(string)
	if !validHostname(hostname) {
		hostname = ""
	}
	return &Answer{Config: config, Hostname: hostname, Clock: reply.clock}, nil
}

// smbiosHeader is what fits of it.
func smbiosHeader(smbios map[string]any) (string, error) {
	smbios = fitting(smbios, func(smbios map[string]any) bool {
		return base64.StdEncoding.EncodedLen(sizeOf(smbios)) <= maxSMBIOSHeader
	})
	if len(smbios) == 0 {
		return "", nil
	}
	return protocol.EncodeSMBIOSHeader(smbios)
}

// fitting drops what is least telling until the rest fits.
func fitting(smbios map[string]any, fits func(map[string]any) bool) map[string]any {
	const system = "System Information"
	if fits(smbios) {
		return smbios
	}
	if reduced := map[string]any{system: smbios[system]}; smbios[system] != nil && fits(reduced) {
		return reduced
	}
	return nil
}

// sizeOf is how long the JSON of it is.
func sizeOf(smbios map[string]any) int {
	data, err := json.Marshal(smbios)
	if err != nil {
		return math.MaxInt32
	}
	return len(data)
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
