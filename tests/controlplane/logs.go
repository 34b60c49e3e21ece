package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// logFile takes the log of Kubernetes or of etcd, and remembers the last
// error in it: when one of them ends the process on its own authority, that
// line is the reason.
type logFile struct {
	path string
	file *os.File
	out  io.Writer

	mu        sync.Mutex
	lastError string
}

func openLog(path string, verbose bool) (*logFile, error) {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	l := &logFile{path: path, file: file, out: file}
	if verbose {
		l.out = io.MultiWriter(file, os.Stderr)
	}
	return l, nil
}

// Write gets whole lines: klog's start with the letter of their severity.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(line) > 0 && (line[0] == 'E' || line[0] == 'F') {
		first, _, _ := strings.Cut(string(line), "\n")
		l.lastError = first
	}
	return l.out.Write(line)
}

func (l *logFile) reason() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lastError == "" {
		return "no error was logged"
	}
	return "the last error logged is: " + l.lastError
}

// logKubernetes sends all that Kubernetes logs to l. Both of its programs use
// the one klog of this process, so they share a file. Where Kubernetes sees no
// way on it ends the process; it calls exit for that.
func logKubernetes(l *logFile, verbose bool, exit func(code int)) error {
	settings := flag.NewFlagSet("klog", flag.ContinueOnError)
	klog.InitFlags(settings)
	verbosity := "0"
	if verbose {
		verbosity = "2"
	}
	err := errors.Join(
		settings.Set("logtostderr", "false"),
		settings.Set("alsologtostderr", "false"),
		settings.Set("stderrthreshold", "FATAL"),
		settings.Set("one_output", "true"), // or an error is written once per severity
		settings.Set("v", verbosity),
	)
	if err != nil {
		return fmt.Errorf("setting up the log of Kubernetes: %w", err)
	}
	klog.SetOutput(l)
	klog.OsExit = exit
	return nil
}

// etcdLogger writes etcd's log to l, from warnings on unless verbose.
func etcdLogger(l *logFile, verbose bool, log *narrator) *zap.Logger {
	level := zapcore.WarnLevel
	if verbose {
		level = zapcore.InfoLevel
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	encoding.EncodeLevel = zapcore.CapitalLevelEncoder
	core := zapcore.NewCore(zapcore.NewConsoleEncoder(encoding), zapcore.AddSync(l), level)
	end := etcdEnd{log: log, path: l.path}
	return zap.New(core, zap.WithFatalHook(end), zap.WithPanicHook(end))
}

// etcdEnd is called when etcd sees no way on, for example with a data file
// that it cannot read. It would end the process with its reason in the log
// only.
type etcdEnd struct {
	log  *narrator
	path string
}

func (e etcdEnd) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	reason := entry.Message
	for _, field := range fields {
		if err, ok := field.Interface.(error); ok {
			reason += ": " + err.Error()
		}
	}
	e.log.sayf("etcd ended the process: %s (see %s)", reason, e.path)
	os.Exit(exitFailure)
}
