package osimage

import (
	"cmp"

	"github.com/rancher/rancheros-operator/pkg/osversion"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// goal is the release that nodes are brought to, and those that may be taken on the way.
type goal struct {
	release osversion.Release
	// known are the ManagedOSVersions of the namespace; none for an image that is no version of its own.
	known []osversion.Release
	// guessed tells that the version was read from the image's tag.
	guessed        bool
	allowDowngrade bool
	// judged remembers what was found of each osImage: ten thousand nodes have a handful of them.
	judged map[string]judgement
}

// judgement is what follows from the OS that a node runs.
type judgement struct {
	// order is that of the node's version and the goal's; not certain where they cannot be compared.
	order   int
	certain bool
	// step is the release that the node takes next, empty for the goal itself; excluded is why it takes none.
	step     string
	excluded *exclusion
}

// newGoal takes the version that the image names, or reads the tag of its osImage.
func newGoal(in input, reference string) goal {
	g := goal{allowDowngrade: in.image.Spec.AllowDowngrade, judged: map[string]judgement{}}
	if in.version == nil {
		g.release, g.guessed = osversion.Release{Version: osversion.OfImage(reference)}, true
		return g
	}
	g.release = releaseOf(in.version)
	for _, version := range in.versions {
		release := releaseOf(version)
		if _, err := upgradeImage(version); err == nil && osversion.Older(release.Version, g.release.Version) {
			g.known = append(g.known, release)
		}
	}
	return g
}

func releaseOf(version *v1.ManagedOSVersion) osversion.Release {
	return osversion.Release{
		Name:       version.Name,
		Version:    osversion.Parse(cmp.Or(version.Spec.Version, version.Name)),
		MinVersion: version.Spec.MinVersion,
	}
}

// comparable tells whether what the node calls itself and the release can be of one series. A tag such as 5 beside an OS that
// calls itself 15.5 need not be: only whole versions, of three numbers, are taken at their word there.
func (g goal) comparable(node osversion.Version) bool {
	return node.Known() && g.release.Version.Known() && (!g.guessed || node.Full() && g.release.Version.Full())
}

// exclusion is why a node must not get the plan.
type exclusion struct{ reason, message string }

// judge says what follows from the OS that a node runs.
func (g goal) judge(osImage string) judgement {
	found, known := g.judged[osImage]
	if !known {
		found = g.judgeAnew(osImage)
		g.judged[osImage] = found
	}
	return found
}

func (g goal) judgeAnew(osImage string) judgement {
	var found judgement
	version := osversion.OfNode(osImage)
	if g.comparable(version) {
		found.order, found.certain = osversion.Compare(version, g.release.Version)
	} else if g.guessed {
		return found
	}
	hop := osversion.Next(version, g.release, g.known)
	switch hop.Verdict {
	case osversion.Newer:
		if !g.allowDowngrade {
			found.excluded = &exclusion{v1.NodeReasonNewer, hop.Reason + "; set allowDowngrade to go back"}
		}
	case osversion.Blocked:
		found.excluded = &exclusion{v1.NodeReasonMinVersion, hop.Reason + "; create the ManagedOSVersion between, or upgrade the node by hand"}
	case osversion.Upgrade:
		if len(hop.Path) > 1 {
			found.step = hop.Path[0].Name
		}
	}
	return found
}
