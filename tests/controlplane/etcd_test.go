package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func newTestPlane(t *testing.T, dir string) (*plane, context.Context) {
	t.Helper()
	t.Chdir(dir) // startEtcd changes the folder; this has it restored
	files := newLayout(dir)
	if err := files.create(); err != nil {
		t.Fatal(err)
	}
	ctx, died := context.WithCancelCause(t.Context())
	p, err := newPlane(options{dir: dir}, files, newNarrator(io.Discard), died)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.listeners.close)
	return p, ctx
}

// The path of a socket may be a hundred bytes long; those of tests are longer.
func TestEtcdStartsInADeepFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("deep", 30))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, reason := range []string{"the first start", "a start on the data of the first"} {
		p, ctx := newTestPlane(t, dir)
		if err := p.startEtcd(ctx); err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		if info, err := os.Stat(p.layout.etcdSocket); err != nil || info.Mode().Type() != os.ModeSocket {
			t.Errorf("%s: no socket: %v", reason, err)
		}
		if err := p.components.stop(time.Minute, p.log); err != nil {
			t.Errorf("%s: stopping: %v", reason, err)
		}
		p.listeners.close()
	}
}

func TestDeathOfEtcdIsNoticed(t *testing.T) {
	p, ctx := newTestPlane(t, t.TempDir())
	server, err := p.openEtcd()
	if err != nil {
		t.Fatal(err)
	}
	p.components.start("etcd", func(ctx context.Context) error { return runEtcd(ctx, server) })
	<-server.Server.ReadyNotify()

	server.Server.HardStop()
	<-ctx.Done()
	if cause := context.Cause(ctx); !strings.Contains(cause.Error(), "etcd has ended") {
		t.Errorf("got %v", cause)
	}
}
