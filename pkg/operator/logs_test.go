package operator

import (
	"bytes"
	"encoding/json"
	"errors"
	stdlog "log"
	"os"
	"testing"

	lasso "github.com/rancher/lasso/pkg/log"
	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/klog/v2"
)

// Whoever writes, each line is an object with a level, a message and a time.
func TestOneLog(t *testing.T) {
	var written bytes.Buffer
	logrus.SetOutput(&written)
	logrus.SetFormatter(&logrus.JSONFormatter{})
	oldInfo, oldDebug, oldError := lasso.Infof, lasso.Debugf, lasso.Errorf
	t.Cleanup(func() {
		logrus.SetOutput(os.Stderr)
		logrus.SetFormatter(&logrus.TextFormatter{})
		logrus.SetLevel(logrus.InfoLevel)
		stdlog.SetOutput(os.Stderr)
		stdlog.SetFlags(stdlog.LstdFlags)
		lasso.Infof, lasso.Debugf, lasso.Errorf = oldInfo, oldDebug, oldError
		klog.ClearLogger()
	})
	joinLogs()
	type line struct{ level, message, extra string }
	for _, c := range []struct {
		why   string
		level logrus.Level
		write func()
		want  []line
	}{
		{"klog's text", logrus.InfoLevel, func() { klog.Infof("hello %d", 1) }, []line{{"info", "hello 1", ""}}},
		{"klog's fields", logrus.InfoLevel, func() { klog.InfoS("renewed", "lock", "ns/name") }, []line{{"info", "renewed", "lock=ns/name"}}},
		{"klog's errors", logrus.ErrorLevel, func() { klog.ErrorS(errors.New("no"), "failed") }, []line{{"error", "failed", "error=no"}}},
		{"an error that client-go goes on with", logrus.InfoLevel, func() { utilruntime.HandleError(errors.New("watch broke")) }, []line{{"error", "Unhandled Error", "error=watch broke"}}},
		{"details are not wanted", logrus.InfoLevel, func() { klog.Background().V(1).Info("detail") }, nil},
		{"unless somebody looks for something", logrus.DebugLevel, func() { klog.Background().V(1).Info("detail") }, []line{{"debug", "detail", ""}}},
		{"and even then not all of them", logrus.DebugLevel, func() { klog.Background().V(6).Info("detail") }, nil},
		{"whose they are", logrus.InfoLevel, func() { klog.Background().WithName("a").WithName("b").Info("x") }, []line{{"info", "x", "logger=a.b"}}},
		{"lasso says when each controller starts", logrus.InfoLevel, func() { lasso.Infof("Starting %s", "x") }, nil},
		{"lasso's errors", logrus.InfoLevel, func() { lasso.Errorf("error syncing %s", "x") }, []line{{"error", "error syncing x", ""}}},
		{"the standard library", logrus.InfoLevel, func() { stdlog.Print("http: something") }, []line{{"info", "http: something", ""}}},
	} {
		written.Reset()
		logrus.SetLevel(c.level)
		c.write()
		var got []line
		for decoder := json.NewDecoder(&written); decoder.More(); {
			var fields map[string]any
			require.NoError(t, decoder.Decode(&fields), c.why)
			require.NotEmpty(t, fields["time"])
			l := line{level: fields["level"].(string), message: fields["msg"].(string)}
			for _, name := range []string{"logger", "lock", "error"} { // The last that is there.
				if value, found := fields[name]; found {
					l.extra = name + "=" + value.(string)
				}
			}
			got = append(got, l)
		}
		require.Equal(t, c.want, got, c.why)
	}
}
