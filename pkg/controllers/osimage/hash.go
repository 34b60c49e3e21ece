package osimage

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	upgradev1 "github.com/rancher/system-upgrade-controller/pkg/apis/upgrade.cattle.io/v1"
	corev1 "k8s.io/api/core/v1"
)

// planLabelPrefix and the plan's name are the label by which system-upgrade-controller marks a node: its value is the hash
// of the plan that it has completed there last.
const planLabelPrefix = "plan.upgrade.cattle.io/"

// disabled is the value of that label by which somebody in the cluster keeps a node out of the plan.
const disabled = "disabled"

// planHash is what system-upgrade-controller will write to the nodes that have completed the plan. It goes over the version,
// the service account, the fields that digestAnnotation names, and the Secrets; hash_test.go holds what its own code gives.
func planHash(plan *upgradev1.Plan, secret *corev1.Secret) (string, error) {
	sum := sha256.New224()
	// A version goes into a label, where a plus is not allowed.
	sum.Write([]byte(strings.ReplaceAll(plan.Spec.Version, "+", "-")))
	sum.Write([]byte(plan.Spec.ServiceAccountName))
	sum.Write([]byte(plan.Spec.Upgrade.Image))
	sum.Write([]byte(plan.Annotations[runAgain]))
	if secret != nil {
		content, err := secretHash(secret)
		if err != nil {
			return "", err
		}
		sum.Write([]byte(content))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// secretHash is kubectl's short hash of a Secret: ten hexadecimal digits, some of which become letters so that no word comes
// out by accident.
func secretHash(secret *corev1.Secret) (string, error) {
	fields := map[string]any{"kind": "Secret", "type": secret.Type, "name": secret.Name, "data": secret.Data}
	body, err := json.Marshal(fields)
	if err != nil {
		return "", fmt.Errorf("encoding Secret: %w", err)
	}
	sum := sha256.Sum256(body)
	return strings.NewReplacer("0", "g", "1", "h", "3", "k", "a", "m", "e", "t").Replace(hex.EncodeToString(sum[:])[:10]), nil
}
