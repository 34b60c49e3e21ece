package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// metric is one of the operator's; none is zero.
func metric(t *testing.T, series string) float64 {
	t.Helper()
	value, err := world.Operator.Metric(t.Context(), series)
	if err != nil {
		return 0
	}
	return value
}

// sentAway registers a machine that is sent away.
func sentAway(t *testing.T, m *machine.Machine, url string) {
	t.Helper()
	result, err := m.Run(t.Context(), "register", "--once", "--url", url, "--ca-file", caFile(t))
	require.NoError(t, err)
	require.NotZero(t, result.ExitCode)
}

func metrics(t *testing.T) string {
	t.Helper()
	response, err := http.Get("http://" + world.Operator.MetricsAddr + "/metrics")
	require.NoError(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	return string(body)
}

// What Prometheus is told is what has happened: to machines, to an image, to a channel, to the operator itself.
func Test24MetricsTellWhatHappened(t *testing.T) {
	ns := namespace(t, "s24-metrics")
	outcome := func(name string) string { return fmt.Sprintf("rancheros_registrations_total{outcome=%q}", name) }
	inState := func(state string) string {
		return fmt.Sprintf("rancheros_machines{assurance=%q,state=%q}", v1.AssuranceFirstUse, state)
	}
	const notFound, answers = `rancheros_requests_refused_total{reason="not-found",surface="registration"}`, `rancheros_answer_duration_seconds_count{surface="registration"}`
	before := map[string]float64{}
	for _, series := range []string{outcome("registered"), outcome("known"), outcome("pending"), inState("pending"), inState("unassigned"), notFound, answers} {
		before[series] = metric(t, series)
	}
	grown := func(series string, by float64) {
		t.Helper()
		eventually(t, func() error { return equal(series, metric(t, series)-before[series], by) })
	}

	url := registration(t, ns, "open", fmt.Sprintf("{cloudConfig: {users: [{name: root, passwd: %s}]}}", canary))
	m := newMachine(t, "S24-1")
	made := register(t, m, ns, url)
	grown(outcome("registered"), 1)
	register(t, m, ns, url)
	grown(outcome("known"), 1)
	grown(inState("unassigned"), 1)

	manual := registration(t, ns, "manual", "{admission: {approval: Manual}}")
	waiting := newMachine(t, "S24-2")
	sentAway(t, waiting, manual)
	grown(outcome("pending"), 1)
	grown(inState("pending"), 1)
	sentAway(t, newMachine(t, "S24-3"), otherToken(url))
	grown(notFound, 1)
	grown(answers, 3)

	kubectl(t, "delete", "machineinventory", made.Name, "-n", ns)
	grown(inState("unassigned"), 0)

	addNodes(t, ns, "site", "RancherOS v1.0.0", "a", "b", "c")
	apply(t, fmt.Sprintf(imageManifest, "image", ns, `{osImage: "rancher/os2:v1.2.0", clusterTargets: [{clusterSelector: {}}]}`))
	waitFor(t, ns, "managedosimage/image", "Ready", v1.ReasonReady)
	nodes := fmt.Sprintf(`rancheros_rollout_nodes{image="image",namespace=%q,state="up_to_date"}`, ns)
	eventually(t, func() error { return equal(nodes, metric(t, nodes), 3.0) })

	for _, one := range []string{`leader_election_master_status{name="rancheros-operator"}`, "rancheros_ready", "rancheros_tunnel_connected"} {
		require.Equal(t, 1.0, metric(t, one), one)
	}
	all := metrics(t)
	for _, library := range []string{`rest_client_requests_total{code="201"`, "workqueue_adds_total{", `lasso_controller_total_handler_execution{controller_name="rancheros.cattle.io/v1, Resource=machineinventories"`} {
		require.Contains(t, all, library)
	}
	hash, err := m.TPMHash(t.Context())
	require.NoError(t, err)
	for _, never := range []string{made.Name, hash, url[strings.LastIndex(url, "/")+1:], canary} {
		require.NotContains(t, all, never)
	}
	require.Less(t, strings.Count(all, "\n"), 5000, "the number of series does not follow that of machines")
}

// Every line of the log is an object with a level, whichever library wrote it. Reports of the race detector are none.
func Test24LogIsJSON(t *testing.T) {
	log, err := world.Log()
	require.NoError(t, err)
	log, _, _ = strings.Cut(log, "==================\nWARNING: DATA RACE")
	for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
		var fields struct{ Level, Msg, Time string }
		require.NoError(t, json.Unmarshal([]byte(line), &fields), line)
		require.NotEmpty(t, fields.Level, line)
		require.NotEmpty(t, fields.Time, line)
	}
}
