package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// AttestationToken is a machine's claim about itself: its endorsement key and a fresh attestation key with the
// TPM's own statement of how that key was created. It proves nothing by itself and holds no secret; what proves
// is the answer to the [Challenge] that is computed from it.
type AttestationToken struct {
	// EK is one PEM block: CERTIFICATE when the TPM holds an endorsement certificate, else PUBLIC KEY.
	EK []byte
	// AK is nil only in a token that ParseAuthorization would refuse.
	AK *AttestationKey
}

// AttestationKey describes an attestation key in the TPM's own structures. The field names and their order are the wire's.
type AttestationKey struct {
	// Public is a TPMT_PUBLIC.
	Public []byte
	// UseTCSDActivationFormat belongs to TPM 1.2, which is not supported; always false.
	UseTCSDActivationFormat bool
	// CreateData is a TPMS_CREATION_DATA.
	CreateData []byte
	// CreateAttestation is a TPMS_ATTEST about the creation.
	CreateAttestation []byte
	// CreateSignature is a TPMT_SIGNATURE of the attestation, by the key itself.
	CreateSignature []byte
}

// attestationPrefix has no space between TPM and the base64: the wire's form.
const attestationPrefix = bearerPrefix + "TPM"

// EncodeAuthorization is the value of the Authorization header.
func (t *AttestationToken) EncodeAuthorization() (string, error) {
	data, err := json.Marshal(t)
	if err != nil {
		return "", fmt.Errorf("encoding attestation token: %w", err)
	}
	header := attestationPrefix + base64.StdEncoding.EncodeToString(data)
	if len(header) > MaxAuthorization {
		return "", refuse(CodeTooLarge, "the attestation token is too large", "%d bytes, limit %d", len(header), MaxAuthorization)
	}
	return header, nil
}

// ParseAuthorization reads the value of an Authorization header of scheme [SchemeAttestation].
// The token's structure is checked here; what is in its blobs is for package attestation.
func ParseAuthorization(header string) (*AttestationToken, error) {
	if len(header) > MaxAuthorization {
		return nil, badToken("header of %d bytes, limit %d", len(header), MaxAuthorization)
	}
	encoded, ok := strings.CutPrefix(header, attestationPrefix)
	if !ok {
		return nil, badToken("not a TPM bearer token")
	}
	data, err := decodeBase64(encoded)
	if err != nil {
		return nil, badToken("header: %v", err)
	}
	object, err := decodeObject(data)
	if err != nil {
		return nil, badToken("%v", err)
	}
	token := &AttestationToken{}
	if token.EK, err = bytesMember(object, "EK"); err != nil {
		return nil, badToken("%v", err)
	}
	if token.AK, err = parseAttestationKey(object); err != nil {
		return nil, badToken("%v", err)
	}
	return token, nil
}

func parseAttestationKey(token map[string]any) (*AttestationKey, error) {
	object, ok := token["AK"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("AK is missing or not an object")
	}
	ak := &AttestationKey{}
	for _, member := range []struct {
		name  string
		field *[]byte
	}{
		{"Public", &ak.Public},
		{"CreateData", &ak.CreateData},
		{"CreateAttestation", &ak.CreateAttestation},
		{"CreateSignature", &ak.CreateSignature},
	} {
		var err error
		if *member.field, err = bytesMember(object, member.name); err != nil {
			return nil, fmt.Errorf("AK: %w", err)
		}
	}
	if flag, present := object["UseTCSDActivationFormat"]; present {
		if ak.UseTCSDActivationFormat, ok = flag.(bool); !ok {
			return nil, fmt.Errorf("AK: UseTCSDActivationFormat is not a boolean")
		}
	}
	return ak, nil
}

// Challenge is the server's first frame: a secret that only the TPM which holds the endorsement key can read, and
// only if the attestation key lives beside it.
type Challenge struct {
	EC EncryptedCredential
}

// EncryptedCredential is the input of TPM2_ActivateCredential.
type EncryptedCredential struct {
	// Credential is a TPM2B_ID_OBJECT.
	Credential []byte
	// Secret is a TPM2B_ENCRYPTED_SECRET.
	Secret []byte
}

// Encode is the frame.
func (c *Challenge) Encode() ([]byte, error) { return json.Marshal(c) }

// ParseChallenge reads the frame. Text in its place is a refusal that came too late for HTTP, and is returned as such.
func ParseChallenge(frame []byte) (*Challenge, error) {
	const sentence = "the server's challenge cannot be read"
	if len(frame) > MaxFrameUnauthenticated {
		return nil, refuse(CodeBadRequest, sentence, "%d bytes, limit %d", len(frame), MaxFrameUnauthenticated)
	}
	if text := bytes.TrimSpace(frame); len(text) > 0 && text[0] != '{' {
		return nil, textError(text)
	}
	object, err := decodeObject(frame)
	if err != nil {
		return nil, refuse(CodeBadRequest, sentence, "%v", err)
	}
	if refusal := errorAnswer(object); refusal != nil {
		return nil, refusal
	}
	inner, ok := object["EC"].(map[string]any)
	if !ok {
		return nil, refuse(CodeBadRequest, sentence, "EC is missing or not an object")
	}
	challenge := &Challenge{}
	if challenge.EC.Credential, err = bytesMember(inner, "Credential"); err != nil {
		return nil, refuse(CodeBadRequest, sentence, "%v", err)
	}
	if challenge.EC.Secret, err = bytesMember(inner, "Secret"); err != nil {
		return nil, refuse(CodeBadRequest, sentence, "%v", err)
	}
	return challenge, nil
}

// ChallengeResponse is the machine's answer: the secret.
type ChallengeResponse struct {
	Secret []byte
}

// Encode is the frame. The first clients end it with a newline, so ours does too.
func (r *ChallengeResponse) Encode() ([]byte, error) {
	data, err := json.Marshal(r)
	return append(data, '\n'), err
}

// ParseChallengeResponse reads the frame. Its error says no more than that the attestation failed.
func ParseChallengeResponse(frame []byte) (*ChallengeResponse, error) {
	if len(frame) > MaxFrameUnauthenticated {
		return nil, attestationFailed("answer of %d bytes, limit %d", len(frame), MaxFrameUnauthenticated)
	}
	object, err := decodeObject(frame)
	if err != nil {
		return nil, attestationFailed("answer: %v", err)
	}
	response := &ChallengeResponse{}
	if response.Secret, err = bytesMember(object, "Secret"); err != nil {
		return nil, attestationFailed("answer: %v", err)
	}
	return response, nil
}

// bytesMember reads an object's base64 member by its exact name. Empty is as bad as missing.
func bytesMember(object map[string]any, name string) ([]byte, error) {
	text, ok := object[name].(string)
	if !ok || text == "" {
		return nil, fmt.Errorf("%s is missing, empty or not a string", name)
	}
	data, err := decodeBase64(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// decodeBase64 accepts exactly one spelling of every value: the standard alphabet, padded, no line breaks (which
// encoding/base64 would skip), zero pad bits.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, fmt.Errorf("line break in base64")
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("not canonical base64")
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("empty base64")
	}
	return data, nil
}

func badToken(format string, args ...any) *Error {
	return refuse(CodeUnauthorized, "the attestation token cannot be read", format, args...)
}

func attestationFailed(format string, args ...any) *Error {
	return refuse(CodeAttestationFailed, "attestation failed", format, args...)
}
