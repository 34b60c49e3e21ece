package protocol

import "time"

// Paths of the conversation, below Rancher's own address.
const (
	// PathPrefix is what Rancher routes to us.
	PathPrefix = "/v1-rancheros/"
	// PathRegistration is followed by a registration token and nothing else.
	PathRegistration = PathPrefix + "registration/"
	// PathInventory answers a known machine's role and cluster token.
	PathInventory = PathPrefix + "inventory"
	// PathSeedImage is followed by a SeedImage's token and the name of one of its files.
	PathSeedImage = PathPrefix + "seedimage/"
	// PathCACerts answers Rancher's CA.
	PathCACerts = PathPrefix + "cacerts"
)

// Header names. The names are those of the first clients and cannot change.
const (
	HeaderAuthorization = "Authorization"
	// HeaderSMBIOS carries base64 of JSON: what the machine's firmware says about itself.
	HeaderSMBIOS = "X-Cattle-Smbios"
	// HeaderNonce is the client's nonce in a cacerts request.
	HeaderNonce = "X-Cattle-Nonce"
	// HeaderHash is the server's HMAC over the cacerts answer.
	HeaderHash = "X-Cattle-Hash"
)

// Limits. They hold on both sides: the server against machines that have proven nothing, the client against
// captive portals and broken proxies.
const (
	// MaxAuthorization bounds the Authorization header. Real endorsement certificates need 2.4 to 6.2 kB.
	MaxAuthorization = 16 << 10
	// MaxFrameUnauthenticated bounds one websocket frame before the machine has proven who it is.
	MaxFrameUnauthenticated = 64 << 10
	// MaxFrameAuthenticated bounds one websocket frame afterwards.
	MaxFrameAuthenticated = 128 << 10
	// MaxFrames bounds how many frames one connection may send.
	MaxFrames = 32
	// MaxSMBIOS bounds the JSON of a machine's SMBIOS data, decoded.
	MaxSMBIOS = 64 << 10
	// MaxSMBIOSString bounds one value (cut, with a mark) and one key (refused) of the SMBIOS data.
	MaxSMBIOSString = 1 << 10
	// MaxJSONDepth bounds the nesting of any JSON we read from the other side before authentication.
	MaxJSONDepth = 8
	// MaxJSONKeys bounds the number of object keys, in total, of the same.
	MaxJSONKeys = 512
	// MaxAnswer bounds what a client reads as the final answer, or as an HTTP body.
	MaxAnswer = 1 << 20
	// MaxSharedToken bounds a shared machine token, decoded.
	MaxSharedToken = 1 << 10

	// ExchangeTimeout is the deadline of a whole exchange, from the upgrade to the last frame.
	ExchangeTimeout = 30 * time.Second
	// ChallengeTimeout is how long a machine may take to answer its challenge. Slow TPMs need about a second.
	ChallengeTimeout = 10 * time.Second
	// ChallengeLifetime is how long a challenge can be answered at all, whatever the transport does.
	ChallengeLifetime = 30 * time.Second
)

// RegistrationTokenLength and RegistrationTokenAlphabet are the shape of a registration token: 54 characters without
// vowels (no words) and without look-alikes, almost 257 bits.
const (
	RegistrationTokenLength   = 54
	RegistrationTokenAlphabet = "bcdfghjklmnpqrstvwxz2456789"
)

// ValidRegistrationToken tells whether s has the shape of a registration token. It costs nothing, so that a
// server can say no before it looks anything up.
func ValidRegistrationToken(s string) bool {
	if len(s) != RegistrationTokenLength {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u' || c == 'y':
			return false
		case c >= 'b' && c <= 'z':
		case c == '2' || (c >= '4' && c <= '9'):
		default:
			return false
		}
	}
	return true
}

// RegistrationPath is the path of the registration with this token.
func RegistrationPath(token string) string { return PathRegistration + token }
