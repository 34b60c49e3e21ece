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

// StartOperator starts the operator and returns when it is ready.
func (w *World) StartOperator(ctx context.Context) error {
	kubeconfig, err := w.operatorKubeconfig(ctx)
	if err != nil {
		return err
	}
	if w.HealthAddr == "" {
		if w.HealthAddr, err = freeAddress(ctx); err != nil {
			return err
		}
		if w.ListenAddr, err = freeAddress(ctx); err != nil {
			return err
		}
	}
	args := []string{"run", "--kubeconfig", kubeconfig, "--namespace", Namespace,
		"--tunnel-secret-namespace", Namespace, "--tunnel-secret-name", "rancheros-operator-tunnel",
		"--health-addr", w.HealthAddr, "--listen-addr", w.ListenAddr, "--log-format", "json"}
	// The detector compares what lies in the caches with what was put there, and panics on a difference.
	// Races go to the log, where the tests tell ours from those of libraries.
	environment := []string{"KUBE_CACHE_MUTATION_DETECTOR=true", "GORACE=exitcode=0"}
	w.operator, err = startProcess(filepath.Join(w.Bin(), w.options.Operator), args, environment, w.OperatorLog(), nil)
	if err != nil {
		return err
	}
	return Eventually(ctx, 60*time.Second, func() error { return w.operatorReady(ctx) })
}

// OperatorLog is the file of the operator's log.
func (w *World) OperatorLog() string {
	return filepath.Join(w.Dir, "operator.log")
}

// Died is an error when the operator should run and does not.
func (w *World) Died() error {
	if w.operator == nil {
		return nil
	}
	select {
	case <-w.operator.done:
		return w.operator.died()
	default:
		return nil
	}
}

func (w *World) operatorReady(ctx context.Context) error {
	if err := w.Died(); err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.HealthAddr+"/readyz", nil)
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

// StopOperator ends the operator; that it ended badly, or had died before, is an error.
func (w *World) StopOperator() error {
	if w.operator == nil {
		return errors.New("the operator does not run")
	}
	died := w.Died()
	operator := w.operator
	w.operator = nil
	if died != nil {
		return died
	}
	if err := operator.stop(); err != nil {
		return fmt.Errorf("stopping the operator: %w; its last words were:\n%s", err, tail(w.OperatorLog(), 30))
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

// Log is the operator's whole log.
func (w *World) Log() (string, error) {
	body, err := os.ReadFile(w.OperatorLog())
	return string(body), err
}
