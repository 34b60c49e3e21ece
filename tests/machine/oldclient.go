package machine

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// OldClient says on the wire what ros-installer and rancherd say. Only the TPM itself is ours.
type OldClient struct {
	TLS *tls.Config
	TPM attestation.Prover
}

// Refusal is an answer of HTTP in the place of a conversation. The old clients print its body when the status is 401.
type Refusal struct {
	Status int
	Header http.Header
	Body   string
}

func (r *Refusal) Error() string { return fmt.Sprintf("HTTP %d: %s", r.Status, r.Body) }

// Conversation is what was said, for tests that look at bytes.
type Conversation struct {
	// Header is the Authorization header, Challenge and Answer are the first two frames, Final is the last one.
	Header    string
	Challenge []byte
	Answer    []byte
	Final     []byte
}

// Sample is what curl prints for a registration URL.
func (c *OldClient) Sample(ctx context.Context, url string) (string, http.Header, error) {
	return c.get(ctx, url, nil)
}

// Register is ros-installer: the whole exchange against a registration URL. smbios may be nil.
func (c *OldClient) Register(ctx context.Context, url string, smbios map[string]any) (*Conversation, error) {
	header := http.Header{}
	if smbios != nil {
		data, err := json.Marshal(smbios)
		if err != nil {
			return nil, err
		}
		header.Set("X-Cattle-Smbios", base64.StdEncoding.EncodeToString(data))
	}
	return c.converse(ctx, url, header)
}

// Inventory is rancherd with the token tpm://.
func (c *OldClient) Inventory(ctx context.Context, server string) (*Conversation, error) {
	return c.converse(ctx, server+"/v1-rancheros/inventory", http.Header{})
}

// InventoryWithToken is rancherd with a shared token.
func (c *OldClient) InventoryWithToken(ctx context.Context, server, token string) (string, error) {
	body, _, err := c.get(ctx, server+"/v1-rancheros/inventory", http.Header{
		"Authorization": {"Bearer " + base64.StdEncoding.EncodeToString([]byte(token))}})
	return body, err
}

// CACerts is rancherd's discovery of Rancher's CA, over whatever TLS the client has. token is a shared token or the endorsement hash. It is
// an error when the server's HMAC is missing or wrong, as it is for rancherd.
func (c *OldClient) CACerts(ctx context.Context, server, token string) (string, error) {
	nonce := strings.Repeat("bcdfgh", 9)
	digest := sha256.Sum256([]byte(token))
	body, header, err := c.get(ctx, server+"/v1-rancheros/cacerts", http.Header{
		"X-Cattle-Nonce": {nonce},
		"Authorization":  {"Bearer " + base64.StdEncoding.EncodeToString(digest[:])},
	})
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha512.New, []byte(token))
	for _, part := range []string{nonce, "\x00", body, "\x00"} {
		mac.Write([]byte(part))
	}
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); header.Get("X-Cattle-Hash") != want {
		return "", fmt.Errorf("X-Cattle-Hash is %q, not %q", header.Get("X-Cattle-Hash"), want)
	}
	return body, nil
}

// converse is one attestation. The token's JSON is written out here as the old clients write it.
func (c *OldClient) converse(ctx context.Context, url string, header http.Header) (*Conversation, error) {
	proof, err := c.TPM.NewProof()
	if err != nil {
		return nil, err
	}
	defer proof.Close()
	conversation := &Conversation{Header: bearer(proof.Token())}
	header.Set("Authorization", conversation.Header)
	dialer := websocket.Dialer{TLSClientConfig: c.TLS, HandshakeTimeout: 45 * time.Second}
	conn, response, err := dialer.DialContext(ctx, strings.Replace(url, "http", "ws", 1), header)
	if err != nil {
		return nil, errors.Join(refusal(response), err)
	}
	defer conn.Close()
	kind, challenge, err := conn.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage {
		return conversation, fmt.Errorf("reading challenge: message type %d: %w", kind, err)
	}
	conversation.Challenge = challenge
	var parsed struct {
		EC struct{ Credential, Secret []byte }
	}
	if err := json.Unmarshal(challenge, &parsed); err != nil {
		return conversation, fmt.Errorf("reading challenge: %w", err)
	}
	secret, err := proof.Activate(&protocol.Challenge{EC: protocol.EncryptedCredential(parsed.EC)})
	if err != nil {
		return conversation, err
	}
	conversation.Answer = []byte(`{"Secret":"` + base64.StdEncoding.EncodeToString(secret) + "\"}\n")
	if err := conn.WriteMessage(websocket.BinaryMessage, conversation.Answer); err != nil {
		return conversation, err
	}
	_, conversation.Final, err = conn.ReadMessage()
	return conversation, err
}

func bearer(token *protocol.AttestationToken) string {
	b64 := base64.StdEncoding.EncodeToString
	return "Bearer TPM" + b64([]byte(`{"EK":"`+b64(token.EK)+`","AK":{"Public":"`+b64(token.AK.Public)+
		`","UseTCSDActivationFormat":false,"CreateData":"`+b64(token.AK.CreateData)+
		`","CreateAttestation":"`+b64(token.AK.CreateAttestation)+`","CreateSignature":"`+b64(token.AK.CreateSignature)+`"}}`))
}

func (c *OldClient) get(ctx context.Context, url string, header http.Header) (string, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: c.TLS, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return "", nil, err
	}
	if response.StatusCode != http.StatusOK {
		return "", response.Header, refusal(response)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return string(body), response.Header, err
}

func refusal(response *http.Response) error {
	if response == nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return errors.Join(&Refusal{Status: response.StatusCode, Header: response.Header, Body: string(body)}, err)
}
