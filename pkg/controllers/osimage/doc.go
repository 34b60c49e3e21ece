// Package osimage turns a ManagedOSImage into a Fleet Bundle that carries an upgrade plan to the targeted clusters, and says
// per node what came of it.
//
// The Bundle holds a Plan for system-upgrade-controller and the rights that its jobs need. A cloud-config does not
// travel in the Bundle, which many may read, but as a Secret that Fleet copies beside it. Every name downstream is
// unique to the image, so that two images that reach one cluster do not fight over objects.
//
//	targets.go      which clusters an image selects, by Fleet's rules        claims.go   which images meet there
//	survey.go       what is known of these clusters                          facts.go    and of their nodes
//	release.go      what follows from the OS that a node runs                hash.go     the mark of a node that is done
//	clusterplan.go  which nodes of a cluster get what next                   nodestate.go  what each is at, and why
//	tally.go        all of them counted                                      status.go   and said
//	plan.go, container.go, reference.go, bundle.go, overlay.go               the documents
//	triggers.go     which event brings which image back, and how soon
//
// Fleet calls a Bundle ready once the Plan is in the cluster, whatever its jobs do then. What was done stands on the nodes,
// of which Rancher keeps copies: a label with the hash of the plan that was completed, the OS that was booted, and a cordon
// that is taken back only when the upgrade has succeeded. Nothing is asked of the clusters themselves.
//
// What is found wrong with an image is said in its conditions, and nothing is taken away because of it: a rollout that is
// under way goes on until the image says otherwise, or is deleted. The Bundle belongs to the image and goes with it.
//
//	Watches  ManagedOSImage; ManagedOSVersion; Bundle; Secret of type rancheros.cattle.io/cloud-config;
//	         Setting system-default-registry; Rancher's Nodes and Clusters; Fleet's Clusters, ClusterGroups, BundleDeployments
//	Reads    ManagedOSVersion, Setting, provisioning Cluster
//	Writes   Bundle, Secret, ManagedOSImage status, Events
package osimage
