package protocol

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"strings"
)

const bearerPrefix = "Bearer "

// Scheme is how a caller wants to prove who it is. The server decides by it which handler runs, and nothing else.
type Scheme int

const (
	// SchemeNone: no Authorization header.
	SchemeNone Scheme = iota
	// SchemeAttestation: `Bearer TPM<base64>`, see ParseAuthorization.
	SchemeAttestation
	// SchemeBearer: `Bearer <base64>`: a shared machine token (inventory) or the digest of one (cacerts).
	SchemeBearer
	// SchemeDowngrade: `Bearer PLAIN...`, the successor's unproven identities. Never accepted; counted.
	SchemeDowngrade
	// SchemeUnknown: anything else, other capitals of the above included.
	SchemeUnknown
)

// SchemeOf classifies all values of a request's Authorization header. More than one value is SchemeUnknown: proxies
// disagree on which one counts.
func SchemeOf(values []string) Scheme {
	switch {
	case len(values) == 0:
		return SchemeNone
	case len(values) > 1:
		return SchemeUnknown
	}
	credential, ok := strings.CutPrefix(values[0], bearerPrefix)
	switch {
	case !ok || credential == "":
		return SchemeUnknown
	case strings.HasPrefix(credential, "TPM"):
		return SchemeAttestation
	case strings.HasPrefix(credential, "PLAIN"):
		return SchemeDowngrade
	}
	if _, err := decodeBase64(credential); err != nil {
		return SchemeUnknown
	}
	return SchemeBearer
}

// SharedTokenAuthorization is the Authorization header of an inventory request with a shared machine token.
func SharedTokenAuthorization(token string) string {
	return bearerPrefix + base64.StdEncoding.EncodeToString([]byte(token))
}

// ParseSharedToken reads the shared machine token from the header.
func ParseSharedToken(header string) (string, error) {
	data, err := parseBearer(header)
	if err != nil {
		return "", err
	}
	return string(data), nil
}

// CACertsAuthorization is the Authorization header of a cacerts request: it names the token by its SHA-256, so that
// the token itself does not travel over a connection whose certificate nobody has checked yet.
func CACertsAuthorization(token string) string {
	sum := TokenDigest(token)
	return bearerPrefix + base64.StdEncoding.EncodeToString(sum[:])
}

// ParseCACertsAuthorization reads the SHA-256 of the token from the header.
func ParseCACertsAuthorization(header string) ([sha256.Size]byte, error) {
	var sum [sha256.Size]byte
	data, err := parseBearer(header)
	if err != nil {
		return sum, err
	}
	if len(data) != len(sum) {
		return sum, refuse(CodeUnauthorized, "the token cannot be read", "%d bytes where a SHA-256 is expected", len(data))
	}
	copy(sum[:], data)
	return sum, nil
}

// TokenDigest is the name of a token in a cacerts request: SHA-256 of a shared token, or of a TPM machine's
// endorsement hash (64 hex characters).
func TokenDigest(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

func parseBearer(header string) ([]byte, error) {
	const sentence = "the token cannot be read"
	encoded, ok := strings.CutPrefix(header, bearerPrefix)
	if !ok {
		return nil, refuse(CodeUnauthorized, sentence, "not a bearer token")
	}
	if len(encoded) > base64.StdEncoding.EncodedLen(MaxSharedToken) {
		return nil, refuse(CodeUnauthorized, sentence, "%d bytes of base64, limit %d bytes decoded", len(encoded), MaxSharedToken)
	}
	data, err := decodeBase64(encoded)
	if err != nil {
		return nil, refuse(CodeUnauthorized, sentence, "%v", err)
	}
	// Base64 comes in threes.
	if len(data) > MaxSharedToken {
		return nil, refuse(CodeUnauthorized, sentence, "%d bytes, limit %d", len(data), MaxSharedToken)
	}
	return data, nil
}

// ValidNonce tells whether a cacerts nonce is acceptable: 16 to 256 printable ASCII characters.
func ValidNonce(nonce string) bool {
	if len(nonce) < 16 || len(nonce) > 256 {
		return false
	}
	for i := 0; i < len(nonce); i++ {
		if nonce[i] < '!' || nonce[i] > '~' {
			return false
		}
	}
	return true
}

// CACertsHash is the value of X-Cattle-Hash. For a TPM machine the key is its endorsement hash, which is public: then
// the value proves nothing and exists for old clients only. Nothing of ours relies on it.
func CACertsHash(token, nonce string, body []byte) string {
	return base64.StdEncoding.EncodeToString(cacertsMAC(token, nonce, body))
}

// VerifyCACertsHash compares in constant time. An absent or malformed hash is a mismatch.
func VerifyCACertsHash(hash, token, nonce string, body []byte) bool {
	got, err := decodeBase64(hash)
	if err != nil {
		return false
	}
	return hmac.Equal(got, cacertsMAC(token, nonce, body))
}

func cacertsMAC(token, nonce string, body []byte) []byte {
	mac := hmac.New(sha512.New, []byte(token))
	mac.Write([]byte(nonce))
	mac.Write([]byte{0})
	mac.Write(body)
	mac.Write([]byte{0})
	return mac.Sum(nil)
}
