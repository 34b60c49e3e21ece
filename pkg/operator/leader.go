package operator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

const leaseName = "rancheros-operator"

// errLeaseLost ends the process: handlers cannot be taken back, so a replica that has led must start anew to lead again.
var errLeaseLost = errors.New("the lease was lost to another replica; starting anew")

// lead starts the controllers when this replica gets the lease, and returns when ctx ends or the lease is lost.
//
// Wrangler's own helper is not used: it takes its times from the environment, where a developer's setting makes them
// hours, and ends the process without giving the lease back.
func lead(ctx context.Context, options Options, config *rest.Config, start func(context.Context) error) error {
	if !options.LeaderElect {
		if err := start(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	lock, err := leaseLock(options, config)
	if err != nil {
		return err
	}
	started := make(chan error, 1)
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   options.LeaseDuration,
		RenewDeadline:   options.RenewDeadline,
		RetryPeriod:     options.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				logrus.Info("leading: starting controllers")
				started <- start(ctx)
			},
			OnStoppedLeading: func() { logrus.Info("not leading any more") },
		},
	})
	if err != nil {
		return fmt.Errorf("setting up leader election: %w", err)
	}
	electing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case err := <-started:
			if err != nil {
				stop(err)
			}
		case <-electing.Done():
		}
	}()
	elector.Run(electing)
	if ctx.Err() != nil {
		return nil
	}
	if cause := context.Cause(electing); cause != nil {
		return cause
	}
	return errLeaseLost
}

func leaseLock(options Options, config *rest.Config) (resourcelock.Interface, error) {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making client of leases: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("reading hostname: %w", err)
	}
	return &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: options.Namespace, Name: leaseName},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: host + "_" + string(uuid.NewUUID())},
	}, nil
}

// alone is an error for a replica that does not elect while another one holds the lease: two would then write at once.
func (o *Options) alone(ctx context.Context, config *rest.Config) error {
	if o.LeaderElect || o.IgnoreLease || o.Namespace == "" {
		return nil
	}
	lock, err := leaseLock(*o, config)
	if err != nil {
		return err
	}
	lease, _, err := lock.Get(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		logrus.Warnf("not electing a leader, and not knowing whether there is another replica: reading the lease: %v", err)
		return nil
	case lease.HolderIdentity == "" || time.Since(lease.RenewTime.Time) > time.Duration(lease.LeaseDurationSeconds)*time.Second:
		return nil
	}
	return fmt.Errorf("--leader-elect=false is for a single replica, and %s holds the lease %s/%s: stop it first, or give --ignore-lease",
		lease.HolderIdentity, o.Namespace, leaseName)
}
