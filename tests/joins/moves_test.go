package joins

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// moves is how often the machine is assigned to another cluster.
const moves = 1000

// A machine is assigned to A, B, A, ... a thousand times. Each assignment carries its number, which comes back in the
// answer: so each answer says which cluster its token has to be of, however far the server's view lags. In the end there is
// one token, in A.
func TestBackAndForth(t *testing.T) {
	const namespace = "moves"
	managed := setUp(t, namespace, "a", "b")
	m := register(t, namespace, 1)[0]
	cluster := func(move int) string { return managed[[]string{"a", "b"}[move%2]] }

	// Two ways of asking go on all the time, whatever the moves are at. The other two ask when an assignment has come as far as
	// a token.
	ctx, stop := context.WithCancel(t.Context())
	var pollers sync.WaitGroup
	results := make([]polled, 2)
	for i := range results {
		pollers.Go(func() { results[i] = m.poll(ctx, 2*i+1, cluster) })
	}
	seen := map[string]int{}
	for move := range moves + 1 {
		require.NoError(t, m.assign([]string{"a", "b"}[move%2], strconv.Itoa(move)))
		if move%5 != 0 {
			continue // Overtaken by the next.
		}
		eventuallyAssigned(t, m, cluster(move))
		if move%15 == 0 {
			require.NoError(t, m.reach(t.Context(), 2*(move%4/2), move, cluster))
			seen[cluster(move)]++
		}
	}
	stop()
	pollers.Wait()
	for _, result := range results {
		require.NoError(t, result.err)
		for name, times := range result.clusters {
			seen[name] += times
		}
	}
	t.Logf("answers on the way: %v", seen)
	require.GreaterOrEqual(t, seen[managed["a"]], 30, "there were answers from A")
	require.GreaterOrEqual(t, seen[managed["b"]], 30, "and from B")

	eventually(t, func() error {
		list, err := world.Clients.Management.ClusterRegistrationToken().List("", metav1.ListOptions{
			LabelSelector: v1.LabelMachineNamespace + "=" + namespace + "," + v1.LabelMachine + "=" + m.name})
		if err != nil {
			return err
		}
		if len(list.Items) != 1 || list.Items[0].Namespace != managed["a"] {
			return fmt.Errorf("%d tokens, and not one in A: %v", len(list.Items), list.Items)
		}
		return nil
	})
	token, err := m.join(t.Context(), 0, managed["a"])
	require.NoError(t, err)
	require.True(t, world.Rancher.TokenIsGood(token), "and the machine gets it")
}

// polled is what a poller has seen.
type polled struct {
	// clusters counts the answers by the cluster of their token.
	clusters map[string]int
	err      error
}

// poll asks all the time, and compares each token with the assignment that its answer is about.
func (m machine) poll(ctx context.Context, way int, clusterOf func(move int) string) polled {
	seen := polled{clusters: map[string]int{}}
	for ctx.Err() == nil {
		answer, err := m.ask(ctx, way)
		if err == nil {
			move, err := matches(answer, clusterOf)
			if err != nil {
				seen.err = err
				return seen
			}
			seen.clusters[clusterOf(move)]++
		}
		// A machine is answered once a second for long.
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return seen
}

// reach asks until the answer is about the assignment: the server's view may lag by some.
func (m machine) reach(ctx context.Context, way, move int, clusterOf func(move int) string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		answer, err := m.ask(ctx, way)
		if err == nil {
			if about, err := matches(answer, clusterOf); err != nil || about == move {
				return err
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("assignment %d does not reach the machine: %w", move, err)
		}
	}
}

// matches compares the token's cluster with the assignment whose number the answer carries.
func matches(answer *protocol.InventoryAnswer, clusterOf func(move int) string) (move int, err error) {
	if len(answer.Labels) != 1 {
		return 0, fmt.Errorf("the answer has labels %v", answer.Labels)
	}
	if _, err := fmt.Sscanf(answer.Labels[0], "mark=%d", &move); err != nil {
		return 0, fmt.Errorf("the answer has label %q: %w", answer.Labels[0], err)
	}
	issued, known := world.Rancher.TokenIssued(answer.Token)
	if !known || issued.Namespace != clusterOf(move) {
		return 0, fmt.Errorf("assignment %d is to %s, and the token of %q (known: %v)", move, clusterOf(move), issued.Namespace, known)
	}
	return move, nil
}

// eventuallyAssigned returns when the operator says that the machine's token is in the cluster.
func eventuallyAssigned(t *testing.T, m machine, cluster string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		inventory, err := world.Clients.RancherOS.MachineInventory().Get(m.namespace, m.name, metav1.GetOptions{})
		require.NoError(t, err)
		if inventory.Status.ObservedGeneration == inventory.Generation && inventory.Status.ClusterRegistrationTokenNamespace == cluster {
			return
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("machine is not assigned to %s: %+v", cluster, inventory.Status)
		}
	}
}
