package tpm

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/go-attestation/attest"
	"github.com/google/go-tpm/legacy/tpm2"
	"github.com/google/go-tpm/tpmutil"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Device is a TPM 2.0 behind the kernel's device file (or a simulator's socket). It serves one caller at a time.
type Device struct {
	channel *channel
	tpm     *attest.TPM
	ek      attest.EK
	hash    string
	pem     []byte
}

// defaultDevices in order of preference: the first one goes through the kernel's resource manager, so that others can use
// the TPM beside us.
func defaultDevices() []string { return []string{"/dev/tpmrm0", "/dev/tpm0"} }

// Open opens the TPM at path; an empty path means the machine's first TPM. Its error is an *Error.
func Open(path string) (*Device, error) {
	path, err := findDevice(path, "/sys/class/tpm")
	if err != nil {
		return nil, err
	}
	raw, err := tpmutil.OpenTPM(path)
	if err != nil {
		return nil, openError(path, err)
	}
	if err := waitForAnswers(raw); err != nil {
		_ = raw.Close()
		return nil, openError(path, err)
	}
	channel := &channel{ReadWriteCloser: raw}
	if _, err := tpm2.GetManufacturer(channel); err != nil {
		_ = channel.Close()
		return nil, notTPM2(path, err)
	}
	device := &Device{channel: channel}
	if device.tpm, err = attest.OpenTPM(&attest.OpenConfig{CommandChannel: channel}); err != nil {
		_ = channel.Close()
		return nil, diagnose(channel, fmt.Errorf("opening %s: %w", path, err))
	}
	if err := device.readEK(); err != nil {
		_ = device.Close()
		return nil, err
	}
	return device, nil
}

// waitForAnswers makes reading from the TPM wait until it has answered. Go opens devices for reading without waiting, and then the kernel says "end
// of file" while the TPM still works, and "busy" to the next command. The library below would wait by itself if it saw the file, which our channel hides.
func waitForAnswers(raw io.ReadWriteCloser) error {
	file, ok := raw.(*os.File)
	if !ok {
		return nil
	}
	connection, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := connection.Control(func(fd uintptr) { failed = syscall.SetNonblock(int(fd), false) }); err != nil {
		return err
	}
	return failed
}

// readEK takes the first endorsement key that the library lists, as every client of this protocol has always done: another
// choice would be another identity.
func (d *Device) readEK() error {
	eks, err := d.tpm.EKs()
	if err != nil {
		return diagnose(d.channel, fmt.Errorf("reading endorsement key: %w", err))
	}
	if len(eks) == 0 || eks[0].Public == nil {
		return &Error{Cause: Unusable, Message: "the TPM has no endorsement key that can be read",
			Hint: "clear the TPM in the firmware's setup so that it makes a new one, or use --emulate-tpm"}
	}
	d.ek = eks[0]
	if d.hash, err = attestation.EndorsementHash(d.ek.Public); err != nil {
		return &Error{Cause: Unusable, Message: "the TPM's endorsement key is of an unknown kind", Err: err}
	}
	block := &pem.Block{Type: "CERTIFICATE"}
	if d.ek.Certificate != nil {
		block.Bytes = d.ek.Certificate.Raw
	} else {
		block.Type = "PUBLIC KEY"
		if block.Bytes, err = x509.MarshalPKIXPublicKey(d.ek.Public); err != nil {
			return &Error{Cause: Unusable, Message: "the TPM's endorsement key is of an unknown kind", Err: err}
		}
	}
	d.pem = pem.EncodeToMemory(block)
	return nil
}

// EndorsementHash implements attestation.Prover.
func (d *Device) EndorsementHash() string { return d.hash }

// HasCertificate tells whether the TPM holds a certificate of its maker.
func (d *Device) HasCertificate() bool { return d.ek.Certificate != nil }

// Close implements attestation.Prover.
func (d *Device) Close() error { return d.channel.Close() }

// NewProof implements attestation.Prover.
func (d *Device) NewProof() (attestation.Proof, error) {
	ak, err := d.tpm.NewAK(nil)
	if err != nil {
		return nil, diagnose(d.channel, fmt.Errorf("making attestation key: %w", err))
	}
	params := ak.AttestationParameters()
	return &deviceProof{device: d, ak: ak, token: &protocol.AttestationToken{
		EK: d.pem,
		AK: &protocol.AttestationKey{
			Public:                  params.Public,
			UseTCSDActivationFormat: params.UseTCSDActivationFormat,
			CreateData:              params.CreateData,
			CreateAttestation:       params.CreateAttestation,
			CreateSignature:         params.CreateSignature,
		},
	}}, nil
}

type deviceProof struct {
	device *Device
	ak     *attest.AK
	token  *protocol.AttestationToken
}

func (p *deviceProof) Token() *protocol.AttestationToken { return p.token }

func (p *deviceProof) Activate(challenge *protocol.Challenge) ([]byte, error) {
	credential := attest.EncryptedCredential{Credential: challenge.EC.Credential, Secret: challenge.EC.Secret}
	secret, err := p.ak.ActivateCredentialWithEK(p.device.tpm, credential, p.device.ek)
	if err == nil {
		return secret, nil
	}
	if reason := diagnose(p.device.channel, fmt.Errorf("activating credential: %w", err)); reason.Cause != Unusable {
		return nil, reason
	}
	return nil, fmt.Errorf("%w: %w", ErrNotForUs, err)
}

func (p *deviceProof) Close() error { return p.ak.Close(p.device.tpm) }

// channel is a TPM's command channel. Event logs are no part of our protocol.
type channel struct{ io.ReadWriteCloser }

func (c *channel) MeasurementLog() ([]byte, error) { return nil, errors.ErrUnsupported }

// Close forgives simulators, whose connections exist for the length of a command only.
func (c *channel) Close() error {
	if _, simulator := c.ReadWriteCloser.(*tpmutil.EmulatorReadWriteCloser); simulator {
		return nil
	}
	return c.ReadWriteCloser.Close()
}

// findDevice is the path to open, or the error that tells a machine without a TPM from one with an old TPM.
func findDevice(path, sysfs string) (string, error) {
	candidates := []string{path}
	if path == "" {
		candidates = defaultDevices()
	}
	if versions, _ := filepath.Glob(filepath.Join(sysfs, "tpm*", "tpm_version_major")); path == "" && len(versions) > 0 {
		version, err := os.ReadFile(versions[0])
		if err == nil && strings.TrimSpace(string(version)) == "1" {
			return "", notTPM2(filepath.Dir(versions[0]), nil)
		}
	}
	for _, candidate := range candidates {
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", openError(candidate, err)
		}
	}
	return "", &Error{Cause: Missing,
		Message: fmt.Sprintf("this machine has no TPM (looked for %s)", strings.Join(candidates, ", ")),
		Hint:    "switch the TPM on in the firmware's setup (often called fTPM or PTT), or use --emulate-tpm if the registration allows it",
		Err:     fs.ErrNotExist,
	}
}

func openError(path string, err error) *Error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &Error{Cause: Permission, Message: "no permission to use the TPM at " + path,
			Hint: "run as root, or as a member of the group that owns the device (often tss)", Err: err}
	case errors.Is(err, syscall.EBUSY):
		return &Error{Cause: Busy, Message: "another program is using the TPM at " + path,
			Hint: "use /dev/tpmrm0, which can be shared, or stop the other program (often tpm2-abrmd)", Err: err}
	default:
		return &Error{Cause: Unusable, Message: "the TPM at " + path + " cannot be opened",
			Hint: "check that the path is a TPM device", Err: err}
	}
}

func notTPM2(path string, err error) *Error {
	return &Error{Cause: OldVersion, Message: "the TPM at " + path + " is not a TPM 2.0",
		Hint: "TPM 1.2 is not supported: switch the firmware to TPM 2.0 where it offers both, or use --emulate-tpm if the registration allows it",
		Err:  err}
}
