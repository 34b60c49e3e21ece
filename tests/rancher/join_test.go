package rancher

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rancher/rancheros-operator/pkg/registration/client"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// Each word of rancherd's for what a machine does in its cluster, from the server's answer through Rancher's install script
// to what Rancher is told.
func TestRolesReachRancher(t *testing.T) {
	s := newScriptServer(t)
	endpoint := client.Endpoint{URL: s.url}
	for _, test := range []struct {
		role                       string
		etcd, controlPlane, worker string
	}{
		{"server", "true", "true", "true"},
		{"cluster-init", "true", "true", "true"},
		{"agent", "false", "false", "true"},
		{"worker", "false", "false", "true"},
		{"etcd", "true", "false", "false"},
		{"control-plane", "false", "true", "false"},
		{"controlplane", "false", "true", "false"},
		{"etcd,control-plane", "true", "true", "false"},
		{"control-plane,etcd", "true", "true", "false"},
		{"etcd,worker", "true", "false", "true"},
		{"controlplane,worker", "false", "true", "true"},
		{"etcd,control-plane,worker", "true", "true", "true"},
	} {
		t.Run(test.role, func(t *testing.T) {
			answer := &protocol.InventoryAnswer{Role: test.role, Token: "tok", NodeName: "n1", Address: "192.0.2.7", InternalAddress: "2001:db8::7",
				Labels: []string{"a=b", "z="}, Taints: []string{"k=v:NoSchedule", "l=:NoExecute"}}
			args, err := client.InstallArguments(endpoint, []byte(s.ca), answer)
			if err != nil {
				t.Fatal(err)
			}
			env, err := client.InstallEnvironment([]string{"CATTLE_ID=id-1", "CATTLE_ROLE_WORKER=true", "CATTLE_TOKEN=old"}, answer)
			if err != nil {
				t.Fatal(err)
			}
			output, ok := s.run(t, env, args...)
			if !ok {
				t.Fatalf("failed:\n%s", output)
			}
			want := map[string]string{"token": "tok", "Id": "id-1", "Role-Etcd": test.etcd, "Role-Control-Plane": test.controlPlane, "Role-Worker": test.worker,
				"Node-Name": "n1", "Address": "192.0.2.7", "Internal-Address": "2001:db8::7", "Labels": "a=b,z=", "Taints": "k=v:NoSchedule,l=:NoExecute"}
			if diff := cmp.Diff(want, cattle(s.joined)); diff != "" {
				t.Errorf("told the server (-want +got):\n%s", diff)
			}
			if _, err := readMachine(s.joined); err != nil {
				t.Errorf("Rancher cannot read it: %v", err)
			}
		})
	}
}
