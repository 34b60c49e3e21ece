package supportbundle

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rancher/rancheros-operator/pkg/diagnosis/check"
	"github.com/rancher/rancheros-operator/pkg/version"
)

// Bounds of an archive, before it is compressed. What does not fit is said in errors.txt.
const (
	maxFile    = 16 << 20
	maxArchive = 128 << 20
	maxObjects = 5000
	patience   = 10 * time.Minute
)

const about = `What rancheros-operator knew when this was made: see version.json.

check.txt       what is missing, in plain words; check.json is the same for programs
objects         what there is of our kinds and of those around them, one file for each kind
events.yaml     what happened to them
operator        the operator's own Deployment, pods, leases and logs
errors.txt      what could not be read, if anything

Secrets were not read. Of objects, only those fields are shown that were chosen to be: the rest says ` + redacted + `, and so do
parts of texts that look like a secret. Names of clusters, machines and hosts, serial numbers and addresses are shown: look
through it before you give it to somebody else.
`

// bundle is an archive that is being written.
type bundle struct {
	redactor
	kube    kubernetes.Interface
	dynamic dynamic.Interface
	folder  string
	now     time.Time
	tar     *tar.Writer
	written int
	errors  []string
}

// Write looks at the cluster and writes a tar.gz of it. It fails when it cannot be written, and for nothing else.
func Write(ctx context.Context, config *rest.Config, options check.Options, to io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	config = rest.CopyConfig(config)
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = 50, 100
	compressed := gzip.NewWriter(to)
	b := &bundle{now: time.Now().UTC().Truncate(time.Second), tar: tar.NewWriter(compressed)}
	b.folder = "rancheros-support-" + b.now.Format("20060102-150405")
	var err error
	if b.kube, err = kubernetes.NewForConfig(config); err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	if b.dynamic, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("making client: %w", err)
	}
	if err := b.everything(ctx, config, options); err != nil {
		return err
	}
	if err := b.tar.Close(); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	if err := compressed.Close(); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return nil
}

// everything is written in an order in which each token is known before a text that may hold it. The checks' own answer to a
// failure is a finding, so that theirs is never one of ours.
func (b *bundle) everything(ctx context.Context, config *rest.Config, options check.Options) error {
	build, err := json.Marshal(version.Get())
	if err != nil {
		return fmt.Errorf("encoding version: %w", err)
	}
	if err := b.add("README.txt", []byte(about)); err != nil {
		return err
	}
	if err := b.add("version.json", append(build, '\n')); err != nil {
		return err
	}
	for _, write := range []func(context.Context) error{
		b.objects,
		b.settings,
		func(ctx context.Context) error { return b.checked(ctx, config, options) },
		b.events,
		func(ctx context.Context) error { return b.operator(ctx, options.Namespace) },
	} {
		if err := write(ctx); err != nil {
			return err
		}
	}
	if len(b.errors) == 0 {
		return nil
	}
	return b.add("errors.txt", []byte(b.text(strings.Join(b.errors, "\n"))+"\n"))
}

func (b *bundle) checked(ctx context.Context, config *rest.Config, options check.Options) error {
	report, err := check.Run(ctx, config, options)
	if err != nil {
		b.fail("check", err)
		return nil
	}
	var text, document bytes.Buffer
	if err := report.Text(&text); err != nil {
		return err
	}
	if err := report.JSON(&document); err != nil {
		return fmt.Errorf("encoding report: %w", err)
	}
	if err := b.add("check.txt", []byte(b.text(text.String()))); err != nil {
		return err
	}
	return b.add("check.json", []byte(b.text(document.String())))
}

// fail remembers what could not be read.
func (b *bundle) fail(what string, err error) {
	b.errors = append(b.errors, what+": "+err.Error())
}

// add writes one file; of one that is too large, its beginning.
func (b *bundle) add(name string, body []byte) error {
	if len(body) > maxFile {
		b.fail(name, fmt.Errorf("it has %d bytes: its end is left out", len(body)))
		body = body[:maxFile]
	}
	if b.written += len(body); b.written > maxArchive && name != "errors.txt" {
		b.fail(name, fmt.Errorf("it is left out: the archive is full"))
		return nil
	}
	header := &tar.Header{Name: path.Join(b.folder, name), Mode: 0o600, Size: int64(len(body)), ModTime: b.now, Format: tar.FormatPAX}
	if err := b.tar.WriteHeader(header); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	if _, err := b.tar.Write(body); err != nil {
		return fmt.Errorf("writing archive: %w", err)
	}
	return nil
}
