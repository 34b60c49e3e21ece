// Package swarm is many machines at once, for tests and benchmarks of what happens then. Each has an endorsement key of
// its own; the keys are elliptic, which takes microseconds to make, and all share one attestation key, since what tells
// machines apart is the endorsement key alone. They speak as the clients of 2022 do.
package swarm

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// ErrNotYet is an answer that is no success: the machine comes back.
var ErrNotYet = errors.New("not registered yet")

// Swarm makes machines.
type Swarm struct {
	attestationKey *rsa.PrivateKey
}

// Machine is one of them.
type Machine struct {
	client *machine.OldClient
}

// New makes a swarm.
func New() (*Swarm, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("making attestation key: %w", err)
	}
	return &Swarm{attestationKey: key}, nil
}

// Machine makes a machine that is like no other.
func (s *Swarm) Machine() (*Machine, error) {
	device, err := tpm.GenerateSoftware(tpm.ECCP256, tpm.WithAttestationKey(s.attestationKey))
	if err != nil {
		return nil, fmt.Errorf("making endorsement key: %w", err)
	}
	return &Machine{client: &machine.OldClient{TPM: device}}, nil
}

// Hash is the machine's identity.
func (m *Machine) Hash() string { return m.client.TPM.EndorsementHash() }

// Register tries once at the URL, and returns the name that the machine was given; anything else is ErrNotYet.
func (m *Machine) Register(ctx context.Context, url string) (string, error) {
	conversation, err := m.client.Register(ctx, url, nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	var config struct {
		Hostname string `json:"hostname"`
	}
	if !bytes.HasPrefix(conversation.Final, []byte("{")) || json.Unmarshal(conversation.Final, &config) != nil || config.Hostname == "" {
		return "", fmt.Errorf("%w: %q", ErrNotYet, conversation.Final)
	}
	return config.Hostname, nil
}

// KeepRegistering tries, with the pause in between, until it succeeds or ctx ends.
func (m *Machine) KeepRegistering(ctx context.Context, url string, pause time.Duration) (string, error) {
	for {
		name, err := m.Register(ctx, url)
		if err == nil {
			return name, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return "", err
		}
	}
}

// InParallel calls do for every number below n, in so many goroutines, and returns what went wrong.
func InParallel(n, workers int, do func(i int) error) []error {
	var (
		wait  sync.WaitGroup
		mutex sync.Mutex
		errs  []error
		next  = make(chan int)
	)
	for range workers {
		wait.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					mutex.Lock()
					errs = append(errs, err)
					mutex.Unlock()
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wait.Wait()
	return errs
}

// Ask asks once at the server for the machine's place in a cluster; anything else is ErrNotYet.
func (m *Machine) Ask(ctx context.Context, server string) (*protocol.InventoryAnswer, error) {
	conversation, err := m.client.Inventory(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	return place(conversation.Final)
}

// AskWithToken is Ask for a machine that shares a secret.
func AskWithToken(ctx context.Context, server, token string) (*protocol.InventoryAnswer, error) {
	body, err := (&machine.OldClient{}).InventoryWithToken(ctx, server, token)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	return place([]byte(body))
}

func place(answer []byte) (*protocol.InventoryAnswer, error) {
	parsed, err := protocol.ParseInventoryAnswer(answer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotYet, err)
	}
	return parsed, nil
}
