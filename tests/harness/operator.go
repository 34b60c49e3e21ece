package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Replica is one running operator.
type Replica struct {
	// HealthAddr, MetricsAddr and ListenAddr are where it answers probes, Prometheus and machines.
	HealthAddr, MetricsAddr, ListenAddr string
	// LogFile holds all that it has printed, also under earlier starts.
	LogFile string
	// PID is its process.
	PID int

	process *process
}

// ReplicaOptions say how a replica differs from the one that every World has.
type ReplicaOptions struct {
	// Name tells replicas apart.
	Name string
	// Operator is the name of the binary in bin/; the World's by default.
	Operator string
	// APIServer is the address under which it reaches the API server, and APIServerCA that address's CA, in PEM; the real
	// one by default.
	APIServer   string
	APIServerCA []byte
	// Args are added to the command line.
	Args []string
}

// StartOperator starts the World's operator and returns when it is ready.
func (w *World) StartOperator(ctx context.Context) error {
	args := append([]string{"--tunnel-secret-namespace", Namespace, "--tunnel-secret-name", "rancheros-operator-tunnel"}, w.options.Args...)
	replica, err := w.StartReplica(ctx, ReplicaOptions{Name: "operator", Args: args})
	if err != nil {
		return err
	}
	w.Operator = replica
	return nil
}

// StartReplica starts another operator and returns when it is ready. It is the caller's to stop.
func (w *World) StartReplica(ctx context.Context, options ReplicaOptions) (*Replica, error) {
	if options.Operator == "" {
		options.Operator = w.options.Operator
	}
	kubeconfig, err := w.operatorKubeconfig(ctx, options)
	if err != nil {
		return nil, err
	}
	replica := &Replica{LogFile: filepath.Join(w.Dir, options.Name+".log")}
	for _, address := range []*string{&replica.HealthAddr, &replica.MetricsAddr, &replica.ListenAddr} {
		if *address, err = freeAddress(ctx); err != nil {
			return nil, err
		}
	}
	args := append([]string{"run", "--kubeconfig", kubeconfig, "--namespace", Namespace, "--health-addr", replica.HealthAddr,
		"--metrics-addr", replica.MetricsAddr, "--listen-addr", replica.ListenAddr, "--log-format", "json", "--media-dir", filepath.Join(w.Dir, options.Name+"-media")}, options.Args...)
	// The detector compares what lies in the caches with what was put there, and panics on a difference. Races go to the
	// log, where the tests tell ours from those of libraries.
	environment := []string{"KUBE_CACHE_MUTATION_DETECTOR=true", "GORACE=exitcode=0"}
	if w.options.Quiet {
		// As the chart has it: garbage is collected less often while there is room.
		environment = []string{"GOGC=300", "GOMEMLIMIT=480MiB"}
	}
	replica.process, err = startProcess(filepath.Join(w.Bin(), options.Operator), args, environment, replica.LogFile, nil)
	if err != nil {
		return nil, err
	}
	replica.PID = replica.process.command.Process.Pid
	if err := Eventually(ctx, 60*time.Second, func() error { return replica.Ready(ctx) }); err != nil {
		return nil, errors.Join(err, replica.Stop())
	}
	return replica, nil
}

// Died is an error when the World's operator should run and does not.
func (w *World) Died() error {
	if w.Operator == nil {
		return nil
	}
	return w.Operator.Died()
}

// Died is an error when the replica does not run any more.
func (r *Replica) Died() error {
	select {
	case <-r.process.done:
		return r.process.died()
	default:
		return nil
	}
}

// Ready is an error as long as the replica is not.
func (r *Replica) Ready(ctx context.Context) error {
	if err := r.Died(); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.HealthAddr+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the operator is not ready: %s", response.Status)
	}
	return nil
}

// StopOperator ends the World's operator; that it ended badly, or had died before, is an error.
func (w *World) StopOperator() error {
	if w.Operator == nil {
		return errors.New("the operator does not run")
	}
	operator := w.Operator
	w.Operator = nil
	return operator.Stop()
}

// Stop ends the replica; that it ended badly, or had died before, is an error.
func (r *Replica) Stop() error {
	if err := r.Died(); err != nil {
		return err
	}
	if err := r.process.stop(); err != nil {
		return fmt.Errorf("stopping the operator: %w; its last words were:\n%s", err, tail(r.LogFile, 30))
	}
	return nil
}

func freeAddress(ctx context.Context) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

// Log is the whole log of the World's operator.
func (w *World) Log() (string, error) {
	body, err := os.ReadFile(filepath.Join(w.Dir, "operator.log"))
	return string(body), err
}
