package joins

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rancher/rancheros-operator/tests/swarm"
)

const (
	// fleet times ways times rounds are 5,000 joins. A machine is answered once a second for long, so the rounds take their
	// time.
	fleet  = 50
	rounds = 25
	// rotation is how often Rancher replaces every token.
	rotation = 2 * time.Second
)

// Five thousand joins, by TPM and by shared secret, in five clusters, at two replicas, while Rancher rotates every token:
// none gets one that is stale, or another's.
func TestTokensAreFresh(t *testing.T) {
	const namespace = "fresh"
	var clusters []string
	for i := range 5 {
		clusters = append(clusters, fmt.Sprintf("site-%d", i))
	}
	managed := setUp(t, namespace, clusters...)
	cluster := func(i int) string { return clusters[i%len(clusters)] }
	machines := register(t, namespace, fleet)
	require.Empty(t, swarm.InParallel(fleet, 4, func(i int) error { return machines[i].assign(cluster(i), "first") }))

	ctx, stop := context.WithCancel(t.Context())
	rotated := make(chan error, 1)
	var rotations, served, renewed atomic.Int64
	go func() { rotated <- rotate(ctx, &rotations) }()
	rancher := &http.Client{Transport: &http.Transport{TLSClientConfig: world.TLS()}}
	defer rancher.CloseIdleConnections()

	last := make([]string, fleet*ways)
	pace := time.NewTicker(1050 * time.Millisecond)
	defer pace.Stop()
	for round := range rounds {
		require.Empty(t, swarm.InParallel(fleet*ways, 4, func(i int) error {
			// One machine's four questions are spread over the round: a copy that a replica keeps would be asked for.
			m, managed := machines[i%fleet], managed[cluster(i%fleet)]
			token, err := m.join(t.Context(), i/fleet, managed)
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			served.Add(1)
			if last[i] != "" && last[i] != token {
				renewed.Add(1)
			}
			last[i] = token
			if (i+round)%20 == 0 {
				// What Rancher itself says to the token, the moment that it was got.
				return m.connect(t.Context(), rancher, token)
			}
			return nil
		}))
		<-pace.C
	}
	stop()
	require.NoError(t, <-rotated)
	t.Logf("%d joins, %d rotations; %d times a machine found a new token", served.Load(), rotations.Load(), renewed.Load())
	require.EqualValues(t, fleet*ways*rounds, served.Load())
	require.GreaterOrEqual(t, rotations.Load(), int64(3), "it did rotate meanwhile")
	require.GreaterOrEqual(t, renewed.Load(), int64(3*fleet), "and the machines saw it")
}

// rotate replaces all tokens until ctx ends.
func rotate(ctx context.Context, rotations *atomic.Int64) error {
	tick := time.NewTicker(rotation)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := world.Rancher.RotateTokens(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("rotating: %w", err)
		}
		rotations.Add(1)
	}
}
