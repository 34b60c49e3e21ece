package why

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// Explain is a paragraph about the object. It holds no token and no address that has one in it.
func Explain(f Facts) string {
	var s story
	s.now = f.Now
	switch {
	case f.Kind == "MachineInventory" && f.Machine != nil:
		s.machine(f)
	case f.Kind == "MachineRegistration" && f.Registration != nil:
		s.registration(f)
	case f.Kind == "MachineClaim" && f.Claim != nil:
		s.claim(f)
	case f.Kind == "ManagedOSImage" && f.Image != nil:
		s.image(f)
	case f.Kind == "ManagedOSVersion" && f.Version != nil:
		s.version(f)
	case f.Kind == "ManagedOSVersionChannel" && f.Channel != nil:
		s.channel(f)
	case f.Kind == "SeedImage" && f.Seed != nil:
		s.seed(f)
	default:
		s.say("There is nothing to explain about a %s", f.Kind)
	}
	s.recently(f.Events)
	for _, unseen := range f.Unseen {
		s.say("%s", unseen)
	}
	return strings.Join(s.sentences, " ")
}

// story is sentences, one after the other.
type story struct {
	now       time.Time
	sentences []string
}

// say adds a sentence: its first letter becomes a capital, and it ends with one full stop.
func (s *story) say(format string, args ...any) {
	sentence := strings.TrimSpace(fmt.Sprintf(format, args...))
	if sentence == "" {
		return
	}
	if last := sentence[len(sentence)-1]; last != '.' && last != '!' && last != '?' {
		sentence += "."
	}
	s.sentences = append(s.sentences, sentence)
}

// ready begins a story: what the object is at, in the words of its own condition.
func (s *story) ready(kind string, object metav1.Object, conditions []metav1.Condition, observed int64) {
	name := kind + " " + object.GetNamespace() + "/" + object.GetName()
	condition := meta.FindStatusCondition(conditions, v1.ConditionReady)
	switch {
	case object.GetDeletionTimestamp() != nil:
		s.say("%s has been going for %s: it is being deleted", name, s.ago(*object.GetDeletionTimestamp()))
		if len(object.GetFinalizers()) > 0 {
			s.say("It is held back by %s", strings.Join(object.GetFinalizers(), ", "))
		}
	case condition == nil:
		s.say("%s has no status yet: no operator has looked at it in %s; does one run? `rancheros-operator check` says", name, s.ago(object.GetCreationTimestamp()))
		return
	case condition.Status == metav1.ConditionTrue:
		s.say("%s is ready (%s), and has been for %s: %s", name, condition.Reason, s.ago(condition.LastTransitionTime), condition.Message)
	default:
		s.say("%s is not ready (%s), and has not been for %s: %s", name, condition.Reason, s.ago(condition.LastTransitionTime), condition.Message)
	}
	if observed < object.GetGeneration() {
		s.say("This is about an older spec: the last edit has not been looked at yet")
	}
}

// troubles adds what the other conditions say: those that are False and should be True, and those that are True and should not.
func (s *story) troubles(conditions []metav1.Condition, wanted, unwanted []string) {
	said := map[string]bool{}
	if ready := meta.FindStatusCondition(conditions, v1.ConditionReady); ready != nil {
		said[ready.Message] = true
	}
	for _, condition := range conditions {
		wrong := slices.Contains(wanted, condition.Type) && condition.Status != metav1.ConditionTrue ||
			slices.Contains(unwanted, condition.Type) && condition.Status == metav1.ConditionTrue
		if wrong && !said[condition.Message] {
			said[condition.Message] = true
			s.say("%s is %s (%s): %s", condition.Type, condition.Status, condition.Reason, condition.Message)
		}
	}
}

// mostEvents is how many are told.
const mostEvents = 3

// recently tells the last events, the latest first, unless their words have been said.
func (s *story) recently(events []corev1.Event) {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b corev1.Event) int { return b.LastTimestamp.Compare(a.LastTimestamp.Time) })
	told := 0
	for _, event := range events {
		message := strings.TrimSuffix(event.Message, ".")
		if told == mostEvents || slices.ContainsFunc(s.sentences, func(sentence string) bool { return strings.Contains(sentence, message) }) {
			continue
		}
		told++
		times := ""
		if event.Count > 1 {
			times = fmt.Sprintf(", %d times", event.Count)
		}
		s.say("%s ago%s, %s: %s", s.ago(event.LastTimestamp), times, event.Reason, message)
	}
}

// ago is how long ago, in one unit.
func (s *story) ago(when metav1.Time) string {
	passed := s.now.Sub(when.Time)
	switch {
	case when.IsZero():
		return "an unknown time"
	case passed < time.Minute:
		return plural(max(0, int(passed.Seconds())), "second")
	case passed < time.Hour:
		return plural(int(passed.Minutes()), "minute")
	case passed < 48*time.Hour:
		return plural(int(passed.Hours()), "hour")
	}
	return plural(int(passed.Hours())/24, "day")
}

func plural(count int, word string) string {
	if count == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", count, word)
}

// several are the first three names, and how many more there are.
func several(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
