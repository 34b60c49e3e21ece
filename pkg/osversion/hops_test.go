package osversion

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// releases reads "v1.2.0>=v1.1.0", a version and its least, from each.
func releases(texts ...string) []Release {
	var found []Release
	for _, text := range texts {
		version, least, _ := strings.Cut(text, ">=")
		found = append(found, Release{Name: "os-" + version, Version: Parse(version), MinVersion: least})
	}
	return found
}

func path(hop Hop) string {
	var names []string
	for _, step := range hop.Path {
		names = append(names, step.Version.String())
	}
	return strings.Join(names, " ")
}

func TestNext(t *testing.T) {
	for _, c := range []struct {
		why     string
		node    string
		target  string
		known   []Release
		verdict Verdict
		path    string
		reason  string
	}{
		{"nothing to do", "v1.2.0", "1.2>=v1.3.0", nil, Current, "", ""},
		{"straight", "v1.0.0", "v1.2.0", releases("v1.1.0"), Upgrade, "v1.2.0", ""},
		{"straight from the least version itself", "v1.0.0", "v1.2.0>=v1.0.0", nil, Upgrade, "v1.2.0", ""},
		{"from a build of it", "v1.0.0+k3s1", "v1.2.0>=v1.0.0", nil, Upgrade, "v1.2.0", ""},
		{"by the one between", "v1.0.0", "v1.2.0>=v1.1.0", releases("v1.1.0"), Upgrade, "v1.1.0 v1.2.0", ""},
		{"by the newest that is allowed", "v1.0.0", "v1.3.0>=v1.1.0", releases("v1.1.0", "v1.2.0", "v1.2.1>=v1.1.5"), Upgrade, "v1.2.0 v1.3.0", ""},
		{"by two", "v1.0.0", "v1.3.0>=v1.2.0", releases("v1.2.0>=v1.1.0", "v1.1.0"), Upgrade, "v1.1.0 v1.2.0 v1.3.0", ""},
		{"never beyond the target", "v1.0.0", "v1.2.0>=v1.1.0", releases("v1.9.0"), Blocked, "",
			"the node runs v1.0.0, and v1.2.0 needs at least v1.1.0, which no known version leads to"},
		{"never by an older one", "v1.0.0", "v1.2.0>=v1.1.0", releases("v0.9.0"), Blocked, "",
			"the node runs v1.0.0, and v1.2.0 needs at least v1.1.0, which no known version leads to"},
		{"never by a candidate", "v1.0.0", "v1.2.0>=v1.1.0-rc1", releases("v1.1.0-rc1"), Blocked, "",
			"the node runs v1.0.0, and v1.2.0 needs at least v1.1.0-rc1, which no known version leads to"},
		{"but on the way to another", "v1.0.0", "v1.2.0-rc1>=v1.1.0-rc1", releases("v1.1.0-rc1"), Upgrade, "v1.1.0-rc1 v1.2.0-rc1", ""},
		{"no first step where there is no last", "v1.0.0", "v1.3.0>=v1.2.0", releases("v1.1.0"), Blocked, "",
			"the node runs v1.0.0, and v1.3.0 needs at least v1.2.0, which no known version leads to, and the way by the known versions ends at v1.1.0"},
		{"the gate that is shut is the one to name", "v1.0.0", "v1.3.0>=v1.2.0", releases("v1.2.0>=v1.1.0"), Blocked, "",
			"the node runs v1.0.0, and v1.2.0 needs at least v1.1.0, which no known version leads to"},
		{"a least version that is none allows nobody", "v1.0.0", "v1.2.0>=soon", nil, Blocked, "",
			`the node runs v1.0.0, and the minVersion of v1.2.0, "soon", is no version`},
		{"a downgrade", "v1.3.0", "v1.2.0", nil, Newer, "", "the node runs v1.3.0, which is newer than v1.2.0"},
		{"back to a candidate", "v1.2.0", "v1.2.0-rc1", nil, Newer, "", "the node runs v1.2.0, which is newer than v1.2.0-rc1"},
		{"a node without a version", "Arch Linux", "v1.2.0", nil, Uncertain, "", `the node's OS, "Arch Linux", tells no version`},
		{"which could be too old", "Arch Linux", "v1.2.0>=v1.0.0", releases("v1.1.0"), Blocked, "",
			`v1.2.0 needs at least v1.0.0, and the node's OS, "Arch Linux", tells no version`},
		{"a target without a version", "v1.2.0", "latest", nil, Uncertain, "", `"latest" tells no version`},
		{"another build", "v1.2.0+k3s1", "v1.2.0+k3s2", nil, Uncertain, "", `"v1.2.0+k3s1" and "v1.2.0+k3s2" are builds of one version, of which neither is newer`},
	} {
		hop := Next(Parse(c.node), releases(c.target)[0], c.known)
		require.Equal(t, c.verdict, hop.Verdict, c.why)
		require.Equal(t, c.path, path(hop), c.why)
		require.Equal(t, c.reason, hop.Reason, c.why)
	}
}

func TestOfTwoReleasesOfOneVersionTheFirstNameIsTaken(t *testing.T) {
	known := []Release{{Name: "b", Version: Parse("v1.1.0")}, {Name: "a", Version: Parse("v1.1.0")}, {Name: "c", Version: Parse("v1.1.0")}}
	hop := Next(Parse("v1.0.0"), Release{Version: Parse("v1.2.0"), MinVersion: "v1.1.0"}, known)
	require.Equal(t, "a", hop.Path[0].Name)
	newest, found := Newest(known)
	require.True(t, found)
	require.Equal(t, "a", newest.Name)
}

// Whatever the releases: no step goes down, none is refused by its own minVersion, none is beyond the target, the way ends
// there; and where it says that there is none, no other way exists.
func TestEveryWayIsAllowed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() string {
		return []string{"v1.0.0", "v1.0.0-rc2", "v1.1.0", "v1.1.0+2", "v1.2.0-rc1", "v1.2.0", "v1.3.0", "v1.4.0", "v1.5.0", "latest", "v2.0.0"}[random.IntN(11)]
	}
	release := func() Release {
		made := Release{Name: some(), Version: Parse(some())}
		if random.IntN(4) > 0 {
			made.MinVersion = some()
		}
		return made
	}
	verdicts := map[Verdict]int{}
	for range 20_000 {
		node, target := Parse(some()), release()
		var known []Release
		for range random.IntN(8) {
			known = append(known, release())
		}
		hop := Next(node, target, known)
		verdicts[hop.Verdict]++
		require.Equal(t, hop.Verdict == Upgrade, len(hop.Path) > 0)
		require.Equal(t, hop.Verdict == Upgrade || hop.Verdict == Current, hop.Reason == "")
		at := node
		for _, step := range hop.Path {
			require.True(t, Older(at, step.Version), "%s to %s", at, step.Version)
			require.True(t, step.allows(at), "%s to %s, which needs %s", at, step.Version, step.MinVersion)
			require.False(t, Older(target.Version, step.Version), "%s is beyond %s", step.Version, target.Version)
			at = step.Version
		}
		switch hop.Verdict {
		case Upgrade:
			require.Equal(t, target, hop.Path[len(hop.Path)-1])
			require.Equal(t, fewest(node, target, known), len(hop.Path), "the fewest steps")
		case Blocked:
			require.Zero(t, fewest(node, target, known), "there was a way from %s to %s", node, target.Version)
		}
	}
	for _, verdict := range []Verdict{Current, Upgrade, Newer, Blocked, Uncertain} {
		require.Greater(t, verdicts[verdict], 100, verdict)
	}
}

// fewest searches every way; 0 when there is none.
func fewest(node Version, target Release, known []Release) int {
	if !Older(node, target.Version) {
		return 0
	}
	if target.allows(node) {
		return 1
	}
	best := 0
	for _, release := range known {
		if !onTheWay(node, release, target) || !release.allows(node) {
			continue
		}
		if rest := fewest(release.Version, target, known); rest > 0 && (best == 0 || rest+1 < best) {
			best = rest + 1
		}
	}
	return best
}

func TestNewest(t *testing.T) {
	for _, c := range []struct {
		why   string
		of    []Release
		want  string
		found bool
	}{
		{"nothing", nil, "", false},
		{"no version", releases("latest", ""), "", false},
		{"numbers, not text", releases("v1.9.0", "v1.10.0", "v1.2.0"), "v1.10.0", true},
		{"a candidate does not count", releases("v1.9.0", "v1.10.0-rc1"), "v1.9.0", true},
		{"but where there is nothing else", releases("v1.10.0-rc2", "v1.10.0-rc10", "v1.9.0-rc1"), "v1.10.0-rc10", true},
		{"nor does what is no version", releases("v1.9.0", "latest"), "v1.9.0", true},
	} {
		newest, found := Newest(c.of)
		require.Equal(t, c.found, found, c.why)
		require.Equal(t, c.want, newest.Version.String(), c.why)
	}
}
