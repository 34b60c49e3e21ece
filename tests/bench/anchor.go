package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/google/go-attestation/attest"
	"golang.org/x/sys/unix"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
)

// anchorCPU is what one activation challenge, go-attestation's check of an RSA-2048 attestation key and the encryption to
// an RSA-2048 endorsement key, costs on the machine that the targets in milliseconds were set on.
const anchorCPU = 128 * time.Microsecond

// anchorPause keeps the anchor's own share of the machine small.
const anchorPause = 20 * time.Millisecond

// anchor measures how much slower than that machine this one is now. It computes challenges beside what is measured, since
// what else runs on a shared core changes what a millisecond of CPU is worth from minute to minute.
type anchor struct {
	parameters attest.ActivationParameters
}

func newAnchor() (*anchor, error) {
	device, err := tpm.GenerateSoftware(tpm.RSA2048)
	if err != nil {
		return nil, fmt.Errorf("making the anchor's TPM: %w", err)
	}
	proof, err := device.NewProof()
	if err != nil {
		return nil, fmt.Errorf("making the anchor's TPM: %w", err)
	}
	token := proof.Token()
	block, _ := pem.Decode(token.EK)
	if block == nil {
		return nil, errors.New("making the anchor's TPM: its key is not PEM")
	}
	ek, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("making the anchor's TPM: %w", err)
	}
	return &anchor{parameters: attest.ActivationParameters{EK: ek, AK: attest.AttestationParameters{
		Public: token.AK.Public, CreateData: token.AK.CreateData,
		CreateAttestation: token.AK.CreateAttestation, CreateSignature: token.AK.CreateSignature,
	}}}, nil
}

// run computes challenges until ctx ends, and returns the factor: 2 is a machine half as fast as the anchor's.
func (a *anchor) run(ctx context.Context) (float64, error) {
	// A thread of its own, whose CPU time is the challenges'.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var used time.Duration
	for n := 1; ; n++ {
		before, err := threadCPU()
		if err != nil {
			return 0, err
		}
		if _, _, err := a.parameters.Generate(); err != nil {
			return 0, fmt.Errorf("computing the anchor: %w", err)
		}
		after, err := threadCPU()
		if err != nil {
			return 0, err
		}
		used += after - before
		select {
		case <-ctx.Done():
			return float64(used) / float64(n) / float64(anchorCPU), nil
		case <-time.After(anchorPause):
		}
	}
}

func threadCPU() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now); err != nil {
		return 0, fmt.Errorf("reading the thread's CPU time: %w", err)
	}
	return time.Duration(now.Nano()), nil
}
