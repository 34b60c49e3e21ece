package operator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writePair writes a certificate of the serial number, as of the given time.
func writePair(t *testing.T, certFile, keyFile string, serial int64, at time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: certificate}, keyFile: {Type: "PRIVATE KEY", Bytes: encodedKey}} {
		require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
		require.NoError(t, os.Chtimes(file, at, at))
	}
}

func TestCertificateIsReadAgain(t *testing.T) {
	certFile, keyFile := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	_, err := readCertificate(certFile, keyFile)
	require.ErrorContains(t, err, "reading --tls-cert-file and --tls-key-file")

	start := time.Now()
	writePair(t, certFile, keyFile, 1, start)
	files, err := readCertificate(certFile, keyFile)
	require.NoError(t, err)
	serial := func() int64 {
		pair, err := files.get(nil)
		require.NoError(t, err)
		parsed, err := x509.ParseCertificate(pair.Certificate[0])
		require.NoError(t, err)
		return parsed.SerialNumber.Int64()
	}
	require.Equal(t, int64(1), serial())
	writePair(t, certFile, keyFile, 2, start.Add(time.Minute))
	require.Equal(t, int64(2), serial())

	require.NoError(t, os.WriteFile(certFile, []byte("half of a cert"), 0o600))
	require.Equal(t, int64(2), serial(), "what cannot be used is not used")
	require.NoError(t, os.Remove(keyFile))
	require.Equal(t, int64(2), serial(), "nor what is gone")
	writePair(t, certFile, keyFile, 3, start.Add(2*time.Minute))
	require.Equal(t, int64(3), serial())
}
