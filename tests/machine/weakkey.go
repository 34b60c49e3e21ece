package machine

import (
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"math/big"
)

// NewWeakKey is a key as Infineon's library made them (ROCA, CVE-2017-15361), of 2048 bits: its primes are k*M + 65537^a mod M.
func NewWeakKey() (*rsa.PrivateKey, error) {
	p, err := rocaPrime(1024)
	if err != nil {
		return nil, err
	}
	q, err := rocaPrime(1024)
	if err != nil {
		return nil, err
	}
	key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}, Primes: []*big.Int{p, q}}
	one := big.NewInt(1)
	key.D = new(big.Int).ModInverse(big.NewInt(int64(key.E)), new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)))
	key.Precompute()
	return key, key.Validate()
}

func rocaPrime(bits int) (*big.Int, error) {
	product := big.NewInt(1)
	for n := int64(2); n <= 167; n++ {
		if big.NewInt(n).ProbablyPrime(0) {
			product.Mul(product, big.NewInt(n))
		}
	}
	exponent, err := rand.Int(rand.Reader, product)
	if err != nil {
		return nil, err
	}
	residue := new(big.Int).Exp(big.NewInt(65537), exponent, product)
	high, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits-2)))
	if err != nil {
		return nil, err
	}
	high.SetBit(high, bits-1, 1).SetBit(high, bits-2, 1)
	candidate := new(big.Int).Div(high, product)
	candidate.Mul(candidate, product).Add(candidate, residue)
	for range 100_000 {
		if candidate.BitLen() == bits && candidate.ProbablyPrime(10) {
			return candidate, nil
		}
		candidate.Add(candidate, product)
	}
	return nil, errors.New("no ROCA prime found")
}
