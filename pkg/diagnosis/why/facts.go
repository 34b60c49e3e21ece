package why

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// Facts are what was gathered about one object. Of the seven kinds, the one that it is about is set, and for machines, boot media
// and rollouts those that they come from.
type Facts struct {
	// Kind is that of the object that is to be explained.
	Kind string
	Now  time.Time

	Machine      *v1.MachineInventory
	Registration *v1.MachineRegistration
	Claim        *v1.MachineClaim
	Image        *v1.ManagedOSImage
	Version      *v1.ManagedOSVersion
	Channel      *v1.ManagedOSVersionChannel
	Seed         *v1.SeedImage

	// Cluster is the one that a machine or a claim names; nil when it names none, or when it could not be looked at.
	Cluster *Cluster
	// Token is the ClusterRegistrationToken of a machine; nil when it has none.
	Token *Token
	// Machines are those that came from a registration.
	Machines []v1.MachineInventory
	// Seeds are the boot media of a registration.
	Seeds []string
	// Images are the rollouts that name a version or follow a channel.
	Images []string
	// Bundle is an image's.
	Bundle *Bundle
	// Deployments are what became of it, cluster by cluster.
	Deployments []Deployment
	// Events about the object, in no order.
	Events []corev1.Event
	// Unseen are those around it that could not be read, each with the reason.
	Unseen []string
}

// Cluster is a provisioning Cluster.
type Cluster struct {
	Namespace, Name string
	// Found is false when there is none.
	Found bool
	// Management is the name that Rancher gave it; empty until then.
	Management string
	// Trouble is what its conditions say that is not as it should be.
	Trouble string
}

// Token is a machine's ClusterRegistrationToken.
type Token struct {
	Namespace, Name string
	Found           bool
	// Filled tells whether Rancher has put a token into it.
	Filled bool
}

// Bundle is what carries a rollout.
type Bundle struct {
	Name  string
	Found bool
}

// Deployment is a Bundle in one cluster.
type Deployment struct {
	Cluster string
	Ready   bool
	// Message is Fleet's, where it is not ready.
	Message string
}
