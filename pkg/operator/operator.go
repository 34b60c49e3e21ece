package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"

	"github.com/rancher/rancheros-operator/pkg/clients"
	"github.com/rancher/rancheros-operator/pkg/controllers"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/registration/server"
	"github.com/rancher/rancheros-operator/pkg/settings"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// Run runs the operator until ctx ends or something fails for good.
func Run(ctx context.Context, options Options) error {
	config, err := options.restConfig()
	if err != nil {
		return err
	}
	logrus.Infof("rancheros-operator %s", version.Get().String())
	group, ctx := errgroup.WithContext(ctx)

	c, err := clients.New(ctx, clients.Options{
		Config:                config,
		TunnelSecretNamespace: options.TunnelSecretNamespace,
		TunnelSecretName:      options.TunnelSecretName,
	})
	if err != nil {
		return err
	}
	indexes := index.Add(c)
	rancher := settings.New(c.Management.Setting().Cache())
	shelf, err := newLibrary(options, c, indexes, rancher)
	if err != nil {
		return err
	}
	health, err := listenHealth(options.HealthAddr, options.Profile)
	if err != nil {
		return err
	}
	group.Go(func() error { return health.serve(ctx) })

	group.Go(func() error {
		logrus.Info("filling caches")
		if err := c.StartCaches(ctx); err != nil {
			return endedOr(ctx, err)
		}
		facts := server.NewFactsWriter(c.RancherOS.MachineInventory())
		group.Go(func() error { return facts.Run(ctx) })
		group.Go(func() error { return shelf.Run(ctx, followed(c)) })
		registration := newServer(options, c, server.Options{Facts: facts, Indexes: indexes, Settings: rancher, Media: media{shelf}})
		if err := serve(ctx, group, options, c, registration); err != nil {
			return err
		}
		health.ready()
		logrus.Info("ready")
		return lead(ctx, options, config, func(ctx context.Context) error {
			// Handlers stay until the process ends: lasso takes them away, when their context ends, under the feet of
			// workers that still run them.
			controllers.Register(context.WithoutCancel(ctx), c, indexes, rancher, controllers.Options{ChannelNetworks: options.channelNetworks()})
			shelf.Lead(ctx)
			return c.StartHandlers(ctx, options.Workers)
		})
	})
	return endedOr(ctx, group.Wait())
}

// newServer adds to what the server works with its clients and its bounds.
func newServer(options Options, c *clients.Clients, with server.Options) *server.Server {
	with.Inventories = c.RancherOS.MachineInventory()
	with.Registrations = c.RancherOS.MachineRegistration()
	with.Secrets = c.Secrets
	with.Events = c.Events
	with.MaxInFlight = options.MaxInFlight
	return server.New(with)
}

// serve answers machines on the listener and through the tunnel, whichever is asked for.
func serve(ctx context.Context, group *errgroup.Group, options Options, c *clients.Clients, registration *server.Server) error {
	if options.ListenAddr != "" {
		certificates, err := certificates(options)
		if err != nil {
			return err
		}
		// The server gives every connection an end, so none needs probes to find one.
		listener, err := (&net.ListenConfig{KeepAlive: -1}).Listen(ctx, "tcp", options.ListenAddr)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		logrus.Infof("answering machines on %s", listener.Addr())
		group.Go(func() error { return registration.Serve(ctx, listener, certificates) })
	}
	if options.TunnelSecretName != "" {
		tunnel := server.NewTunnel(ctx, c.Tunnel, server.TunnelOptions{Handler: registration, Events: c.Events})
		group.Go(func() error {
			tunnel.Run(ctx)
			return nil
		})
		return c.StartTunnel(ctx)
	}
	return nil
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
