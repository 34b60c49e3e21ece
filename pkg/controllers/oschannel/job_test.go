package oschannel

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
	"github.com/rancher/rancheros-operator/tests/golden"
)

func customChannel() *v1.ManagedOSVersionChannel {
	return newChannel(func(c *v1.ManagedOSVersionChannel) {
		c.Spec = v1.ManagedOSVersionChannelSpec{Type: "custom", SecretName: "pull", Options: &v1.ChannelOptions{
			Image: "registry.example.com/tools/versions:v1", Command: []string{"sh", "-c"}, Args: []string{"cat /versions.json"}}}
	})
}

func TestJobGolden(t *testing.T) {
	var first []byte
	for range 20 {
		document, err := yaml.Marshal(newJob(customChannel()))
		require.NoError(t, err)
		if first == nil {
			first = document
		}
		require.Equal(t, string(first), string(document), "the same on every run")
	}
	golden.Equal(t, "job.yaml", first)
}

func TestJobNames(t *testing.T) {
	long := newChannel(func(c *v1.ManagedOSVersionChannel) { c.Name = strings.Repeat("a.", 31) + "a" })
	require.LessOrEqual(t, len(jobName(long)), 63)
	require.NotContains(t, jobName(long), ".-")
	other := newChannel(func(c *v1.ManagedOSVersionChannel) { c.Namespace = "other" })
	require.NotEqual(t, jobName(newChannel()), jobName(other))
}

func TestUnframe(t *testing.T) {
	for _, c := range []struct {
		why, log, want string
		whole          bool
	}{
		{"no frame", "[]\n", "[]\n", true},
		{"V45 other things around it", "downloading\nBEGIN VERSIONS\n[]\nEND VERSIONS\nwarning: x\n", "\n[]", true},
		{"the lines of Windows", "x\r\nBEGIN VERSIONS\r\n[]\r\nEND VERSIONS\r\n", "\n[]", true},
		{"at the very beginning and end", "BEGIN VERSIONS\n[]\nEND VERSIONS", "\n[]", true},
		{"nothing in it", "BEGIN VERSIONS\nEND VERSIONS\n", "", true},
		{"no end", "BEGIN VERSIONS\n[]\n", "", false},
		{"not on a line of its own", "the BEGIN VERSIONS\n[]", "the BEGIN VERSIONS\n[]", true},
	} {
		document, whole := unframe(c.log)
		require.Equal(t, c.whole, whole, c.why)
		if whole {
			require.Equal(t, c.want, document, c.why)
		}
	}
}

// cluster is as much of an API server as a Job needs, and plays the Job's pod.
type cluster struct {
	mutex    sync.Mutex
	job      *batchv1.Job
	pods     []corev1.Pod
	log      string
	logCode  int
	requests []string
	// onCreate plays what becomes of the Job.
	onCreate func(c *cluster)
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	kind := "jobs"
	if strings.Contains(r.URL.Path, "/pods") {
		kind = "pods"
	}
	c.requests = append(c.requests, r.Method+" "+kind)
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/log"):
		c.requests[len(c.requests)-1] = "GET log " + r.URL.RawQuery
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(c.logCode)
		_, _ = io.WriteString(w, c.log)
	case kind == "pods":
		answer(w, 200, corev1.PodList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PodList"}, Items: c.pods})
	case r.Method == http.MethodPost && c.job != nil:
		answer(w, 409, apierrors.NewAlreadyExists(schema.GroupResource{Group: "batch", Resource: "jobs"}, c.job.Name).Status())
	case r.Method == http.MethodPost:
		var job batchv1.Job
		_ = json.NewDecoder(r.Body).Decode(&job)
		job.UID, job.CreationTimestamp = "job-uid", metav1.Now()
		c.job = &job
		if c.onCreate != nil {
			c.onCreate(c)
		}
		answer(w, 201, c.job)
	case c.job == nil:
		answer(w, 404, apierrors.NewNotFound(schema.GroupResource{Group: "batch", Resource: "jobs"}, "x").Status())
	case r.Method == http.MethodDelete:
		c.job, c.pods = nil, nil
		answer(w, 200, metav1.Status{Status: "Success"})
	default:
		answer(w, 200, c.job)
	}
}

func answer(w http.ResponseWriter, code int, object any) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

// end gives the Job its condition, and a pod.
func (c *cluster) end(condition batchv1.JobConditionType, reason string, pod corev1.PodStatus) {
	c.job.Status.Conditions = []batchv1.JobCondition{{Type: condition, Status: corev1.ConditionTrue, Reason: reason}}
	c.pod("pod", c.job.UID, pod)
}

func (c *cluster) pod(name string, owner types.UID, status corev1.PodStatus) {
	controller := true
	c.pods = append(c.pods, corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name,
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "batch/v1", Kind: "Job", Name: c.job.Name, UID: owner, Controller: &controller}}}, Status: status})
}

var succeeded = corev1.PodStatus{Phase: corev1.PodSucceeded}

func exited(code int32, reason string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodFailed, ContainerStatuses: []corev1.ContainerStatus{
		{State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}}}}
}

// fetcher asks the cluster.
func (c *cluster) fetcher(t *testing.T) *jobFetcher {
	t.Helper()
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	config := &rest.Config{Host: server.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
	jobs, err := typedbatchv1.NewForConfig(config)
	require.NoError(t, err)
	pods, err := typedcorev1.NewForConfig(config)
	require.NoError(t, err)
	made, err := (&handler{jobs: jobs, pods: pods, jobInterval: 10 * time.Millisecond}).newJobFetcher(customChannel())
	require.NoError(t, err)
	return made.(*jobFetcher)
}

const oneVersion = `[{"metadata":{"name":"v1.0.0"},"spec":{"version":"v1.0.0","type":"container","metadata":{"upgradeImage":"rancher/os2:v1.0.0"}}}]`

func TestJobs(t *testing.T) {
	for _, c := range []struct {
		id      string
		play    func(*cluster)
		want    channel.Reason
		message string
	}{
		{"good", func(c *cluster) { c.log = oneVersion; c.end(batchv1.JobComplete, "", succeeded) }, "", ""},
		{"V45 with other things around it", func(c *cluster) {
			c.log = "warning\nBEGIN VERSIONS\n" + oneVersion + "\nEND VERSIONS\n"
			c.end(batchv1.JobComplete, "", succeeded)
		}, "", ""},
		{"a pod of somebody else has the label", func(c *cluster) {
			c.log = oneVersion
			c.pod("evil", "other", succeeded)
			c.end(batchv1.JobComplete, "", succeeded)
		}, "", ""},
		{"V43 out of memory", func(c *cluster) { c.end(batchv1.JobFailed, "BackoffLimitExceeded", exited(137, "OOMKilled")) }, v1.ReasonJobFailed, "BackoffLimitExceeded; its container says OOMKilled, exit code 137"},
		{"V43 exit 1", func(c *cluster) { c.end(batchv1.JobFailed, "BackoffLimitExceeded", exited(1, "Error")) }, v1.ReasonJobFailed, "its container says Error, exit code 1"},
		{"V43 no image", func(c *cluster) {
			c.end(batchv1.JobFailed, "DeadlineExceeded", corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
				{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}})
		}, v1.ReasonJobFailed, "DeadlineExceeded; its container says ImagePullBackOff"},
		{"V43 no place", func(c *cluster) {
			c.end(batchv1.JobFailed, "DeadlineExceeded", corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable"}}})
		}, v1.ReasonJobFailed, "its container says Unschedulable"},
		{"V43 nothing printed", func(c *cluster) { c.end(batchv1.JobComplete, "", succeeded) }, channel.ReasonInvalidDocument, "the answer is empty"},
		{"V44 a log without an end", func(c *cluster) {
			c.log = strings.Repeat(" ", channel.MaxDocument+1)
			c.end(batchv1.JobComplete, "", succeeded)
		}, channel.ReasonInvalidDocument, "larger than 2 MiB"},
		{"V44 binary", func(c *cluster) { c.log = "\x00\xff\xfe"; c.end(batchv1.JobComplete, "", succeeded) }, channel.ReasonInvalidDocument, "not UTF-8"},
		{"V44 a log that is gone", func(c *cluster) { c.logCode = 404; c.end(batchv1.JobComplete, "", succeeded) }, v1.ReasonJobFailed, "the log of the Job's pod cannot be read"},
		{"V46 the pod is gone", func(c *cluster) { c.end(batchv1.JobComplete, "", succeeded); c.pods = nil }, v1.ReasonJobFailed, "its pod is gone"},
		{"V45 a frame without an end", func(c *cluster) { c.log = "BEGIN VERSIONS\n[]"; c.end(batchv1.JobComplete, "", succeeded) }, channel.ReasonInvalidDocument, `never "END VERSIONS"`},
	} {
		play := &cluster{logCode: 200, onCreate: c.play}
		answer, err := play.fetcher(t).Fetch(t.Context(), nil)
		require.Nil(t, play.job, "%s: it is removed", c.id)
		if c.want == "" {
			require.NoError(t, err, c.id)
			require.Equal(t, "v1.0.0", answer.Releases[0].Name, c.id)
			require.True(t, slices.ContainsFunc(play.requests, func(r string) bool { return strings.HasPrefix(r, "GET log container=channel&limitBytes=2097153") }), "%s: %v", c.id, play.requests)
			continue
		}
		require.Equal(t, c.want, asFailure(err).Reason, "%s: %v", c.id, err)
		require.Contains(t, err.Error(), c.message, c.id)
	}
}

// V46: an operator that starts anew takes up the Job that is under way, and only that one.
func TestJobThatIsThere(t *testing.T) {
	existing := func(change func(*batchv1.Job)) *batchv1.Job {
		job := newJob(customChannel())
		job.UID, job.CreationTimestamp = "old-uid", metav1.Now()
		change(job)
		return job
	}
	for _, c := range []struct {
		why     string
		job     *batchv1.Job
		created int
		message string
	}{
		{"its own", existing(func(*batchv1.Job) {}), 0, ""},
		{"its own, of another spec", existing(func(job *batchv1.Job) { job.Annotations = nil }), 1, ""},
		{"its own, of yesterday", existing(func(job *batchv1.Job) { job.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour)) }), 1, ""},
		{"C63 somebody else's", existing(func(job *batchv1.Job) { job.OwnerReferences = nil }), 0, "is not this channel's; delete or rename it"},
	} {
		play := &cluster{logCode: 200, log: oneVersion, job: c.job}
		play.onCreate = func(play *cluster) { play.end(batchv1.JobComplete, "", succeeded) }
		if c.created == 0 {
			play.end(batchv1.JobComplete, "", succeeded)
		}
		_, err := play.fetcher(t).Fetch(t.Context(), nil)
		if c.message != "" {
			require.ErrorContains(t, err, c.message, c.why)
			require.NotNil(t, play.job, "%s: untouched", c.why)
			continue
		}
		require.NoError(t, err, c.why)
		require.Nil(t, play.job, c.why)
	}
}

func TestJobThatSomebodyDeletes(t *testing.T) {
	play := &cluster{}
	fetcher := play.fetcher(t)
	play.onCreate = func(c *cluster) {
		time.AfterFunc(50*time.Millisecond, func() {
			c.mutex.Lock()
			defer c.mutex.Unlock()
			c.job = nil
		})
	}
	_, err := fetcher.Fetch(t.Context(), nil)
	require.ErrorContains(t, err, "somebody has deleted the Job")
}

// Every reason of package channel is one of the API, where it says what to do.
func TestReasonsAreTheAPIs(t *testing.T) {
	source, err := os.ReadFile("../../apis/rancheros.cattle.io/v1/managedosversionchannel_types.go")
	require.NoError(t, err)
	for _, reason := range []channel.Reason{channel.ReasonUnreachable, channel.ReasonCertificateNotTrusted, channel.ReasonAddressForbidden,
		channel.ReasonRequestRefused, channel.ReasonRateLimited, channel.ReasonInvalidDocument} {
		require.Contains(t, string(source), fmt.Sprintf("= %q\n", reason))
	}
	require.Equal(t, v1.ReasonInvalidSpec, string(channel.ReasonInvalidSpec))
}
