package osversion

import (
	"regexp"
	"strings"
)

// maxLength is that of ManagedOSVersion's spec.version; what is longer is no version.
const maxLength = 128

// Version is one version, or, as the zero value and wherever Known is false, the knowledge that there is none.
type Version struct {
	text       string
	numbers    []string
	prerelease []string
	build      string
}

// pattern: numbers, what comes before the release, what does not count.
var pattern = regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+){0,3})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$`)

// between is what `git describe` calls a build that is not a release. It is newer than the release that it is named after,
// but reads as if it came before.
var between = regexp.MustCompile(`(^|-)[0-9]+-g[0-9a-f]{7,40}$|(^|[.-])dirty$`)

// Parse reads a version such as v1.2.3-rc1, 1.2.3+build or 5.4. What it cannot read is not Known, and keeps its text.
func Parse(text string) Version {
	unknown := Version{text: text}
	if len(text) > maxLength {
		return unknown
	}
	parts := pattern.FindStringSubmatch(text)
	if parts == nil || between.MatchString(parts[2]) || between.MatchString(parts[3]) {
		return unknown
	}
	version := Version{text: text, numbers: strings.Split(parts[1], "."), build: parts[3]}
	if parts[2] != "" {
		version.prerelease = strings.Split(parts[2], ".")
	}
	return version
}

// date is a version without a dot that is one all the same: 20240131.
var date = regexp.MustCompile(`^20[0-9]{6}([0-9]{2,6})?$`)

// OfNode reads the version from a node's osImage, which is the PRETTY_NAME of its os-release: "RancherOS v0.2.1-rc1",
// "SLE Micro 5.4". Where more than one word could be it, one that begins with v is; a lone number, as in "15 SP4", is none.
func OfNode(osImage string) Version {
	var plain, marked []Version
	for _, word := range strings.Fields(osImage) {
		word = strings.Trim(word, "()[],;\"'")
		version := Parse(word)
		switch {
		case !version.Known():
		case strings.HasPrefix(word, "v"):
			marked = append(marked, version)
		case len(version.numbers) > 1 || date.MatchString(word):
			plain = append(plain, version)
		}
	}
	for _, found := range [][]Version{marked, plain} {
		if len(found) == 1 {
			return found[0]
		}
		if len(found) > 1 {
			break
		}
	}
	return Version{text: osImage}
}

// architecture ends the tag of an image for one kind of machine: v1.2.3-amd64 does not come before v1.2.3.
var architecture = regexp.MustCompile(`-(amd64|x86_64|arm64|aarch64|arm|riscv64|s390x|ppc64le)$`)

// OfImage reads the version from an image's tag, as in registry.example.com:5000/rancher/os2:v1.2.3. A digest tells
// none, but a tag beside it does.
func OfImage(reference string) Version {
	name, _, _ := strings.Cut(reference, "@")
	last := name[strings.LastIndexByte(name, '/')+1:]
	_, tag, tagged := strings.Cut(last, ":")
	if !tagged {
		return Version{text: reference}
	}
	if version := Parse(architecture.ReplaceAllString(tag, "")); version.Known() {
		return version
	}
	return Version{text: reference}
}

// Known tells whether this is a version at all.
func (v Version) Known() bool { return len(v.numbers) > 0 }

// String is the version as it was written; where it is not Known, what it was looked for in.
func (v Version) String() string { return v.text }

// Prerelease tells v1.2.3-rc1 from v1.2.3.
func (v Version) Prerelease() bool { return len(v.prerelease) > 0 }

// Full tells v1.2.3 from v1.2 and v1, which as tags are often names of whatever is newest.
func (v Version) Full() bool { return len(v.numbers) >= 3 }
