package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// scrapeTimeout bounds an answer, and maxScrapes how many are made at the same time.
const (
	scrapeTimeout = 10 * time.Second
	maxScrapes    = 4
)

// Metrics is the registry, and what the rest of the operator counts with.
type Metrics struct {
	// Registering and Joining are how long exchanges take.
	Registering, Joining server.Durations
	// RefusedWrites counts writes without the lease.
	RefusedWrites prometheus.Counter

	registry        *prometheus.Registry
	channelSyncs    *prometheus.CounterVec
	isReady, leader prometheus.Gauge
	leading         atomic.Bool
}

// New makes a registry of all that is not the fleet's or the server's: those are added when they are there.
func New() *Metrics {
	m := &Metrics{
		registry:      prometheus.NewRegistry(),
		channelSyncs:  newCounter(channelSyncs),
		RefusedWrites: newCounter(refusedWrites).WithLabelValues(),
		isReady:       newGauge(ready).WithLabelValues(),
	}
	build := version.Get()
	info := newGauge(buildInfo)
	info.WithLabelValues(build.Version, build.Commit, build.Go).Set(1)
	m.registry.MustRegister(info, m.isReady, m.channelSyncs, m.RefusedWrites, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.addDurations()
	m.addLibraries()
	return m
}

// Ready says what /readyz answers.
func (m *Metrics) Ready(ready bool) { m.isReady.Set(number(ready)) }

// ChannelAsked counts a try to read a channel. The result is one of few.
func (m *Metrics) ChannelAsked(result string) { m.channelSyncs.WithLabelValues(result).Inc() }

// Lead says whether this replica leads, and so tells of the fleet. A replica that elects is told so by client-go.
func (m *Metrics) Lead(leads bool) {
	m.leader.Set(number(leads))
	m.leading.Store(leads)
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog: logrus.StandardLogger(), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout, EnableOpenMetrics: true,
	})
}

// Listen takes the port at once, so that a port in use ends the process with a clear word. An empty address is no listener.
func Listen(address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for Prometheus: %w", err)
	}
	return listener, nil
}

// Serve answers /metrics on the listener until ctx ends; without a listener, nothing happens.
func (m *Metrics) Serve(ctx context.Context, listener net.Listener) error {
	if listener == nil {
		return nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", m.Handler())
	answering := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: scrapeTimeout + 5*time.Second, IdleTimeout: 2 * time.Minute}
	stop := context.AfterFunc(ctx, func() { _ = answering.Close() })
	defer stop()
	if err := answering.Serve(listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics: %w", err)
	}
	return nil
}

// number is a truth as Prometheus has it.
func number(truth bool) float64 {
	if truth {
		return 1
	}
	return 0
}
