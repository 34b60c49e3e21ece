package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
)

// etcdName is its name among the components.
const etcdName = "etcd"

// walSegmentSize is how much etcd reserves on disk for a part of its
// write-ahead log, twice and from the first minute on. Its default of 64 MB is
// for clusters that live for years.
const walSegmentSize = 8 << 20

// startEtcd starts the store with a single member and returns when it answers.
func (p *plane) startEtcd(ctx context.Context) error {
	server, err := p.openEtcd()
	if err != nil {
		return err
	}
	p.components.start(etcdName, func(ctx context.Context) error {
		return runEtcd(ctx, server)
	})
	select {
	case <-server.Server.ReadyNotify():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// openEtcd listens on a Unix socket in a closed folder of DIR and nowhere
// else, so etcd needs no port and no TLS, and nobody but this user can reach
// the objects past the API server. The path of a Unix socket is limited to
// some hundred bytes, and the temporary folders of tests can be longer than
// that; therefore the process changes into DIR and uses a relative path.
func (p *plane) openEtcd() (*embed.Etcd, error) {
	if err := os.Chdir(p.layout.dir); err != nil {
		return nil, fmt.Errorf("changing into the directory: %w", err)
	}
	socket, err := url.Parse(p.etcdEndpoint())
	if err != nil {
		return nil, fmt.Errorf("naming the socket: %w", err)
	}
	wal.SegmentSizeBytes = walSegmentSize
	return embed.StartEtcd(p.etcdConfig(*socket))
}

// etcdEndpoint is the socket as etcd and its client write it.
func (p *plane) etcdEndpoint() string {
	relative, err := filepath.Rel(p.layout.dir, p.layout.etcdSocket)
	if err != nil {
		relative = p.layout.etcdSocket // cannot be: it is inside
	}
	return "unix://" + relative
}

func (p *plane) etcdConfig(socket url.URL) *embed.Config {
	config := embed.NewConfig()
	config.Name = clusterName
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.Dir = p.layout.etcdData
	config.ListenClientUrls = []url.URL{socket}
	config.ListenPeerUrls = nil // there are no peers
	config.EnableGRPCGateway = false
	// Writes are with the kernel before they are acknowledged, so they outlive
	// this process however it dies. Only a crash of the machine loses some.
	config.UnsafeNoFsync = true
	// The only member elects itself after one election timeout.
	config.TickMs = 20
	config.ElectionMs = 200
	// Unset, every single request is logged as a slow one.
	config.WarningUnaryRequestDuration = embed.DefaultWarningUnaryRequestDuration
	config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(p.etcdLog, p.options.verbose, p.log))
	return config
}

// runEtcd waits for the end of etcd, asked for or not.
func runEtcd(ctx context.Context, server *embed.Etcd) error {
	var err error
	select {
	case <-ctx.Done():
	case err = <-server.Err():
		err = fmt.Errorf("serving clients: %w", err)
	case <-server.Server.StopNotify():
		err = errors.New("the server has stopped")
	}
	server.Close()
	return err
}
