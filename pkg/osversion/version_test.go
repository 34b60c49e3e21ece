package osversion

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVersionsAreRead(t *testing.T) {
	for _, c := range []struct {
		why  string
		read func(string) Version
		from string
		want string
	}{
		{"a release", Parse, "v1.2.3", "v1.2.3"},
		{"without its v", Parse, "1.2.3", "1.2.3"},
		{"a candidate", Parse, "v0.2.1-rc1", "v0.2.1-rc1"},
		{"a build", Parse, "1.0.0+build", "1.0.0+build"},
		{"two numbers", Parse, "5.4", "5.4"},
		{"one, said to be a version", Parse, "v5", "v5"},
		{"four", Parse, "38.20230722.3.0", "38.20230722.3.0"},
		{"a calendar's leading zero", Parse, "22.04", "22.04"},
		{"nothing", Parse, "", ""},
		{"only its v", Parse, "v", ""},
		{"a name of whatever is newest", Parse, "latest", ""},
		{"a digest", Parse, "sha256:" + strings.Repeat("0", 64), ""},
		{"a newline", Parse, "v1.2.3\n", ""},
		{"a space", Parse, "v1 .2", ""},
		{"five numbers", Parse, "1.2.3.4.5", ""},
		{"an empty candidate", Parse, "1.2.3-", ""},
		{"more than the API allows", Parse, "1." + strings.Repeat("2", 200), ""},
		{"a build after a release, which reads as before it", Parse, "v1.2.3-5-g0123abc", ""},
		{"the same after a candidate", Parse, "v1.2.3-rc1-5-g0123abc", ""},
		{"a build with changes of its own", Parse, "v1.2.3-dirty", ""},

		{"the first system of this name", OfNode, "RancherOS v0.2.1-rc1", "v0.2.1-rc1"},
		{"another", OfNode, "SLE Micro 5.4", "5.4"},
		{"its successor", OfNode, "SUSE Linux Enterprise Micro for Rancher 5.5", "5.5"},
		{"in brackets", OfNode, "Talos (v1.5.0)", "v1.5.0"},
		{"a number before a name", OfNode, "Flatcar Container Linux by Kinvolk 3510.2.6 (Oklo)", "3510.2.6"},
		{"a date", OfNode, "openSUSE MicroOS 20240131", "20240131"},
		{"two, of which one is marked", OfNode, "Elemental v1.2.3 on SLE 15.4", "v1.2.3"},
		{"two alike", OfNode, "Elemental 1.2.3 on SLE 15.4", ""},
		{"two marked alike", OfNode, "Elemental v1.2.3 on SLE v15.4", ""},
		{"a service pack, which is half of a version", OfNode, "SUSE Linux Enterprise Server 15 SP4", ""},
		{"no version", OfNode, "Arch Linux", ""},
		{"nothing", OfNode, "", ""},

		{"a tag", OfImage, "rancher/os2:v1.2.3", "v1.2.3"},
		{"beside a port", OfImage, "registry.example.com:5000/rancher/os2:v1.2.3", "v1.2.3"},
		{"beside a digest", OfImage, "rancher/os2:v1.2.3@sha256:" + strings.Repeat("0", 64), "v1.2.3"},
		{"for one kind of machine", OfImage, "rancher/os2:v1.2.3-arm64", "v1.2.3"},
		{"a port and no tag", OfImage, "registry.example.com:5000/rancher/os2", ""},
		{"a digest alone", OfImage, "rancher/os2@sha256:" + strings.Repeat("0", 64), ""},
		{"a name of whatever is newest", OfImage, "rancher/os2:latest", ""},
		{"no tag", OfImage, "rancher/os2", ""},
		{"nothing", OfImage, "", ""},
	} {
		version := c.read(c.from)
		require.Equal(t, c.want != "", version.Known(), "%s: %q", c.why, c.from)
		if c.want != "" {
			require.Equal(t, c.want, version.String(), c.why)
		} else {
			require.Equal(t, c.from, version.String(), "%s: what is not known says where it was looked for", c.why)
		}
	}
}

func TestTellsWholeVersionsAndCandidates(t *testing.T) {
	require.True(t, Parse("v1.2.3-rc1").Full())
	require.False(t, Parse("v1.2").Full())
	require.False(t, Version{}.Full())
	require.True(t, Parse("v1.2.3-rc1").Prerelease())
	require.False(t, Parse("v1.2.3+rc1").Prerelease())
}

// Each is older than the next.
var ascending = []string{
	"0.0.0-0", "v0.1.0-alpha2", "v0.1.0-alpha12", "v0.1.0", "v0.2.1-alpha.1", "v0.2.1-alpha.1.1", "v0.2.1-alpha.beta", "v0.2.1-beta",
	"v0.2.1-rc1", "v0.2.1-rc2", "v0.2.1-rc10", "v0.2.1-rc10a", "v0.2.1", "1.0", "1.0.0.1", "v1.2.0-k3s2", "v1.2.0-k3s10", "v1.2", "1.10.0", "2", "5.4", "22.04.3", "22.4.4", "20240131",
	"99999999999999999999", "100000000000000000000.1",
}

func TestOrder(t *testing.T) {
	for i, a := range ascending {
		for j, b := range ascending {
			order, certain := Compare(Parse(a), Parse(b))
			require.True(t, certain, "%s and %s", a, b)
			require.Equal(t, i < j, order < 0, "%s and %s", a, b)
			require.Equal(t, i == j, order == 0, "%s and %s", a, b)
			require.Equal(t, i < j, Older(Parse(a), Parse(b)))
		}
	}
}

func TestWhatIsNotCertain(t *testing.T) {
	for _, c := range []struct {
		why, a, b string
		order     int
		certain   bool
	}{
		{"two spellings of one version", "v1.2.0", "1.2", 0, true},
		{"with zeros before", "1.02", "1.2", 0, true},
		{"the same build", "1.2.0+k3s1", "v1.2.0+k3s1", 0, true},
		{"two builds of one version", "1.2.0+k3s1", "1.2.0+k3s2", 0, false},
		{"a build and none", "1.2.0+k3s1", "1.2.0", 0, false},
		{"builds of two versions", "1.2.0+2", "1.2.1+1", -1, true},
		{"no version", "latest", "1.2.0", 0, false},
		{"none on either side", "latest", "latest", 0, false},
	} {
		order, certain := Compare(Parse(c.a), Parse(c.b))
		require.Equal(t, c.certain, certain, c.why)
		require.Equal(t, c.order, order, c.why)
	}
}

// Sorting has an answer where a decision has none, and is the same whatever came first.
func TestOrderIsTotal(t *testing.T) {
	texts := append([]string{"latest", "", "1.2.0+k3s2", "1.2.0+k3s10", "v1.2.0", "1.2.0"}, ascending...)
	sign := func(n int) int { return max(-1, min(1, n)) }
	for _, a := range texts {
		for _, b := range texts {
			ab := sign(Order(Parse(a), Parse(b)))
			require.Equal(t, -ab, sign(Order(Parse(b), Parse(a))), "%q and %q", a, b)
			require.Equal(t, a == b, ab == 0, "%q and %q", a, b)
			for _, c := range texts {
				if ab <= 0 && Order(Parse(b), Parse(c)) <= 0 {
					require.LessOrEqual(t, Order(Parse(a), Parse(c)), 0, "%q, %q, %q", a, b, c)
				}
			}
		}
	}
	require.Negative(t, Order(Parse("1.2.0+k3s2"), Parse("1.2.0+k3s10")))
	require.Negative(t, Order(Parse("latest"), Parse("0.0.0-0")))
}

func FuzzParse(f *testing.F) {
	for _, text := range append([]string{"latest", "1.2.0+k3s2", "RancherOS v0.2.1-rc1", "a/b:v1@sha256:0"}, ascending...) {
		f.Add(text, "v1.2.3")
	}
	f.Fuzz(func(t *testing.T, left, right string) {
		for _, read := range []func(string) Version{Parse, OfNode, OfImage} {
			a, b := read(left), read(right)
			order, certain := Compare(a, b)
			back, certainBack := Compare(b, a)
			if certain != certainBack || certain && (order < 0) != (back > 0) {
				t.Errorf("%q against %q: %d, %t; and back: %d, %t", left, right, order, certain, back, certainBack)
			}
			if self, certain := Compare(a, a); a.Known() != certain || self != 0 {
				t.Errorf("%q is not itself", left)
			}
			if certain && order != 0 && (Order(a, b) < 0) != (order < 0) {
				t.Errorf("%q against %q: sorted another way than compared", left, right)
			}
		}
	})
}
