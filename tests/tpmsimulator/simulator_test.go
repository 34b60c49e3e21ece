// Package tpmsimulator lets the machine's half prove itself with the reference implementation of the TPM 2.0
// specification, which go-tpm-tools ships: neither our software TPM nor our verifier is its own only witness.
//
// It is a module of its own because the reference TPM is C and needs cgo and OpenSSL's headers (libssl-dev), which
// nothing that ships may. `make test` runs it.
package tpmsimulator

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/legacy/tpm2"
	"github.com/google/go-tpm/tpmutil"
	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// ekCertificateRSA is where a TPM keeps the certificate of its RSA endorsement key (TCG EK credential profile).
const ekCertificateRSA = tpmutil.Handle(0x1C00002)

// listen serves the TPM on a socket, as the kernel does on a device: a command in, a response out.
func listen(t *testing.T, reference io.ReadWriter) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "tpm") // t.TempDir() is too long for a socket's name.
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	listener, err := net.Listen("unix", socket)
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	var one sync.Mutex
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(connection, reference, &one)
		}
	}()
	return socket
}

func serve(connection net.Conn, reference io.ReadWriter, one *sync.Mutex) {
	defer connection.Close()
	command, response := make([]byte, 4096), make([]byte, 4096)
	for {
		n, err := connection.Read(command)
		if err != nil {
			return
		}
		one.Lock()
		_, err = reference.Write(command[:n])
		if err == nil {
			n, err = reference.Read(response)
		}
		one.Unlock()
		if err != nil {
			return
		}
		if _, err := connection.Write(response[:n]); err != nil {
			return
		}
	}
}

func start(t *testing.T, seed int64) *simulator.Simulator {
	t.Helper()
	reference, err := simulator.GetWithFixedSeedInsecure(seed)
	require.NoError(t, err)
	return reference
}

func open(t *testing.T, reference io.ReadWriter) *tpm.Device {
	t.Helper()
	device, err := tpm.Open(listen(t, reference))
	require.NoError(t, err)
	return device
}

// prove runs one exchange, and returns who the verifier takes the machine for.
func prove(t *testing.T, device *tpm.Device, policy attestation.Policy) attestation.Identity {
	t.Helper()
	proof, err := device.NewProof()
	require.NoError(t, err)
	defer proof.Close()
	session, err := attestation.Begin(proof.Token(), policy)
	require.NoError(t, err)
	secret, err := proof.Activate(session.Challenge())
	require.NoError(t, err)
	answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
	require.NoError(t, err)
	require.NoError(t, session.Verify(answer))
	require.Equal(t, device.EndorsementHash(), session.Identity().Hash)
	return session.Identity()
}

// The reference TPM proves itself, with and without its maker's certificate, and is the same machine on every start.
func TestReferenceTPM(t *testing.T) {
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(maker.Root)
	policy := attestation.Policy{Roots: roots, Intermediates: intermediates}

	reference := start(t, 1)
	device := open(t, reference)
	require.False(t, device.HasCertificate())
	first := prove(t, device, policy)
	require.Nil(t, first.Certificate)
	key := publicKey(t, device)
	certificate, err := maker.Certify(key, machine.EKCertificate{})
	require.NoError(t, err)
	require.NoError(t, device.Close())
	writeCertificate(t, reference, certificate)

	device = open(t, reference)
	require.True(t, device.HasCertificate(), "the TPM shows the certificate in its memory")
	identity := prove(t, device, policy)
	require.Equal(t, first.Hash, identity.Hash, "the hash is of the key, whatever wraps it")
	require.False(t, identity.Certificate.Verified, "an intermediate is missing")
	require.NotEmpty(t, identity.Certificate.Problem)
	intermediates.AddCert(maker.Intermediate)
	require.True(t, prove(t, device, policy).Certificate.Verified)
	require.NoError(t, device.Close())
	require.NoError(t, reference.Close())
}

// A challenge for one TPM is of no use to another.
func TestAnotherTPMCannotAnswer(t *testing.T) {
	reference := start(t, 1)
	device := open(t, reference)
	proof, err := device.NewProof()
	require.NoError(t, err)
	session, err := attestation.Begin(proof.Token(), attestation.Policy{})
	require.NoError(t, err)
	require.NoError(t, proof.Close())
	require.NoError(t, device.Close())
	require.NoError(t, reference.Close())

	reference = start(t, 2)
	defer reference.Close()
	other := open(t, reference)
	defer other.Close()
	require.NotEqual(t, session.Identity().Hash, other.EndorsementHash())
	otherProof, err := other.NewProof()
	require.NoError(t, err)
	defer otherProof.Close()
	_, err = otherProof.Activate(session.Challenge())
	require.Error(t, err)
}

// publicKey is the endorsement key of a TPM without a certificate.
func publicKey(t *testing.T, device *tpm.Device) crypto.PublicKey {
	t.Helper()
	proof, err := device.NewProof()
	require.NoError(t, err)
	defer proof.Close()
	block, _ := pem.Decode(proof.Token().EK)
	require.NotNil(t, block)
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	require.NoError(t, err)
	return key
}

func writeCertificate(t *testing.T, reference io.ReadWriter, der []byte) {
	t.Helper()
	attributes := tpm2.AttrOwnerWrite | tpm2.AttrOwnerRead | tpm2.AttrAuthRead | tpm2.AttrNoDA
	require.NoError(t, tpm2.NVDefineSpace(reference, tpm2.HandleOwner, ekCertificateRSA, "", "", nil, attributes, uint16(len(der))))
	require.NoError(t, tpm2.NVWrite(reference, tpm2.HandleOwner, ekCertificateRSA, "", der, 0))
}

// T43: the keys that a test setup's TPM has are on the list, and those of one with a seed of its own are not.
func TestSmallSeedsAreKnown(t *testing.T) {
	for seed, known := range map[int64]bool{0: true, 7: true, 1000: true, 123456789: false} {
		reference := start(t, seed)
		device := open(t, reference)
		require.Equal(t, known, attestation.KnownSimulator(device.EndorsementHash()), "seed %d", seed)
		require.NoError(t, device.Close())
		require.NoError(t, reference.Close())
	}
}
