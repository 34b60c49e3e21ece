// Package joins proves that a machine is never given a token that it cannot join with, or joins another cluster by:
// thousands of machines ask while Rancher rotates tokens, and one is moved from cluster to cluster a thousand times.
//
// Each answer is checked at once against what the pretend Rancher knows of every token that it has ever made. A token is
// stale if another had taken its place before the machine asked. That is stricter than what Rancher forgives, whose
// previous token is good for a grace period: a server that kept a copy for a second would fail.
package joins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/swarm"
)

// patience bounds each wait.
const patience = 60 * time.Second

var (
	world *harness.World
	// second is another replica, from which machines get the same answers.
	second *harness.Replica
	fleets *swarm.Swarm
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "joins:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	logrus.SetLevel(logrus.WarnLevel)
	dir, err := os.MkdirTemp("", "rancheros-joins-")
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if world, err = harness.Start(ctx, harness.Options{Dir: dir}); err != nil {
		return 1, fmt.Errorf("%w (the programs in bin/ are built by `make build-test`; logs are in %s)", err, dir)
	}
	defer func() {
		if err = errors.Join(err, world.Stop()); err == nil && code == 0 {
			err = os.RemoveAll(dir)
		}
	}()
	if second, err = world.StartReplica(ctx, harness.ReplicaOptions{Name: "second"}); err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, second.Stop()) }()
	if fleets, err = swarm.New(); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// machine is one inventory. It has a TPM and shares a secret, and may prove itself with either.
type machine struct {
	namespace, name string
	tpm             *swarm.Machine
	secret          string
}

// ask asks the server once, with the TPM or with the secret. A machine is answered once a second for long, by each replica
// and for each of its proofs.
func (m machine) ask(ctx context.Context, way int) (*protocol.InventoryAnswer, error) {
	server := "http://" + world.Operator.ListenAddr
	if way&1 != 0 {
		server = "http://" + second.ListenAddr
	}
	if way&2 != 0 {
		return swarm.AskWithToken(ctx, server, m.secret)
	}
	return m.tpm.Ask(ctx, server)
}

// ways is how many ways there are to ask.
const ways = 4

// setUp makes the namespace, clusters in it and a registration, and returns the clusters' management clusters.
func setUp(t *testing.T, namespace string, clusters ...string) map[string]string {
	t.Helper()
	manifests := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n---\n" +
		"apiVersion: rancheros.cattle.io/v1\nkind: MachineRegistration\nmetadata: {name: fleet, namespace: " + namespace + "}\nspec: {machineName: fleet}\n"
	for _, cluster := range clusters {
		manifests += "---\napiVersion: provisioning.cattle.io/v1\nkind: Cluster\nmetadata: {name: " + cluster + ", namespace: " + namespace + "}\nspec: {rkeConfig: {}}\n"
	}
	_, err := world.Apply(t.Context(), manifests)
	require.NoError(t, err)
	managed := map[string]string{}
	for _, cluster := range clusters {
		eventually(t, func() error {
			name, err := world.Kubectl(t.Context(), "get", "clusters.provisioning.cattle.io", cluster, "-n", namespace, "-o", "jsonpath={.status.clusterName}")
			if managed[cluster] = name; err == nil && name == "" {
				err = fmt.Errorf("cluster %s has no management cluster", cluster)
			}
			return err
		})
	}
	return managed
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	require.NoError(t, harness.Eventually(t.Context(), patience, check))
}

// register makes machines that register, and gives each a secret as well.
func register(t *testing.T, namespace string, count int) []machine {
	t.Helper()
	_, err := world.Kubectl(t.Context(), "wait", "--for=condition=Ready", "machineregistration/fleet", "-n", namespace, "--timeout=60s")
	require.NoError(t, err)
	url, err := world.Kubectl(t.Context(), "get", "machineregistration", "fleet", "-n", namespace, "-o", "jsonpath={.status.registrationURL}")
	require.NoError(t, err)
	path := strings.TrimPrefix(url, world.Rancher.URL())
	machines := make([]machine, count)
	errs := swarm.InParallel(count, 4, func(i int) error {
		device, err := fleets.Machine()
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		name, err := device.KeepRegistering(ctx, "http://"+world.Operator.ListenAddr+path, 50*time.Millisecond)
		if err != nil {
			return err
		}
		machines[i] = machine{namespace: namespace, name: name, tpm: device, secret: strings.Repeat(device.Hash(), 2)}
		return machines[i].share(ctx)
	})
	require.Empty(t, errs)
	return machines
}

// share puts the machine's secret beside its TPM.
func (m machine) share(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: m.name}, Type: v1.SecretTypeMachineToken,
		Data: map[string][]byte{v1.SecretKeyToken: []byte(m.secret)}}
	if _, err := world.Kube.CoreV1().Secrets(m.namespace).Create(ctx, secret, metav1.CreateOptions{}); err != nil {
		return err
	}
	patch := fmt.Sprintf(`{"spec":{"machineTokenSecretName":%q}}`, m.name)
	_, err := world.Clients.RancherOS.MachineInventory().Patch(m.namespace, m.name, types.MergePatchType, []byte(patch))
	return err
}

// assign gives the machine to the cluster. The mark comes back in the machine's answer: it tells which assignment that
// is about.
func (m machine) assign(cluster, mark string) error {
	patch := fmt.Sprintf(`{"spec":{"clusterName":%q,"config":{"role":"agent","labels":{"mark":%q}}}}`, cluster, mark)
	_, err := world.Clients.RancherOS.MachineInventory().Patch(m.namespace, m.name, types.MergePatchType, []byte(patch))
	return err
}

// check is what the machine finds out about its answer: the token is its own, of the cluster that it is assigned to, and
// no other had taken its place before it asked.
func (m machine) check(asked time.Time, answer *protocol.InventoryAnswer, cluster string) error {
	issued, known := world.Rancher.TokenIssued(answer.Token)
	own := index.ClusterTokenName(&v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: m.namespace, Name: m.name}})
	switch {
	case !known:
		return fmt.Errorf("%s got a token that Rancher has never made", m.name)
	case issued.Namespace != cluster || issued.Name != own:
		return fmt.Errorf("%s got the token %s/%s, not %s/%s", m.name, issued.Namespace, issued.Name, cluster, own)
	case !issued.Until.IsZero() && issued.Until.Before(asked):
		return fmt.Errorf("%s got a token that had been replaced %s before it asked", m.name, asked.Sub(issued.Until))
	}
	return nil
}

// connect joins as Rancher's install script does.
func (m machine) connect(ctx context.Context, client *http.Client, token string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, world.Rancher.URL()+"/v3/connect/agent", nil)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{"Authorization": "Bearer " + token, "X-Cattle-Id": m.namespace + "/" + m.name,
		"X-Cattle-Node-Name": m.name, "X-Cattle-Role-Worker": "true"} {
		request.Header.Set(name, value)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s could not join: %s %s %w", m.name, response.Status, body, err)
	}
	return nil
}

// join asks until the machine gets its answer, and checks it the moment that it has it.
func (m machine) join(ctx context.Context, way int, cluster string) (token string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		asked := time.Now()
		answer, err := m.ask(ctx, way)
		if err == nil {
			return answer.Token, m.check(asked, answer, cluster)
		}
		// Not assigned yet, or asked too often.
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return "", fmt.Errorf("%s: %w", m.name, err)
		}
	}
}
