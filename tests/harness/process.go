package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// stopTimeout is how long a process may take to end after SIGTERM before it is killed.
const stopTimeout = 20 * time.Second

// process is a program that runs beside us, with its output in a file.
type process struct {
	command *exec.Cmd
	done    chan struct{}
	err     error
	log     string
}

// startProcess runs a program of bin/, whose stderr, and stdout unless it is taken, go to the file.
func startProcess(program string, args, environment []string, logFile string, stdout io.Writer) (*process, error) {
	file, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	defer file.Close()
	command := exec.Command(program, args...)
	command.Env = append(os.Environ(), environment...)
	command.Stderr = file
	command.Stdout = file
	if stdout != nil {
		command.Stdout = stdout
	}
	// Ctrl-C reaches us alone; we then end the rest in order. Should we be killed, nothing outlives us.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", filepath.Base(program), err)
	}
	p := &process{command: command, done: make(chan struct{}), log: logFile}
	go func() {
		p.err = command.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop ends the process and says how it ended.
func (p *process) stop() error {
	_ = p.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
		return p.err
	case <-time.After(stopTimeout):
		_ = p.command.Process.Kill()
		<-p.done
		return errors.New("had to be killed: it did not end by itself")
	}
}

// exit is how the process ended, also when that was with success.
func (p *process) exit() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// died is an error that quotes the end of the process's log.
func (p *process) died() error {
	return fmt.Errorf("%s ended: %w; its last words were:\n%s", filepath.Base(p.command.Path), p.exit(), tail(p.log, 30))
}

func tail(file string, lines int) string {
	body, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(body), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// startControlPlane returns when the API server answers, with the file of the administrator's kubeconfig.
func startControlPlane(ctx context.Context, bin, dir string) (*process, string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("making folder: %w", err)
	}
	reader, writer := io.Pipe()
	args := []string{"--dir", dir, "--audit-log", filepath.Join(dir, "audit.log")}
	p, err := startProcess(filepath.Join(bin, "controlplane"), args, nil, filepath.Join(dir, "controlplane.log"), writer)
	if err != nil {
		return nil, "", err
	}
	ready := make(chan string, 1)
	go func() {
		scanner := bufio.NewScanner(reader)
		for scanner.Scan() {
			if kubeconfig, found := strings.CutPrefix(scanner.Text(), "READY "); found {
				ready <- kubeconfig
			}
		}
	}()
	select {
	case kubeconfig := <-ready:
		return p, kubeconfig, nil
	case <-p.done:
		return nil, "", p.died()
	case <-ctx.Done():
		return nil, "", errors.Join(context.Cause(ctx), p.stop())
	}
}
