package client

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net/http"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// CACerts finds out what to trust when talking to Rancher: nil when the system's roots (or the endpoint's CA) suffice, else Rancher's own CA.
//
// A CA can be learnt over an unverified connection only by a machine that shares a secret with the server, which then vouches for the
// answer with an HMAC. A TPM machine shares none (its endorsement hash is public), so for it an unknown CA is a failure: it must
// be given one.
func CACerts(ctx context.Context, endpoint Endpoint, token string) ([]byte, error) {
	ca, err := caCerts(ctx, &endpoint, token)
	if err != nil {
		return nil, Explain(err, endpoint.host())
	}
	return ca, nil
}

// TrustedCACerts is the CA that Rancher hands out, fetched over a connection that is trusted already. Rancher's install script
// wants its checksum.
func TrustedCACerts(ctx context.Context, endpoint Endpoint) ([]byte, error) {
	config, err := endpoint.tlsConfig()
	if err != nil {
		return nil, Explain(err, endpoint.host())
	}
	body, _, err := getCACerts(ctx, &endpoint, config, "", "")
	if err != nil {
		return nil, Explain(err, endpoint.host())
	}
	return body, nil
}

func caCerts(ctx context.Context, endpoint *Endpoint, token string) ([]byte, error) {
	config, err := endpoint.tlsConfig()
	if err != nil {
		return nil, err
	}
	_, _, err = getCACerts(ctx, endpoint, config, "", "")
	var refusal *protocol.Error
	if err == nil || errors.As(err, &refusal) {
		// Whatever the server said, it said it over a connection that is trusted.
		return nil, nil
	}
	untrusted := Explain(err, endpoint.host())
	if untrusted.Cause != CauseUntrusted || len(endpoint.CA) > 0 || token == "" || token == TPMToken {
		return nil, untrusted
	}
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	//nolint:gosec // G402: the answer is authenticated by its HMAC, and nothing secret is sent.
	unverified := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	body, header, err := getCACerts(ctx, endpoint, unverified, token, nonce)
	if err != nil {
		return nil, err
	}
	if !protocol.VerifyCACertsHash(header.Get(protocol.HeaderHash), token, nonce, body) {
		return nil, &Failure{Cause: CauseUntrusted, Message: endpoint.host() + " cannot prove that it knows this machine's token",
			Hint: "the token is unknown to the server, or somebody answers in its place"}
	}
	pinned := Endpoint{CA: body}
	if _, err := pinned.tlsConfig(); err != nil || len(body) == 0 {
		return nil, untrusted
	}
	return body, nil
}

func getCACerts(ctx context.Context, endpoint *Endpoint, config *tls.Config, token, nonce string) ([]byte, http.Header, error) {
	target, err := endpoint.path(protocol.PathCACerts)
	if err != nil {
		return nil, nil, err
	}
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	if token != "" {
		get.Header.Set(protocol.HeaderNonce, nonce)
		get.Header.Set(protocol.HeaderAuthorization, protocol.CACertsAuthorization(token))
	}
	return endpoint.get(get, config)
}

// newNonce has the shape of a registration token, as the first clients' nonces have.
func newNonce() (string, error) {
	const alphabet = protocol.RegistrationTokenAlphabet
	random := make([]byte, protocol.RegistrationTokenLength)
	if _, err := rand.Read(random); err != nil {
		return "", err
	}
	for i, b := range random {
		random[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(random), nil
}
