package e2e

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/machine"
)

// Who may join. Machines here are TPMs that speak to the registration URL as the clients of 2022 do, so that what is
// refused, and what leaves the server, is seen byte by byte.

const secretConfig = `cloudConfig: {users: [{name: root, passwd: ` + canary + `}]}`

func newTPM(t *testing.T, options ...tpm.SoftwareOption) *tpm.Software {
	t.Helper()
	made, err := tpm.GenerateSoftware(tpm.RSA2048, options...)
	require.NoError(t, err)
	return made
}

// knock registers with the TPM and returns the answer, or the refusal's words.
func knock(t *testing.T, device *tpm.Software, url string) (config map[string]any, refusal string) {
	t.Helper()
	client := &machine.OldClient{TLS: world.TLS(), TPM: device}
	conversation, err := client.Register(t.Context(), url, nil)
	var answered *machine.Refusal
	switch {
	case errors.As(err, &answered):
		return nil, answered.Body
	case err != nil:
		require.NoError(t, err)
	case !strings.HasPrefix(string(conversation.Final), "{"):
		return nil, string(conversation.Final)
	}
	return decode(t, string(conversation.Final)), ""
}

func admitted(t *testing.T, device *tpm.Software, url string) (name string) {
	t.Helper()
	config, refusal := knock(t, device, url)
	require.Empty(t, refusal)
	return config["hostname"].(string)
}

func refused(t *testing.T, device *tpm.Software, url, words string) {
	t.Helper()
	config, refusal := knock(t, device, url)
	require.Nil(t, config)
	require.Contains(t, refusal, words)
	require.NotContains(t, refusal, canary)
}

func machines(t *testing.T, namespace string) int {
	t.Helper()
	list, err := world.Clients.RancherOS.MachineInventory().List(namespace, metav1.ListOptions{})
	require.NoError(t, err)
	return len(list.Items)
}

// A person looks at each machine before it gets anything.
func Test09ManualApproval(t *testing.T) {
	ns := namespace(t, "s09-manual")
	url := registration(t, ns, "edge", `{admission: {approval: Manual}, `+secretConfig+`}`)
	device := newTPM(t)
	refused(t, device, url, "waits for approval")
	list, err := world.Clients.RancherOS.MachineInventory().List(ns, metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, list.Items, 1)
	name := list.Items[0].Name
	waitFor(t, ns, "machineinventory/"+name, "Ready", "PendingApproval")
	kubectl(t, "wait", "--for=jsonpath={.status.pending}=1", "machineregistration/edge", "-n", ns, "--timeout=30s")
	refused(t, device, url, "waits for approval")

	// Not approved, it gets no cluster either.
	createCluster(t, ns, "site")
	assign(t, ns, name, "site", "agent")
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "PendingApproval")
	require.Empty(t, clusterTokens(t, ns, name))

	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"approved":true}}`)
	waitFor(t, ns, "machineinventory/"+name, "ClusterAssigned", "TokenReady")
	require.Equal(t, name, admitted(t, device, url))
	kubectl(t, "wait", "--for=jsonpath={.status.pending}=0", "machineregistration/edge", "-n", ns, "--timeout=30s")
}

// The mildest registration of a namespace opens no other one.
func Test09AnotherRegistration(t *testing.T) {
	ns := namespace(t, "s09-another")
	open := registration(t, ns, "open", "{}")
	guarded := registration(t, ns, "guarded", `{admission: {approval: Manual}, `+secretConfig+`}`)
	device := newTPM(t)
	name := admitted(t, device, open)
	refused(t, device, guarded, "waits for approval")
	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"approved":true}}`)
	eventually(t, func() error {
		config, refusal := knock(t, device, guarded)
		if refusal != "" {
			return errors.New(refusal)
		}
		require.Equal(t, name, config["hostname"])
		return nil
	})
	require.Equal(t, 1, machines(t, ns))
}

func Test09Listed(t *testing.T) {
	ns := namespace(t, "s09-listed")
	listed, premade, stranger := newTPM(t), newTPM(t), newTPM(t)
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: premade, namespace: %s}\nspec: {tpm: %s}\n", ns, premade.EndorsementHash()))
	url := registration(t, ns, "edge", fmt.Sprintf(`{admission: {endorsement: Listed, endorsementKeys: [%s]}, %s}`, listed.EndorsementHash(), secretConfig))
	waitFor(t, ns, "machineinventory/premade", "Ready", "NoCluster")
	require.Equal(t, "premade", admitted(t, premade, url))
	name := admitted(t, listed, url)
	refused(t, stranger, url, "not on the list")
	require.Equal(t, 2, machines(t, ns))
	for _, name := range []string{"premade", name} {
		kubectl(t, "wait", "--for=jsonpath={.status.assurance}=Listed", "machineinventory/"+name, "-n", ns, "--timeout=30s")
	}
	require.Contains(t, kubectl(t, "get", "machineinventories", "-n", ns, "-l", "rancheros.cattle.io/assurance=Listed", "-o", "name"), name, "selectors can use it")
}

// Endorsement certificates, made as the TCG profile says by a CA with an intermediate.
func Test09Certificate(t *testing.T) {
	ns := namespace(t, "s09-certificate")
	maker, other := newMaker(t), newMaker(t)
	bare := newTPM(t)
	genuine, foreign := certified(t, maker), certified(t, other)
	spec := `{admission: {endorsement: Certificate}, ` + secretConfig + `}`
	url := registrationAt(t, ns, "edge", spec, "TrustBundleMissing")
	refused(t, genuine, url, "cannot check TPMs") // No bundle never means that all are trusted.

	bundle := func(pem string) {
		apply(t, fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: tpm-ca, namespace: %s}\nstringData:\n  tls.crt: |\n%s", ns, indent(pem)))
	}
	bundle(string(maker.RootPEM()))
	eventually(t, func() error { // The bundle is read anew within seconds.
		_, refusal := knock(t, genuine, url)
		if !strings.Contains(refusal, "not trusted") {
			return fmt.Errorf("without its intermediate the certificate is answered with %q", refusal)
		}
		return nil
	})
	bundle(string(maker.RootPEM()) + string(maker.IntermediatePEM()))
	var name string
	eventually(t, func() error {
		config, refusal := knock(t, genuine, url)
		if refusal != "" {
			return errors.New(refusal)
		}
		name = config["hostname"].(string)
		return nil
	})
	kubectl(t, "wait", "--for=jsonpath={.status.assurance}=Certificate", "machineinventory/"+name, "-n", ns, "--timeout=30s")
	waitFor(t, ns, "machineregistration/edge", "Ready", "Ready")
	refused(t, foreign, url, "not trusted")
	refused(t, bare, url, "certificate")
	require.Equal(t, 1, machines(t, ns))

	// A broken bundle leaves the last good one in use.
	bundle("garbage\n")
	eventually(t, func() error {
		if !strings.Contains(kubectl(t, "get", "events", "-n", ns, "-o", "jsonpath={.items[*].reason}"), "TrustBundleInvalid") {
			knock(t, newTPM(t), url) // The bundle is read when a machine comes.
			return errors.New("no event tells that the bundle is broken")
		}
		return nil
	})
	require.Equal(t, name, admitted(t, genuine, url))
	refused(t, foreign, url, "not trusted")
}

// Paused, expired and full are about new machines: those that are known come back after a wipe.
func Test09ClosedToNewMachines(t *testing.T) {
	ns := namespace(t, "s09-closed")
	url := registration(t, ns, "edge", `{}`)
	known := newTPM(t)
	name := admitted(t, known, url)
	for _, test := range []struct{ spec, reason, words string }{
		{`{"paused":true}`, "RegistrationPaused", "no new machines for now"},
		{`{"paused":false,"admission":{"expiresAt":"2026-01-01T00:00:00Z"}}`, "Expired", "has expired"},
		{`{"paused":false,"admission":{"expiresAt":null,"maxMachines":1}}`, "Full", "all the machines"},
	} {
		kubectl(t, "patch", "machineregistration", "edge", "-n", ns, "--type", "merge", "-p", `{"spec":`+test.spec+`}`)
		waitFor(t, ns, "machineregistration/edge", "Ready", test.reason)
		refused(t, newTPM(t), url, test.words)
		require.Equal(t, name, admitted(t, known, url))
	}
	require.Equal(t, 1, machines(t, ns))
	kubectl(t, "patch", "machineregistration", "edge", "-n", ns, "--type", "merge", "-p", `{"spec":{"admission":null}}`)
	waitFor(t, ns, "machineregistration/edge", "Ready", "Ready")
	admitted(t, newTPM(t), url)
}

// Of twenty machines that come at once for five places, five get in, and no sixth ever does.
func Test09MaxMachinesIsExact(t *testing.T) {
	ns := namespace(t, "s09-max")
	url := registration(t, ns, "edge", `{admission: {maxMachines: 5}}`)
	devices := make([]*tpm.Software, 20)
	for i := range devices {
		devices[i] = newTPM(t)
	}
	var (
		wait  sync.WaitGroup
		mutex sync.Mutex
		in    int
	)
	for _, device := range devices {
		wait.Go(func() {
			if config, _ := knock(t, device, url); config != nil {
				mutex.Lock()
				defer mutex.Unlock()
				in++
			}
		})
	}
	wait.Wait()
	require.Equal(t, 5, in)
	require.Equal(t, 5, machines(t, ns))
	waitFor(t, ns, "machineregistration/edge", "Ready", "Full")
}

// A new token makes a new URL; the old one works for its grace period, which is none unless asked for.
func Test09Rotation(t *testing.T) {
	ns := namespace(t, "s09-rotation")
	old := registration(t, ns, "edge", "{}")
	current := func() string {
		return kubectl(t, "get", "machineregistration", "edge", "-n", ns, "-o", "jsonpath={.status.registrationURL}")
	}
	rotate := func(annotations ...string) string {
		before := current()
		kubectl(t, append([]string{"annotate", "machineregistration", "edge", "-n", ns, "--overwrite"}, annotations...)...)
		eventually(t, func() error {
			if current() == before {
				return errors.New("the URL is still the same")
			}
			return nil
		})
		return current()
	}
	next := rotate("rancheros.cattle.io/rotate-token=leaked")
	admitted(t, newTPM(t), next)
	refused(t, newTPM(t), old, "not found")
	last := rotate("rancheros.cattle.io/rotate-token-grace=5s", "rancheros.cattle.io/rotate-token=yearly")
	until := time.Now().Add(3 * time.Second)
	admitted(t, newTPM(t), next)
	require.True(t, time.Now().Before(until), "too slow to tell")
	eventually(t, func() error {
		if config, _ := knock(t, newTPM(t), next); config != nil {
			return errors.New("the old URL still works")
		}
		return nil
	})
	admitted(t, newTPM(t), last)
}

// Who writes an inventory with somebody else's TPM hash, in another namespace, takes nothing from anybody; who has
// proven to be a machine is it, and no other registration gets it.
func Test09Squatting(t *testing.T) {
	mine, theirs := namespace(t, "s09-mine"), namespace(t, "s09-theirs")
	device := newTPM(t)
	apply(t, fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: squat, namespace: %s}\nspec: {tpm: %s, clusterName: site, config: {role: agent}}\n", theirs, device.EndorsementHash()))
	createCluster(t, theirs, "site")
	waitFor(t, theirs, "machineinventory/squat", "ClusterAssigned", "TokenReady")
	url := registration(t, mine, "edge", "{"+secretConfig+"}")
	name := admitted(t, device, url)
	inventory(t, mine, name)
	client := &machine.OldClient{TLS: world.TLS(), TPM: device}
	eventually(t, func() error { // Once the proof is in the cache, the squatter's cluster is nobody's.
		conversation, err := client.Inventory(t.Context(), world.Rancher.URL())
		if err != nil {
			return err
		}
		if !strings.Contains(string(conversation.Final), "not assigned") {
			return fmt.Errorf("the machine is told %q", conversation.Final)
		}
		return nil
	})
	refused(t, device, registration(t, theirs, "edge", "{}"), "belongs to another registration")
	require.Equal(t, 1, machines(t, mine))
}

func newMaker(t *testing.T) *machine.MakerCA {
	t.Helper()
	maker, err := machine.NewMakerCA("maker")
	require.NoError(t, err)
	return maker
}

// certified is a TPM with an endorsement certificate of the maker's.
func certified(t *testing.T, maker *machine.MakerCA) *tpm.Software {
	t.Helper()
	device := newTPM(t)
	certificate, err := maker.Certify(device.Public(), machine.EKCertificate{})
	require.NoError(t, err)
	device, err = device.With(tpm.WithCertificate(certificate))
	require.NoError(t, err)
	return device
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ") + "\n"
}

// The labels that tell proven machines from written ones are the operator's: a tenant with every right on inventories
// cannot set, change or remove them.
func Test09LabelsAreTheOperators(t *testing.T) {
	ns := namespace(t, "s09-labels")
	name := admitted(t, newTPM(t), registration(t, ns, "edge", "{}"))
	kubectl(t, "create", "serviceaccount", "tenant", "-n", ns)
	kubectl(t, "create", "role", "tenant", "-n", ns, "--verb=*", "--resource=machineinventories.rancheros.cattle.io")
	kubectl(t, "create", "rolebinding", "tenant", "-n", ns, "--role=tenant", "--serviceaccount="+ns+":tenant")
	tenant := "--as=system:serviceaccount:" + ns + ":tenant"
	written := "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: %s, namespace: " + ns + ", labels: {%s}}\nspec: {tpm: " + strings.Repeat("ab", 32) + "}\n"
	eventually(t, func() error { // A policy works a moment after it was made.
		if _, err := world.Apply(t.Context(), fmt.Sprintf(written, "forged", "rancheros.cattle.io/registration: edge"), tenant); err == nil {
			return errors.New("a tenant could forge a proof")
		} else if !strings.Contains(err.Error(), "are the operator's") {
			return err
		}
		return nil
	})
	_, err := world.Apply(t.Context(), fmt.Sprintf(written, "honest", "site: berlin"), tenant)
	require.NoError(t, err)
	for _, label := range []string{"rancheros.cattle.io/assurance=Certificate", "rancheros.cattle.io/assurance-", "rancheros.cattle.io/registration-"} {
		_, err := world.Kubectl(t.Context(), "label", "machineinventory", name, "-n", ns, "--overwrite", label, tenant)
		require.ErrorContains(t, err, "are the operator's", label)
	}
	kubectl(t, "label", "machineinventory", name, "-n", ns, "site=berlin", tenant)
	kubectl(t, "patch", "machineinventory", name, "-n", ns, "--type", "merge", "-p", `{"spec":{"clusterName":"site"}}`, tenant)
}
