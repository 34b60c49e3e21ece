package protocol

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// FuzzHeaders is for the small headers that anybody may send.
func FuzzHeaders(f *testing.F) {
	f.Add("Bearer dG9rZW4=", "abcdefghijklmnop", SubprotocolV2, "e30=")
	f.Add(CACertsAuthorization("token"), strings.Repeat("n", 256), "a, "+SubprotocolV2, "eyJhIjoxfQ==")
	f.Add("Bearer PLAINx", "", "", "")
	f.Add("Bearer TPMe30=", "\x00", ",,", "bnVsbA==")
	f.Fuzz(func(t *testing.T, authorization, nonce, offer, smbios string) {
		scheme := SchemeOf([]string{authorization})
		require.NotEqual(t, SchemeNone, scheme)
		require.Equal(t, SchemeUnknown, SchemeOf([]string{authorization, authorization}))
		token, err := ParseSharedToken(authorization)
		if !refused(t, err) {
			require.LessOrEqual(t, len(token), MaxSharedToken)
			require.Equal(t, authorization, SharedTokenAuthorization(token), "every value has one spelling")
		}
		if _, err := ParseCACertsAuthorization(authorization); !refused(t, err) {
			require.Len(t, token, 32)
		}
		if ValidNonce(nonce) {
			require.True(t, utf8.ValidString(nonce))
			require.True(t, VerifyCACertsHash(CACertsHash("t", nonce, nil), "t", nonce, nil))
		}
		if v2, err := OffersV2([]string{offer}); !refused(t, err) && v2 {
			require.Contains(t, offer, SubprotocolV2)
		}
		if object, err := ParseSMBIOSHeader(smbios); refused(t, err) {
			require.Nil(t, object)
		}
		if ValidRegistrationToken(nonce) {
			require.Len(t, nonce, RegistrationTokenLength)
		}
	})
}
