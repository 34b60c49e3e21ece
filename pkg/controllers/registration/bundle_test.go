package registration

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

// newBundleWorld judges bundles: those that hold the word "root" are good.
func newBundleWorld(t *testing.T, admission *v1.AdmissionSpec) world {
	w := newWorld(t)
	w.bundles.check = func(pem []byte) error {
		if !strings.Contains(string(pem), "root") {
			return errors.New("CA bundle holds no usable root certificate")
		}
		return nil
	}
	registration := edge()
	registration.Spec.Admission = admission
	w.Put(registration)
	return w
}

func bundleSecret(name, content string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name}, Data: map[string][]byte{"tls.crt": []byte(content)}}
}

// later is when whatever was seen is looked at again.
func (w world) later() {
	now := w.now().Add(mendedDelay)
	w.now = func() time.Time { return now }
}

// C18: the condition says what the server refuses machines for, and no more than that; see TestUnreadAndBrokenBundles there.
func TestTrustBundle(t *testing.T) {
	const missing, invalid, ready = v1.ReasonTrustBundleMissing, v1.ReasonTrustBundleInvalid, v1.ReasonReady
	for _, c := range []struct {
		why                         string
		admission                   *v1.AdmissionSpec
		absent, empty, broken, good string
	}{
		{"nothing is said", nil, ready, missing, invalid, ready},
		{"nothing is said of endorsement", &v1.AdmissionSpec{}, ready, missing, invalid, ready},
		{"a bundle is named", &v1.AdmissionSpec{CASecretName: "tpm-ca"}, missing, missing, invalid, ready},
		{"certificates", &v1.AdmissionSpec{Endorsement: v1.EndorsementCertificate}, missing, missing, invalid, ready},
		{"certificates, or a list, which does without", &v1.AdmissionSpec{Endorsement: v1.EndorsementCertificateOrListed}, ready, missing, invalid, ready},
		{"anything", &v1.AdmissionSpec{Endorsement: v1.EndorsementAny, CASecretName: "tpm-ca"}, ready, ready, ready, ready},
		{"a list", &v1.AdmissionSpec{Endorsement: v1.EndorsementListed}, ready, ready, ready, ready},
	} {
		t.Run(c.why, func(t *testing.T) {
			w := newBundleWorld(t, c.admission)
			_, err := w.reconcile(t)
			require.NoError(t, err)
			for _, step := range []struct{ content, want string }{{"-", c.absent}, {"\n", c.empty}, {"garbage", c.broken}, {"a root", c.good}, {"-", c.absent}} {
				w.Secrets.Remove("ns", "tpm-ca")
				if step.content != "-" {
					w.Put(bundleSecret("tpm-ca", step.content))
				}
				w.later()
				registration, err := w.reconcile(t)
				require.NoError(t, err)
				condition := registration.Status.Conditions[0]
				require.Equal(t, step.want, condition.Reason, step.content)
				require.NotEmpty(t, registration.Status.RegistrationURL, "the URL stays what it is")
				w.Registrations.Enqueued()
				w.Requests()
				w.later()
				_, err = w.reconcile(t)
				require.NoError(t, err)
				for _, request := range w.Requests() {
					require.Equal(t, "get secrets ns/tpm-ca", request, "an unchanged world costs no write")
				}
				if step.want != ready {
					require.Contains(t, condition.Message, "Secret tpm-ca")
					require.Contains(t, condition.Message, "set spec.admission.endorsement to Any", "the way out")
					require.Equal(t, []string{"ns/edge"}, w.Registrations.Enqueued(), "it is looked at again")
				}
			}
		})
	}
}

// Only who may be judged by a bundle asks for one, and machines that come together do not each do so.
func TestTrustBundleCostsLittle(t *testing.T) {
	w := newBundleWorld(t, &v1.AdmissionSpec{Endorsement: v1.EndorsementAny})
	_, err := w.reconcile(t)
	require.NoError(t, err)
	require.NotContains(t, w.Requests(), "get secrets ns/tpm-ca")
	require.Empty(t, w.Registrations.Enqueued())

	w = newBundleWorld(t, nil)
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Contains(t, w.Requests(), "get secrets ns/tpm-ca")
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Empty(t, w.Requests())
	require.Empty(t, w.Registrations.Enqueued(), "who asks for no bundle, and has none, comes back for none")

	w.Put(bundleSecret("tpm-ca", "a root"))
	w.later()
	_, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, []string{"ns/edge"}, w.Registrations.Enqueued(), "one that is there may break")
}

// As the server does: what was seen before counts, and while nothing was seen, nothing is said to work.
func TestTrustBundleCannotBeRead(t *testing.T) {
	w := newBundleWorld(t, nil)
	failing := true
	w.Fail = func(request memoryapi.Request) error {
		if failing && request.Name == "tpm-ca" {
			return errors.New("no etcd")
		}
		return nil
	}
	registration, err := w.reconcile(t)
	require.ErrorContains(t, err, "reading the CA bundle in Secret tpm-ca: no etcd")
	require.Equal(t, v1.ReasonAPIError, registration.Status.Conditions[0].Reason)
	failing = false
	registration, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, v1.ReasonReady, registration.Status.Conditions[0].Reason)
	failing = true
	w.later()
	registration, err = w.reconcile(t)
	require.NoError(t, err)
	require.Equal(t, v1.ReasonReady, registration.Status.Conditions[0].Reason)
}

// H49: whichever registration is looked at first, both are not Ready, and neither keeps the other awake.
func TestSharedToken(t *testing.T) {
	w := newWorld(t)
	_, err := w.reconcile(t)
	require.NoError(t, err)
	original := w.Secrets.All()[0]

	other := edge()
	other.Namespace, other.UID = "elsewhere", "uid-elsewhere"
	copied := original.DeepCopy()
	copied.Namespace, copied.OwnerReferences, copied.ResourceVersion = "elsewhere", nil, ""
	w.Put(copied)
	w.Registrations.Enqueued()

	reconcile := func(namespace string) metav1.Condition {
		cached, err := w.Registrations.Cache().Get(namespace, "edge")
		require.NoError(t, err)
		_, err = w.onChange(namespace+"/edge", cached)
		require.NoError(t, err)
		cached, err = w.Registrations.Cache().Get(namespace, "edge")
		require.NoError(t, err)
		return cached.Status.Conditions[0]
	}
	w.Put(other)
	condition := reconcile("elsewhere")
	require.Equal(t, []any{metav1.ConditionFalse, v1.ReasonTokenShared}, []any{condition.Status, condition.Reason})
	require.Contains(t, condition.Message, "registration ns/edge; delete the one that was copied")
	require.NotContains(t, condition.Message, string(original.Data["token"]))
	require.Contains(t, w.Registrations.Enqueued(), "ns/edge", "the other is told")

	require.Equal(t, v1.ReasonTokenShared, reconcile("ns").Reason)
	w.Registrations.Enqueued()
	w.Requests()
	reconcile("elsewhere")
	reconcile("ns")
	require.Equal(t, []string{"elsewhere/edge", "ns/edge"}, w.Registrations.Enqueued(), "each comes back by itself alone")
	require.Empty(t, w.Requests(), "an unchanged world costs nothing")

	// Where both registrations are there, the Secret's change tells both.
	_, err = w.onSecret("elsewhere/edge-registration-token", copied)
	require.NoError(t, err)
	require.Equal(t, []string{"elsewhere/edge", "ns/edge"}, w.Registrations.Enqueued())

	w.Secrets.Remove("elsewhere", "edge-registration-token")
	require.Equal(t, v1.ReasonReady, reconcile("elsewhere").Reason)
	require.Equal(t, v1.ReasonReady, reconcile("ns").Reason)
}
