package operator

import (
	"fmt"
	stdlog "log"

	"github.com/go-logr/logr"
	lasso "github.com/rancher/lasso/pkg/log"
	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"
)

// joinLogs makes one log of four: client-go writes to klog, lasso to functions of its own, and what is left to the standard
// library's log. All of it then has our format and our levels, so that a reader of JSON finds nothing else.
func joinLogs() {
	klog.SetLoggerWithOptions(logr.New(sink{entry: logrus.NewEntry(logrus.StandardLogger())}), klog.ContextualLogger(true))
	// Which controllers start and stop is of interest to nobody but ourselves.
	lasso.Infof, lasso.Debugf, lasso.Errorf = logrus.Debugf, logrus.Debugf, logrus.Errorf
	stdlog.SetFlags(0)
	stdlog.SetOutput(lines{})
}

// lines is the standard library's log, which has no levels.
type lines struct{}

func (lines) Write(line []byte) (int, error) {
	logrus.Info(string(line[:max(0, len(line)-1)]))
	return len(line), nil
}

// sink is where klog's messages go. Its details, from level 1 on, are for debugging; beyond level 2 they are for the
// authors of client-go.
type sink struct {
	entry *logrus.Entry
	name  string
}

const detail = 2

// Init is of no use here.
func (sink) Init(logr.RuntimeInfo) {}

// Enabled tells whether anybody wants to read it.
func (sink) Enabled(level int) bool {
	return level == 0 || level <= detail && logrus.IsLevelEnabled(logrus.DebugLevel)
}

// Info writes a message that is no error.
func (s sink) Info(level int, message string, pairs ...any) {
	entry := s.with(pairs)
	if level > 0 {
		entry.Debug(message)
		return
	}
	entry.Info(message)
}

// Error writes an error that client-go goes on with.
func (s sink) Error(err error, message string, pairs ...any) {
	entry := s.with(pairs)
	if err != nil {
		entry = entry.WithError(err)
	}
	entry.Error(message)
}

// WithValues adds fields to all that follows.
func (s sink) WithValues(pairs ...any) logr.LogSink { return sink{s.with(pairs), s.name} }

// WithName says which part of client-go speaks.
func (s sink) WithName(name string) logr.LogSink {
	if s.name != "" {
		name = s.name + "." + name
	}
	return sink{s.entry.WithField("logger", name), name}
}

func (s sink) with(pairs []any) *logrus.Entry {
	fields := logrus.Fields{}
	for i := 0; i+1 < len(pairs); i += 2 {
		value := pairs[i+1]
		switch value.(type) {
		case string, bool, int, int32, int64, float64:
		default:
			value = fmt.Sprint(value)
		}
		fields[fmt.Sprint(pairs[i])] = value
	}
	return s.entry.WithFields(fields)
}
