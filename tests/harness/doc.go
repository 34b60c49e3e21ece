// Package harness starts everything that the operator lives among, and the operator itself, as the end-to-end tests and
// the demo need it:
//
//	control plane      the program of tests/controlplane: a real etcd, kube-apiserver and kube-controller-manager
//	pretend Rancher    package tests/rancher, in this process
//	charts             ours, installed by the real Helm
//	operator           the binary that ships, as the chart's Deployment says, under its ServiceAccount and its rights
//
// The programs are taken from bin/ in the repository's root; `make build-test` puts them there. Nothing is shared with
// another World: each has its own folder, ports and processes, and takes them with it when it ends, or when this
// process dies.
package harness
