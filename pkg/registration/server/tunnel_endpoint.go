package server

import (
	"crypto/x509"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Reasons of the Events on the tunnel's Secret.
const (
	// reasonTunnelInsecure: the connection would not be protected, and whoever answers would see every machine's
	// secrets. The user removes or fills in the key that the message names.
	reasonTunnelInsecure = "TunnelInsecure"
	// reasonTunnelCAInvalid: ca.crt holds no certificate. The user puts Rancher's CA there, in PEM.
	reasonTunnelCAInvalid = "TunnelCAInvalid"
	// reasonTunnelURLInvalid: url is none. The user writes https://<Rancher's host>/v3/connect there.
	reasonTunnelURLInvalid = "TunnelURLInvalid"
)

// secretSays is the part of the Secret that we read, as it is.
type secretSays struct {
	exists, hasCA  bool
	url, token, ca string
}

func read(secret *corev1.Secret) secretSays {
	if secret == nil || secret.DeletionTimestamp != nil {
		return secretSays{}
	}
	ca, hasCA := secret.Data["ca.crt"]
	return secretSays{exists: true, hasCA: hasCA, ca: string(ca),
		url: string(secret.Data["url"]), token: string(secret.Data["token"])}
}

// endpoint is where to dial, with which token, and whose certificates to trust beside those that everybody does.
type endpoint struct {
	url, token, ca string
}

// none is an endpoint that nobody has named yet.
func (e endpoint) none() bool {
	return e == endpoint{}
}

// refusedSecret is a Secret that must not be followed.
type refusedSecret struct {
	reason, message string
}

func (r *refusedSecret) Error() string { return r.message }

// judge makes an endpoint of what the Secret says: none while something is missing that Rancher will yet write, and a
// refusedSecret when following it would be wrong.
func judge(said secretSays, allowHTTP bool) (endpoint, error) {
	target := endpoint{url: strings.TrimSpace(said.url), token: strings.TrimSpace(said.token), ca: said.ca}
	if target.url == "" || target.token == "" {
		return endpoint{}, nil
	}
	parsed, err := url.Parse(target.url)
	secure := err == nil && (parsed.Scheme == "https" || allowHTTP && parsed.Scheme == "http")
	switch {
	case err != nil || parsed.Host == "" || parsed.User != nil:
		return endpoint{}, &refusedSecret{reasonTunnelURLInvalid,
			"url is no https:// URL without user and password; Rancher writes https://<host>/v3/connect there. The tunnel stays as it was"}
	case !secure:
		return endpoint{}, &refusedSecret{reasonTunnelInsecure,
			"url is not https://, so that machines' secrets would travel in clear; correct Rancher's server-url. The tunnel stays as it was"}
	case said.hasCA && strings.TrimSpace(said.ca) == "":
		return endpoint{}, &refusedSecret{reasonTunnelInsecure,
			"ca.crt is empty, which asks not to check Rancher's certificate; remove the key, or put Rancher's CA there. The tunnel stays as it was"}
	case said.hasCA && !x509.NewCertPool().AppendCertsFromPEM([]byte(said.ca)):
		return endpoint{}, &refusedSecret{reasonTunnelCAInvalid,
			"ca.crt holds no certificate in PEM; remove the key, or put Rancher's CA there. The tunnel stays as it was"}
	}
	return target, nil
}

// address is the URL for a websocket.
func (e endpoint) address() string {
	return "ws" + strings.TrimPrefix(e.url, "http")
}

// roots are the system's certificates and the endpoint's: a Rancher with a private CA is trusted, and goes on being
// trusted when it gets a public certificate before its Secret changes.
func (e endpoint) roots() *x509.CertPool {
	if e.ca == "" {
		return nil // Means the system's.
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM([]byte(e.ca))
	return pool
}
