package metrics

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is one of the catalog.
type Metric struct {
	Name string
	// Type is counter, gauge or histogram.
	Type   string
	Help   string
	Labels []string
	// Of is the chapter that it belongs to: one of Chapters.
	Of string
}

// Chapters are what the catalog is about, in its order.
var Chapters = []string{"Registration", "Fleet", "Tunnel", "Operator", "Libraries"}

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// Names of our metrics. Dashboards and alerts of users hold them: they never change.
const (
	registrations       = "rancheros_registrations_total"
	refused             = "rancheros_requests_refused_total"
	challengeDuration   = "rancheros_challenge_duration_seconds"
	attestationDuration = "rancheros_attestation_duration_seconds"
	answerDuration      = "rancheros_answer_duration_seconds"
	inFlight            = "rancheros_in_flight"
	inFlightLimit       = "rancheros_in_flight_limit"

	machines             = "rancheros_machines"
	machineRegistrations = "rancheros_machine_registrations"
	rolloutNodes         = "rancheros_rollout_nodes"
	rolloutHalted        = "rancheros_rollout_halted"
	channelLastSync      = "rancheros_channel_last_sync_timestamp_seconds"
	channelReady         = "rancheros_channel_ready"
	channelSyncs         = "rancheros_channel_syncs_total"

	tunnelConnected  = "rancheros_tunnel_connected"
	tunnelReconnects = "rancheros_tunnel_reconnects_total"
	tunnelSince      = "rancheros_tunnel_last_change_timestamp_seconds"

	buildInfo       = "rancheros_build_info"
	ready           = "rancheros_ready"
	refusedWrites   = "rancheros_writes_without_lease_total"
	leader          = "leader_election_master_status"
	requests        = "rest_client_requests_total"
	requestDuration = "rest_client_request_duration_seconds"
	requestRetries  = "rest_client_request_retries_total"
	limiterDuration = "rest_client_rate_limiter_duration_seconds"
)

// Catalog is every metric but those of the Go runtime and of the process, whose names begin with go_ and process_.
var Catalog = []Metric{
	{registrations, counter, "What came of requests at registration URLs, one for each. registered: a new machine has its configuration; known: one that " +
		"had registered before; pending: it waits for approval; refused: see rancheros_requests_refused_total; overloaded: told to come back because the " +
		"replica or the URL was full; failed: told to come back because of an error of ours, of the API server, or of Rancher's settings.",
		[]string{"outcome"}, "Registration"},
	{refused, counter, "Requests that were refused, by what was asked for and why: the code that the machine shows, busy, or downgrade.",
		[]string{"surface", "reason"}, "Registration"},
	{challengeDuration, histogram, "Work from a machine's claim to the challenge for it.", []string{"surface"}, "Registration"},
	{attestationDuration, histogram, "Wait from the challenge to the proof, and its check: mostly the machine's TPM and the network.", []string{"surface"}, "Registration"},
	{answerDuration, histogram, "Work from the proof to the answer; for a new machine, a write to the API server.", []string{"surface"}, "Registration"},
	{inFlight, gauge, "Places that are taken: requests, of these exchanges whose machine has not proven who it is, and downloads of boot media.",
		[]string{"of"}, "Registration"},
	{inFlightLimit, gauge, "Places that there are; one registration URL or SeedImage gets at most half of them.", []string{"of"}, "Registration"},

	{machines, gauge, "MachineInventories, by how their identity was established and how far they have come: pending approval, unassigned, waiting for " +
		"their cluster, assigned, revoked or deleting.", []string{"assurance", "state"}, "Fleet"},
	{machineRegistrations, gauge, "MachineRegistrations, by the status of their condition Ready.", []string{"ready"}, "Fleet"},
	{rolloutNodes, gauge, "Nodes that a ManagedOSImage is about, by their state. Beyond 500 images, the newest are summed up as one whose labels are empty.",
		[]string{"namespace", "image", "state"}, "Fleet"},
	{rolloutHalted, gauge, "1 while a ManagedOSImage is halted because too many nodes failed, else 0.", []string{"namespace", "image"}, "Fleet"},
	{channelLastSync, gauge, "When a ManagedOSVersionChannel was last read with success, in Unix time; 0 if never.", []string{"namespace", "channel"}, "Fleet"},
	{channelReady, gauge, "1 if a ManagedOSVersionChannel is Ready or suspended, else 0.", []string{"namespace", "channel"}, "Fleet"},
	{channelSyncs, counter, "Tries to read channels, by result: Synced, or the reason that the channel's condition shows.", []string{"result"}, "Fleet"},

	{tunnelConnected, gauge, "1 while this replica is connected to Rancher's tunnel, else 0. Only with --tunnel-secret-name.", nil, "Tunnel"},
	{tunnelReconnects, counter, "Connections to Rancher's tunnel after the first.", nil, "Tunnel"},
	{tunnelSince, gauge, "When the tunnel was last connected or lost, in Unix time; 0 if it never was.", nil, "Tunnel"},

	{buildInfo, gauge, "Always 1; the labels say which build this is.", []string{"version", "commit", "go_version"}, "Operator"},
	{ready, gauge, "1 while /readyz answers 200, else 0.", nil, "Operator"},
	{leader, gauge, "1 on the replica that runs the controllers, else 0.", []string{"name"}, "Operator"},
	{refusedWrites, counter, "Writes of controllers that were held back because the replica did not hold the lease any more.", nil, "Operator"},

	{requests, counter, "Requests to the API server, by method and status code; <error> is none at all.", []string{"code", "method", "host"}, "Libraries"},
	{requestDuration, histogram, "How long requests to the API server took.", []string{"verb", "host"}, "Libraries"},
	{requestRetries, counter, "Requests to the API server that were sent again.", []string{"code", "verb", "host"}, "Libraries"},
	{limiterDuration, histogram, "How long requests waited for --qps and --burst.", []string{"verb", "host"}, "Libraries"},
	{"workqueue_depth", gauge, "Objects that wait to be reconciled, by kind.", []string{"name"}, "Libraries"},
	{"workqueue_adds_total", counter, "Objects that were put into the queue.", []string{"name"}, "Libraries"},
	{"workqueue_retries_total", counter, "Objects that were put back after an error.", []string{"name"}, "Libraries"},
	{"workqueue_queue_duration_seconds", histogram, "How long objects waited in the queue.", []string{"name"}, "Libraries"},
	{"workqueue_work_duration_seconds", histogram, "How long reconciling an object took, all handlers together.", []string{"name"}, "Libraries"},
	{"workqueue_unfinished_work_seconds", gauge, "Time spent on objects that are being reconciled; grows while a worker is stuck.", []string{"name"}, "Libraries"},
	{"workqueue_longest_running_processor_seconds", gauge, "How long the slowest reconcile under way has taken.", []string{"name"}, "Libraries"},
	{"lasso_controller_total_handler_execution", counter, "Runs of a controller's handlers, and whether they failed.",
		[]string{"ctx", "controller_name", "handler_name", "has_error"}, "Libraries"},
	{"lasso_controller_reconcile_time_seconds", histogram, "How long a controller's handler took.",
		[]string{"ctx", "controller_name", "handler_name", "has_error"}, "Libraries"},
}

// find is the metric of that name, which must be in the catalog.
func find(name string) Metric {
	at := slices.IndexFunc(Catalog, func(m Metric) bool { return m.Name == name })
	return Catalog[at]
}

func desc(name string) *prometheus.Desc {
	m := find(name)
	return prometheus.NewDesc(m.Name, m.Help, m.Labels, nil)
}

func newCounter(name string) *prometheus.CounterVec {
	m := find(name)
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func newGauge(name string) *prometheus.GaugeVec {
	m := find(name)
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Help}, m.Labels)
}

func newHistogram(name string, buckets []float64) *prometheus.HistogramVec {
	m := find(name)
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.Name, Help: m.Help, Buckets: buckets}, m.Labels)
}
