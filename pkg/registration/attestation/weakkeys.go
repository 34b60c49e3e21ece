package attestation

import (
	"bytes"
	"crypto/rsa"
	"fmt"
	"math/big"
	"sync"
)

const (
	minRSABits  = 2048
	maxRSABits  = 4096
	rsaExponent = 65537
	// fermatRounds is how far from the square root of the modulus close primes are looked for.
	fermatRounds = 100
)

// soundRSA refuses RSA keys that no TPM makes, or whose private half others can compute. The challenge would protect
// nothing: whoever factors the key can answer in the machine's name.
func soundRSA(key *rsa.PublicKey) error {
	bits := key.N.BitLen()
	switch {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("EK of %d bits, allowed are %d to %d", bits, minRSABits, maxRSABits)
	case key.E != rsaExponent:
		return fmt.Errorf("EK exponent %d, allowed is %d", key.E, rsaExponent)
	case key.N.Bit(0) == 0:
		return fmt.Errorf("EK modulus is even")
	}
	if factor := smallFactor(key.N); factor != 0 {
		return fmt.Errorf("EK modulus has the factor %d", factor)
	}
	if closePrimes(key.N) {
		return fmt.Errorf("EK modulus is the product of two close primes")
	}
	return nil
}

// smallPrimes is the product of the odd primes below 752.
var smallPrimes = sync.OnceValue(func() *big.Int {
	product := big.NewInt(1)
	for prime := uint32(3); prime < 752; prime += 2 {
		if isPrime(prime) {
			product.Mul(product, big.NewInt(int64(prime)))
		}
	}
	return product
})

// smallFactor finds a prime factor below 752, or 0. What a number has in common with the product of all those primes costs less to
// find out than the remainder of each.
func smallFactor(n *big.Int) uint32 {
	common := new(big.Int).GCD(nil, nil, n, smallPrimes()).Bytes()
	for prime := uint32(3); prime < 752 && !bytes.Equal(common, []byte{1}); prime += 2 {
		if isPrime(prime) && remainder(common, prime) == 0 {
			return prime
		}
	}
	return 0
}

// remainder is a big-endian number modulo a 32-bit one.
func remainder(number []byte, modulus uint32) uint32 {
	rest := uint64(0)
	for _, b := range number {
		rest = (rest<<8 | uint64(b)) % uint64(modulus)
	}
	return uint32(rest)
}

func isPrime(n uint32) bool {
	for i := uint32(3); i*i <= n; i += 2 {
		if n%i == 0 {
			return false
		}
	}
	return n == 2 || n%2 == 1 && n > 1
}

// rocaFingerprint recognises keys of the generator in Infineon's library (CVE-2017-15361, "ROCA"). Its primes are k*M + 65537^a
// mod M, with M the product of the first primes: modulo each of those, such a modulus is a power of 65537. For a random
// modulus that happens with all primes from 3 to 167 about once in 2^28.
func rocaFingerprint(n *big.Int) bool {
	modulus := n.Bytes()
	for prime := uint32(3); prime <= 167; prime += 2 {
		if isPrime(prime) && !isPower(remainder(modulus, prime), prime) {
			return false
		}
	}
	return true
}

// isPower tells whether n is a power of 65537 modulo a prime.
func isPower(n, prime uint32) bool {
	power := uint32(1)
	for range prime {
		if power == n {
			return true
		}
		power = power * (rsaExponent % prime) % prime
	}
	return false
}

// closePrimes is Fermat's factorisation, given up after a few rounds: with N = a² - b², the primes are a-b and a+b, and a is just above
// the square root of N when they are close. a² - N is updated by addition; squares are told from other numbers by their last bits and
// small remainders first, because taking a root costs more than all the rest.
func closePrimes(n *big.Int) bool {
	one := big.NewInt(1)
	a := new(big.Int).Sqrt(n)
	a.Add(a, one)
	square := new(big.Int).Mul(a, a)
	square.Sub(square, n)
	step := new(big.Int).Lsh(a, 1)
	step.Add(step, one)
	root, check := new(big.Int), new(big.Int)
	for range fermatRounds {
		if maybeSquare(square) {
			root.Sqrt(square)
			if check.Mul(root, root).Cmp(square) == 0 {
				return true
			}
		}
		square.Add(square, step)
		step.Add(step, big.NewInt(2))
	}
	return false
}

// maybeSquare is false for about 98 of 100 numbers that are not squares.
func maybeSquare(n *big.Int) bool {
	if n.Sign() == 0 {
		return true
	}
	low := uint64(0)
	if words := n.Bits(); len(words) > 0 {
		low = uint64(words[0])
	}
	// Squares end in 0, 1, 4, 9, 16, 17, 25, 33, 36, 41, 49 or 57 modulo 64.
	const squaresModulo64 uint64 = 1<<0 | 1<<1 | 1<<4 | 1<<9 | 1<<16 | 1<<17 | 1<<25 | 1<<33 | 1<<36 | 1<<41 | 1<<49 | 1<<57
	if squaresModulo64>>(low&63)&1 == 0 {
		return false
	}
	rest := new(big.Int).Mod(n, big.NewInt(63*65*11)).Uint64()
	return isResidue(rest, 63) && isResidue(rest, 65) && isResidue(rest, 11)
}

func isResidue(n, modulus uint64) bool {
	n %= modulus
	for i := range modulus/2 + 1 {
		if i*i%modulus == n {
			return true
		}
	}
	return false
}
