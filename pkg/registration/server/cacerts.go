package server

import (
	"crypto/sha256"
	"net/http"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// serveCACerts sends Rancher's CA to anybody. A machine that does not trust our certificate yet names a secret that it
// shares with us, by its digest, and gets an HMAC of the answer under it.
//
// For machines with a TPM that "secret" is their TPM hash, which is public: such an HMAC proves nothing, and is sent
// because rancherd refuses to go on without. Our own client never relies on it.
func (s *Server) serveCACerts(w http.ResponseWriter, r *http.Request) {
	ca, err := s.Settings.CACerts()
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	nonce := r.Header.Get(protocol.HeaderNonce)
	if nonce != "" && !protocol.ValidNonce(nonce) {
		refuseHTTP(w, r, &protocol.Error{Code: protocol.CodeBadRequest, Message: "the nonce must be 16 to 256 printable characters"})
		return
	}
	secret, err := s.namedSecret(r, nonce)
	if err != nil {
		refuseHTTP(w, r, err)
		return
	}
	if secret != "" {
		w.Header().Set(protocol.HeaderHash, protocol.CACertsHash(secret, nonce, []byte(ca)))
	}
	writeText(w, []byte(ca))
}

// namedSecret is what the caller's digest stands for; empty when it stands for nothing, which is answered like a request
// that names none. Who names too many that do not exist is not heard any more, before it is looked whether the
// next one does.
func (s *Server) namedSecret(r *http.Request, nonce string) (string, error) {
	// Not by the header's scheme: one digest in 260,000 begins with TPM.
	digest, err := protocol.ParseCACertsAuthorization(r.Header.Get(protocol.HeaderAuthorization))
	if err != nil || nonce == "" {
		return "", nil
	}
	if err := s.limits.networks.check(network(r)); err != nil {
		return "", err
	}
	if machines, err := s.Indexes.InventoriesByTPMDigest(digest); err == nil && len(machines) == 1 {
		// Not counted: a TPM hash is public, and who knows it could shut its machine out.
		return index.TPMHash(machines[0]), nil
	}
	if secret := s.sharedTokenOf(digest); secret != "" {
		return secret, s.limits.machines.spend(sharedKey(r, digest))
	}
	_ = s.limits.networks.spend(network(r))
	return "", nil
}

func (s *Server) sharedTokenOf(digest [sha256.Size]byte) string {
	secrets, err := s.Indexes.MachineTokensByDigest(digest)
	if _, err := s.inventoryBySecret(secrets, err); err != nil {
		return ""
	}
	return string(secrets[0].Data[v1.SecretKeyToken])
}

// inventoryBySecret is the machine that names the one Secret found. Two Secrets with one token, or a token that can be
// guessed, open nothing.
func (s *Server) inventoryBySecret(secrets []*corev1.Secret, err error) (*v1.MachineInventory, error) {
	if err != nil {
		return nil, err
	}
	if len(secrets) != 1 || len(secrets[0].Data[v1.SecretKeyToken]) < v1.MinMachineToken {
		return nil, unauthorized("no Secret, or more than one, or a short one, has the shared token")
	}
	inventories, err := s.Indexes.InventoriesByTokenSecret(secrets[0].Namespace, secrets[0].Name)
	if err != nil {
		return nil, err
	}
	if len(inventories) != 1 {
		return nil, unauthorized("no inventory, or more than one, names the shared token's Secret")
	}
	return inventories[0], nil
}
