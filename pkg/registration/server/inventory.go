package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// assignmentRetry is how often a machine asks whether it was assigned.
const assignmentRetry = 15 * time.Second

// serveInventory tells an assigned machine its role and its cluster's token.
func (s *Server) serveInventory(w http.ResponseWriter, r *http.Request) {
	switch protocol.SchemeOf(r.Header.Values(protocol.HeaderAuthorization)) {
	case protocol.SchemeAttestation:
		known := func(hash string) error {
			_, err := s.inventoryOf(hash)
			return err
		}
		answer := func(who caller) ([]byte, error) {
			inventory, err := s.provenInventory(who.Identity)
			if err != nil {
				return nil, err
			}
			s.recordFacts(r.Context(), inventory, who)
			return s.assignment(inventory)
		}
		callHome := func(who caller) (*protocol.Assignment, error) { return s.callHome(r.Context(), who) }
		s.exchange(w, r, conversation{policy: attestation.Policy{AllowWeakKeys: true}, known: known, answer: answer, callHome: callHome, last: protocol.TypeAssignment, durations: s.Joining})
	case protocol.SchemeBearer:
		body, err := s.assignmentByToken(r)
		if err != nil {
			refuseHTTP(w, r, err)
			return
		}
		writeText(w, body)
	default:
		refuseHTTP(w, r, unauthorized("no proof of identity"))
	}
}

func unauthorized(reason string) *protocol.Error {
	return &protocol.Error{Code: protocol.CodeUnauthorized, Message: "Unauthorized", Reason: reason}
}

// inventoryOf is the one machine with the TPM: the one that has proven it at a registration, or else the only one that
// somebody wrote. An inventory that is written for somebody else's TPM in another namespace takes nothing from anybody.
func (s *Server) inventoryOf(hash string) (*v1.MachineInventory, error) {
	inventories, err := s.Indexes.InventoriesByTPMHash(hash)
	if err != nil {
		return nil, err
	}
	if proven := slices.DeleteFunc(slices.Clone(inventories), func(i *v1.MachineInventory) bool { return !attested(i) }); len(proven) > 0 {
		inventories = proven
	}
	if len(inventories) != 1 {
		return nil, &protocol.Error{Code: protocol.CodeUnauthorized, Message: "this machine is not registered",
			Hint:   "register it, or create a MachineInventory with its TPM hash",
			Reason: fmt.Sprintf("%d inventories have TPM hash %s", len(inventories), hash)}
	}
	return inventories[0], nil
}

// provenInventory is inventoryOf a machine that has proven its key. Whether a weak key will do is for a registration to say, so
// one that has let the machine in has said it, and an inventory that somebody merely wrote has not.
func (s *Server) provenInventory(identity attestation.Identity) (*v1.MachineInventory, error) {
	inventory, err := s.inventoryOf(identity.Hash)
	if err == nil && identity.Weak != "" && !attested(inventory) {
		return nil, weakKey(identity)
	}
	return inventory, err
}

// assignmentByToken is for machines that share a secret: exactly one Secret must hold it, and one machine name that.
func (s *Server) assignmentByToken(r *http.Request) ([]byte, error) {
	token, err := protocol.ParseSharedToken(r.Header.Get(protocol.HeaderAuthorization))
	if err != nil {
		return nil, unauthorized("malformed shared token")
	}
	if err := s.limits.networks.check(network(r)); err != nil {
		return nil, err
	}
	inventory, err := s.inventoryBySecret(s.Indexes.MachineTokensByToken([]byte(token)))
	if err != nil {
		_ = s.limits.networks.spend(network(r))
		return nil, err
	}
	if err := s.limits.machines.spend(sharedKey(r, protocol.TokenDigest(token))); err != nil {
		return nil, err
	}
	return s.assignment(inventory)
}

// assignment is the answer to a machine, as JSON: what its inventory says, and its cluster's token.
func (s *Server) assignment(inventory *v1.MachineInventory) ([]byte, error) {
	if inventory.DeletionTimestamp != nil {
		return nil, notAssigned("this machine's inventory is being deleted")
	}
	if err := mayHave(inventory); err != nil {
		return nil, err
	}
	if inventory.Spec.ClusterName == "" {
		return nil, notAssigned("this machine is not assigned to a cluster")
	}
	if inventory.Spec.Config == nil || inventory.Spec.Config.Role == "" {
		return nil, notAssigned("this machine has no role in its cluster")
	}
	clusterToken, err := s.Indexes.ClusterTokenOf(inventory)
	if err != nil {
		return nil, err
	}
	token, err := s.tokenValue(clusterToken)
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, notAssigned("this machine's cluster is not ready to take it")
	}
	return encodeAssignment(inventory, token)
}

func notAssigned(message string) *protocol.Error {
	return &protocol.Error{Code: protocol.CodeNotAssigned, Message: message, RetryAfter: assignmentRetry,
		Hint: "`kubectl describe machineinventory` says what it waits for"}
}

// tokenValue reads the token where Rancher keeps it, and never keeps a copy: from 2.15 on it is rotated. The Secret must
// be the one of exactly this ClusterRegistrationToken.
func (s *Server) tokenValue(token *managementv3.ClusterRegistrationToken) (string, error) {
	switch {
	case token == nil:
		return "", nil
	case token.Status.TokenSecretName == "":
		return token.Status.Token, nil
	case token.Status.TokenSecretName != "crt-token-"+token.Name:
		return "", &protocol.Error{Code: protocol.CodeUnavailable, RetryAfter: setupRetry,
			Message: "this machine's cluster is not ready to take it",
			Reason: fmt.Sprintf("ClusterRegistrationToken %s/%s names the foreign Secret %q",
				token.Namespace, token.Name, token.Status.TokenSecretName)}
	}
	secret, err := s.Secrets.Get(token.Namespace, token.Status.TokenSecretName, metav1.GetOptions{})
	if err != nil {
		return "", asNotYet(err)
	}
	return string(secret.Data["token"]), nil
}

// asNotYet is for a Secret that Rancher has not made yet, or that cannot be read now.
func asNotYet(err error) error {
	return &protocol.Error{Code: protocol.CodeNotAssigned, RetryAfter: assignmentRetry, Err: err,
		Message: "this machine's cluster is not ready to take it"}
}

// encodeAssignment writes the documented fields and every other key of the inventory's config, sorted.
func encodeAssignment(inventory *v1.MachineInventory, token string) ([]byte, error) {
	config := inventory.Spec.Config
	documented := protocol.InventoryAnswer{
		Role:            config.Role,
		NodeName:        hostname(inventory),
		Address:         config.Address,
		InternalAddress: config.InternalAddress,
		Token:           token,
	}
	for key, value := range config.Labels {
		documented.Labels = append(documented.Labels, key+"="+string(value))
	}
	slices.Sort(documented.Labels)
	for _, taint := range config.Taints {
		documented.Taints = append(documented.Taints, fmt.Sprintf("%s=%s:%s", taint.Key, taint.Value, taint.Effect))
	}
	encoded, err := documented.Encode()
	if err != nil || len(config.Extra) == 0 {
		return encoded, err
	}
	all := map[string]json.RawMessage{}
	for key, value := range config.Extra {
		if !documentedInOtherCase(key) {
			all[key] = value.Raw
		}
	}
	// The documented fields come last: a key token of the user's must not hide the cluster's.
	if err := json.Unmarshal(encoded, &all); err != nil {
		return nil, fmt.Errorf("encoding assignment: %w", err)
	}
	merged, err := json.Marshal(all)
	return append(merged, '\n'), err
}

// documentedInOtherCase tells of keys that machines, whose JSON decoders do not mind the case, would take for a documented
// one, although the schema has not checked them.
func documentedInOtherCase(key string) bool {
	return slices.ContainsFunc([]string{"role", "nodeName", "address", "internalAddress", "taints", "labels", "token"},
		func(documented string) bool { return strings.EqualFold(key, documented) })
}
