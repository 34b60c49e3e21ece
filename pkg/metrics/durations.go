package metrics

import (
	"github.com/rancher/rancheros-operator/pkg/registration/server"
)

// Work of ours is done in a millisecond, or the replica or the API server is too busy; a TPM takes up to seconds.
var (
	workBuckets = []float64{.00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}
	tpmBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 3, 5, 7.5, 10, 15}
)

func (m *Metrics) addDurations() {
	challenge, attestation, answer := newHistogram(challengeDuration, workBuckets), newHistogram(attestationDuration, tpmBuckets), newHistogram(answerDuration, workBuckets)
	m.registry.MustRegister(challenge, attestation, answer)
	of := func(surface string) server.Durations {
		return server.Durations{Challenge: challenge.WithLabelValues(surface), Attestation: attestation.WithLabelValues(surface), Answer: answer.WithLabelValues(surface)}
	}
	m.Registering, m.Joining = of("registration"), of("inventory")
}
