// Package status writes the status of our kinds, and is the only place that does.
//
// A controller computes the whole status on a copy, on every path, success or failure, and hands it over with the
// object that it read. What did not change is not written: a reconcile of an unchanged world costs no API call. What
// changed travels as a JSON merge patch of the status subresource, guarded by the resourceVersion that was read, so
// that fields which this version does not know survive, and a stale view never overwrites a newer one.
//
// Wrangler's own status handlers are not used: they revert the status when the handler returns an error, and their
// conditions panic on metav1.Condition.
package status

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rancher/wrangler/v3/pkg/generic"
)

// maxMessage bounds a condition's message: the API server refuses more than 32 KiB, people stop reading much earlier.
const maxMessage = 1024

// Patcher is the part of a typed client that Write needs.
type Patcher[T generic.RuntimeMetaObject] interface {
	Patch(namespace, name string, pt types.PatchType, data []byte, subresources ...string) (T, error)
}

// Write brings the status of current, as it was read, to that of desired, a changed copy of it. It returns the object as
// it is now, and does nothing when the two are the same.
func Write[T generic.RuntimeMetaObject](client Patcher[T], current, desired T) (T, error) {
	patch, err := statusPatch(current, desired)
	if err != nil || patch == nil {
		return current, err
	}
	patched, err := client.Patch(current.GetNamespace(), current.GetName(), types.MergePatchType, patch, "status")
	if err != nil {
		return current, fmt.Errorf("writing status: %w", err)
	}
	return patched, nil
}

// statusPatch is nil when there is nothing to write.
func statusPatch(current, desired metav1.Object) ([]byte, error) {
	before, after := statusOf(current), statusOf(desired)
	if !before.IsValid() || !after.IsValid() {
		return nil, fmt.Errorf("encoding status: %T has none", current)
	}
	difference, err := json.Marshal(after.Interface())
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	// Go shows zeros where the API server has nothing yet: the first write says them all.
	if written(before) {
		if difference, err = mergePatch(before, difference); err != nil || difference == nil {
			return nil, err
		}
	}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": current.GetResourceVersion()},
		"status":   json.RawMessage(difference),
	})
}

// mergePatch is nil when the two are the same.
func mergePatch(before reflect.Value, after []byte) ([]byte, error) {
	encoded, err := json.Marshal(before.Interface())
	if err != nil {
		return nil, fmt.Errorf("encoding status: %w", err)
	}
	if bytes.Equal(encoded, after) {
		return nil, nil
	}
	difference, err := jsonpatch.CreateMergePatch(encoded, after)
	if err != nil {
		return nil, fmt.Errorf("comparing status: %w", err)
	}
	if string(difference) == "{}" {
		return nil, nil
	}
	return difference, nil
}

// statusOf is the field Status, which every kind of ours has. Nothing else is encoded: a machine's SMBIOS data is many
// times as large.
func statusOf(object metav1.Object) reflect.Value {
	return reflect.Indirect(reflect.ValueOf(object)).FieldByName("Status")
}

// written tells whether a controller has written the status before.
func written(status reflect.Value) bool {
	generation := status.FieldByName("ObservedGeneration")
	return generation.IsValid() && generation.Int() != 0
}

// True, False and Unknown make a condition; the message is one or two sentences that end with what the user does next.
func True(kind, reason, message string) metav1.Condition {
	return condition(kind, metav1.ConditionTrue, reason, message)
}

// False is like True for what is not so.
func False(kind, reason, message string) metav1.Condition {
	return condition(kind, metav1.ConditionFalse, reason, message)
}

// Unknown is like True for what cannot be seen.
func Unknown(kind, reason, message string) metav1.Condition {
	return condition(kind, metav1.ConditionUnknown, reason, message)
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	if len(message) > maxMessage {
		// No half character: the API server would store another one in its place.
		message = strings.ToValidUTF8(message[:maxMessage-len("...")], "") + "..."
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// Set puts the conditions into list, each with the generation that it was computed from, and returns those that turned:
// whose status or reason is another than before. Only these are worth an event.
func Set(list *[]metav1.Condition, generation int64, conditions ...metav1.Condition) []metav1.Condition {
	var turned []metav1.Condition
	for _, condition := range conditions {
		before := meta.FindStatusCondition(*list, condition.Type)
		if before == nil || before.Status != condition.Status || before.Reason != condition.Reason {
			turned = append(turned, condition)
		}
		condition.ObservedGeneration = generation
		meta.SetStatusCondition(list, condition)
	}
	return turned
}
