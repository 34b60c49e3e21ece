package clients

import (
	"bytes"
	"testing"

	"github.com/sirupsen/logrus"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func TestEventsAreLogged(t *testing.T) {
	var log bytes.Buffer
	before := logrus.StandardLogger().Out
	logrus.SetOutput(&log)
	defer logrus.SetOutput(before)
	recorder := record.NewFakeRecorder(2)
	events := audited{recorder}
	machine := &v1.MachineInventory{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "m-1"}}
	events.Eventf(machine, corev1.EventTypeNormal, "Approved", "by %s\nlevel=fatal", "a person")
	events.Event(machine, corev1.EventTypeWarning, "Revoked", "replaced by m-2")
	require.Equal(t, "Normal Approved by a person\nlevel=fatal", <-recorder.Events)
	require.Equal(t, "Warning Revoked replaced by m-2", <-recorder.Events)
	require.Regexp(t, `^time="[^"]+" level=info msg="by a person\\nlevel=fatal" kind=MachineInventory object=ns/m-1 reason=Approved\n`+
		`time="[^"]+" level=warning msg="replaced by m-2" kind=MachineInventory object=ns/m-1 reason=Revoked\n$`, log.String())
}
