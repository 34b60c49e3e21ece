package tpm

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// startSimulator runs swtpm, IBM's TPM 2.0 in C: a witness that is neither our prover nor our verifier.
func startSimulator(t *testing.T) string {
	t.Helper()
	binary, err := exec.LookPath("swtpm")
	if err != nil {
		t.Skip("swtpm is not installed")
	}
	folder, err := os.MkdirTemp("", "swtpm") // t.TempDir() is too long for a socket's name
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	command := exec.Command(binary, "socket", "--tpm2", "--tpmstate", "dir="+folder, "--server", "type=unixio,path="+socket,
		"--flags", "not-need-init,startup-clear")
	command.Stderr = os.Stderr
	require.NoError(t, command.Start())
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	require.Eventually(t, func() bool { _, err := os.Stat(socket); return err == nil }, 10*time.Second, 10*time.Millisecond)
	return socket
}

func TestDeviceRoundTrip(t *testing.T) {
	device, err := Open(startSimulator(t))
	require.NoError(t, err)
	defer device.Close()
	require.False(t, device.HasCertificate())

	for range 2 {
		proof, err := device.NewProof()
		require.NoError(t, err)
		require.Len(t, proof.Token().AK.Public, 280)
		require.Len(t, proof.Token().AK.CreateData, 115)
		require.Len(t, proof.Token().AK.CreateAttestation, 139)
		require.Len(t, proof.Token().AK.CreateSignature, 262)

		session, err := attestation.Begin(proof.Token(), attestation.Policy{})
		if err != nil {
			t.Fatal(protocol.AsError(err).Detail())
		}
		require.Equal(t, device.EndorsementHash(), session.Identity().Hash)
		secret, err := proof.Activate(session.Challenge())
		require.NoError(t, err)
		answer, err := (&protocol.ChallengeResponse{Secret: secret}).Encode()
		require.NoError(t, err)
		require.NoError(t, session.Verify(answer))
		require.NoError(t, proof.Close())
	}

	software, err := GenerateSoftware(RSA2048)
	require.NoError(t, err)
	foreign, err := software.NewProof()
	require.NoError(t, err)
	session, err := attestation.Begin(foreign.Token(), attestation.Policy{})
	require.NoError(t, err)
	proof, err := device.NewProof()
	require.NoError(t, err)
	_, err = proof.Activate(session.Challenge())
	require.ErrorIs(t, err, ErrNotForUs, "a challenge for another machine")
	require.NoError(t, proof.Close())
}

// Causes of F43: each is told apart, because each asks for something else from the person at the machine.
func TestOpenCauses(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))

	_, err := Open(filepath.Join(folder, "missing"))
	requireCause(t, Missing, err)
	_, err = Open(file)
	requireCause(t, Unusable, err)

	old := filepath.Join(folder, "sys/tpm0")
	require.NoError(t, os.MkdirAll(old, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(old, "tpm_version_major"), []byte("1\n"), 0o644))
	_, err = findDevice("", filepath.Join(folder, "sys"))
	requireCause(t, OldVersion, err)

	requireCause(t, Permission, openError("x", &fs.PathError{Err: syscall.EACCES}))
	requireCause(t, Busy, openError("x", &fs.PathError{Err: syscall.EBUSY}))
}

func TestDiagnose(t *testing.T) {
	for _, c := range []struct {
		why   string
		state byte // the property's third and fourth byte hold the bits
		low   byte
		want  Cause
	}{
		{"nothing special", 0, 0, Unusable},
		{"bit 9: locked out", 0x02, 0, LockedOut},
		{"bit 0: owner password", 0, 0x01, PasswordSet},
		{"bit 1: endorsement password", 0, 0x02, PasswordSet},
		{"a lockout explains more than a password", 0x02, 0x03, LockedOut},
	} {
		answer := []byte{0x80, 0x01, 0, 0, 0, 27, 0, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, c.state, c.low}
		cause := errors.New("some command failed")
		err := diagnose(&cannedTPM{answer: answer}, cause)
		require.Equal(t, c.want, err.Cause, c.why)
		require.ErrorIs(t, err, cause)
		require.NotEmpty(t, err.Hint)
	}
	require.Equal(t, Unusable, diagnose(&cannedTPM{}, errors.New("x")).Cause, "a TPM that does not answer at all")
	require.Equal(t, Busy, diagnose(&cannedTPM{}, syscall.EBUSY).Cause)
}

type cannedTPM struct{ answer []byte }

func (c *cannedTPM) Write(p []byte) (int, error) { return len(p), nil }
func (c *cannedTPM) Read(p []byte) (int, error) {
	if len(c.answer) == 0 {
		return 0, errors.New("no answer")
	}
	return copy(p, c.answer), nil
}

func requireCause(t *testing.T, want Cause, err error) {
	t.Helper()
	var typed *Error
	require.ErrorAs(t, err, &typed)
	require.Equal(t, want, typed.Cause, typed.Error())
	require.NotEmpty(t, typed.Hint)
}
