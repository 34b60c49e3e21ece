package tpm

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// maxEKFile bounds a software endorsement key's file.
const maxEKFile = 64 << 10

// OpenSoftware is a TPM whose endorsement key is in a file: PEM, a PRIVATE KEY (PKCS #8) and optionally a CERTIFICATE for it. A
// missing file is made, mode 0600, in one step: of two processes that start at once, one makes the key and both use it.
func OpenSoftware(path string, keyType KeyType, options ...SoftwareOption) (*Software, error) {
	ek, certificate, err := readEKFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := createEKFile(path, keyType); err != nil {
			return nil, err
		}
		ek, certificate, err = readEKFile(path)
	}
	if err != nil {
		return nil, err
	}
	if certificate != nil {
		options = append([]SoftwareOption{WithCertificate(certificate)}, options...)
	}
	return NewSoftware(ek, options...)
}

func readEKFile(path string) (ek crypto.Signer, certificate []byte, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading software TPM: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxEKFile {
		return nil, nil, fmt.Errorf("reading software TPM: %s is not a key file", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading software TPM: %w", err)
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch block.Type {
		case "PRIVATE KEY":
			key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, fmt.Errorf("reading software TPM %s: %w", path, err)
			}
			signer, ok := key.(crypto.Signer)
			if !ok {
				return nil, nil, fmt.Errorf("reading software TPM %s: unsupported key %T", path, key)
			}
			ek = signer
		case "CERTIFICATE":
			certificate = block.Bytes
		}
	}
	if ek == nil {
		return nil, nil, fmt.Errorf("reading software TPM: %s holds no PRIVATE KEY: restore it, or delete it to make a new identity", path)
	}
	return ek, certificate, nil
}

// createEKFile links a complete, synced file into place, which fails if somebody else was first; then theirs is the key.
func createEKFile(path string, keyType KeyType) error {
	ek, err := generateEK(keyType)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(ek)
	if err != nil {
		return fmt.Errorf("encoding endorsement key: %w", err)
	}
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("making software TPM: %w", err)
	}
	temp, err := os.CreateTemp(folder, ".ek-*")
	if err != nil {
		return fmt.Errorf("making software TPM: %w", err)
	}
	defer os.Remove(temp.Name())
	err = pem.Encode(temp, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err = errors.Join(err, temp.Sync(), temp.Close()); err != nil {
		return fmt.Errorf("making software TPM: %w", err)
	}
	if err := os.Link(temp.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making software TPM: %w", err)
	}
	return nil
}
