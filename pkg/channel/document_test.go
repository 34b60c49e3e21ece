package channel

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What is wrong with a document refuses all of it.
func TestBadDocuments(t *testing.T) {
	for _, c := range []struct{ id, document, want string }{
		{"V3 empty", "", "the answer is empty"},
		{"V3 nothing but space", " \n", "the answer is empty"},
		{"V5 null", "null", "not a list of versions"},
		{"V5 a map", "{}", "not a list of versions"},
		{"V5 a text", `"x"`, "not a list of versions"},
		{"V6 truncated", list(version("v1.0.0"))[:80], "not one whole JSON document"},
		{"V6 truncated after a whole entry", "[" + version("v1.0.0") + ",", "not one whole JSON document"},
		{"V7 garbage behind", list(version("v1.0.0")) + "x", "not one whole JSON document"},
		{"V7 two documents", list(version("v1.0.0")) + list(), ""},
		{"V8 too large", list(version("v1.0.0")) + strings.Repeat(" ", MaxDocument), "larger than 2 MiB"},
		{"V12 not UTF-8", `["` + "\xff" + `"]`, "not UTF-8"},
		{"V12 a byte order mark", "\xef\xbb\xbf" + list(version("v1.0.0")), "not UTF-8"},
		{"V12 UTF-16", "\xff\xfe[\x00]\x00", "not UTF-8"},
		{"V13 nested deep", strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), "nested deeper than 16"},
		{"V13 nested deep in metadata", list(version("v1.0.0", `"upgradeImage"`, `"x":`+strings.Repeat("[", 17)+strings.Repeat("]", 17)+`,"upgradeImage"`)), "nested deeper than 16"},
		{"V14 too many", manyVersions(MaxReleases + 1), "the list has 1025 versions; the most is 1024"},
		{"V15 a name twice", list(version("v1.0.0"), version("v1.1.0"), version("v1.0.0")), `two versions with the name "v1.0.0"`},
		{"V15 a name twice, once in an entry that would be skipped", list(version("v1.0.0"), version("v1.0.0", "container", "iso")), `two versions with the name "v1.0.0"`},
		{"HTML", "<!DOCTYPE html><html></html>", "not one whole JSON document"},
	} {
		answer, err := ParseDocument([]byte(c.document))
		require.Nil(t, answer, c.id)
		failure := requireFailure(t, c.id, ReasonInvalidDocument, err)
		require.Contains(t, failure.Message, c.want, c.id)
	}
}

// What is wrong with an entry skips it, and no other.
func TestBadEntries(t *testing.T) {
	image := "registry.example.com/rancher/os2:v1.0.0"
	for _, c := range []struct{ id, entry, want string }{
		{"V16 no name", version("v1.0.0", `"name":"v1.0.0"`, `"name":""`), "metadata.name is not a name"},
		{"V16 a long name", version("v1.0.0", `"name":"v1.0.0"`, `"name":"`+strings.Repeat("x", 300)+`"`), "metadata.name is not a name"},
		{"V16 upper case", version("v1.0.0", `"name":"v1.0.0"`, `"name":"V1"`), "metadata.name is not a name"},
		{"V16 a path", version("v1.0.0", `"name":"v1.0.0"`, `"name":"../x"`), "metadata.name is not a name"},
		{"V16 another namespace", version("v1.0.0", `"name":"v1.0.0"`, `"name":"kube-system/x"`), "metadata.name is not a name"},
		{"V18 a Secret", version("v1.0.0", `{"metadata"`, `{"apiVersion":"v1","kind":"Secret","metadata"`), "it is not a ManagedOSVersion"},
		{"V18 a ClusterRole", version("v1.0.0", `{"metadata"`, `{"kind":"ClusterRole","metadata"`), "it is not a ManagedOSVersion"},
		{"V18 another group", version("v1.0.0", `{"metadata"`, `{"apiVersion":"example.com/v1","kind":"ManagedOSVersion","metadata"`), "it is not a ManagedOSVersion"},
		{"V23 no version", version("v1.0.0", `"version":"v1.0.0"`, `"version":""`), `version "" is not a version`},
		{"V23 a letter", version("v1.0.0", `"version":"v1.0.0"`, `"version":"v"`), `version "v" is not a version`},
		{"V23 a moving name", version("v1.0.0", `"version":"v1.0.0"`, `"version":"latest"`), `version "latest" is not a version`},
		{"V23 500 characters", version("v1.0.0", `"version":"v1.0.0"`, `"version":"1.`+strings.Repeat("0", 500)+`"`), "is not a version"},
		{"V23 a newline", version("v1.0.0", `"version":"v1.0.0"`, `"version":"v1.0.0\n"`), "is not a version"},
		{"V26 no type", version("v1.0.0", `"type":"container",`, ""), `type is "", and not container`},
		{"V26 another type", version("v1.0.0", "container", "iso"), `type is "iso", and not container`},
		{"V27 no metadata", version("v1.0.0", `"metadata":{"upgradeImage":"`+image+`"}`, `"x":1`), "spec.metadata is not a map"},
		{"V27 metadata as null", version("v1.0.0", `{"upgradeImage":"`+image+`"}`, `null`), "spec.metadata is not a map"},
		{"V27 metadata as a list", version("v1.0.0", `{"upgradeImage":"`+image+`"}`, `[]`), "spec.metadata is not a map"},
		{"V28 no image", version("v1.0.0", "upgradeImage", "image"), `upgradeImage "" is not an image`},
		{"V28 a number", version("v1.0.0", `"`+image+`"`, "1"), `upgradeImage "" is not an image`},
		{"V28 an address", version("v1.0.0", image, "https://"+image), "is not an image reference"},
		{"V28 a space", version("v1.0.0", image, image+" x"), "is not an image reference"},
		{"V28 a command", version("v1.0.0", image, image+";id"), "is not an image reference"},
		{"V28 a short digest", version("v1.0.0", image, image+"@sha256:abc"), "is not an image reference"},
		{"V29 10,000 keys", version("v1.0.0", `"upgradeImage"`, manyKeys(10_000)+`"upgradeImage"`), "larger than 32 KiB"},
		{"V29 129 keys", version("v1.0.0", `"upgradeImage"`, manyKeys(128)+`"upgradeImage"`), "more than 128 keys"},
		{"V29 300 KiB", version("v1.0.0", `"upgradeImage"`, `"x":"`+strings.Repeat("x", 300<<10)+`","upgradeImage"`), "larger than 32 KiB"},
		{"V31 a newline", version("v1.0.0", `"upgradeImage"`, `"x":"a\nb","upgradeImage"`), "more than one line"},
		{"V31 NUL", version("v1.0.0", `"upgradeImage"`, `"x":"a\u0000b","upgradeImage"`), "more than one line"},
		{"V31 a long text", version("v1.0.0", `"upgradeImage"`, `"x":"`+strings.Repeat("x", 5<<10)+`","upgradeImage"`), "longer than 4 KiB"},
		{"V32 a least version above", version("v1.0.0", `"type"`, `"minVersion":"v1.1.0","type"`), "minVersion \"v1.1.0\" is newer than the version itself"},
		{"V32 a least version that is none", version("v1.0.0", `"type"`, `"minVersion":"old","type"`), `minVersion "old" is not a version`},
		{"a text for an entry", `"v1.0.0"`, "a field is not of the type"},
		{"a number for a version", version("v1.0.0", `"version":"v1.0.0"`, `"version":1`), "a field is not of the type"},
		{"null for an entry", "null", "metadata.name is not a name"},
	} {
		answer, err := ParseDocument([]byte(list(version("v0.9.0"), c.entry, version("v1.1.0"))))
		require.NoError(t, err, c.id)
		require.Equal(t, []string{"v0.9.0", "v1.1.0"}, names(answer), c.id)
		require.Len(t, answer.Skipped, 1, c.id)
		require.Contains(t, answer.Skipped[0], "entry 2 (", c.id)
		require.Contains(t, answer.Skipped[0], c.want, c.id)
		require.Less(t, len(answer.Skipped[0]), 512, c.id)
	}
}

// What an entry says beside what is looked at changes nothing.
func TestWhatIsNotLookedAt(t *testing.T) {
	plain, err := ParseDocument([]byte(list(version("v1.0.0"))))
	require.NoError(t, err)
	for _, c := range []struct{ id, entry string }{
		{"V17 a namespace", version("v1.0.0", `{"name"`, `{"namespace":"kube-system","name"`)},
		{"V18 its own kind", version("v1.0.0", `{"metadata":{"name"`, `{"apiVersion":"rancheros.cattle.io/v1","kind":"ManagedOSVersion","metadata":{"name"`)},
		{"V19 metadata of objects", version("v1.0.0", `{"name"`, `{"finalizers":["a/b"],"ownerReferences":[{}],"labels":{"a":"b"},"annotations":{"a":"b"},`+
			`"generateName":"x","resourceVersion":"1","uid":"1","deletionTimestamp":"2020-01-01T00:00:00Z","name"`)},
		{"V20 a status", version("v1.0.0", `"spec"`, `"status":{"conditions":[]},"spec"`)},
		{"V21 an upgradeContainer", version("v1.0.0", `"type"`, `"upgradeContainer":{"image":"evil","command":["sh"]},"type"`)},
		{"V22 a privileged one", version("v1.0.0", `"type"`, `"upgradeContainer":{"image":"evil","securityContext":{"privileged":true},"envFrom":[{"secretRef":{"name":"x"}}]},"type"`)},
		{"V30 keys that no variable has", version("v1.0.0", `"upgradeImage"`, `"a=b":"x","":"x","ü":"x","a b":"x","upgradeImage"`)},
		{"spaces", " " + strings.ReplaceAll(version("v1.0.0"), ",", " ,\n")},
	} {
		answer, err := ParseDocument([]byte(list(c.entry)))
		require.NoError(t, err, c.id)
		require.Equal(t, plain, answer, c.id)
	}
}

func TestGoodEntries(t *testing.T) {
	answer, err := ParseDocument([]byte(list(
		version("v1.10.0", `"type"`, `"minVersion":"v1.0.0","type"`, `"upgradeImage"`, `"b":1000000,"a":{"c":[true]},"PATH":"x","upgradeImage"`),
		version("short", `"version":"short"`, `"version":"1.0"`),
		version("build", `"version":"build"`, `"version":"1.0.0+build"`),
	)))
	require.NoError(t, err)
	require.Empty(t, answer.Skipped)
	require.Equal(t, []string{"build", "short", "v1.10.0"}, names(answer), "in the order of their names")
	require.Equal(t, Release{Name: "v1.10.0", Version: "v1.10.0", Type: "container", MinVersion: "v1.0.0",
		Metadata: []byte(`{"PATH":"x","a":{"c":[true]},"b":1000000,"upgradeImage":"registry.example.com/rancher/os2:v1.10.0"}`)}, answer.Releases[2])
	answer, err = ParseDocument([]byte(manyVersions(MaxReleases)))
	require.NoError(t, err)
	require.Len(t, answer.Releases, MaxReleases, "V14 as many as there may be")
	answer, err = ParseDocument([]byte("[]"))
	require.NoError(t, err)
	require.Empty(t, answer.Releases, "V4 what becomes of an empty list is not decided here")
}

func manyKeys(count int) string {
	var keys strings.Builder
	for i := range count {
		fmt.Fprintf(&keys, `"k%d":"v",`, i)
	}
	return keys.String()
}

func FuzzChannelDocument(f *testing.F) {
	f.Add([]byte(list(version("v1.0.0"), version("v1.1.0", "container", "iso"))))
	f.Add([]byte("[]"))
	f.Add([]byte("null"))
	f.Add([]byte(`[{"metadata":{"name":"a"},"spec":{"version":"1.0","type":"container","minVersion":"0.9","metadata":{"upgradeImage":"a","b":[1]}}}]`))
	f.Fuzz(func(t *testing.T, document []byte) {
		answer, err := ParseDocument(document)
		if err != nil {
			if !isFailure(err) {
				t.Errorf("an error without a reason: %v", err)
			}
			return
		}
		for _, release := range answer.Releases {
			if !namePattern.MatchString(release.Name) || release.Type != "container" || len(release.Metadata) > 2*maxMetadata+1024 || !isFailureless(release) {
				t.Errorf("taken: %+v", release)
			}
		}
	})
}

// isFailureless tells whether a release would be taken again as it is.
func isFailureless(release Release) bool {
	if checkVersions(release.Version, release.MinVersion) != nil {
		return false
	}
	again, err := parseMetadata(release.Metadata)
	return len(release.Metadata) > maxMetadata || err == nil && string(again) == string(release.Metadata)
}
