package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
)

// Server is what the registration server counts for itself.
type Server interface {
	Rejected() map[server.Refusal]uint64
	Enrolled() server.Enrolled
	InFlight() []server.Usage
}

// AddServer tells of the server.
func (m *Metrics) AddServer(s Server) {
	m.registry.MustRegister(&serverCollector{Server: s,
		registrations: desc(registrations), refused: desc(refused), inFlight: desc(inFlight), limit: desc(inFlightLimit)})
}

type serverCollector struct {
	Server
	registrations, refused, inFlight, limit *prometheus.Desc
}

func (c *serverCollector) Describe(into chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.registrations, c.refused, c.inFlight, c.limit} {
		into <- desc
	}
}

// outcomes that are refusals; what has no outcome of its own is refused.
const (
	outcomeRegistered = "registered"
	outcomeKnown      = "known"
	outcomePending    = "pending"
	outcomeRefused    = "refused"
	outcomeOverloaded = "overloaded"
	outcomeFailed     = "failed"
)

// outcome is what a refusal's reason means for a registration.
func outcome(reason string) string {
	switch reason {
	case string(protocol.CodePending):
		return outcomePending
	case server.ReasonBusy, string(protocol.CodeRateLimited), string(protocol.CodeInProgress):
		return outcomeOverloaded
	case string(protocol.CodeUnavailable), string(protocol.CodeInternal):
		return outcomeFailed
	}
	return outcomeRefused
}

func (c *serverCollector) Collect(into chan<- prometheus.Metric) {
	enrolled := c.Enrolled()
	outcomes := map[string]uint64{outcomeRegistered: enrolled.New, outcomeKnown: enrolled.Known, outcomePending: 0, outcomeRefused: 0,
		outcomeOverloaded: 0, outcomeFailed: 0}
	for refusal, count := range c.Rejected() {
		into <- prometheus.MustNewConstMetric(c.refused, prometheus.CounterValue, float64(count), refusal.Surface, refusal.Reason)
		if refusal.Surface == "registration" {
			outcomes[outcome(refusal.Reason)] += count
		}
	}
	for outcome, count := range outcomes {
		into <- prometheus.MustNewConstMetric(c.registrations, prometheus.CounterValue, float64(count), outcome)
	}
	for _, usage := range c.InFlight() {
		into <- prometheus.MustNewConstMetric(c.inFlight, prometheus.GaugeValue, float64(usage.Taken), usage.Of)
		into <- prometheus.MustNewConstMetric(c.limit, prometheus.GaugeValue, float64(usage.Limit), usage.Of)
	}
}

// Tunnel is how the tunnel is doing.
type Tunnel interface {
	State() server.TunnelState
}

// AddTunnel tells of the tunnel.
func (m *Metrics) AddTunnel(t Tunnel) {
	m.registry.MustRegister(&tunnelCollector{Tunnel: t, connected: desc(tunnelConnected), reconnects: desc(tunnelReconnects), since: desc(tunnelSince)})
}

type tunnelCollector struct {
	Tunnel
	connected, reconnects, since *prometheus.Desc
}

func (c *tunnelCollector) Describe(into chan<- *prometheus.Desc) {
	into <- c.connected
	into <- c.reconnects
	into <- c.since
}

func (c *tunnelCollector) Collect(into chan<- prometheus.Metric) {
	state := c.State()
	since := 0.0
	if !state.Since.IsZero() {
		since = float64(state.Since.Unix())
	}
	into <- prometheus.MustNewConstMetric(c.connected, prometheus.GaugeValue, number(state.Connected))
	into <- prometheus.MustNewConstMetric(c.reconnects, prometheus.CounterValue, float64(state.Reconnects))
	into <- prometheus.MustNewConstMetric(c.since, prometheus.GaugeValue, since)
}
