// Command seeds prints the hashes of the endorsement keys that the reference TPM has when it is started with a small
// fixed seed, as many test setups do: everybody has their private halves. pkg/registration/attestation holds its output.
//
//	cd tests/tpmsimulator && go run ./seeds > ../../pkg/registration/attestation/simulators.txt
//
// It takes some minutes. Each line is the first 16 hex digits of a hash.
package main

import (
	"crypto"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/go-tpm-tools/simulator"
	"github.com/google/go-tpm/legacy/tpm2"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
)

// lastSeed is where tests' imagination ends.
const lastSeed = 1000

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "seeds:", err)
		os.Exit(1)
	}
}

func run() error {
	var prefixes []string
	for seed := range int64(lastSeed + 1) {
		keys, err := endorsementKeys(seed)
		if err != nil {
			return fmt.Errorf("seed %d: %w", seed, err)
		}
		for _, key := range keys {
			hash, err := attestation.EndorsementHash(key)
			if err != nil {
				return fmt.Errorf("seed %d: %w", seed, err)
			}
			prefixes = append(prefixes, hash[:16])
		}
	}
	slices.Sort(prefixes)
	for _, prefix := range slices.Compact(prefixes) {
		fmt.Println(prefix)
	}
	return nil
}

// The templates L-1 and L-2 of the TCG's EK credential profile.
func templateRSA() tpm2.Public {
	return tpm2.Public{Type: tpm2.AlgRSA, NameAlg: tpm2.AlgSHA256, Attributes: endorsement, AuthPolicy: policySecret(),
		RSAParameters: &tpm2.RSAParams{Symmetric: aes128(), KeyBits: 2048, ModulusRaw: make([]byte, 256)}}
}

func templateECC() tpm2.Public {
	return tpm2.Public{Type: tpm2.AlgECC, NameAlg: tpm2.AlgSHA256, Attributes: endorsement, AuthPolicy: policySecret(),
		ECCParameters: &tpm2.ECCParams{Symmetric: aes128(), CurveID: tpm2.CurveNISTP256,
			Point: tpm2.ECPoint{XRaw: make([]byte, 32), YRaw: make([]byte, 32)}}}
}

const endorsement = tpm2.FlagFixedTPM | tpm2.FlagFixedParent | tpm2.FlagSensitiveDataOrigin | tpm2.FlagAdminWithPolicy |
	tpm2.FlagRestricted | tpm2.FlagDecrypt

func aes128() *tpm2.SymScheme {
	return &tpm2.SymScheme{Alg: tpm2.AlgAES, KeyBits: 128, Mode: tpm2.AlgCFB}
}

// policySecret is TPM2_PolicySecret(TPM_RH_ENDORSEMENT): a hash of an empty policy, the command and the hierarchy's name.
func policySecret() []byte {
	var command [8]byte
	binary.BigEndian.PutUint32(command[:4], 0x151) // TPM_CC_PolicySecret
	binary.BigEndian.PutUint32(command[4:], uint32(tpm2.HandleEndorsement))
	first := sha256.Sum256(append(make([]byte, sha256.Size), command[:]...))
	second := sha256.Sum256(first[:]) // With an empty policyRef.
	return second[:]
}

// endorsementKeys are the two that the templates give.
func endorsementKeys(seed int64) (keys []crypto.PublicKey, err error) {
	reference, err := simulator.GetWithFixedSeedInsecure(seed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, reference.Close()) }()
	for _, template := range []tpm2.Public{templateRSA(), templateECC()} {
		handle, key, err := tpm2.CreatePrimary(reference, tpm2.HandleEndorsement, tpm2.PCRSelection{}, "", "", template)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
		if err := tpm2.FlushContext(reference, handle); err != nil {
			return nil, err
		}
	}
	return keys, nil
}
