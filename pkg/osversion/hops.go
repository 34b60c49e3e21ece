package osversion

import (
	"fmt"
	"slices"
	"strings"
)

// Release is a version that nodes can be brought to: a ManagedOSVersion, or an image.
type Release struct {
	// Name is that of the ManagedOSVersion; empty for an image that has none.
	Name string
	// Version is what a node runs afterwards.
	Version Version
	// MinVersion is the oldest version that a node may come from; empty: any.
	MinVersion string
}

// Verdict is what is to become of a node.
type Verdict string

const (
	// Current: the node runs the target.
	Current Verdict = "Current"
	// Upgrade: the node takes the first release of the path.
	Upgrade Verdict = "Upgrade"
	// Newer: the node runs a newer version than the target; to go there would be a downgrade.
	Newer Verdict = "Newer"
	// Blocked: the target is newer, or may be, but it is not allowed to go there from the node's version.
	Blocked Verdict = "Blocked"
	// Uncertain: nothing forbids the target, but whether it is older or newer than what the node runs cannot be told.
	Uncertain Verdict = "Uncertain"
)

// Hop is the answer of Next.
type Hop struct {
	Verdict Verdict
	// Path is what the node takes one after the other, with the target at its end; empty unless the verdict is Upgrade.
	Path []Release
	// Reason says, where the verdict is Blocked, Newer or Uncertain, why, in a sentence without a capital and a full stop.
	Reason string
}

// Next decides how a node that runs a version gets to the target, by way of the known releases where the target's least
// version asks for it. Every step goes up, none goes beyond the target, and the fewest are taken. A release candidate is
// a step only on the way to another.
func Next(node Version, target Release, known []Release) Hop {
	order, certain := Compare(node, target.Version)
	switch {
	case certain && order == 0:
		return Hop{Verdict: Current}
	case certain && order > 0:
		return Hop{Verdict: Newer, Reason: fmt.Sprintf("the node runs %s, which is newer than %s", node, target.Version)}
	case !certain:
		return uncertain(node, target)
	}
	var path []Release
	for at := node; ; {
		if target.allows(at) {
			return Hop{Verdict: Upgrade, Path: append(path, target)}
		}
		step, found := furthest(at, target, known)
		if !found {
			return Hop{Verdict: Blocked, Reason: blocked(at, node, target, known)}
		}
		path = append(path, step)
		at = step.Version
	}
}

// furthest is the newest release that can be gone to from a version on the way to the target. To go as far as possible
// is never wrong: whatever can be reached from an older version can be reached from a newer one below it.
func furthest(at Version, target Release, known []Release) (Release, bool) {
	var best Release
	for _, release := range known {
		if !onTheWay(at, release, target) || !release.allows(at) {
			continue
		}
		if !best.Version.Known() || newer(release, best) > 0 {
			best = release
		}
	}
	return best, best.Version.Known()
}

// onTheWay tells whether a release lies between a version and the target.
func onTheWay(at Version, release, target Release) bool {
	return Older(at, release.Version) && Older(release.Version, target.Version) &&
		(target.Version.Prerelease() || !release.Version.Prerelease())
}

// allows tells whether a node that runs the version may go to the release. A least version that cannot be read allows
// nobody; its build does not matter.
func (r Release) allows(at Version) bool {
	if r.MinVersion == "" {
		return true
	}
	least := Parse(r.MinVersion)
	return at.Known() && least.Known() && byPrecedence(at, least) >= 0
}

// newer orders releases, for sorting: those of one version follow their names.
func newer(a, b Release) int {
	if order := Order(a.Version, b.Version); order != 0 {
		return order
	}
	return strings.Compare(b.Name, a.Name)
}

// uncertain is about versions of which it cannot be told which is newer.
func uncertain(node Version, target Release) Hop {
	because := fmt.Sprintf("%q and %q are builds of one version, of which neither is newer", node, target.Version)
	switch {
	case !node.Known():
		because = fmt.Sprintf("the node's OS, %q, tells no version", node)
	case !target.Version.Known():
		because = fmt.Sprintf("%q tells no version", target.Version)
	}
	if !target.allows(node) {
		return Hop{Verdict: Blocked, Reason: fmt.Sprintf("%s needs at least %s, and %s", target.Version, target.MinVersion, because)}
	}
	return Hop{Verdict: Uncertain, Reason: because}
}

// blocked names the least version that nothing satisfies: that of the first release above the version at which the way
// ends, since with that one the way would go on.
func blocked(at, node Version, target Release, known []Release) string {
	first := target
	for _, release := range known {
		if onTheWay(at, release, target) && newer(release, first) < 0 {
			first = release
		}
	}
	reached := ""
	if order, _ := Compare(at, node); order != 0 {
		reached = fmt.Sprintf(", and the way by the known versions ends at %s", at)
	}
	if !Parse(first.MinVersion).Known() {
		return fmt.Sprintf("the node runs %s, and the minVersion of %s, %q, is no version%s", node, first.Version, first.MinVersion, reached)
	}
	return fmt.Sprintf("the node runs %s, and %s needs at least %s, which no known version leads to%s", node, first.Version, first.MinVersion, reached)
}

// Newest is the newest of the releases. Candidates for a release count only where there is nothing else, and what is no
// version never counts.
func Newest(releases []Release) (Release, bool) {
	var stable, candidates []Release
	for _, release := range releases {
		switch {
		case !release.Version.Known():
		case release.Version.Prerelease():
			candidates = append(candidates, release)
		default:
			stable = append(stable, release)
		}
	}
	for _, found := range [][]Release{stable, candidates} {
		if len(found) > 0 {
			return slices.MaxFunc(found, newer), true
		}
	}
	return Release{}, false
}
