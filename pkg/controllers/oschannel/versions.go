package oschannel

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
	"github.com/rancher/rancheros-operator/pkg/index"
	"github.com/rancher/rancheros-operator/pkg/osversion"
)

const channelKind = "ManagedOSVersionChannel"

// input is what was gathered.
type input struct {
	channel *v1.ManagedOSVersionChannel
	answer  *channel.Answer
	// owned are the channel's versions, by name, those included that a restore has brought back without their owner.
	owned map[string]*v1.ManagedOSVersion
	// taken are the names, of those that the answer lists, of versions that are not the channel's.
	taken map[string]bool
	// named are the versions that an image names.
	named map[string]bool
}

// change is a version as it is, and as it is to be.
type change struct{ current, desired *v1.ManagedOSVersion }

// plan is what is to become of the versions, and what is not to, with the reason.
type plan struct {
	// create is in the order in which they are to be made: what is taken for the newest first, so that whoever follows the
	// channel never sees an older one.
	create []*v1.ManagedOSVersion
	patch  []change
	remove []*v1.ManagedOSVersion

	problems
	// versions are how many the channel lists in the end, and latest the newest of them.
	versions int
	latest   string
}

// problems are what keeps the channel from being Ready.
type problems struct {
	// empty: the answer has nothing that can be used.
	empty bool
	// missing are how many versions the answer lacks, of all, when that is too many; confirm is what lets them go.
	missing, of int
	confirm     string
	// mutated and taken are sorted names of versions that are left as they are.
	mutated, taken []string
}

// decide compares the answer with what is there.
func decide(in input) plan {
	var p plan
	listed := map[string]bool{}
	releases := map[string]osversion.Release{}
	for _, release := range in.answer.Releases {
		listed[release.Name] = true
		existing := in.owned[release.Name]
		switch {
		case existing == nil && in.taken[release.Name]:
			p.taken = append(p.taken, release.Name)
			continue
		case existing == nil:
			made := newVersion(in.channel, release)
			p.create = append(p.create, made)
			releases[made.Name] = index.Release(made)
			continue
		}
		if existing.Annotations[v1.AnnotationRelease] != digestOf(release) {
			p.mutated = append(p.mutated, release.Name)
		}
		p.keep(existing, kept(in.channel, existing))
		releases[existing.Name] = index.Release(existing)
	}
	slices.SortFunc(p.create, firstToMake)
	p.withdraw(in, listed, releases)
	p.versions = len(releases)
	newest, _ := osversion.Newest(slices.Collect(maps.Values(releases)))
	p.latest = newest.Version.String()
	return p
}

func (p *plan) keep(current, desired *v1.ManagedOSVersion) {
	if !equality.Semantic.DeepEqual(current, desired) {
		p.patch = append(p.patch, change{current, desired})
	}
}

// withdraw decides about versions that the answer does not list. Those that stay listed are added to releases.
func (p *plan) withdraw(in input, listed map[string]bool, releases map[string]osversion.Release) {
	var missing, gone []*v1.ManagedOSVersion
	all := 0
	for _, version := range in.owned {
		switch {
		case version.DeletionTimestamp != nil:
		case listed[version.Name]:
			if index.Listed(version) {
				all++
			}
		case index.Listed(version):
			missing, all = append(missing, version), all+1
		default:
			gone = append(gone, version)
		}
	}
	byName := func(a, b *v1.ManagedOSVersion) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(missing, byName)
	slices.SortFunc(gone, byName)
	p.empty = len(in.answer.Releases) == 0
	switch confirm := confirmation(missing); {
	case p.empty:
	case len(missing) > 1 && 2*len(missing) > all && in.channel.Annotations[v1.AnnotationConfirmRemoval] != confirm:
		p.missing, p.of, p.confirm = len(missing), all, confirm
	default:
		gone, missing = append(gone, missing...), nil
	}
	for _, version := range missing {
		p.keep(version, withUpgradeContainer(in.channel, version))
		releases[version.Name] = index.Release(version)
	}
	for _, version := range gone {
		if in.channel.Spec.Prune && !in.named[version.Name] && !p.empty && p.confirm == "" {
			p.remove = append(p.remove, version)
			continue
		}
		desired := withUpgradeContainer(in.channel, version)
		desired.Labels[v1.LabelNoLongerListed] = "true"
		p.keep(version, desired)
	}
}

// confirmation stands for these versions and no others, so that a consent is not one for all times.
func confirmation(missing []*v1.ManagedOSVersion) string {
	names := make([]string, len(missing))
	for i, version := range missing {
		names[i] = version.Name
	}
	return digestOf(names)[:10]
}

// firstToMake puts releases before candidates, and newer before older: see osversion.Newest.
func firstToMake(a, b *v1.ManagedOSVersion) int {
	left, right := index.Release(a).Version, index.Release(b).Version
	if left.Prerelease() != right.Prerelease() {
		if right.Prerelease() {
			return -1
		}
		return 1
	}
	if order := osversion.Order(right, left); order != 0 {
		return order
	}
	return strings.Compare(a.Name, b.Name)
}

func newVersion(c *v1.ManagedOSVersionChannel, release channel.Release) *v1.ManagedOSVersion {
	return &v1.ManagedOSVersion{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       c.Namespace,
			Name:            release.Name,
			Labels:          map[string]string{v1.LabelChannel: c.Name},
			Annotations:     map[string]string{v1.AnnotationRelease: digestOf(release)},
			OwnerReferences: []metav1.OwnerReference{v1.OwnedBy(c, channelKind)},
		},
		Spec: v1.ManagedOSVersionSpec{
			Version:          release.Version,
			Type:             release.Type,
			MinVersion:       release.MinVersion,
			Metadata:         &runtime.RawExtension{Raw: slices.Clone(release.Metadata)},
			UpgradeContainer: c.Spec.UpgradeContainer.DeepCopy(),
		},
	}
}

// kept is a version that is listed, and stays as it is but for what is the channel's own to say.
func kept(c *v1.ManagedOSVersionChannel, version *v1.ManagedOSVersion) *v1.ManagedOSVersion {
	desired := withUpgradeContainer(c, version)
	delete(desired.Labels, v1.LabelNoLongerListed)
	return desired
}

func withUpgradeContainer(c *v1.ManagedOSVersionChannel, version *v1.ManagedOSVersion) *v1.ManagedOSVersion {
	desired := version.DeepCopy()
	if desired.Labels == nil {
		desired.Labels = map[string]string{}
	}
	desired.Labels[v1.LabelChannel] = c.Name
	v1.Own(desired, c, channelKind)
	desired.Spec.UpgradeContainer = c.Spec.UpgradeContainer.DeepCopy()
	return desired
}

// some are the first few of the names, and how many more there are.
func some(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
