package clients

import (
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
)

// audited writes a line to the log for each event: events are gone after an hour, and dropped when there are many.
type audited struct{ record.EventRecorder }

// Event is record.EventRecorder's.
func (a audited) Event(object runtime.Object, eventType, reason, message string) {
	fields := logrus.Fields{"reason": reason}
	if object, err := meta.Accessor(object); err == nil {
		fields["object"] = strings.TrimPrefix(object.GetNamespace()+"/"+object.GetName(), "/")
	}
	if kind, ok := strings.CutPrefix(fmt.Sprintf("%T", object), "*v1."); ok {
		fields["kind"] = kind
	}
	level := logrus.InfoLevel
	if eventType == corev1.EventTypeWarning {
		level = logrus.WarnLevel
	}
	logrus.WithFields(fields).Log(level, message)
	a.EventRecorder.Event(object, eventType, reason, message)
}

// Eventf is record.EventRecorder's.
func (a audited) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	a.Event(object, eventType, reason, fmt.Sprintf(format, args...))
}
