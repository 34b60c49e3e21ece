package attestation

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// A guard that refused real TPMs would be worse than none: sound keys pass, always.
func TestSoundKeysPass(t *testing.T) {
	for range 20 {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		require.NoError(t, err)
		require.NoError(t, soundRSA(&key.PublicKey))
		require.False(t, rocaFingerprint(key.N))
	}
}

func TestSmallFactor(t *testing.T) {
	p, err := rand.Prime(rand.Reader, 512)
	require.NoError(t, err)
	require.Zero(t, smallFactor(p))
	for _, prime := range []int64{3, 5, 7, 11, 13, 251, 257, 743, 751} {
		require.EqualValues(t, prime, smallFactor(new(big.Int).Mul(p, big.NewInt(prime))))
	}
	require.Zero(t, smallFactor(new(big.Int).Mul(p, big.NewInt(757))), "beyond the limit")
}

// The filter in front of the square root must let every square pass.
func TestMaybeSquare(t *testing.T) {
	passed := 0
	for n := range int64(20_000) {
		square := big.NewInt(n * n)
		require.True(t, maybeSquare(square), "%d", n)
		if maybeSquare(big.NewInt(n)) {
			passed++
		}
	}
	require.Less(t, passed, 1_000, "most other numbers are stopped")
}

func TestIsPrime(t *testing.T) {
	for n := uint32(2); n < 1000; n++ {
		require.Equal(t, big.NewInt(int64(n)).ProbablyPrime(0), isPrime(n), "%d", n)
	}
}

func BenchmarkSoundRSA(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(b, err)
	for b.Loop() {
		if soundRSA(&key.PublicKey) != nil || rocaFingerprint(key.N) {
			b.Fatal("a sound key is refused")
		}
	}
}
