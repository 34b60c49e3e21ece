package rancher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation"
)

// nodes turns machines that ran the install script into management Node objects.
//
// In Rancher such an object appears later, copied from the downstream cluster. That the labels and taints given at the
// join are on it then is the fact that tests rest on.
type nodes struct {
	api    *api
	tokens *tokens
}

// refusal is an answer to a machine that did something wrong.
type refusal struct {
	status int
	reason string
}

func (r *refusal) Error() string { return r.reason }

func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, reason: fmt.Sprintf(format, args...)}
}

// machine is what the install script says about the machine it runs on.
type machine struct {
	id, name                  string
	etcd, controlPlane, works bool
	address, internalAddress  string
	labels                    map[string]string
	taints                    []taint
}

type taint struct{ key, value, effect string }

// join checks the token and the machine's headers and returns the Node that the machine became.
func (n *nodes) join(ctx context.Context, header http.Header) (key, error) {
	token := strings.TrimPrefix(header.Get("Authorization"), "Bearer ")
	owner, found := n.tokens.find(token)
	if !found {
		return key{}, refuse(http.StatusUnauthorized, "the registration token is not one of ours, or no longer")
	}
	cluster, err := n.clusterOf(ctx, owner)
	if err != nil {
		return key{}, err
	}
	m, err := readMachine(header)
	if err != nil {
		return key{}, err
	}
	sum := sha256.Sum256([]byte(m.id))
	k := key{Namespace: cluster, Name: "m-" + hex.EncodeToString(sum[:])[:12]}
	if m.name == "" {
		m.name = k.Name
	}
	return k, n.api.apply(ctx, nodesGVR, m.node(k))
}

// clusterOf asks the API server itself: a token is worth nothing from the moment that its object or its namespace goes.
func (n *nodes) clusterOf(ctx context.Context, token key) (string, error) {
	obj, err := n.api.get(ctx, registrationTokensGVR, token)
	if err != nil {
		return "", err
	}
	if obj == nil || obj.GetDeletionTimestamp() != nil {
		return "", refuse(http.StatusUnauthorized, "the registration token has been deleted")
	}
	namespace, err := n.api.get(ctx, namespacesGVR, key{Name: token.Namespace})
	if err != nil {
		return "", err
	}
	if namespace == nil || namespace.GetDeletionTimestamp() != nil {
		return "", refuse(http.StatusUnauthorized, "the cluster of the registration token has been deleted")
	}
	return token.Namespace, nil
}

func readMachine(header http.Header) (machine, error) {
	m := machine{
		id:              header.Get("X-Cattle-Id"),
		name:            header.Get("X-Cattle-Node-Name"),
		etcd:            header.Get("X-Cattle-Role-Etcd") == "true",
		controlPlane:    header.Get("X-Cattle-Role-Control-Plane") == "true",
		works:           header.Get("X-Cattle-Role-Worker") == "true",
		address:         header.Get("X-Cattle-Address"),
		internalAddress: header.Get("X-Cattle-Internal-Address"),
	}
	if m.id == "" {
		return m, refuse(http.StatusBadRequest, "the machine has no id")
	}
	if m.name != "" && len(validation.IsDNS1123Subdomain(m.name)) > 0 {
		return m, refuse(http.StatusBadRequest, "node name %q is not a host name", m.name)
	}
	var err error
	if m.labels, err = parseLabels(header.Get("X-Cattle-Labels")); err != nil {
		return m, err
	}
	m.taints, err = parseTaints(header.Get("X-Cattle-Taints"))
	return m, err
}

func parseLabels(list string) (map[string]string, error) {
	labels := map[string]string{}
	for _, entry := range entries(list) {
		name, value, _ := strings.Cut(entry, "=")
		if len(validation.IsQualifiedName(name)) > 0 || len(validation.IsValidLabelValue(value)) > 0 {
			return nil, refuse(http.StatusBadRequest, "label %q is not key=value as Kubernetes wants it", entry)
		}
		labels[name] = value
	}
	return labels, nil
}

// parseTaints reads key=value:Effect and key:Effect.
func parseTaints(list string) ([]taint, error) {
	var taints []taint
	for _, entry := range entries(list) {
		rest, effect, _ := strings.Cut(entry, ":")
		name, value, _ := strings.Cut(rest, "=")
		known := effect == "NoSchedule" || effect == "PreferNoSchedule" || effect == "NoExecute"
		if !known || len(validation.IsQualifiedName(name)) > 0 || len(validation.IsValidLabelValue(value)) > 0 {
			return nil, refuse(http.StatusBadRequest, "taint %q is not key=value:Effect as Kubernetes wants it", entry)
		}
		taints = append(taints, taint{name, value, effect})
	}
	return taints, nil
}

// entries splits a comma-separated list; an empty one has none.
func entries(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
}

func (m machine) node(k key) *unstructured.Unstructured {
	labels := map[string]any{"kubernetes.io/hostname": m.name, "kubernetes.io/os": "linux"}
	for name, value := range m.labels {
		labels[name] = value
	}
	for role, has := range map[string]bool{"etcd": m.etcd, "control-plane": m.controlPlane, "worker": m.works} {
		if has {
			labels["node-role.kubernetes.io/"+role] = "true"
		}
	}
	taints := []any{}
	for _, t := range m.taints {
		taints = append(taints, map[string]any{"key": t.key, "value": t.value, "effect": t.effect})
	}
	addresses := []any{map[string]any{"type": "Hostname", "address": m.name}}
	for _, address := range []struct{ kind, value string }{{"InternalIP", m.internalAddress}, {"ExternalIP", m.address}} {
		if address.value != "" {
			addresses = append(addresses, map[string]any{"type": address.kind, "address": address.value})
		}
	}
	return manifest("management.cattle.io/v3", "Node", k, map[string]any{
		"spec": map[string]any{
			"etcd": m.etcd, "controlPlane": m.controlPlane, "worker": m.works,
			"requestedHostname": m.name,
			"customConfig":      map[string]any{"address": m.address, "internalAddress": m.internalAddress},
			"internalNodeSpec":  map[string]any{"taints": taints},
		},
		"status": map[string]any{
			"nodeName":   m.name,
			"nodeLabels": labels,
			"nodeTaints": taints,
			"conditions": []any{map[string]any{"type": "Ready", "status": "True"}},
			"internalNodeStatus": map[string]any{
				"addresses":  addresses,
				"conditions": []any{map[string]any{"type": "Ready", "status": "True", "reason": "KubeletReady"}},
			},
		},
	})
}
