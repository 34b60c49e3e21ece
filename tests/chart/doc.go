// Package chart proves that the charts are what an administrator can trust, with the real Helm that scripts/build-controlplane.sh
// puts into bin/:
//
//	refused_test.go     the bad values of the threat model (X1 to X44), each with what Helm says
//	values_test.go      every value is described, in values.yaml and in the schema
//	render_test.go      lint, and what is rendered: by default, with everything on, and without a way to the internet
//	install_test.go     install, upgrade, rollback and uninstall on a real API server, with the operator running as the Deployment says
//	rights_test.go      who may do what afterwards: the operator, its users, and nobody else
package chart
