package availability

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/tests/harness"
)

// every is the pause between two machines that are switched on.
const every = 50 * time.Millisecond

// service is what Kubernetes' Service is to the replicas: it sends each new connection to one that was ready when it was
// last asked, which may be a second ago, and does nothing about one that is not there any more.
type service struct {
	listener net.Listener
	ready    atomic.Pointer[[]string]
	next     atomic.Uint64
}

func newService(t *testing.T) *service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	s := &service{listener: listener}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.pass(conn)
		}
	}()
	return s
}

func (s *service) pass(conn net.Conn) {
	defer conn.Close()
	ready := *s.ready.Load()
	if len(ready) == 0 {
		return
	}
	behind, err := net.Dial("tcp", ready[s.next.Add(1)%uint64(len(ready))])
	if err != nil {
		return
	}
	defer behind.Close()
	go func() {
		_, _ = io.Copy(behind, conn)
		_ = behind.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(conn, behind)
}

// probe finds out, once a second, who is ready, until ctx ends.
func (s *service) probe(ctx context.Context, all func() []*replica) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		var ready []string
		for _, r := range all() {
			if r.Ready(ctx) == nil {
				ready = append(ready, r.ListenAddr)
			}
		}
		s.ready.Store(&ready)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// stream is machines that are switched on one after the other, half of which come through Rancher's tunnel and half
// through the service, with the program's own way of asking again.
type stream struct {
	key       *rsa.PrivateKey
	endpoints []client.Endpoint

	mutex   sync.Mutex
	took    []time.Duration
	retried map[string]int
	failed  []error
}

// run switches machines on until ctx ends, and returns when each has succeeded or given up.
func (s *stream) run(ctx context.Context) {
	var machines sync.WaitGroup
	defer machines.Wait()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; ; i++ {
		select {
		case <-ticker.C:
			machines.Go(func() { s.machine(s.endpoints[i%len(s.endpoints)]) })
		case <-ctx.Done():
			return
		}
	}
}

func (s *stream) machine(endpoint client.Endpoint) {
	device, err := tpm.GenerateSoftware(tpm.ECCP256, tpm.WithAttestationKey(s.key))
	began := time.Now()
	tries := 0
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		err = client.Retry{OnFailure: func(failure *client.Failure, _ time.Duration) {
			tries++
			s.mutex.Lock()
			defer s.mutex.Unlock()
			s.retried[failure.Message]++
		}}.Do(ctx, func(ctx context.Context) error {
			_, err := client.Register(ctx, client.Registration{Endpoint: endpoint, Prover: device})
			return err
		})
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err != nil {
		s.failed = append(s.failed, err)
	}
	s.took = append(s.took, time.Since(began))
}

// P23: while every replica is replaced by a new one, one after the other as a Deployment does it, no machine fails.
func TestRollingUpgrade(t *testing.T) {
	require.NoError(t, register(t.Context(), "fleet"))
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error { return done("fleet") }))
	registration, err := world.Clients.RancherOS.MachineRegistration().Get(fleet, "fleet", metav1.GetOptions{})
	require.NoError(t, err)
	url := registration.Status.RegistrationURL

	running, stop := context.WithCancel(t.Context())
	defer stop()
	front := newService(t)
	var list sync.Mutex
	all := func() []*replica {
		list.Lock()
		defer list.Unlock()
		return slices.Clone(replicas)
	}
	front.ready.Store(&[]string{})
	go front.probe(running, all)
	require.NoError(t, harness.Eventually(t.Context(), time.Minute, func() error {
		if len(*front.ready.Load()) < len(all()) {
			return errors.New("not all are ready")
		}
		return nil
	}))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	machines := &stream{key: key, retried: map[string]int{}, endpoints: []client.Endpoint{
		{URL: url, CA: world.Rancher.CACert()},
		{URL: "http://" + front.listener.Addr().String() + strings.TrimPrefix(url, world.Rancher.URL()), AllowHTTP: true},
	}}
	var streaming sync.WaitGroup
	streaming.Go(func() { machines.run(running) })
	wait(t, 2*time.Second)

	for _, old := range all() {
		list.Lock()
		_, err := startReplica(t.Context())
		list.Unlock()
		require.NoError(t, err)
		wait(t, time.Second)
		require.NoError(t, old.Signal(syscall.SIGTERM))
		require.NoError(t, old.Wait(30*time.Second), "it ends well, with all its work done")
		list.Lock()
		replicas = slices.DeleteFunc(replicas, func(r *replica) bool { return r == old })
		list.Unlock()
		wait(t, time.Second)
	}
	wait(t, 2*time.Second)
	stop()
	streaming.Wait()

	require.Empty(t, machines.failed)
	inventories, err := world.Clients.RancherOS.MachineInventory().List(fleet, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, inventories.Items, len(machines.took), "each machine is there, and once")
	slices.Sort(machines.took)
	again := 0
	for why, times := range machines.retried {
		again += times
		t.Logf("%d times: %s", times, why)
	}
	at := func(percent int) time.Duration {
		return machines.took[(len(machines.took)-1)*percent/100].Round(time.Millisecond)
	}
	figures.add("machines that register while all replicas are replaced", fmt.Sprint(len(machines.took)), "")
	figures.add("of these failed", fmt.Sprint(len(machines.failed)), "0")
	figures.add("asked again", fmt.Sprint(again), "")
	figures.add("took, in the middle, 99 of 100, longest", fmt.Sprintf("%s, %s, %s", at(50), at(99), at(100)), "")
}
