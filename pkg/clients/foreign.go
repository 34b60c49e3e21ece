package clients

import (
	"context"
	"fmt"
	"time"

	"github.com/rancher/lasso/pkg/cache"
	"github.com/rancher/lasso/pkg/controller"
	"github.com/sirupsen/logrus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	fleetv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/fleet.cattle.io/v1alpha1"
	managementv3 "github.com/rancher/rancheros-operator/pkg/generated/controllers/management.cattle.io/v3"
	provisioningv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/provisioning.cattle.io/v1"
)

// askEvery is how often the API server is asked whether it knows a kind whose cache does not fill.
const askEvery = 2 * time.Second

// foreign are the kinds of one group of somebody else's. They may not be installed yet, or not any more: the operator must
// start all the same, if only to let go of what a finalizer of ours holds. A cache of a kind that does not exist never
// fills. That it is empty is known from the API server's answer and from nothing else.
type foreign struct {
	// what it is about, in words for the log.
	what    string
	factory controller.SharedControllerFactory
	// kinds ask for one object each.
	kinds []func() error
	// missing recognises the API server's answer that there is nothing to fill the caches with; that there is no such kind,
	// by default.
	missing func(error) bool
	// absent is set before handlers are started.
	absent bool
}

// addForeign gives each group of others a factory of its own, so that one that is not there holds up no other.
func (c *Clients) addForeign() {
	one := metav1.ListOptions{Limit: 1}
	management := &foreign{what: "the kinds of management.cattle.io", factory: c.newFactory(nil)}
	c.Management = managementv3.New(management.factory)
	management.kinds = []func() error{
		func() error { _, err := c.Management.Setting().List(one); return err },
		func() error { _, err := c.Management.ClusterRegistrationToken().List("", one); return err },
		func() error { _, err := c.Management.Cluster().List(one); return err },
		func() error { _, err := c.Management.Node().List("", one); return err },
	}
	provisioning := &foreign{what: "the kinds of provisioning.cattle.io", factory: c.newFactory(nil)}
	c.Provisioning = provisioningv1.New(provisioning.factory)
	provisioning.kinds = []func() error{
		func() error { _, err := c.Provisioning.Cluster().List("", one); return err },
	}
	fleet := &foreign{what: "the kinds of fleet.cattle.io", factory: c.newFactory(nil)}
	c.Fleet = fleetv1.New(fleet.factory)
	fleet.kinds = []func() error{
		func() error { _, err := c.Fleet.Bundle().List("", one); return err },
		func() error { _, err := c.Fleet.Cluster().List("", one); return err },
		func() error { _, err := c.Fleet.ClusterGroup().List("", one); return err },
	}
	rollouts := &foreign{what: "the kinds of fleet.cattle.io", factory: c.newFactory(&cache.SharedCacheFactoryOptions{
		DefaultTweakList: func(list *metav1.ListOptions) { list.LabelSelector = v1.LabelRollout },
	})}
	c.Rollouts = fleetv1.New(rollouts.factory).BundleDeployment()
	rollouts.kinds = []func() error{
		func() error { _, err := c.Rollouts.List("", one); return err },
	}
	c.foreign = []*foreign{management, provisioning, fleet, rollouts}
}

// fill returns when the caches are filled, the API server says that there is nothing to fill them with, or ctx ends.
func (f *foreign) fill(ctx context.Context) error {
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- filled(waiting, f.factory) }()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-ticker.C:
			if f.absent = f.isAbsent(); f.absent {
				logrus.Warnf("%s: going on without until the API server knows better", f.why())
				return nil
			}
		}
	}
}

func (f *foreign) why() string {
	if f.missing != nil {
		return "the operator has no right to list " + f.what
	}
	return "the API server does not know " + f.what
}

// isAbsent is so when the API server says that there is no such kind; that it cannot be asked is no answer.
func (f *foreign) isAbsent() bool {
	missing := f.missing
	if missing == nil {
		missing = apierrors.IsNotFound
	}
	for _, ask := range f.kinds {
		if missing(ask()) {
			return true
		}
	}
	return false
}

// startHandlers starts those of kinds that are absent when they appear: the caches go on asking.
func (f *foreign) startHandlers(ctx context.Context, workers int) error {
	start := func() error {
		if err := f.factory.Start(ctx, workers); err != nil {
			return fmt.Errorf("starting handlers of %s: %w", f.what, err)
		}
		return nil
	}
	if !f.absent {
		return start()
	}
	go func() {
		if err := start(); err != nil {
			logrus.Error(err)
			return
		}
		logrus.Infof("%s have appeared", f.what)
	}()
	return nil
}
