package oschannel

import (
	"fmt"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const (
	// container is the name of the one container.
	container = "channel"
	// jobSeconds is how long a Job may run; jobKept how long it stays when nobody removes it.
	jobSeconds = 600
	jobKept    = 3600
	// nobody is the user and the group that it runs as.
	nobody = 65534
)

// jobName is the same on every try, so that an operator that starts anew finds the Job that it has begun. Its labels on
// pods hold at most 63 characters.
func jobName(c *v1.ManagedOSVersionChannel) string {
	name := strings.TrimRight(c.Name[:min(len(c.Name), 40)], "-.")
	return "channel-" + name + "-" + digestOf(c.Namespace + "/" + c.Name)[:10]
}

// newJob runs the channel's container once. It is a stranger: it has no rights on the cluster, is not root, writes to
// nothing but a small folder, and ends after ten minutes. Pod security "restricted" admits it.
func newJob(c *v1.ManagedOSVersionChannel) *batchv1.Job {
	labels := map[string]string{v1.LabelChannel: c.Name}
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.Namespace, Name: jobName(c), Labels: labels,
			OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(c, channelKind)},
		},
		Spec: batchv1.JobSpec{
			BackoffLimit:            ptr(int32(0)),
			ActiveDeadlineSeconds:   ptr(int64(jobSeconds)),
			TTLSecondsAfterFinished: ptr(int32(jobKept)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       podSpec(c),
			},
		},
	}
	// A Job of another spec than this is not the one that was asked for.
	job.Annotations = map[string]string{v1.AnnotationApplied: digestOf(job.Spec)}
	return job
}

func podSpec(c *v1.ManagedOSVersionChannel) corev1.PodSpec {
	spec := corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		AutomountServiceAccountToken:  ptr(false),
		EnableServiceLinks:            ptr(false),
		TerminationGracePeriodSeconds: ptr(int64(5)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(nobody)), RunAsGroup: ptr(int64(nobody)), FSGroup: ptr(int64(nobody)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Containers: []corev1.Container{{
			Name:    container,
			Image:   c.Spec.Options.Image,
			Command: c.Spec.Options.Command,
			Args:    c.Spec.Options.Args,
			Resources: corev1.ResourceRequirements{
				Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
				Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("256Mi"),
					corev1.ResourceEphemeralStorage: resource.MustParse("128Mi")},
			},
			SecurityContext: &corev1.SecurityContext{
				AllowPrivilegeEscalation: ptr(false), Privileged: ptr(false), ReadOnlyRootFilesystem: ptr(true), RunAsNonRoot: ptr(true),
				Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			},
			VolumeMounts: []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}},
		}},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{
			EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: ptr(resource.MustParse("64Mi"))},
		}}},
	}
	if c.Spec.SecretName != "" {
		spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: c.Spec.SecretName}}
	}
	return spec
}

func ptr[T any](value T) *T { return &value }

// outcome of a Job: it runs, it is done, or it failed and why.
type outcome int

const (
	running outcome = iota
	done
	failed
)

func outcomeOf(job *batchv1.Job) (outcome, string) {
	for _, condition := range job.Status.Conditions {
		if condition.Status != corev1.ConditionTrue {
			continue
		}
		switch condition.Type {
		case batchv1.JobComplete:
			return done, ""
		case batchv1.JobFailed:
			return failed, condition.Reason
		}
	}
	return running, ""
}

// trouble is what a pod says of why its container does not run, or did not end well: OOMKilled, ImagePullBackOff.
func trouble(pods []corev1.Pod) string {
	for _, pod := range pods {
		for _, status := range pod.Status.ContainerStatuses {
			switch {
			case status.State.Terminated != nil && status.State.Terminated.ExitCode != 0:
				return fmt.Sprintf("%s, exit code %d", status.State.Terminated.Reason, status.State.Terminated.ExitCode)
			case status.State.Waiting != nil:
				return status.State.Waiting.Reason
			}
		}
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
				return condition.Reason
			}
		}
	}
	return ""
}

const (
	frameBegin = "BEGIN VERSIONS"
	frameEnd   = "END VERSIONS"
)

// unframe is what stands between the two lines, for containers that print other things, too, and to both of their
// outputs; the whole log where there are no such lines. A frame that does not end has no document in it.
func unframe(log string) (string, bool) {
	_, rest, found := strings.Cut("\n"+strings.ReplaceAll(log, "\r\n", "\n"), "\n"+frameBegin+"\n")
	if !found {
		return log, true
	}
	document, _, ended := strings.Cut("\n"+rest+"\n", "\n"+frameEnd+"\n")
	return document, ended
}
