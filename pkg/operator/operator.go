package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/controllers"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/media/library"
	"github.com/rancher/rancheros-operator/pkg/metrics"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// Run runs the operator until ctx ends or something fails for good.
func Run(ctx context.Context, options Options) error {
	config, err := options.RESTConfig()
	if err != nil {
		return err
	}
	joinLogs()
	logrus.Infof("rancheros-operator %s", version.Get().String())
	o := &operator{options: options, metrics: metrics.New()}
	if err := o.listen(); err != nil {
		return err
	}
	// Probes and Prometheus are answered until the rest has ended.
	outlasting, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var watched errgroup.Group
	watched.Go(func() error { return failing(fail, o.health.serve(ctx, outlasting)) })
	watched.Go(func() error { return failing(fail, o.metrics.Serve(outlasting, o.scrapes)) })

	err = o.run(ctx, config)
	end()
	return errors.Join(err, watched.Wait())
}

// failing ends everything when there is an error.
func failing(fail context.CancelCauseFunc, err error) error {
	if err != nil {
		fail(err)
	}
	return err
}

// operator is all the parts.
type operator struct {
	options  Options
	metrics  *metrics.Metrics
	health   *health
	scrapes  net.Listener
	clients  *clients.Clients
	indexes  *index.Indexes
	settings *settings.Settings
	election *election
	library  *library.Library
}

// listen takes the ports of probes and Prometheus.
func (o *operator) listen() (err error) {
	if o.health, err = listenHealth(o.options.HealthAddr, o.options.Profile, o.metrics.Ready); err != nil {
		return err
	}
	o.scrapes, err = metrics.Listen(o.options.MetricsAddr)
	return err
}

func (o *operator) run(ctx context.Context, config *rest.Config) error {
	group, ctx := errgroup.WithContext(ctx)
	if err := o.connect(ctx, config); err != nil {
		return err
	}
	group.Go(func() error {
		if err := errors.Join(accepted(ctx, config, acceptedWithin), o.options.alone(ctx, config)); err != nil {
			return err
		}
		logrus.Info("filling caches")
		if err := o.clients.StartCaches(ctx); err != nil {
			return endedOr(ctx, err)
		}
		facts := server.NewFactsWriter(o.clients.Serving.RancherOS.MachineInventory())
		group.Go(func() error { return facts.Run(ctx) })
		group.Go(func() error { return o.library.Run(ctx, followed(o.clients)) })
		if err := o.serve(ctx, group, o.newServer(facts)); err != nil {
			return err
		}
		o.health.done(waitCaches)
		logrus.Info("answering machines")
		return o.election.lead(ctx, o.control)
	})
	return endedOr(ctx, group.Wait())
}

// connect makes what the parts work with. Nothing runs yet.
func (o *operator) connect(ctx context.Context, config *rest.Config) (err error) {
	if o.election, err = newElection(o.options, config, o.health, o.metrics); err != nil {
		return err
	}
	fence, fenceEvents := o.election.fences()
	o.clients, err = clients.New(ctx, clients.Options{
		Config:                config,
		TunnelSecretNamespace: o.options.TunnelSecretNamespace,
		TunnelSecretName:      o.options.TunnelSecretName,
		SecretNamespaces:      o.options.secretNamespaces(),
		Fence:                 fence,
		FenceEvents:           fenceEvents,
	})
	if err != nil {
		return err
	}
	o.indexes = index.Add(o.clients)
	o.settings = settings.New(o.clients.Management.Setting().Cache())
	if o.library, err = newLibrary(o.options, o.clients, o.indexes, o.settings); err != nil {
		return err
	}
	o.metrics.AddFleet(metrics.Fleet{
		Registrations: o.clients.RancherOS.MachineRegistration().Cache(),
		Images:        o.clients.RancherOS.ManagedOSImage().Cache(),
		Channels:      o.clients.RancherOS.ManagedOSVersionChannel().Cache(),
	})
	return nil
}

// control starts the controllers. Handlers stay until the process ends: lasso takes them away, when their context ends,
// under the feet of workers that still run them. What keeps them from writing when another replica leads is the fence.
func (o *operator) control(ctx context.Context) error {
	controllers.Register(context.WithoutCancel(ctx), o.clients, o.indexes, o.settings, controllers.Options{
		ChannelNetworks: o.options.channelNetworks(), ChannelAsked: o.metrics.ChannelAsked, CheckBundle: checkBundle,
	})
	o.library.Lead(ctx)
	if err := o.clients.StartHandlers(ctx, o.options.Workers); err != nil {
		return err
	}
	return endedOr(ctx, o.metrics.AddMachines(ctx, o.clients.RancherOS.MachineInventory().Informer()))
}

func checkBundle(pem []byte) error {
	_, err := attestation.ParseCABundle(pem, false, time.Now())
	return err
}

// newServer makes what answers machines, on every replica.
func (o *operator) newServer(facts *server.FactsWriter) *server.Server {
	registration := server.New(server.Options{
		Indexes:       o.indexes,
		Settings:      o.settings,
		Inventories:   o.clients.Serving.RancherOS.MachineInventory(),
		Registrations: o.clients.Serving.RancherOS.MachineRegistration(),
		Secrets:       o.clients.Serving.Secrets,
		Events:        o.clients.Serving.Events,
		Facts:         facts,
		Media:         media{o.library},
		MaxInFlight:   o.options.MaxInFlight,
		Registering:   o.metrics.Registering,
		Joining:       o.metrics.Joining,
	})
	o.metrics.AddServer(registration)
	return registration
}

// serve answers machines on the listener and through the tunnel, whichever is asked for.
func (o *operator) serve(ctx context.Context, group *errgroup.Group, registration *server.Server) error {
	if o.options.ListenAddr != "" {
		certificates, err := certificates(o.options)
		if err != nil {
			return err
		}
		// The server gives every connection an end, so none needs probes to find one.
		listener, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp", o.options.ListenAddr)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		logrus.Infof("answering machines on %s", listener.Addr())
		group.Go(func() error { return registration.Serve(ctx, listener, certificates) })
	}
	if o.options.TunnelSecretName == "" {
		return nil
	}
	with := server.TunnelOptions{Handler: registration, Events: o.clients.Serving.Events}
	if o.options.ListenAddr == "" {
		o.health.wait(waitTunnel)
		with.Opened = func() { o.health.done(waitTunnel) }
	}
	tunnel := server.NewTunnel(ctx, o.clients.Tunnel, with)
	o.metrics.AddTunnel(tunnel)
	group.Go(func() error {
		tunnel.Run(ctx)
		return nil
	})
	return o.clients.StartTunnel(ctx)
}

func certificates(options Options) (*tls.Config, error) {
	if options.TLSCertFile == "" {
		return nil, nil
	}
	files, err := readCertificate(options.TLSCertFile, options.TLSKeyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{GetCertificate: files.get, MinVersion: tls.VersionTLS12}, nil
}

// endedOr turns the errors of being stopped into nil.
func endedOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return nil
	}
	return err
}
