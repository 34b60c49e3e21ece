package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/rancher"
)

// bootPatience is how long a machine may take from one word to the next that is waited for: an emulated processor on a busy machine is slow.
const bootPatience = 4 * time.Minute

var (
	world *harness.World
	// media is where the operator fetches bases from.
	media *httptest.Server
	// folder holds all files of this run.
	folder string
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if os.Getenv(inNamespace) != "" {
		return inside(m)
	}
	err := missing()
	if err == nil {
		err = canNamespace()
	}
	if err == nil {
		return outside()
	}
	if os.Getenv("RANCHEROS_LAB") == "required" {
		return 1, err
	}
	fmt.Fprintf(os.Stderr, "\n!!! lab: SKIPPED, nothing was tried on emulated hardware:\n%v\n\n", err)
	return 0, nil
}

// canNamespace tries whether a network of its own can be had, and a network card in it.
func canNamespace() error {
	args := []string{"-n"}
	if os.Geteuid() != 0 {
		args = []string{"-rn"}
	}
	if output, err := exec.Command("unshare", append(args, "ip", "tuntap", "add", "dev", "tap0", "mode", "tap")...).CombinedOutput(); err != nil {
		return fmt.Errorf("network namespaces or /dev/net/tun cannot be used: %w: %s", err, output)
	}
	return nil
}

// outside makes the media, for which a kernel is fetched, where there still is a way to the world.
func outside() (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	build := exec.CommandContext(ctx, filepath.Join("..", "..", "scripts", "build-live.sh"))
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		return 1, fmt.Errorf("making the media: %w", err)
	}
	return enter()
}

// inside starts the world in the network that is its own.
func inside(m *testing.M) (code int, err error) {
	logrus.SetLevel(logrus.WarnLevel)
	if folder, err = os.MkdirTemp("", "lab-"); err != nil {
		return 1, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	stop, err := startWorld(ctx)
	if err != nil {
		return 1, fmt.Errorf("%w (the programs in bin/ are built by `make build-test`; logs are in %s)", err, folder)
	}
	code = m.Run()
	err = stop()
	if code == 0 && err == nil {
		return 0, os.RemoveAll(folder)
	}
	fmt.Fprintln(os.Stderr, "lab: logs are kept in", folder)
	return code, err
}

func startWorld(ctx context.Context) (stop func() error, err error) {
	started := time.Now()
	if err := makeNetwork(); err != nil {
		return nil, err
	}
	if err := makeCertificateAuthority(ctx); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(folder, "dhcp.log"))
	if err != nil {
		return nil, err
	}
	stopDHCP, err := startDHCP(folder, log)
	if err != nil {
		return nil, err
	}
	// A port of its own must be known before Rancher starts: the machines are told of it.
	listener, err := net.Listen("tcp", serverAddress+":0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	world, err = harness.Start(ctx, harness.Options{
		Dir:     filepath.Join(folder, "world"),
		Rancher: rancher.Options{ListenAddr: address, ServerURL: "https://" + address},
	})
	if err != nil {
		return nil, err
	}
	media = httptest.NewServer(http.FileServer(http.Dir(filepath.Join(world.Bin(), "live"))))
	fmt.Fprintf(os.Stderr, "lab: the world is there after %.0f s\n", time.Since(started).Seconds())
	return func() error {
		media.Close()
		stopDHCP()
		return errors.Join(world.Stop(), log.Close())
	}, nil
}

// makeCertificateAuthority lets swtpm_setup issue endorsement certificates by a CA of this run's, as a maker of TPMs would.
func makeCertificateAuthority(ctx context.Context) error {
	ca := filepath.Join(folder, "tpm-ca")
	if err := os.MkdirAll(ca, 0o700); err != nil {
		return err
	}
	files := map[string]string{
		"swtpm_setup.conf":      "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = " + folder + "/swtpm-localca.conf\ncreate_certs_tool_options = " + folder + "/swtpm-localca.options\nactive_pcr_banks = sha256\n",
		"swtpm-localca.conf":    "statedir = " + ca + "\nsigningkey = " + ca + "/signkey.pem\nissuercert = " + ca + "/issuercert.pem\ncertserial = " + ca + "/certserial\n",
		"swtpm-localca.options": "--platform-manufacturer Lab\n--platform-version 1\n--platform-model Emulated\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	// Its first certificate makes the CA.
	return (&Hardware{Name: "first", Dir: filepath.Join(folder, "first")}).Prepare(ctx)
}
