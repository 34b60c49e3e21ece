package osimage

import (
	"errors"
	"fmt"
	"time"

	fleetv1 "github.com/rancher/fleet/pkg/apis/fleet.cattle.io/v1alpha1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/status"
)

func (h *handler) onChange(key string, image *v1.ManagedOSImage) (*v1.ManagedOSImage, error) {
	if image == nil || image.DeletionTimestamp != nil {
		namespace, name := index.SplitKey(key)
		gone := objectKey{Namespace: namespace, Name: name}
		h.pace.forget(gone)
		h.later(h.claims.set(gone, nil, "")...)
		return image, nil
	}
	if wait := h.pace.wait(image, h.now(), h.settle); wait > 0 {
		h.images.EnqueueAfter(image.Namespace, image.Name, wait)
		return image, nil
	}
	rolledOut, err := h.rollOut(image)
	if apierrors.IsConflict(err) {
		// Somebody wrote in between: not worth a word, the change itself brings us back.
		return image, err
	}
	desired := image.DeepCopy()
	turned := computeStatus(desired, rolledOut, err)
	written, writeErr := status.Write(h.images, image, desired)
	if writeErr == nil {
		h.emit(image, turned)
	}
	if written != image {
		h.pace.mark(image, h.now())
	}
	if at := rolledOut.tally.wakeAt; !at.IsZero() {
		h.images.EnqueueAfter(image.Namespace, image.Name, max(at.Sub(h.now()), h.settle))
	}
	var refused *refusal
	if errors.As(err, &refused) {
		// Nothing that a retry would mend: an edit of what is wrong brings us back.
		err = nil
	}
	return written, errors.Join(err, writeErr)
}

// rollout is what came of an image.
type rollout struct {
	// image is the complete reference that nodes are upgraded with; empty while it is not known.
	image string
	// bundle is the Bundle as it is now; nil while there is none.
	bundle *fleetv1.Bundle
	// state is what has to be remembered of it; nil while there never was one.
	state *v1.RolloutStatus
	tally tally
	// paused and halted tell that no node starts, and closed, that none does at this time.
	paused, halted, closed bool
	// unknown tells that there is no release to roll out, and never was one.
	unknown bool
}

// rollOut gathers, decides, and brings the Secret and the Bundle to what was decided.
func (h *handler) rollOut(image *v1.ManagedOSImage) (rollout, error) {
	in, problem := h.gather(image)
	result := rollout{bundle: in.existing, state: image.Status.Rollout}
	var d draft
	if problem == nil {
		d, problem = newDraft(in)
		result.image = d.image()
	} else {
		d = draft{input: in}
	}
	clusters, err := h.survey(image, in.existing)
	if err != nil {
		return result, errors.Join(problem, err)
	}
	plans, err := result.decide(d, clusters, h.now())
	if problem != nil || err != nil {
		return result, errors.Join(problem, err)
	}
	bundle, err := d.bundle(result.layout(clusters, plans))
	if err != nil {
		return result, err
	}
	// Fleet copies the Secret as soon as it sees the Bundle, and misses it as long as the Bundle names it: the Secret comes
	// first and goes last.
	if d.secret != nil {
		if err := h.applySecret(d.secret); err != nil {
			return result, err
		}
	}
	if result.bundle, err = h.applyBundle(in.existing, bundle); err != nil || d.secret != nil {
		return result, err
	}
	return result, h.removeSecret(image)
}

func (h *handler) gather(image *v1.ManagedOSImage) (input, error) {
	in := input{image: image}
	existing, err := h.bundles.Cache().Get(image.Namespace, index.BundleName(image))
	switch {
	case err == nil:
		if err := checkOurs(existing, image.Name); err != nil {
			return in, err
		}
		in.existing = existing
	case !apierrors.IsNotFound(err):
		return in, fmt.Errorf("reading Bundle: %w", err)
	}
	if in.version, err = h.followed(image); err != nil {
		return in, err
	}
	if image.Spec.OSImage == "" && image.Spec.ManagedOSVersionName != "" {
		in.version, err = h.versions.Get(image.Namespace, image.Spec.ManagedOSVersionName)
		if apierrors.IsNotFound(err) {
			return in, refuse(v1.ReasonVersionNotFound, "there is no ManagedOSVersion %s in namespace %s; create it, or correct managedOSVersionName",
				image.Spec.ManagedOSVersionName, image.Namespace)
		}
		if err != nil {
			return in, fmt.Errorf("reading ManagedOSVersion: %w", err)
		}
	}
	if in.version != nil && in.version.Spec.MinVersion != "" {
		if in.versions, err = h.versions.List(image.Namespace, labels.Everything()); err != nil {
			return in, fmt.Errorf("reading ManagedOSVersions: %w", err)
		}
	}
	in.registry, err = h.settings.SystemDefaultRegistry()
	if err != nil {
		return in, refuse(v1.ReasonInvalidSpec, "%v; correct it in Rancher's global settings", err)
	}
	return in, nil
}

// decide finds what every node is at, and what every cluster gets. Without a draft that is whole, a rollout that is under way
// is counted all the same.
func (r *rollout) decide(d draft, clusters []clusterFacts, now time.Time) (map[string]clusterPlan, error) {
	image := d.input.image
	if d.hash != "" && (r.state == nil || r.state.Hash != d.hash) {
		r.state = &v1.RolloutStatus{Hash: d.hash, StartedAt: startOf(now)}
	}
	facts, err := r.facts(d, now)
	if err != nil {
		return nil, err
	}
	plans := make(map[string]clusterPlan, len(clusters))
	for _, cluster := range clusters {
		if facts.hash != "" && cluster.winner == "" {
			plans[cluster.name] = facts.planFor(cluster)
		}
	}
	r.tally = facts.count(clusters, plans)
	if r.state != nil && r.tally.atFault() > r.state.Failures {
		state := *r.state
		state.Failures = r.tally.atFault()
		r.state = &state
	}
	if r.halted = r.state != nil && image.Spec.MaxFailures != nil && r.state.Failures >= int(*image.Spec.MaxFailures); r.halted != facts.halted {
		facts.halted = r.halted
		r.tally = facts.count(clusters, plans)
	}
	if facts.closed = closed(image.Spec.Window, now); facts.closed && r.tally.nodes.Pending > 0 {
		r.closed = true
		r.tally = facts.count(clusters, plans)
	}
	if image.Spec.Window != nil && r.tally.waiting > 0 {
		r.tally.wake(now.Add(time.Minute))
	}
	return plans, nil
}

func (r *rollout) facts(d draft, now time.Time) (rolloutFacts, error) {
	image := d.input.image
	facts := rolloutFacts{label: planLabelPrefix + index.ObjectName(image), paused: valueOr(image.Spec.Concurrency, 1) == 0, now: now}
	r.paused, r.unknown = facts.paused, r.state == nil
	seconds, err := nodeTimeout(image)
	if err != nil {
		seconds = defaultNodeTimeout
	}
	facts.timeout = time.Duration(seconds) * time.Second
	if r.state != nil {
		facts.hash, facts.startedAt = r.state.Hash, r.state.StartedAt.Time
	}
	facts.goal = newGoal(d.input, r.image)
	if d.plan == nil {
		return facts, nil
	}
	facts.steps, err = d.steps(&facts.goal)
	return facts, err
}

// layout leaves out the clusters that get what all get.
func (r *rollout) layout(clusters []clusterFacts, plans map[string]clusterPlan) layout {
	l := layout{stopped: r.halted}
	for _, cluster := range clusters {
		plan := plans[cluster.name]
		if cluster.winner != "" || plan.differs() {
			l.clusters = append(l.clusters, clusterLayout{name: cluster.name, skipped: cluster.winner != "", plan: plan})
		}
	}
	return l
}
