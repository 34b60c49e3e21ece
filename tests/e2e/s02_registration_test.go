package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

func Test02MachineRegisters(t *testing.T) {
	ns := namespace(t, "s02-register")
	url := registration(t, ns, "edge", fmt.Sprintf(`{machineInventoryLabels: {site: berlin, model: "${System Information/Product Name}", none: "${No/Such}"},
  machineInventoryAnnotations: {serial: "s/n ${System Information/Serial Number}"},
  cloudConfig: {users: [{name: root, passwd: %s}], rancheros: {install: {device: /dev/nvme0n1}}}}`, canary))
	m := newMachine(t, "S02-1")
	made := register(t, m, ns, url)

	require.Regexp(t, `^m-edge-systems-nuc-12-s02-1-[0-9a-f]{10}$`, made.Name, "the default name, and a digest of the identity")
	require.Equal(t, "berlin", made.Labels["site"])
	require.Equal(t, "NUC-12", made.Labels["model"], "a template, made a label value")
	require.NotContains(t, made.Labels, "none", "an empty value leaves the label out")
	require.Equal(t, "S02-1", made.Labels[v1.LabelSerialNumber], "to be found by what is printed on it")
	require.Equal(t, "s/n S02-1", made.Annotations["serial"])
	require.Contains(t, string(made.Spec.SMBIOS.Raw), "Edge Systems", "from the kernel's own tables")
	hash, err := m.TPMHash(t.Context())
	require.NoError(t, err)
	require.Equal(t, hash, made.Spec.TPM)

	config, err := m.Config()
	require.NoError(t, err)
	require.Contains(t, config, "hostname: "+made.Name, "the first boot has the name already")
	require.Contains(t, config, "token: tpm://")
	require.Contains(t, config, "device: /dev/nvme0n1")
	require.Contains(t, config, "automatic: true")

	eventually(t, func() error {
		got, err := world.Kubectl(t.Context(), "get", "machineregistration", "edge", "-n", ns, "-o", "jsonpath={.status.machines}")
		if err == nil {
			err = equal("machines", got, "1")
		}
		return err
	})
	require.NotContains(t, kubectl(t, "get", "events", "-n", ns, "-o", "yaml"), canary, "no event holds a secret")
}

// A machine that comes back, whether after a reboot, a lost answer or a reinstall, meets its own inventory.
func Test02KnownMachineCostsNoWrite(t *testing.T) {
	ns := namespace(t, "s02-known")
	url := registration(t, ns, "edge", "{}")
	m := newMachine(t, "S02-2")
	first := register(t, m, ns, url)
	waitFor(t, ns, "machineinventory/"+first.Name, "Ready", "NoCluster")
	kubectl(t, "wait", "--for=jsonpath={.status.machines}=1", "machineregistration/edge", "-n", ns, "--timeout=30s")
	first = inventory(t, ns, first.Name)
	since := time.Now()
	again := register(t, m, ns, url)
	require.Equal(t, first.Name, again.Name)
	require.Equal(t, first.ResourceVersion, again.ResourceVersion)
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	for _, request := range requests {
		if request.ObjectRef.Namespace == ns {
			require.False(t, request.Writes() || request.Verb == "list", request.String())
		}
	}
}

// A new machine is one write of the server's, and no list; then the controller says how the machine fares, and how many there are.
func Test02NewMachineCostsOneWrite(t *testing.T) {
	const machines = 5
	ns := namespace(t, "s02-new")
	url := registration(t, ns, "edge", "{}")
	since := time.Now()
	for range machines {
		register(t, newMachine(t, "S02-4"), ns, url)
	}
	kubectl(t, "wait", "--for=jsonpath={.status.machines}=5", "machineregistration/edge", "-n", ns, "--timeout=30s")
	requests, err := world.OperatorRequests(since)
	require.NoError(t, err)
	count := map[string]int{}
	for _, request := range requests {
		if request.ObjectRef.Namespace == ns && request.Verb != "watch" && request.ObjectRef.Resource != "events" && request.ObjectRef.Name != v1.DefaultCASecretName {
			require.Less(t, request.ResponseStatus.Code, 300, request.String())
			count[strings.Join([]string{request.Verb, request.ObjectRef.Resource, request.ObjectRef.Subresource}, " ")]++
		}
	}
	require.Equal(t, machines, count["create machineinventories "])
	require.Equal(t, machines, count["patch machineinventories status"], "one by the controller")
	require.LessOrEqual(t, count["patch machineregistrations status"], machines, "those that come together are counted together")
	delete(count, "create machineinventories ")
	delete(count, "patch machineinventories status")
	delete(count, "patch machineregistrations status")
	require.Empty(t, count, "and no other request but for the CA bundle, once in five seconds, and none is a list")
}

func Test02SameMachineAtOnce(t *testing.T) {
	ns := namespace(t, "s02-race")
	url := registration(t, ns, "edge", "{}")
	m := newMachine(t, "S02-3")
	_, err := m.TPMHash(t.Context()) // Makes the TPM, so that all tries have the same.
	require.NoError(t, err)
	ca := caFile(t)
	var wait sync.WaitGroup
	for range 5 { // As often as a machine may come at once.
		wait.Go(func() {
			result, err := m.Register(t.Context(), url, ca)
			if err != nil || result.ExitCode != 0 {
				t.Errorf("could not register: %v %s", err, result.Stderr)
			}
		})
	}
	wait.Wait()
	machines, err := world.Clients.RancherOS.MachineInventory().List(ns, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, machines.Items, 1)
}

// An inventory that was written beforehand, with the hash that the machine itself prints, is the machine's.
func Test02PremadeInventory(t *testing.T) {
	ns := namespace(t, "s02-premade")
	m := newMachine(t, "S02-4")
	hash, err := m.TPMHash(t.Context())
	require.NoError(t, err)
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: shelf-7, namespace: %s}\nspec: {tpmHash: %s}\n", ns, hash))
	url := registration(t, ns, "edge", "{}")
	eventually(t, func() error {
		result, err := m.Register(t.Context(), url, caFile(t))
		if err == nil && result.ExitCode != 0 {
			err = fmt.Errorf("exit code %d: %s", result.ExitCode, result.Stderr)
		}
		if err != nil {
			return err
		}
		name, err := m.Hostname()
		if err == nil {
			err = equal("hostname", name, "shelf-7")
		}
		return err
	})
	machines, err := world.Clients.RancherOS.MachineInventory().List(ns, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, machines.Items, 1)
}

// The same handler answers on the operator's own listener.
func Test02WithoutRancherInBetween(t *testing.T) {
	ns := namespace(t, "s02-direct")
	url := registration(t, ns, "edge", "{}")
	direct := strings.Replace(url, world.Rancher.URL(), "http://"+world.Operator.ListenAddr, 1)
	require.NotEqual(t, url, direct)
	m := newMachine(t, "S02-5")
	result, err := m.Register(t.Context(), direct, "", "--allow-http")
	require.NoError(t, err)
	require.Zero(t, result.ExitCode, result.Stderr)
	name, err := m.Hostname()
	require.NoError(t, err)
	inventory(t, ns, name)
}

// What goes wrong is said to the person at the machine, with what to do, and an exit code for programs.
func Test02Refusals(t *testing.T) {
	ns := namespace(t, "s02-refused")
	url := registrationAt(t, ns, "edge", `{cloudConfig: {rancherd: "a string where settings go"}}`, "CloudConfigConflict")
	m := newMachine(t, "S02-6")
	result, err := m.Register(t.Context(), otherToken(url), caFile(t))
	require.NoError(t, err)
	require.Equal(t, 13, result.ExitCode, "no such registration")
	require.Contains(t, result.Stderr, "What to do")

	result, err = m.Register(t.Context(), url, caFile(t))
	require.NoError(t, err)
	require.Equal(t, 14, result.ExitCode, result.Stderr)
	require.Contains(t, result.Stderr, "cloudConfig")

	result, err = m.Register(t.Context(), url, "")
	require.NoError(t, err)
	require.Equal(t, 11, result.ExitCode, "Rancher's certificate is not trusted without its CA: %s", result.Stderr)

	machines, err := world.Clients.RancherOS.MachineInventory().List(ns, metav1.ListOptions{})
	require.NoError(t, err)
	require.Empty(t, machines.Items, "nothing is left of refused machines")
}

// The URL follows Rancher's server-url, and a token Secret that was deleted by hand is made anew.
func Test02RegistrationFollows(t *testing.T) {
	ns := namespace(t, "s02-follows")
	before := registration(t, ns, "edge", "{}")
	serverURL := kubectl(t, "get", "settings.management.cattle.io", "server-url", "-o", "jsonpath={.value}")
	t.Cleanup(func() {
		kubectl(t, "patch", "settings.management.cattle.io", "server-url", "--type", "merge", "-p", fmt.Sprintf(`{"value":%q}`, serverURL))
	})
	kubectl(t, "patch", "settings.management.cattle.io", "server-url", "--type", "merge", "-p", `{"value":" https://rancher.example.com/ "}`)
	after := strings.Replace(before, serverURL, "https://rancher.example.com", 1)
	eventually(t, func() error {
		return equal("URL", kubectl(t, "get", "machineregistration", "edge", "-n", ns, "-o", "jsonpath={.status.registrationURL}"), after)
	})
	kubectl(t, "patch", "settings.management.cattle.io", "server-url", "--type", "merge", "-p", `{"value":"","default":""}`)
	waitFor(t, ns, "machineregistration/edge", "Ready", "ServerURLMissing")

	token := kubectl(t, "get", "machineregistration", "edge", "-n", ns, "-o", "jsonpath={.status.registrationToken}")
	kubectl(t, "delete", "secret", "edge-registration-token", "-n", ns)
	eventually(t, func() error {
		got := kubectl(t, "get", "machineregistration", "edge", "-n", ns, "-o", "jsonpath={.status.registrationToken}")
		if got == token || len(got) != len(token) {
			return fmt.Errorf("the token is still %q", got)
		}
		return nil
	})
}
