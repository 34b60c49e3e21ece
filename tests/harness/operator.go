package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Replica is one running operator.
type Replica struct {
	// HealthAddr, ListenAddr and MetricsAddr are where it answers probes, machines and Prometheus.
	HealthAddr, ListenAddr, MetricsAddr string
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
	// Tunnel connects it to Rancher.
	Tunnel bool
	// Args are added to the command line.
	Args []string
}

// StartOperator starts the World's operators and returns when they are ready.
func (w *World) StartOperator(ctx context.Context) error {
	for i := range max(1, w.options.Replicas) {
		name := "operator"
		if i > 0 {
			name = fmt.Sprintf("operator-%d", i+1)
		}
		replica, err := w.StartReplica(ctx, ReplicaOptions{Name: name, Tunnel: true, Args: w.options.Args})
		if err != nil {
			return err
		}
		w.replicas = append(w.replicas, replica)
		w.Operator = w.replicas[0]
	}
	return nil
}

// Replicas is how many operators the World has while they run.
func (w *World) Replicas() int {
	return max(1, w.options.Replicas)
}

// StartReplica starts another operator, as the chart's Deployment says, and returns when it is ready. It is the caller's to
// stop.
func (w *World) StartReplica(ctx context.Context, options ReplicaOptions) (*Replica, error) {
	if options.Operator == "" {
		options.Operator = w.options.Operator
	}
	kubeconfig, err := w.operatorKubeconfig(ctx, options)
	if err != nil {
		return nil, err
	}
	container, err := w.container(ctx)
	if err != nil {
		return nil, err
	}
	replica := &Replica{LogFile: filepath.Join(w.Dir, options.Name+".log")}
	variables, err := w.localEnvironment(ctx, replica, options, container)
	if err != nil {
		return nil, err
	}
	variables = append(variables, "KUBECONFIG="+kubeconfig)
	if !w.options.Quiet {
		// The detector compares what lies in the caches with what was put there, and panics on a difference. Races go to the
		// log, where the tests tell ours from those of libraries.
		// The detectors need memory of their own, which the container's bounds do not count on.
		variables = append(variables, "KUBE_CACHE_MUTATION_DETECTOR=true", "GORACE=exitcode=0", "GOMEMLIMIT=off", "GOGC=100")
	}
	args := append(slices.Clone(container.Args), options.Args...)
	replica.process, err = startProcess(filepath.Join(w.Bin(), options.Operator), args, variables, replica.LogFile, nil)
	if err != nil {
		return nil, err
	}
	replica.PID = replica.process.command.Process.Pid
	if err := Eventually(ctx, 60*time.Second, func() error { return replica.Ready(ctx) }); err != nil {
		return nil, errors.Join(err, replica.Stop())
	}
	return replica, nil
}

// localEnvironment is the container's, with addresses and folders of this machine. Only the World's own replicas have a
// tunnel, unless another is asked for: scenarios reach the rest at their listener.
func (w *World) localEnvironment(ctx context.Context, replica *Replica, options ReplicaOptions, container corev1.Container) ([]string, error) {
	instead := map[string]string{"MEDIA_DIR": filepath.Join(w.Dir, options.Name+"-media")}
	for name, into := range map[string]*string{"HEALTH_ADDR": &replica.HealthAddr, "LISTEN_ADDR": &replica.ListenAddr, "METRICS_ADDR": &replica.MetricsAddr} {
		address, err := freeAddress(ctx)
		if err != nil {
			return nil, err
		}
		*into, instead[name] = address, address
	}
	if !options.Tunnel {
		instead["TUNNEL_SECRET_NAME"], instead["TUNNEL_SECRET_NAMESPACE"] = "", ""
	}
	return environment(container, instead)
}

// Died is an error when one of the World's operators should run and does not.
func (w *World) Died() error {
	var errs []error
	for _, replica := range w.replicas {
		errs = append(errs, replica.Died())
	}
	return errors.Join(errs...)
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

// StopOperator ends the World's operators, all at once, so that none takes over from another; that one ended badly, or had
// died before, is an error.
func (w *World) StopOperator() error {
	if len(w.replicas) == 0 {
		return errors.New("the operator does not run")
	}
	replicas := w.replicas
	w.replicas, w.Operator = nil, nil
	errs := make(chan error, len(replicas))
	for _, replica := range replicas {
		go func() { errs <- replica.Stop() }()
	}
	var all []error
	for range replicas {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
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

// Log is the whole log of the World's operators, one after the other.
func (w *World) Log() (string, error) {
	files, err := filepath.Glob(filepath.Join(w.Dir, "operator*.log"))
	if err != nil {
		return "", err
	}
	var all strings.Builder
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("reading log: %w", err)
		}
		all.Write(body)
	}
	return all.String(), nil
}
