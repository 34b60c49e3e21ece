package supportbundle

import (
	"context"
	"fmt"
	"io"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How much of a container's log is packed: its end.
const (
	maxLines = 20_000
	maxLog   = 8 << 20
)

// operator packs the operator's own namespace, as far as that may be read.
func (b *bundle) operator(ctx context.Context, namespace string) error {
	if namespace == "" {
		return nil
	}
	for _, kind := range operatorKinds() {
		read := b.list(ctx, kind.resource, namespace, metav1.ListOptions{})
		if err := b.write(fileOf("operator", kind.resource), read, kind.shown); err != nil {
			return err
		}
	}
	pods, err := b.kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{Limit: 50})
	if err != nil {
		b.fail("listing pods of "+namespace, err)
		return nil
	}
	for _, pod := range pods.Items {
		for _, container := range pod.Status.ContainerStatuses {
			if err := b.log(ctx, pod, container.Name, false); err != nil {
				return err
			}
			if container.RestartCount == 0 {
				continue
			}
			if err := b.log(ctx, pod, container.Name, true); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *bundle) log(ctx context.Context, pod corev1.Pod, container string, previous bool) error {
	lines, bytes := int64(maxLines), int64(maxLog)
	name := fmt.Sprintf("operator/logs/%s-%s.log", pod.Name, container)
	if previous {
		name = strings.TrimSuffix(name, ".log") + ".previous.log"
	}
	stream, err := b.kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
		Container: container, Previous: previous, TailLines: &lines, LimitBytes: &bytes, Timestamps: true,
	}).Stream(ctx)
	if err != nil {
		b.fail(name, err)
		return nil
	}
	defer stream.Close()
	body, err := io.ReadAll(io.LimitReader(stream, maxLog))
	if err != nil {
		b.fail(name, err)
	}
	return b.add(name, []byte(b.text(string(body))))
}
