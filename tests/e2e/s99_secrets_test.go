package e2e

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// needles are all secrets that there were in Secrets while scenarios ran, and what each was.
type needles struct {
	mutex sync.Mutex
	all   map[string]string
	kinds map[corev1.SecretType]int
}

// gatherNeedles follows all Secrets until ctx ends: tokens are rotated, and what they belong to is deleted.
func gatherNeedles(ctx context.Context) (*needles, error) {
	found := &needles{all: map[string]string{canary: "the canary"}, kinds: map[corev1.SecretType]int{}}
	factory := informers.NewSharedInformerFactory(world.Kube, 0)
	if _, err := factory.Core().V1().Secrets().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: found.add, UpdateFunc: func(_, secret any) { found.add(secret) },
	}); err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return found, nil
}

func (n *needles) add(object any) {
	secret, ok := object.(*corev1.Secret)
	if !ok {
		return
	}
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for key, value := range secret.Data {
		if isSecret(secret, key) && len(value) >= 16 {
			n.all[string(value)] = secret.Namespace + "/" + secret.Name + " " + key
			n.kinds[secret.Type]++
		}
	}
}

// soFar is each secret with what it was.
func (n *needles) soFar() map[string]string {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return maps.Clone(n.all)
}

// What the scenarios make themselves holds the canary; what the operator and Rancher make is looked up. Every secret that there was while scenarios
// ran is in its Secret, and nowhere that more people may look: not in the log, not in an event, not in a status, not in a Bundle.
func Test99SecretsStayWhereTheyAre(t *testing.T) {
	needles, kinds := secrets.soFar(), secrets.kinds
	require.Positive(t, kinds[v1.SecretTypeRegistration], "there are registrations left to look for")
	require.Positive(t, kinds[corev1.SecretTypeOpaque], "and the tunnel's token, and those of clusters")
	log, err := world.Log()
	require.NoError(t, err)
	haystacks := map[string]string{"the operator's log": log, "metrics": metrics(t), "events": kubectl(t, "get", "events", "-A", "-o", "yaml")}
	for _, kind := range strings.Fields(kubectl(t, "api-resources", "--api-group=rancheros.cattle.io", "-o", "name")) {
		haystacks["a status of "+kind] = statuses(t, kind)
	}
	for _, kind := range []string{"bundles.fleet.cattle.io", "bundledeployments.fleet.cattle.io", "leases"} {
		haystacks[kind] = kubectl(t, "get", kind, "-A", "-o", "yaml")
	}
	for where, hay := range haystacks {
		for needle, what := range needles {
			require.False(t, strings.Contains(hay, needle), "%s is in %s", what, where)
		}
	}
}

// isSecret tells the keys of the kinds of Secret that we read or write from certificates and names beside them.
func isSecret(secret *corev1.Secret, key string) bool {
	switch secret.Type {
	case v1.SecretTypeMachineToken, v1.SecretTypeRegistration, v1.SecretTypeCloudConfig:
		return !slices.Contains([]string{v1.SecretKeyPreviousTokenExpires, v1.SecretKeyAdmitted, v1.SecretKeyDownloads}, key)
	}
	return key == "token" || key == "previousToken"
}

// shown are the fields of a status where a token is shown on purpose: the addresses of a registration and of a medium.
var shown = []string{"registrationURL", "registrationToken", "downloadURL", "ipxeURL"}

// statuses are the statuses of all objects of a kind, but for what is shown on purpose.
func statuses(t *testing.T, kind string) string {
	t.Helper()
	var list unstructured.UnstructuredList
	require.NoError(t, list.UnmarshalJSON([]byte(kubectl(t, "get", kind, "-A", "-o", "json"))))
	var all []any
	for _, item := range list.Items {
		for _, field := range shown {
			unstructured.RemoveNestedField(item.Object, "status", field)
		}
		all = append(all, item.Object["status"])
	}
	encoded, err := json.Marshal(all)
	require.NoError(t, err)
	return string(encoded)
}

// No scenario found the operator without a right that it needed.
func Test99RightsWereEnough(t *testing.T) {
	requireRights(t, time.Time{})
}
