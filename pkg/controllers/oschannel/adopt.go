package oschannel

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

// restored tells whether a version that nobody owns is the channel's own of this release, from a backup that drops owner
// references. Labels and annotations alone would be anybody's to set: it must say exactly what the channel says, so that it
// makes no difference who wrote it.
func restored(c *v1.ManagedOSVersionChannel, version *v1.ManagedOSVersion, release channel.Release) bool {
	made := newVersion(c, release)
	return metav1.GetControllerOfNoCopy(version) == nil &&
		version.Labels[v1.LabelChannel] == c.Name &&
		version.Annotations[v1.AnnotationRelease] == made.Annotations[v1.AnnotationRelease] &&
		equality.Semantic.DeepEqual(decoded(version.Spec), decoded(made.Spec))
}

// decoded is a spec without the order of its keys, which the API server has changed.
func decoded(spec v1.ManagedOSVersionSpec) (value any) {
	// Specs can always be encoded.
	encoded, _ := json.Marshal(spec)
	_ = json.Unmarshal(encoded, &value)
	return value
}
