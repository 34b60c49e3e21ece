package oschannel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	typedbatchv1 "k8s.io/client-go/kubernetes/typed/batch/v1"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

const (
	// longestJob is a little longer than the Job's own deadline.
	longestJob = (jobSeconds + 60) * time.Second
	// stale is when a Job that ended is too old to be the answer of this try.
	stale = 15 * time.Minute
	// removal is how long it may take to remove a Job.
	removal = 30 * time.Second
)

// jobFetcher asks a channel of type custom: it runs a Job and reads its pod's log.
type jobFetcher struct {
	channel  *v1.ManagedOSVersionChannel
	jobs     typedbatchv1.JobInterface
	pods     typedcorev1.PodInterface
	interval time.Duration
}

func (h *handler) newJobFetcher(c *v1.ManagedOSVersionChannel) (channel.Fetcher, error) {
	if c.Spec.Options == nil || c.Spec.Options.Image == "" {
		return nil, &channel.Failure{Reason: v1.ReasonInvalidSpec, Message: "a channel of type custom needs options.image; give it"}
	}
	return &jobFetcher{channel: c, jobs: h.jobs.Jobs(c.Namespace), pods: h.pods.Pods(c.Namespace), interval: h.jobInterval}, nil
}

func jobFailure(format string, args ...any) *channel.Failure {
	return &channel.Failure{Reason: v1.ReasonJobFailed, Message: fmt.Sprintf(format, args...)}
}

// Fetch makes jobFetcher a channel.Fetcher. The Job is removed in the end, but not when the operator ends meanwhile: the
// next one finds it and goes on.
func (f *jobFetcher) Fetch(ctx context.Context, _ *channel.Answer) (*channel.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, longestJob)
	defer cancel()
	job, err := f.begin(ctx)
	if err != nil {
		return nil, err
	}
	log, err := f.finish(ctx, job)
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f.remove(ctx, job)
	}
	if err != nil {
		return nil, err
	}
	document, whole := unframe(log)
	if !whole {
		return nil, &channel.Failure{Reason: v1.ReasonInvalidDocument, Message: fmt.Sprintf("the container printed %q and never %q", frameBegin, frameEnd)}
	}
	return channel.ParseDocument([]byte(document))
}

// begin makes the Job, or takes up the one that is under way.
func (f *jobFetcher) begin(ctx context.Context) (*batchv1.Job, error) {
	desired := newJob(f.channel)
	for {
		created, err := f.jobs.Create(ctx, desired, metav1.CreateOptions{})
		if err == nil {
			return created, nil
		}
		if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("making Job %s: %w", desired.Name, err)
		}
		existing, err := f.jobs.Get(ctx, desired.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			return nil, fmt.Errorf("reading Job %s: %w", desired.Name, err)
		case !metav1.IsControlledBy(existing, f.channel):
			return nil, jobFailure("Job %s exists and is not this channel's; delete or rename it", existing.Name)
		case existing.DeletionTimestamp == nil && existing.Annotations[v1.AnnotationApplied] == desired.Annotations[v1.AnnotationApplied] && !isStale(existing):
			return existing, nil
		}
		f.remove(ctx, existing)
		if err := f.tick(ctx); err != nil {
			return nil, err
		}
	}
}

func isStale(job *batchv1.Job) bool {
	return time.Since(job.CreationTimestamp.Time) > stale
}

// tick waits for the next look at the Job.
func (f *jobFetcher) tick(ctx context.Context) error {
	timer := time.NewTimer(f.interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return jobFailure("the Job did not end within %d minutes", jobSeconds/60)
	}
}

// finish waits for the end of the Job, and returns what its pod has printed.
func (f *jobFetcher) finish(ctx context.Context, job *batchv1.Job) (string, error) {
	why := ""
	for {
		pods, err := f.pods.List(ctx, metav1.ListOptions{LabelSelector: batchv1.JobNameLabel + "=" + job.Name})
		if err != nil {
			return "", fmt.Errorf("listing the pods of Job %s: %w", job.Name, err)
		}
		ours := controlledBy(pods.Items, job)
		// A Job that is too late loses its pods: what they said before is remembered.
		if said := trouble(ours); said != "" {
			why = "; its container says " + said
		}
		switch outcome, reason := outcomeOf(job); outcome {
		case done:
			return f.log(ctx, ours)
		case failed:
			return "", jobFailure("the Job failed: %s%s", reason, why)
		case running:
		}
		if err := f.tick(ctx); err != nil {
			return "", jobFailure("%v%s", err, why)
		}
		current, err := f.jobs.Get(ctx, job.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err), err == nil && current.UID != job.UID:
			return "", jobFailure("somebody has deleted the Job %s", job.Name)
		case err != nil:
			return "", fmt.Errorf("reading Job %s: %w", job.Name, err)
		}
		job = current
	}
}

func controlledBy(pods []corev1.Pod, job *batchv1.Job) []corev1.Pod {
	var ours []corev1.Pod
	for _, pod := range pods {
		if metav1.IsControlledBy(&pod, job) {
			ours = append(ours, pod)
		}
	}
	return ours
}

// log reads one byte more than a document may have, so that one that is too long is seen as such.
func (f *jobFetcher) log(ctx context.Context, pods []corev1.Pod) (string, error) {
	for _, pod := range pods {
		if pod.Status.Phase != corev1.PodSucceeded {
			continue
		}
		stream, err := f.pods.GetLogs(pod.Name, &corev1.PodLogOptions{Container: container, LimitBytes: ptr(int64(channel.MaxDocument + 1))}).Stream(ctx)
		if err != nil {
			return "", jobFailure("the log of the Job's pod cannot be read")
		}
		defer stream.Close()
		text, err := io.ReadAll(io.LimitReader(stream, channel.MaxDocument+1))
		if err != nil {
			return "", jobFailure("the log of the Job's pod cannot be read to its end")
		}
		return string(text), nil
	}
	return "", jobFailure("the Job is complete, and its pod is gone")
}

// remove takes away the Job and its pods; one that stays goes by itself after an hour.
func (f *jobFetcher) remove(ctx context.Context, job *batchv1.Job) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removal)
	defer cancel()
	_ = f.jobs.Delete(ctx, job.Name, metav1.DeleteOptions{
		PropagationPolicy: ptr(metav1.DeletePropagationBackground),
		Preconditions:     &metav1.Preconditions{UID: &job.UID},
	})
}
