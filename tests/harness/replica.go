package harness

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Signal sends the replica's process a signal.
func (r *Replica) Signal(signal syscall.Signal) error {
	return r.process.command.Process.Signal(signal)
}

// Wait returns how the replica's process ended, nil for success, or an error when it has not by then.
func (r *Replica) Wait(timeout time.Duration) error {
	select {
	case <-r.process.done:
		return r.process.err
	case <-time.After(timeout):
		return fmt.Errorf("the operator has not ended after %s", timeout)
	}
}

// Metric is the value of one of the replica's metrics; series is its name with its labels, as Prometheus is told.
func (r *Replica) Metric(ctx context.Context, series string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.MetricsAddr+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	defer response.Body.Close()
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		if value, found := strings.CutPrefix(scanner.Text(), series+" "); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := scanner.Err(); err != nil {
		return 0, fmt.Errorf("reading metrics: %w", err)
	}
	return 0, fmt.Errorf("there is no metric %s", series)
}
