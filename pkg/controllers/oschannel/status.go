package oschannel

import (
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/status"
)

// syncPrecision is how far status.lastSync may lie behind while nothing else changes.
const syncPrecision = time.Hour

// settled tells whether the last answer was good and is about the spec as it is.
func settled(c *v1.ManagedOSVersionChannel) bool {
	return c.Status.ObservedGeneration == c.Generation && meta.IsStatusConditionTrue(c.Status.Conditions, v1.ConditionReady)
}

// computeStatus puts what was seen, and what came of it, into the status of c, a copy, and returns the conditions that
// turned. Result is nil while there is no answer.
func computeStatus(c *v1.ManagedOSVersionChannel, seen state, result *plan, err error) []metav1.Condition {
	before := c.Status.DeepCopy()
	into := &c.Status
	into.ObservedGeneration = c.Generation
	if seen.tries > 0 {
		into.HandledSync = seen.handled
	}
	if result != nil {
		into.Versions, into.LatestVersion = result.versions, result.latest
	}
	turned := status.Set(&into.Conditions, c.Generation, ready(c, before, seen, result, err))
	if !seen.synced.IsZero() && (into.LastSync == nil || !equality.Semantic.DeepEqual(before, into) || seen.synced.Sub(into.LastSync.Time) >= syncPrecision) {
		into.LastSync = &metav1.Time{Time: seen.synced.Truncate(time.Second)}
	}
	return turned
}

// ready tells whether the versions are those that the channel lists.
func ready(c *v1.ManagedOSVersionChannel, before *v1.ManagedOSVersionChannelStatus, seen state, result *plan, err error) metav1.Condition {
	const kind = v1.ConditionReady
	switch {
	case c.Spec.Suspend:
		return status.False(kind, v1.ReasonSuspended, "suspended: the channel is not asked, and what was found stays; set spec.suspend to false to go on")
	case err != nil:
		return status.False(kind, v1.ReasonAPIError, fmt.Sprintf("%v; it is tried again", err))
	case seen.tries == 0:
		return unasked(c, before)
	case seen.failure != nil:
		return status.False(kind, string(seen.failure.Reason), seen.failure.Message+"; it is asked again by itself, and what was found before stays")
	}
	if problem := problemOf(c, seen, result); problem != nil {
		return *problem
	}
	return status.True(kind, v1.ReasonSynced, synced(seen, result))
}

// unasked is about a channel that was not asked since the operator has started: what was known before holds, unless the
// channel is another one now.
func unasked(c *v1.ManagedOSVersionChannel, before *v1.ManagedOSVersionChannelStatus) metav1.Condition {
	known := meta.FindStatusCondition(before.Conditions, v1.ConditionReady)
	if known != nil && before.ObservedGeneration == c.Generation && known.Reason != v1.ReasonSuspended {
		return *known
	}
	return status.Unknown(v1.ConditionReady, v1.ReasonSyncing, "the channel is being asked; wait")
}

// problemOf is nil when there is none.
func problemOf(c *v1.ManagedOSVersionChannel, seen state, result *plan) *metav1.Condition {
	const kind = v1.ConditionReady
	var problem metav1.Condition
	switch {
	case result.empty:
		problem = status.False(kind, v1.ReasonEmptyChannel, "the answer has no version that can be used, and what was found before stays; correct the channel, or delete it"+skipped(seen))
	case result.confirm != "":
		problem = status.False(kind, v1.ReasonMassRemoval, fmt.Sprintf(
			"the answer lacks %d of %d versions, which stay; correct the channel, or let them go: kubectl annotate --overwrite moschannel %s -n %s %s=%s",
			result.missing, result.of, c.Name, c.Namespace, v1.AnnotationConfirmRemoval, result.confirm))
	case len(result.mutated) > 0:
		problem = status.False(kind, v1.ReasonVersionChanged, fmt.Sprintf(
			"the channel now says something else of %s, which stays as it was; correct the channel, or delete the ManagedOSVersion to have it made anew", some(result.mutated)))
	case len(result.taken) > 0:
		slices.Sort(result.taken)
		problem = status.False(kind, v1.ReasonVersionNameTaken, fmt.Sprintf(
			"ManagedOSVersions that are not this channel's have the names of its versions: %s; delete or rename them", some(result.taken)))
	default:
		return nil
	}
	return &problem
}

// synced says what is there, and what was left out.
func synced(seen state, result *plan) string {
	return fmt.Sprintf("versions: %d, the newest is %s", result.versions, result.latest) + skipped(seen)
}

func skipped(seen state) string {
	switch all := seen.answer.Skipped; len(all) {
	case 0:
		return ""
	case 1:
		return "; skipped: " + all[0]
	default:
		return fmt.Sprintf("; skipped: %s, and %d more", all[0], len(all)-1)
	}
}
