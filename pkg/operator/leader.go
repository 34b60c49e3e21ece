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
	"k8s.io/client-go/transport"

	"github.com/rancher/rancheros-operator/pkg/metrics"
)

const leaseName = metrics.LeaseName

// errLeaseLost ends the process: handlers cannot be taken back, so a replica that has led must start anew to lead again.
var errLeaseLost = errors.New("the lease was lost to another replica; starting anew")

// election decides which replica runs the controllers.
//
// Wrangler's own helper is not used: it takes its times from the environment, where a developer's setting makes them
// hours, and ends the process without giving the lease back.
type election struct {
	options Options
	// tenure is nil for a replica that is alone.
	tenure  *tenure
	health  *health
	metrics *metrics.Metrics
}

func newElection(options Options, config *rest.Config, health *health, metrics *metrics.Metrics) (*election, error) {
	e := &election{options: options, health: health, metrics: metrics}
	if !options.LeaderElect {
		return e, nil
	}
	lock, err := leaseLock(options, config)
	if err != nil {
		return nil, err
	}
	e.tenure = &tenure{Interface: lock, safe: options.RenewDeadline, look: max(options.RetryPeriod/2, 500*time.Millisecond), refused: metrics.RefusedWrites.Inc}
	return e, nil
}

// fences hold back the writes, and the events, of a replica that does not lead; nil for one that is alone.
func (e *election) fences() (writes, events transport.WrapperFunc) {
	if e.tenure == nil {
		return nil, nil
	}
	return e.tenure.fence, e.tenure.fenceEvents
}

// lead starts the controllers when this replica gets the lease, and returns when ctx ends or the lease is lost.
func (e *election) lead(ctx context.Context, start func(context.Context) error) error {
	if e.tenure == nil {
		e.metrics.Lead(true)
		if err := start(ctx); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	for {
		if err := e.tenure.awaitFree(ctx); err != nil {
			return nil //nolint:nilerr // ctx has ended.
		}
		err := e.elect(ctx, start)
		if ctx.Err() != nil {
			return nil
		}
		if !errors.Is(err, errTaken) {
			return err
		}
	}
}

// elect tries to get the lease, and returns when it is another's, or was lost after it was ours.
func (e *election) elect(ctx context.Context, start func(context.Context) error) error {
	electing, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	e.tenure.stop = stop
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            e.tenure,
		LeaseDuration:   e.options.LeaseDuration,
		RenewDeadline:   e.options.RenewDeadline,
		RetryPeriod:     e.options.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            leaseName,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				logrus.Info("leading: starting controllers")
				if err := start(ctx); err != nil {
					stop(err)
				}
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("setting up leader election: %w", err)
	}
	e.health.watchLease(elector.Check)
	elector.Run(electing)
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
