package prometheus

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

var (
	root  = filepath.Join("..", "..")
	files = filepath.Join(root, "chart", "rancheros-operator", "files")
)

// metric is one of the guide's tables.
type metric struct {
	kind   string
	labels []string
}

// guide are the metrics that there are, by name, those that Prometheus makes of histograms included.
func guide(t *testing.T) map[string]metric {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(root, ".github", "guide", "metrics.md"))
	require.NoError(t, err)
	all := map[string]metric{}
	for _, row := range regexp.MustCompile(`(?m)^\| ([a-z_]+) \| (counter|gauge|histogram) \| ([a-z_, ]*) \|`).FindAllStringSubmatch(string(body), -1) {
		m := metric{kind: row[2]}
		if row[3] != "" {
			m.labels = strings.Split(row[3], ", ")
		}
		if m.kind != "histogram" {
			all[row[1]] = m
			continue
		}
		for suffix, extra := range map[string][]string{"_bucket": {"le"}, "_sum": nil, "_count": nil} {
			all[row[1]+suffix] = metric{"counter", append(slices.Clone(m.labels), extra...)}
		}
	}
	require.Greater(t, len(all), 30)
	// Client libraries' own, the same everywhere.
	all["process_resident_memory_bytes"], all["process_cpu_seconds_total"] = metric{kind: "gauge"}, metric{kind: "counter"}
	return all
}

// requireKnown fails unless the expression is PromQL, and every metric and label in it is there; what is added by Prometheus is
// job and instance. A counter without rate or increase means nothing.
func requireKnown(t *testing.T, where, expression string, known map[string]metric) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
	require.NoError(t, err, where)
	found := 0
	parser.Inspect(parsed, func(node parser.Node, path []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		found++
		m, exists := known[selector.Name]
		if !exists {
			t.Errorf("%s: there is no metric %s", where, selector.Name)
			return nil
		}
		for _, matcher := range selector.LabelMatchers {
			if matcher.Name != labels.MetricName && !slices.Contains(m.labels, matcher.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, matcher.Name)
			}
		}
		_, isRange := path[len(path)-1].(*parser.MatrixSelector)
		if isRange != (m.kind == "counter") {
			t.Errorf("%s: %s is a %s", where, selector.Name, m.kind)
		}
		return nil
	})
	require.Positive(t, found, where)
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range aggregate.Grouping {
				if !slices.ContainsFunc(slices.Collect(values(known)), func(m metric) bool { return slices.Contains(m.labels, label) }) {
					t.Errorf("%s: nothing has a label %s", where, label)
				}
			}
		}
		return nil
	})
}

func values(known map[string]metric) func(func(metric) bool) {
	return func(yield func(metric) bool) {
		for _, m := range known {
			if !yield(m) {
				return
			}
		}
	}
}

func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	groups, errs := rulefmt.ParseFile(filepath.Join(files, "prometheus-rules.yaml"), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	require.Greater(t, len(all), 10)
	return all
}

func TestAlerts(t *testing.T) {
	known := guide(t)
	seen := map[string]bool{}
	for _, rule := range rules(t) {
		require.Regexp(t, `^RancherOS[A-Z][A-Za-z]+$`, rule.Alert)
		require.False(t, seen[rule.Alert], rule.Alert)
		seen[rule.Alert] = true
		require.Contains(t, []string{"critical", "warning"}, rule.Labels["severity"], rule.Alert)
		require.Regexp(t, `\.$`, rule.Annotations["summary"], rule.Alert)
		// The description says what to do: it has a verb for it.
		require.Regexp(t, `(?i)\b(look|remove|set|raise|add|mend|take|compare)\b`, rule.Annotations["description"], rule.Alert)
		requireKnown(t, rule.Alert, rule.Expr, known)
		require.Contains(t, situations, rule.Alert, "a situation in which it fires, and one in which it does not")
	}
	for name := range situations {
		require.True(t, seen[name], name)
	}
}

// situations are series as Prometheus' own tests write them, a minute apart: what makes an alert true at their end, and
// what looks like it and does not. Both last for two days, so that nothing is too short.
var situations = map[string]struct{ fires, quiet string }{
	"RancherOSOperatorDown":     {`rancheros_ready{instance="a"} 0x2880`, "rancheros_ready{instance=\"a\"} 0x2880\nrancheros_ready{instance=\"b\"} 1x2880"},
	"RancherOSOperatorNoLeader": {`leader_election_master_status{name="rancheros-operator", instance="a"} 0x2880`, leaders(0, 1)},
	"RancherOSOperatorTwoLeaders": {leaders(1, 1), leaders(1, 0) + "\n" +
		`leader_election_master_status{name="somebody-else", instance="a"} 1x2880`},
	"RancherOSTunnelDown":     {"rancheros_tunnel_connected{instance=\"a\"} 0x2880\nrancheros_tunnel_connected{instance=\"b\"} 1x2880", `rancheros_tunnel_connected{instance="b"} 1x2880`},
	"RancherOSTunnelsDown":    {"rancheros_tunnel_connected{instance=\"a\"} 0x2880\nrancheros_tunnel_connected{instance=\"b\"} 0x2880", "rancheros_tunnel_connected{instance=\"a\"} 0x2880\nrancheros_tunnel_connected{instance=\"b\"} 1x2880"},
	"RancherOSTunnelUnsteady": {`rancheros_tunnel_reconnects_total 0+1x2880`, `rancheros_tunnel_reconnects_total 7x2880`},
	"RancherOSRegistrationsFail": {outcomes("failed", 20, "registered", 100),
		outcomes("failed", 20, "registered", 1000)},
	"RancherOSRegistrationsRefused": {`rancheros_requests_refused_total{surface="registration", reason="attestation-failed"} 0+1x2880`,
		"rancheros_requests_refused_total{surface=\"registration\", reason=\"pending\"} 0+100x2880\nrancheros_requests_refused_total{surface=\"other\", reason=\"forbidden\"} 0+100x2880"},
	"RancherOSOverloaded":            {outcomes("overloaded", 60, "known", 60), outcomes("overloaded", 0, "known", 600)},
	"RancherOSAnswersSlow":           {answers("2.5"), answers("0.01")},
	"RancherOSMachinesPending":       {`rancheros_machines{assurance="FirstUse", state="pending"} 2x2880`, `rancheros_machines{assurance="FirstUse", state="unassigned"} 2x2880`},
	"RancherOSRegistrationsNotReady": {`rancheros_machine_registrations{ready="false"} 1x2880`, "rancheros_machine_registrations{ready=\"false\"} 0x2880\nrancheros_machine_registrations{ready=\"true\"} 9x2880"},
	"RancherOSRolloutHalted":         {`rancheros_rollout_halted{namespace="fleet", image="one"} 1x2880`, `rancheros_rollout_halted{namespace="fleet", image="one"} 0x2880`},
	"RancherOSNodesFailed":           {`rancheros_rollout_nodes{namespace="fleet", image="one", state="fell_back"} 1x2880`, `rancheros_rollout_nodes{namespace="fleet", image="one", state="offline"} 1x2880`},
	"RancherOSChannelStale": {"rancheros_channel_ready{namespace=\"fleet\", channel=\"c\"} 0x2880\nrancheros_channel_last_sync_timestamp_seconds{namespace=\"fleet\", channel=\"c\"} 0x2880",
		"rancheros_channel_ready{namespace=\"fleet\", channel=\"c\"} 1x2880\nrancheros_channel_last_sync_timestamp_seconds{namespace=\"fleet\", channel=\"c\"} 0x2880"},
	"RancherOSReconcileErrors": {"rancheros_build_info{job=\"j\", instance=\"a\"} 1x2880\nlasso_controller_total_handler_execution{job=\"j\", instance=\"a\", controller_name=\"c\", handler_name=\"h\", has_error=\"true\"} 0+10x2880",
		"rancheros_build_info{job=\"j\", instance=\"a\"} 1x2880\nlasso_controller_total_handler_execution{job=\"rancher\", instance=\"r\", controller_name=\"c\", handler_name=\"h\", has_error=\"true\"} 0+10x2880"},
	"RancherOSWorkerStuck": {"rancheros_build_info{job=\"j\", instance=\"a\"} 1x2880\nworkqueue_longest_running_processor_seconds{job=\"j\", instance=\"a\", name=\"n\"} 0+60x2880",
		"rancheros_build_info{job=\"j\", instance=\"a\"} 1x2880\nworkqueue_longest_running_processor_seconds{job=\"rancher\", instance=\"r\", name=\"n\"} 0+60x2880"},
}

func leaders(a, b int) string {
	digit := []string{"0", "1"}
	return `leader_election_master_status{name="rancheros-operator", instance="a"} ` + digit[a] + "x2880\n" +
		`leader_election_master_status{name="rancheros-operator", instance="b"} ` + digit[b] + "x2880"
}

func outcomes(one string, perMinute int, other string, otherPerMinute int) string {
	line := func(outcome string, step int) string {
		return `rancheros_registrations_total{outcome="` + outcome + `"} 0+` + model.SampleValue(step).String() + "x2880"
	}
	return line(one, perMinute) + "\n" + line(other, otherPerMinute)
}

// answers take up to le seconds each, 60 a minute.
func answers(le string) string {
	const name = `rancheros_answer_duration_seconds`
	lower := map[string]string{"2.5": "1", "0.01": "0.005"}[le]
	return name + `_bucket{surface="registration", le="` + lower + "\"} 0x2880\n" + name + `_bucket{surface="registration", le="` + le + "\"} 0+60x2880\n" +
		name + `_bucket{surface="registration", le="+Inf"} 0+60x2880` + "\n" + name + `_count{surface="registration"} 0+60x2880`
}

// Each alert fires when it should, and when something else is the case it does not.
func TestAlertsFire(t *testing.T) {
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, 1_000_000)
	at := time.Unix(0, 0).Add(48 * time.Hour)
	for _, rule := range rules(t) {
		for series, fires := range map[string]bool{situations[rule.Alert].fires: true, situations[rule.Alert].quiet: false} {
			storage := promqltest.LoadedStorage(t, "load 1m\n  "+strings.ReplaceAll(series, "\n", "\n  "))
			query, err := engine.NewInstantQuery(t.Context(), storage, nil, rule.Expr, at)
			require.NoError(t, err)
			result := query.Exec(t.Context())
			require.NoError(t, result.Err, rule.Alert)
			vector, err := result.Vector()
			require.NoError(t, err, rule.Alert)
			require.Equal(t, fires, len(vector) > 0, "%s with\n%s\nis %s", rule.Alert, series, result)
			query.Close()
		}
	}
}

// panel is what matters here of Grafana's.
type panel struct {
	Title, Type, Description string
	Targets                  []struct{ Expr string }
}

func TestDashboard(t *testing.T) {
	body, err := os.ReadFile(filepath.Join(files, "dashboard.json"))
	require.NoError(t, err)
	var dashboard struct {
		Title, UID string
		Panels     []panel
		Templating struct {
			List []struct {
				Name  string
				Query any
			}
		}
	}
	require.NoError(t, json.Unmarshal(body, &dashboard))
	require.NotEmpty(t, dashboard.UID)
	known := guide(t)
	var rows []string
	// What Grafana fills in.
	grafana := strings.NewReplacer("$__rate_interval", "5m", "$namespace", ".*", "$image", ".*")
	for _, panel := range dashboard.Panels {
		if panel.Type == "row" {
			rows = append(rows, panel.Title)
			continue
		}
		require.Regexp(t, `\.$`, panel.Description, "%s says what one sees", panel.Title)
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			requireKnown(t, "panel "+panel.Title, grafana.Replace(target.Expr), known)
		}
	}
	require.Equal(t, []string{"Registration", "Machines", "Upgrades", "Channels", "Operator"}, rows)
	for _, name := range regexp.MustCompile(`label_values\(([a-z_]+)`).FindAllStringSubmatch(string(body), -1) {
		require.Contains(t, known, name[1])
	}
}
