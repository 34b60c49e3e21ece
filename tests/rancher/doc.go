// Package rancher pretends to be Rancher Manager, with Fleet beside it, against a real Kubernetes API server.
//
// The operator, the end-to-end tests and the demo cannot tell it from the real one in what they use of it; everything
// else of Rancher is missing. It runs inside the process that starts it:
//
//	err := rancher.Install(ctx, cfg)                                   // the kinds of Rancher, Fleet and system-upgrade-controller
//	r, err := rancher.Start(ctx, rancher.Options{Config: cfg})         // r.URL() answers, r.CACert() proves it
//	defer r.Close()
//
// What is pretended, and the fact about the real thing that each part holds on to:
//
//   - crds.go: the kinds, with schemas made from the published Go types, so that strict field validation refuses what
//     the real API server refuses. management.cattle.io kinds have no status subresource (Rancher updates the whole
//     object); the others have one.
//   - settings.go: the settings server-url, cacerts, internal-cacerts, internal-server-url, system-default-registry and
//     agent-tls-mode, each with a value and a default; the namespaces; the local cluster.
//   - ca.go: a private CA that survives a restart, because a burned ISO pins it.
//   - clusters.go: every provisioning Cluster gets, a moment later, a management Cluster with a namespace of the same
//     name, a fleet Cluster, and status.clusterName. All of that goes when it goes.
//   - tokens.go, tokendecision.go: a ClusterRegistrationToken gets its token either in status.token (Rancher 2.6 to 2.14) or in the Secret
//     that status.tokenSecretName names (2.15 on), where it expires and rotates, the previous one being good for a grace
//     period.
//   - apiservices.go, tunnel.go: an APIService object gets a ServiceAccount and a Secret with url, token and CA; whoever
//     dials /v3/connect with that token serves all paths under the object's prefixes. Requests pass the very proxy that
//     Rancher uses (steve's), and wait 15 s for a session before they get a 503.
//   - server.go, nodes.go, system-agent-install.sh: /ping, /healthz, /cacerts, and the install script that a machine runs
//     to join. A machine with a good token becomes a management Node, which is how a test sees that it joined.
//   - fleet*.go: Bundles reach the clusters that their targets match, one release per cluster. An object of another
//     release is refused ("invalid ownership metadata"). A Bundle is Ready once its objects are applied, whatever a Plan
//     among them then does: that is how Fleet calls a failed upgrade ready.
//   - links.go: the line to a cluster can be cut, and Fleet can be made to hold a cluster back.
//   - downstream.go, upgrades.go: nodes of the clusters, and system-upgrade-controller at work on them: it selects nodes by the
//     plan's selector, concurrency and hash, cordons, and on success, and only then, marks the node with the hash and takes
//     the cordon back. A job can be made to fail, or to succeed on a node that falls back. Rancher copies the nodes to
//     management Node objects, and stops when the line is cut.
//
// Not pretended: users and permissions (every caller of an aggregated path is anonymous), Fleet's rollout limits by
// themselves, schedules and drift detection, Helm templating, the window of a Plan, and the state of a downstream cluster
// beyond its nodes and what was delivered to it.
package rancher
