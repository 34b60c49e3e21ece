package tpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

func TestOpenSoftware(t *testing.T) {
	path := filepath.Join(t.TempDir(), "var/lib/tpm.pem")
	first, err := OpenSoftware(path, ECCP256)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	again, err := OpenSoftware(path, RSA2048)
	require.NoError(t, err)
	require.Equal(t, first.EndorsementHash(), again.EndorsementHash(), "an existing key is kept, of whatever type")

	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Two processes that start at once are one machine.
func TestOpenSoftwareRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tpm.pem")
	hashes := make(chan string, 8)
	var racers sync.WaitGroup
	for range cap(hashes) {
		racers.Go(func() {
			software, err := OpenSoftware(path, ECCP256)
			if err == nil {
				hashes <- software.EndorsementHash()
			}
		})
	}
	racers.Wait()
	require.Len(t, hashes, cap(hashes))
	want := <-hashes
	for range cap(hashes) - 1 {
		require.Equal(t, want, <-hashes)
	}
}

func TestOpenSoftwareWithCertificate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tpm.pem")
	software, err := OpenSoftware(path, ECCP256)
	require.NoError(t, err)
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	certificate := selfSigned(t, software.ek.(*ecdsa.PrivateKey))
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...)
	require.NoError(t, os.WriteFile(path, data, 0o600))

	certified, err := OpenSoftware(path, ECCP256)
	require.NoError(t, err)
	require.Equal(t, software.EndorsementHash(), certified.EndorsementHash())
	require.Contains(t, string(certified.pem), "CERTIFICATE")
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	_, err = software.With(WithCertificate(selfSigned(t, other)))
	require.ErrorContains(t, err, "another key")
}

// A damaged key is not replaced by itself: that would be another machine.
func TestOpenBadSoftware(t *testing.T) {
	folder := t.TempDir()
	edwards := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	for why, content := range map[string][]byte{"empty": {}, "garbage": []byte("x"), "a broken key": edwards, "too large": make([]byte, maxEKFile+1)} {
		path := filepath.Join(folder, "tpm.pem")
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err := OpenSoftware(path, ECCP256)
		require.Error(t, err, why)
		after, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, content, after, why)
	}
	_, err := OpenSoftware(folder, ECCP256)
	require.Error(t, err, "a folder")
	_, err = GenerateSoftware("DSA")
	require.Error(t, err)
}

// What a TPM refuses: challenges that are malformed, or were made for another key.
func TestActivateRefuses(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	curved, err := GenerateSoftware(ECCP256, WithAttestationKey(key))
	require.NoError(t, err)
	rsaTPM, err := NewSoftware(key, WithAttestationKey(key))
	require.NoError(t, err)
	for _, software := range []*Software{curved, rsaTPM} {
		proof, err := software.NewProof()
		require.NoError(t, err)
		for why, credential := range map[string]protocol.EncryptedCredential{
			"nothing":          {},
			"lengths that lie": {Credential: []byte{0xff, 0xff, 1}, Secret: []byte{0xff, 0xff, 1}},
			"trailing bytes":   {Credential: []byte{0, 4, 0, 1, 1, 1, 9}, Secret: []byte{0, 1, 1, 9}},
			"no integrity":     {Credential: []byte{0, 1, 1}, Secret: []byte{0, 1, 1}},
			"a wrong seed":     {Credential: []byte{0, 4, 0, 1, 1, 1}, Secret: append([]byte{1, 0}, make([]byte, 256)...)},
			"a wrong point":    {Credential: []byte{0, 4, 0, 1, 1, 1}, Secret: append([]byte{0, 68, 0, 32}, append(make([]byte, 32), append([]byte{0, 32}, make([]byte, 32)...)...)...)},
		} {
			_, err := proof.Activate(&protocol.Challenge{EC: credential})
			require.Error(t, err, why)
		}
	}
}

func selfSigned(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return der
}
