package metrics

import (
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	lasso "github.com/rancher/lasso/pkg/metrics"
	"k8s.io/client-go/tools/leaderelection"
	client "k8s.io/client-go/tools/metrics"
)

// LeaseName is the label of the lease, and its name.
const LeaseName = "rancheros-operator"

// addLibraries takes over what client-go and lasso count. They do so for the whole process, whoever asks first: a second
// registry, in a test, sees nothing of client-go's requests.
func (m *Metrics) addLibraries() {
	lasso.MustRegisterWithWorkqueue(without{m.registry, lasso.TotalCachedObjects})

	led := newGauge(leader)
	m.registry.MustRegister(led)
	m.leader = led.WithLabelValues(LeaseName)
	leaderelection.SetProvider(leaderProvider{m})

	durations, limited := newHistogram(requestDuration, requestBuckets), newHistogram(limiterDuration, requestBuckets)
	results, retries := newCounter(requests), newCounter(requestRetries)
	m.registry.MustRegister(durations, limited, results, retries)
	client.Register(client.RegisterOpts{
		RequestLatency: latency{durations}, RateLimiterLatency: latency{limited}, RequestResult: result{results}, RequestRetry: result{retries},
	})
}

// requestBuckets are those of Kubernetes' own components.
var requestBuckets = []float64{.005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60}

// without registers all but one collector: lasso counts the objects of each cache by kind, and ours of Secrets are several of
// one kind, so its number would be that of any of them.
type without struct {
	prometheus.Registerer
	left prometheus.Collector
}

func (w without) MustRegister(all ...prometheus.Collector) {
	for _, collector := range all {
		if collector != w.left {
			w.Registerer.MustRegister(collector)
		}
	}
}

type latency struct{ of *prometheus.HistogramVec }

func (l latency) Observe(_ context.Context, verb string, u url.URL, took time.Duration) {
	l.of.WithLabelValues(verb, u.Host).Observe(took.Seconds())
}

type result struct{ of *prometheus.CounterVec }

func (r result) Increment(_ context.Context, code, method, host string) {
	r.of.WithLabelValues(code, method, host).Inc()
}

func (r result) IncrementRetry(ctx context.Context, code, method, host string) {
	r.Increment(ctx, code, method, host)
}

// leaderProvider is told by client-go when this replica gets or loses the lease.
type leaderProvider struct{ metrics *Metrics }

func (p leaderProvider) NewLeaderMetric() leaderelection.LeaderMetric { return p }

func (p leaderProvider) On(string) { p.metrics.Lead(true) }

func (p leaderProvider) Off(string) { p.metrics.Lead(false) }

func (leaderProvider) SlowpathExercised(string) {}
