package server

import (
	"crypto/sha256"
	"net/http"
	"strings"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Media finds boot media; media/library is one.
type Media interface {
	// Find is the medium that the token opens. Whatever is in the way is a *protocol.Error.
	Find(token string) (Medium, error)
}

// Medium sends its files.
type Medium interface {
	// Serve answers a request for the file. An error is returned before anything was written, and is a *protocol.Error.
	Serve(w http.ResponseWriter, r *http.Request, file string) error
}

// serveMedium sends a boot medium. A download may take an hour, so it takes no place from machines that register: it has
// bounds of its own. Where the medium's transfer breaks, the client comes back for the rest.
func (s *Server) serveMedium(w http.ResponseWriter, r *http.Request, rest string) {
	token, file, _ := strings.Cut(rest, "/")
	if err := s.sendMedium(w, r, token, file); err != nil {
		if protocol.AsError(err).Code == protocol.CodeNotFound {
			// Who guesses is slowed down; who knows a token is not, wherever the guesses come from.
			if tooOften := s.limits.networks.spend("seedimage/" + network(r)); tooOften != nil {
				err = tooOften
			}
		}
		refuseHTTP(w, r, err)
	}
}

func (s *Server) sendMedium(w http.ResponseWriter, r *http.Request, token, file string) error {
	if s.Media == nil || !protocol.ValidRegistrationToken(token) || file == "" || isUpgrade(r) {
		return noMedium()
	}
	medium, err := s.Media.Find(token)
	if err != nil {
		return err
	}
	// The token itself is kept nowhere.
	sum := sha256.Sum256([]byte(token))
	whom := "seedimage/" + string(sum[:])
	if err := s.limits.urls.spend(whom); err != nil {
		return err
	}
	if !s.limits.downloads.take(whom) {
		return busy()
	}
	defer s.limits.downloads.give(whom)
	return medium.Serve(w, r, file)
}

func noMedium() *protocol.Error {
	return &protocol.Error{Code: protocol.CodeNotFound, Message: "not found",
		Hint: "check the address: `kubectl describe seedimage` shows it"}
}
