package oschannel

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

func newChannel(changes ...func(*v1.ManagedOSVersionChannel)) *v1.ManagedOSVersionChannel {
	c := &v1.ManagedOSVersionChannel{
		TypeMeta:   metav1.TypeMeta{APIVersion: "rancheros.cattle.io/v1", Kind: "ManagedOSVersionChannel"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "fleet-default", Name: "stable", UID: "channel-uid", Generation: 1, Annotations: map[string]string{}},
		Spec:       v1.ManagedOSVersionChannelSpec{Type: "json", Options: &v1.ChannelOptions{URI: "https://example.com/versions.json"}},
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func release(version string) channel.Release {
	return channel.Release{Name: version, Version: version, Type: "container", Metadata: []byte(`{"upgradeImage":"rancher/os2:` + version + `"}`)}
}

func answerOf(versions ...string) *channel.Answer {
	answer := &channel.Answer{}
	for _, version := range versions {
		answer.Releases = append(answer.Releases, release(version))
	}
	return answer
}

// ownedOf are versions as an earlier answer made them.
func ownedOf(c *v1.ManagedOSVersionChannel, versions ...string) map[string]*v1.ManagedOSVersion {
	owned := map[string]*v1.ManagedOSVersion{}
	for i, version := range versions {
		made := newVersion(c, release(version))
		made.UID, made.ResourceVersion = types.UID(fmt.Sprint(i)), fmt.Sprint(i)
		owned[version] = made
	}
	return owned
}

func unlisted(versions map[string]*v1.ManagedOSVersion, names ...string) map[string]*v1.ManagedOSVersion {
	for _, name := range names {
		versions[name].Labels[v1.LabelNoLongerListed] = "true"
	}
	return versions
}

func namesOf(versions []*v1.ManagedOSVersion) []string {
	names := []string{}
	for _, version := range versions {
		names = append(names, version.Name)
	}
	return names
}

// describe is a plan in words.
func describe(p plan) []string {
	words := []string{}
	for _, version := range p.create {
		words = append(words, "create "+version.Name)
	}
	for _, changed := range p.patch {
		_, before := changed.current.Labels[v1.LabelNoLongerListed]
		_, after := changed.desired.Labels[v1.LabelNoLongerListed]
		switch {
		case !before && after:
			words = append(words, "mark "+changed.current.Name)
		case before && !after:
			words = append(words, "unmark "+changed.current.Name)
		default:
			words = append(words, "patch "+changed.current.Name)
		}
	}
	for _, name := range namesOf(p.remove) {
		words = append(words, "delete "+name)
	}
	return words
}

func TestDecide(t *testing.T) {
	c := newChannel()
	prune := newChannel(func(c *v1.ManagedOSVersionChannel) { c.Spec.Prune = true })
	confirmed := func(names ...string) *v1.ManagedOSVersionChannel {
		return newChannel(func(c *v1.ManagedOSVersionChannel) {
			c.Spec.Prune = true
			var missing []*v1.ManagedOSVersion
			for _, name := range names {
				missing = append(missing, newVersion(c, release(name)))
			}
			c.Annotations[v1.AnnotationConfirmRemoval] = confirmation(missing)
		})
	}
	for _, d := range []struct {
		id       string
		in       input
		want     []string
		problems problems
		versions int
		latest   string
	}{
		{"the first answer: the newest comes first, candidates last", input{channel: c, answer: answerOf("v1.0.0", "v1.10.0", "v1.2.0", "v2.0.0-rc1")},
			[]string{"create v1.10.0", "create v1.2.0", "create v1.0.0", "create v2.0.0-rc1"}, problems{}, 4, "v1.10.0"},
		{"the same again", input{channel: c, answer: answerOf("v1.0.0", "v1.1.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0")}, []string{}, problems{}, 2, "v1.1.0"},
		{"one more", input{channel: c, answer: answerOf("v1.0.0", "v1.1.0"), owned: ownedOf(c, "v1.0.0")}, []string{"create v1.1.0"}, problems{}, 2, "v1.1.0"},
		{"V24 an older one than all", input{channel: c, answer: answerOf("v0.9.0", "v1.0.0"), owned: ownedOf(c, "v1.0.0")}, []string{"create v0.9.0"}, problems{}, 2, "v1.0.0"},
		{"one less is marked", input{channel: c, answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0")}, []string{"mark v1.1.0"}, problems{}, 1, "v1.0.0"},
		{"and stays so", input{channel: c, answer: answerOf("v1.0.0"), owned: unlisted(ownedOf(c, "v1.0.0", "v1.1.0"), "v1.1.0")}, []string{}, problems{}, 1, "v1.0.0"},
		{"until it is back", input{channel: c, answer: answerOf("v1.0.0", "v1.1.0"), owned: unlisted(ownedOf(c, "v1.0.0", "v1.1.0"), "v1.1.0")}, []string{"unmark v1.1.0"}, problems{}, 2, "v1.1.0"},
		{"or deleted, where that is asked for", input{channel: prune, answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0")}, []string{"delete v1.1.0"}, problems{}, 1, "v1.0.0"},
		{"also later", input{channel: prune, answer: answerOf("v1.0.0"), owned: unlisted(ownedOf(c, "v1.0.0", "v1.1.0"), "v1.1.0")}, []string{"delete v1.1.0"}, problems{}, 1, "v1.0.0"},
		{"V34 but not one that an image names", input{channel: prune, answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0"), named: map[string]bool{"v1.1.0": true}},
			[]string{"mark v1.1.0"}, problems{}, 1, "v1.0.0"},
		{"a channel of only the newest", input{channel: prune, answer: answerOf("v1.1.0"), owned: ownedOf(c, "v1.0.0")}, []string{"create v1.1.0", "delete v1.0.0"}, problems{}, 1, "v1.1.0"},

		{"V4 empty", input{channel: prune, answer: answerOf(), owned: ownedOf(c, "v1.0.0", "v1.1.0")}, []string{}, problems{empty: true}, 2, "v1.1.0"},
		{"V4 empty from the beginning", input{channel: c, answer: answerOf()}, []string{}, problems{empty: true}, 0, ""},
		{"V4 empty takes away nothing that was marked before", input{channel: prune, answer: answerOf(), owned: unlisted(ownedOf(c, "v1.0.0", "v1.1.0"), "v1.1.0")}, []string{}, problems{empty: true}, 1, "v1.0.0"},
		{"V33 most are gone", input{channel: prune, answer: answerOf("v1.0.0", "v1.3.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0", "v1.2.0")}, []string{"create v1.3.0"},
			problems{missing: 2, of: 3, confirm: confirmation([]*v1.ManagedOSVersion{newVersion(c, release("v1.1.0")), newVersion(c, release("v1.2.0"))})}, 4, "v1.3.0"},
		{"V33 half of them may go", input{channel: prune, answer: answerOf("v1.0.0", "v1.3.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0")}, []string{"delete v1.1.0", "delete v1.2.0"}, problems{}, 2, "v1.3.0"},
		{"V33 confirmed", input{channel: confirmed("v1.1.0", "v1.2.0"), answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0", "v1.2.0")}, []string{"delete v1.1.0", "delete v1.2.0"}, problems{}, 1, "v1.0.0"},
		{"V33 what was confirmed was less", input{channel: confirmed("v1.1.0"), answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0", "v1.1.0", "v1.2.0")}, []string{},
			problems{missing: 2, of: 3, confirm: confirmation([]*v1.ManagedOSVersion{newVersion(c, release("v1.1.0")), newVersion(c, release("v1.2.0"))})}, 3, "v1.2.0"},

		{"V25 another image", input{channel: c, answer: &channel.Answer{Releases: []channel.Release{{Name: "v1.0.0", Version: "v1.0.0", Type: "container", Metadata: []byte(`{"upgradeImage":"evil"}`)}}},
			owned: ownedOf(c, "v1.0.0")}, []string{}, problems{mutated: []string{"v1.0.0"}}, 1, "v1.0.0"},
		{"V25 another least version", input{channel: c, answer: &channel.Answer{Releases: []channel.Release{{Name: "v1.0.0", Version: "v1.0.0", MinVersion: "v0.1.0", Type: "container", Metadata: release("v1.0.0").Metadata}}},
			owned: ownedOf(c, "v1.0.0")}, []string{}, problems{mutated: []string{"v1.0.0"}}, 1, "v1.0.0"},
		{"V35, V36 a name that is taken", input{channel: c, answer: answerOf("v1.0.0", "v1.1.0"), taken: map[string]bool{"v1.1.0": true}}, []string{"create v1.0.0"}, problems{taken: []string{"v1.1.0"}}, 1, "v1.0.0"},
		{"another container for the upgrade", input{channel: newChannel(func(c *v1.ManagedOSVersionChannel) { c.Spec.UpgradeContainer = &v1.ContainerSpec{Image: "upgrader"} }),
			answer: answerOf("v1.0.0"), owned: ownedOf(c, "v1.0.0")}, []string{"patch v1.0.0"}, problems{}, 1, "v1.0.0"},
	} {
		p := decide(d.in)
		require.Equal(t, d.want, describe(p), d.id)
		require.Equal(t, d.problems, p.problems, d.id)
		require.Equal(t, d.versions, p.versions, d.id)
		require.Equal(t, d.latest, p.latest, d.id)
		for range 20 {
			require.Equal(t, p, decide(d.in), "%s: the same each time", d.id)
		}
	}
}

func TestNewVersion(t *testing.T) {
	c := newChannel(func(c *v1.ManagedOSVersionChannel) { c.Spec.UpgradeContainer = &v1.ContainerSpec{Image: "upgrader"} })
	made := newVersion(c, channel.Release{Name: "v1", Version: "v1.0.0", Type: "container", MinVersion: "v0.9.0", Metadata: []byte(`{"upgradeImage":"a"}`)})
	require.Equal(t, "fleet-default/v1", made.Namespace+"/"+made.Name)
	require.Equal(t, "stable", made.Labels[v1.LabelChannel])
	require.True(t, metav1.IsControlledBy(made, c))
	require.True(t, isOwn(c, made))
	require.Equal(t, v1.ManagedOSVersionSpec{Version: "v1.0.0", Type: "container", MinVersion: "v0.9.0", Metadata: made.Spec.Metadata, UpgradeContainer: &v1.ContainerSpec{Image: "upgrader"}}, made.Spec)
	require.JSONEq(t, `{"upgradeImage":"a"}`, string(made.Spec.Metadata.Raw))
}
