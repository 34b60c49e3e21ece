// Package availability measures what happens to the fleet when replicas of the operator end, are killed, stand still and
// wake, or are upgraded one after the other: how long nobody reconciles, whether a leader of the past writes, and whether a
// machine that registers meanwhile notices. The figures are printed at the end.
package availability

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/harness"
)

const (
	// fleet is the namespace of everything here.
	fleet = "availability"
	// leading is the metric of the replica that leads.
	leading = `leader_election_master_status{name="rancheros-operator"}`
)

var (
	world    *harness.World
	replicas []*replica
	figures  figureList
)

// replica is one of those that run, with a name to find its files by.
type replica struct {
	*harness.Replica
	name string
}

// figureList is what was measured, in its order.
type figureList struct {
	mutex sync.Mutex
	rows  []string
}

func (f *figureList) add(what, measured, promised string) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.rows = append(f.rows, what+"\t"+measured+"\t"+promised)
}

func (f *figureList) print() {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\tmeasured\tpromised")
	for _, row := range f.rows {
		fmt.Fprintln(table, row)
	}
	_ = table.Flush()
}

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "availability:", err)
		code = max(code, 1)
	}
	figures.print()
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	logrus.SetLevel(logrus.WarnLevel)
	dir, err := os.MkdirTemp("", "rancheros-availability-")
	if err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if world, err = harness.Start(ctx, harness.Options{Dir: dir}); err != nil {
		return 1, fmt.Errorf("%w (the programs in bin/ are built by `make build-test`; logs are in %s)", err, dir)
	}
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.Stop())
		}
		if err = errors.Join(err, world.Stop()); err == nil && code == 0 {
			err = os.RemoveAll(dir)
		}
	}()
	// All replicas are alike, and none is the World's.
	if err := world.StopOperator(); err != nil {
		return 1, err
	}
	for range 3 {
		if _, err := startReplica(ctx); err != nil {
			return 1, err
		}
	}
	if _, err := world.Kubectl(ctx, "create", "namespace", fleet); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

var started int

// startReplica starts one more, with a tunnel to Rancher, and returns when it is ready.
func startReplica(ctx context.Context) (*replica, error) {
	started++
	name := fmt.Sprintf("replica-%d", started)
	running, err := world.StartReplica(ctx, harness.ReplicaOptions{Name: name,
		Args: []string{"--tunnel-secret-namespace", harness.Namespace, "--tunnel-secret-name", "rancheros-operator-tunnel"}})
	if err != nil {
		return nil, err
	}
	r := &replica{running, name}
	replicas = append(replicas, r)
	return r, nil
}

// forget takes a replica that has ended off the list, and another in.
func forget(t *testing.T, gone *replica) {
	t.Helper()
	for i, r := range replicas {
		if r == gone {
			replicas = append(replicas[:i:i], replicas[i+1:]...)
			break
		}
	}
	_, err := startReplica(t.Context())
	require.NoError(t, err)
}

// leader is the replica that leads, but for the one given, which may not answer.
func leader(t *testing.T, but *replica) *replica {
	t.Helper()
	var found *replica
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error {
		found = nil
		for _, r := range replicas {
			if r == but {
				continue
			}
			leads, err := r.Metric(t.Context(), leading)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if leads == 1 && found != nil {
				return fmt.Errorf("both %s and %s lead", found.name, r.name)
			}
			if leads == 1 {
				found = r
			}
		}
		if found == nil {
			return errors.New("nobody leads")
		}
		return nil
	}))
	return found
}

// register makes a MachineRegistration: work for whoever leads.
func register(ctx context.Context, name string) error {
	_, err := world.Clients.RancherOS.MachineRegistration().Create(&v1.MachineRegistration{ObjectMeta: metav1.ObjectMeta{Namespace: fleet, Name: name}})
	if err != nil {
		return fmt.Errorf("creating %s: %w", name, err)
	}
	return ctx.Err()
}

// done tells whether the work is done.
func done(name string) error {
	registration, err := world.Clients.RancherOS.MachineRegistration().Get(fleet, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !meta.IsStatusConditionTrue(registration.Status.Conditions, v1.ConditionReady) {
		return fmt.Errorf("%s is not Ready", name)
	}
	return nil
}

// credential is the audit log's name of the token that the replica authenticates with: each has its own.
func (r *replica) credential(t *testing.T) string {
	t.Helper()
	kubeconfig, err := os.ReadFile(filepath.Join(world.Dir, r.name+".kubeconfig"))
	require.NoError(t, err)
	_, token, found := strings.Cut(string(kubeconfig), "token: ")
	require.True(t, found)
	parts := strings.Split(token, ".")
	require.Greater(t, len(parts), 2)
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var claims struct {
		ID string `json:"jti"`
	}
	require.NoError(t, json.Unmarshal(payload, &claims))
	require.NotEmpty(t, claims.ID)
	return "JTI=" + claims.ID
}

// writes are the replica's since then; those to leases that were refused because of another's are none.
func (r *replica) writes(t *testing.T, since time.Time) (writes []harness.Request, all int) {
	t.Helper()
	credential := r.credential(t)
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	for _, request := range requests {
		if ids := request.User.Extra["authentication.kubernetes.io/credential-id"]; len(ids) != 1 || ids[0] != credential {
			continue
		}
		all++
		if request.Writes() && request.ResponseStatus.Code < 300 {
			writes = append(writes, request)
		}
	}
	return writes, all
}
