package attestation_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"

	"github.com/google/go-tpm/tpmutil"
	"github.com/stretchr/testify/require"
)

func derOf(block []byte) []byte {
	decoded, _ := pem.Decode(block)
	return bytes.Clone(decoded.Bytes)
}

// flipLast changes the last byte in place.
func flipLast(data []byte) []byte {
	data[len(data)-1] ^= 1
	return data
}

// pointAtInfinity replaces an SPKI's uncompressed point by zeros.
func pointAtInfinity(spki []byte) []byte {
	clear(spki[len(spki)-64:])
	return spki
}

// paddedModulus spells the same RSA key with one zero byte more, as BER allows and DER does not.
func paddedModulus(t *testing.T, spki []byte) []byte {
	t.Helper()
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	_, err := asn1.Unmarshal(spki, &info)
	require.NoError(t, err)
	var key struct {
		N *big.Int
		E int
	}
	_, err = asn1.Unmarshal(info.Key.Bytes, &key)
	require.NoError(t, err)
	padded, err := asn1.Marshal(struct {
		N asn1.RawValue
		E int
	}{asn1.RawValue{Tag: asn1.TagInteger, Bytes: append([]byte{0, 0}, key.N.Bytes()...)}, key.E})
	require.NoError(t, err)
	info.Key = asn1.BitString{Bytes: padded, BitLength: 8 * len(padded)}
	encoded, err := asn1.Marshal(info)
	require.NoError(t, err)
	return encoded
}

// oaepSPKI declares the key as RSAES-OAEP, as the certificates of some old TPMs do.
func oaepSPKI(t *testing.T, block []byte) []byte {
	t.Helper()
	var info struct {
		Algorithm struct {
			ID         asn1.ObjectIdentifier
			Parameters asn1.RawValue
		}
		Key asn1.BitString
	}
	_, err := asn1.Unmarshal(derOf(block), &info)
	require.NoError(t, err)
	info.Algorithm.ID = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 7}
	encoded, err := asn1.Marshal(info)
	require.NoError(t, err)
	return encoded
}

// closePrimes is what a generator makes that takes the next prime as its second one.
func closePrimes(t *testing.T) *rsa.PublicKey {
	t.Helper()
	p, err := rand.Prime(rand.Reader, 1024)
	require.NoError(t, err)
	q := new(big.Int).Add(p, big.NewInt(2))
	for !q.ProbablyPrime(10) {
		q.Add(q, big.NewInt(2))
	}
	return weakRSA(p, q)
}

func handle(n uint32) *tpmutil.Handle {
	h := tpmutil.Handle(n)
	return &h
}

// renameAlgorithm says SHA3-256 where an attestation's object name says SHA-256.
func renameAlgorithm(statement []byte) []byte {
	// The name is what comes before the last 34 bytes, the creation hash.
	name := len(statement) - 34 - 34
	statement[name+1] = 0x27
	return statement
}
