package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/harness"
)

// After everything above, a world that does not change costs nothing: an operator that starts anew, and so sees every
// object as new, writes none of them.
func Test07UnchangedWorldIsNotWritten(t *testing.T) { requireUnchangedByRestart(t) }

func requireUnchangedByRestart(t *testing.T) {
	t.Helper()
	// What the last scenarios set off must have settled: machines are counted five seconds after they came.
	eventuallyQuiet(t, 6*time.Second)
	before := resourceVersions(t)
	require.NoError(t, world.StopOperator())
	since := time.Now()
	require.NoError(t, world.StartOperator(t.Context()))
	require.NoError(t, world.WaitForTunnel(t.Context()))
	waitForLease(t, since)
	eventuallyQuiet(t, 5*time.Second)

	require.Equal(t, before, resourceVersions(t))
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	for _, request := range writes(requests) {
		t.Error("written in an unchanged world:", request)
	}
}

// The rights of the chart are enough: nothing that the operator ever asked for was refused.
func Test07RightsAreEnough(t *testing.T) { requireRights(t, time.Time{}) }

// requireRights finds no request of the operator's that was refused for want of a right. That nobody may make anything in a
// namespace that is being terminated is another matter.
func requireRights(t *testing.T, since time.Time) {
	t.Helper()
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	require.NotEmpty(t, requests)
	for _, request := range requests {
		if request.ResponseStatus.Code == http.StatusForbidden && !strings.Contains(request.ResponseStatus.Message, "being terminated") {
			t.Error("the operator lacks a right:", request)
		}
	}
}

// writes leaves out the lease, whose renewal is the one thing that must go on.
func writes(requests []harness.Request) []harness.Request {
	return slices.DeleteFunc(requests, func(request harness.Request) bool {
		return !request.Writes() || request.ObjectRef.Resource == "leases"
	})
}

// eventuallyQuiet returns when the operator has written nothing for so long.
func eventuallyQuiet(t *testing.T, quiet time.Duration) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		since := time.Now()
		select {
		case <-time.After(quiet):
		case <-t.Context().Done():
			t.Fatal("ended while waiting for the operator to be quiet")
		}
		requests, err := world.OperatorRequests(since)
		require.NoError(t, err)
		busy := writes(requests)
		if len(busy) == 0 {
			return
		}
		require.True(t, time.Now().Before(deadline), "the operator goes on writing: %v", busy)
	}
}

// waitForLease returns when the operator leads, so that its controllers run.
func waitForLease(t *testing.T, since time.Time) {
	t.Helper()
	eventually(t, func() error {
		acquired, err := world.Kubectl(t.Context(), "get", "lease", "rancheros-operator", "-n", harness.Namespace, "-o", "jsonpath={.spec.acquireTime}")
		if err != nil {
			return err
		}
		at, err := time.Parse(time.RFC3339Nano, acquired)
		if err == nil && at.Before(since) {
			err = equal("acquireTime", acquired, "after "+since.String())
		}
		return err
	})
}

func resourceVersions(t *testing.T) []string {
	t.Helper()
	output := kubectl(t, "get", "rancheros,bundles,clusterregistrationtokens", "--all-namespaces",
		"-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	secrets := kubectl(t, "get", "secrets", "--all-namespaces", "--field-selector", "type=rancheros.cattle.io/registration",
		"-o", `jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`)
	versions := strings.Split(output+"\n"+secrets, "\n")
	slices.Sort(versions)
	require.NotEmpty(t, versions)
	return versions
}
