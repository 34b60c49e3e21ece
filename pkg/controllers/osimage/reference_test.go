package osimage

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

const digest = "sha256:d68795c6192af9922692f050b0f1e2d3c4b5a697887766554433221100ffeedd"

// C44, and what Rancher's system-default-registry makes of it.
func TestImageReferences(t *testing.T) {
	long := strings.Repeat("t", 100)
	for _, c := range []struct{ why, image, registry, want, version string }{
		{"as people write it", "rancher/os2:v1.2.3", "", "rancher/os2:v1.2.3", "v1.2.3"},
		{"no tag", "rancher/os2", "", "rancher/os2:latest", "latest"},
		{"no namespace", "os2:v1", "", "os2:v1", "v1"},
		{"a registry", "registry.example.com/rancher/os2:v1", "", "registry.example.com/rancher/os2:v1", "v1"},
		{"a registry with a port (B31)", "reg.local:5000/os2:v1", "", "reg.local:5000/os2:v1", "v1"},
		{"a port and no tag", "reg.local:5000/os2", "", "reg.local:5000/os2:latest", "latest"},
		{"localhost", "localhost/os2:v1", "", "localhost/os2:v1", "v1"},
		{"an IPv6 registry", "[2001:db8::1]:5000/os2:v1", "", "[2001:db8::1]:5000/os2:v1", "v1"},
		{"a digest (B31)", "rancher/os2@" + digest, "", "rancher/os2@" + digest, "sha256-d68795c6192af9922692f050b0f1e2d3"},
		{"a tag and a digest: the digest says more", "rancher/os2:v1@" + digest, "", "rancher/os2@" + digest, "sha256-d68795c6192af9922692f050b0f1e2d3"},
		{"a port, a tag and a digest", "reg.local:5000/a/b/os2:v1@" + digest, "", "reg.local:5000/a/b/os2@" + digest, "sha256-d68795c6192af9922692f050b0f1e2d3"},
		{"Docker Hub by its name", "docker.io/rancher/os2:v1", "", "rancher/os2:v1", "v1"},
		{"a tag longer than a label", "os2:" + long, "", "os2:" + long, long[:63]},
		{"a tag that is no label", "os2:_v1_", "", "os2:_v1_", "v1"},
		{"a tag of nothing else", "os2:___", "", "os2:___", "latest"},

		{"a registry for all", "rancher/os2:v1", "reg.local:5000", "reg.local:5000/rancher/os2:v1", "v1"},
		{"with a namespace of its own", "rancher/os2:v1", "reg.local/mirror", "reg.local/mirror/rancher/os2:v1", "v1"},
		{"no namespace: Rancher keeps those under rancher/", "os2:v1", "reg.local", "reg.local/rancher/os2:v1", "v1"},
		{"no tag", "rancher/os2", "reg.local", "reg.local/rancher/os2:latest", "latest"},
		{"a digest", "rancher/os2@" + digest, "reg.local", "reg.local/rancher/os2@" + digest, "sha256-d68795c6192af9922692f050b0f1e2d3"},
		{"an image that names its registry keeps it", "quay.io/rancher/os2:v1", "reg.local", "quay.io/rancher/os2:v1", "v1"},
		{"by port", "reg:5000/os2:v1", "reg.local", "reg:5000/os2:v1", "v1"},
		{"by localhost", "localhost/os2:v1", "reg.local", "localhost/os2:v1", "v1"},
		{"by a capital, which no namespace has", "REG/os2:v1", "reg.local", "REG/os2:v1", "v1"},
		{"Docker Hub by its name is meant", "docker.io/rancher/os2:v1", "reg.local", "rancher/os2:v1", "v1"},
	} {
		t.Run(c.why, func(t *testing.T) {
			named, err := resolveImage(input{registry: c.registry, image: newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage = c.image })})
			require.NoError(t, err)
			require.Equal(t, c.want, named.String())
			require.Equal(t, c.version, planVersion(named))
			require.Empty(t, validation.IsValidLabelValue(planVersion(named)), "it becomes a label")
		})
	}
}

// What the schema refuses, and what comes by another way than the schema, is refused in a sentence.
func TestBadImageReferences(t *testing.T) {
	for _, image := range []string{"a b", "a;$(id)", "Rancher/OS2:v1/", "rancher/OS2:v1", ":v1", "os2:", "os2@", "os2@sha256:abc", "-os2", "os2:" + strings.Repeat("t", 129), "https://reg.local/os2",
		strings.Repeat("a", 513)} {
		for _, registry := range []string{"", "reg.local"} {
			_, err := resolveImage(input{registry: registry, image: newImage(func(s *v1.ManagedOSImageSpec) { s.OSImage = image })})
			requireRefusal(t, err, v1.ReasonInvalidSpec, "osImage ")
			require.ErrorContains(t, err, "correct it")
		}
	}
}

func TestResolveImage(t *testing.T) {
	version := func(metadata string) *v1.ManagedOSVersion {
		version := &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Name: "v2"}}
		if metadata != "" {
			version.Spec.Metadata = raw(metadata)
		}
		return version
	}
	custom := &v1.ContainerSpec{Image: "tools/upgrade:v3"}
	for _, c := range []struct {
		why     string
		spec    v1.ManagedOSImageSpec
		version *v1.ManagedOSVersion
		want    string
		reason  string
		message string
	}{
		{why: "osImage", spec: v1.ManagedOSImageSpec{OSImage: "os2:v1"}, want: "os2:v1"},
		{why: "the version's", version: version(`{"upgradeImage":"reg.local:5000/os2:v2"}`), want: "reg.local:5000/os2:v2"},
		{why: "osImage wins over the upgrade container's", spec: v1.ManagedOSImageSpec{OSImage: "os2:v1", UpgradeContainer: custom}, want: "os2:v1"},
		{why: "an upgrade container alone is what is rolled out", spec: v1.ManagedOSImageSpec{UpgradeContainer: custom}, want: "tools/upgrade:v3"},
		{why: "C42: neither", reason: v1.ReasonNothingToDo, message: "a rollout that is under way goes on"},
		{why: "C53: no metadata, which killed the first operator", version: version(""), reason: v1.ReasonVersionWithoutImage, message: "ManagedOSVersion v2 has no metadata.upgradeImage; add it"},
		{why: "C53: metadata that is null", version: version("null"), reason: v1.ReasonVersionWithoutImage, message: "has no metadata.upgradeImage"},
		{why: "C53: metadata that is no map", version: version(`["a"]`), reason: v1.ReasonVersionWithoutImage, message: "metadata of ManagedOSVersion v2 is not a map"},
		{why: "C53: metadata without bytes", version: &v1.ManagedOSVersion{ObjectMeta: metav1.ObjectMeta{Name: "v2"}, Spec: v1.ManagedOSVersionSpec{Metadata: raw("")}},
			reason: v1.ReasonVersionWithoutImage, message: "is not a map"},
		{why: "C53: an upgradeImage that is a number", version: version(`{"upgradeImage":7}`), reason: v1.ReasonVersionWithoutImage, message: "has no metadata.upgradeImage"},
		{why: "C53: an upgradeImage that is empty", version: version(`{"upgradeImage":""}`), reason: v1.ReasonVersionWithoutImage, message: "has no metadata.upgradeImage"},
		{why: "C53: an upgradeImage that is no reference", version: version(`{"upgradeImage":"A B"}`), reason: v1.ReasonVersionWithoutImage,
			message: `metadata.upgradeImage of ManagedOSVersion v2 "A B" is not an image reference`},
		{why: "an upgrade container that is no reference", spec: v1.ManagedOSImageSpec{UpgradeContainer: &v1.ContainerSpec{Image: "A B"}}, reason: v1.ReasonInvalidSpec, message: "upgradeContainer.image"},
	} {
		t.Run(c.why, func(t *testing.T) {
			named, err := resolveImage(input{image: &v1.ManagedOSImage{Spec: c.spec}, version: c.version})
			if c.reason != "" {
				requireRefusal(t, err, c.reason, c.message)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, named.String())
		})
	}
}
