package server

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/cloudconfig"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// setupRetry is when to come back after something that an administrator has to mend.
const setupRetry = 30 * time.Second

// serveRegistration answers `curl` with the cloud-config to burn, and a machine with the exchange.
func (s *Server) serveRegistration(w http.ResponseWriter, r *http.Request, token string) {
	registration, serverURL, err := s.registration(token)
	if err == nil {
		err = s.limits.urls.spend(whom(r))
	}
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	switch protocol.SchemeOf(r.Header.Values(protocol.HeaderAuthorization)) {
	case protocol.SchemeNone:
		s.serveSample(w, r, protocol.RegistrationPath(token), serverURL)
	case protocol.SchemeAttestation:
		s.register(w, r, registration, serverURL)
	default:
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeUnauthorized,
			Message: "machines prove who they are with their TPM here", Reason: "unknown authorization scheme"})
	}
}

// registration finds the one registration that the token opens.
func (s *Server) registration(token string) (*v1.MachineRegistration, string, error) {
	registrations, err := s.Indexes.RegistrationsByToken(token)
	if err != nil {
		return nil, "", err
	}
	switch {
	case len(registrations) == 0 || registrations[0].DeletionTimestamp != nil:
		return nil, "", notFound()
	case len(registrations) > 1:
		return nil, "", &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry,
			Message: "two registrations share this URL", Hint: "an administrator must delete the copied token Secret"}
	}
	serverURL, err := s.Settings.ServerURL()
	if errors.Is(err, settings.ErrServerURL) {
		return nil, "", &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Err: err,
			Message: "Rancher's server-url is not set", Hint: "an administrator must set it in Rancher's global settings"}
	}
	return registrations[0], serverURL, err
}

func (s *Server) serveSample(w http.ResponseWriter, r *http.Request, path, serverURL string) {
	ca, err := s.Settings.CACerts()
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	sample, err := cloudconfig.Sample(serverURL+path, ca)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	writeText(w, sample)
}

// register runs the exchange. What can be refused is refused before the upgrade, where old clients print the reason.
func (s *Server) register(w http.ResponseWriter, r *http.Request, registration *v1.MachineRegistration, serverURL string) {
	config, err := s.templates.get(registration, serverURL)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	demands, err := s.trustOf(registration)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	answer := func(who caller) ([]byte, error) {
		inventory, err := s.enroll(registration, demands, who.Identity, who.SMBIOS)
		if err != nil {
			return nil, err
		}
		return config.For(hostname(inventory))
	}
	s.exchange(w, r, conversation{policy: demands.policy(), answer: answer, last: protocol.TypeConfig, durations: s.Registering})
}

func machineConfig(registration *v1.MachineRegistration, serverURL string) (*cloudconfig.Template, error) {
	var config []byte
	if registration.Spec.CloudConfig != nil {
		config = registration.Spec.CloudConfig.Raw
	}
	template, err := cloudconfig.Machine(config, serverURL)
	if err != nil {
		return nil, &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry, Err: err,
			Message: "the registration's cloudConfig cannot be used",
			Hint:    "an administrator must correct it: `kubectl describe machineregistration` says what is wrong"}
	}
	return template, nil
}

// hostname is the machine's name from its first boot on: what its node will be called.
func hostname(inventory *v1.MachineInventory) string {
	if inventory.Spec.Config != nil && inventory.Spec.Config.NodeName != "" {
		return inventory.Spec.Config.NodeName
	}
	return inventory.Name
}

func writeText(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	// Said here, so that HEAD says it too.
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
}

func isUpgrade(r *http.Request) bool {
	return websocket.IsWebSocketUpgrade(r)
}
