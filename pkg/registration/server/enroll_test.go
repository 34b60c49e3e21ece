package server

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation/tpm"
	"github.com/rancher/rancheros-operator/tests/machine"
	"github.com/rancher/rancheros-operator/tests/memoryapi"
)

var nuc = map[string]any{"System Information": map[string]any{"Manufacturer": "Edge Systems", "Product Name": "NUC 12", "Serial Number": "S/N 1"}}

func TestNewMachine(t *testing.T) {
	w := newWorld(t)
	registration := edge()
	registration.Spec.MachineInventoryLabels = map[string]v1.LabelTemplate{"site": "berlin", "model": "${System Information/Product Name}", "none": "${No/Such}"}
	registration.Spec.MachineInventoryAnnotations = map[string]v1.AnnotationTemplate{"serial": "s/n ${System Information/Serial Number}"}
	w.Put(registration)
	client := newMachine(t)
	answer := w.register(t, client, nuc)

	made := w.Inventories.All()[0]
	hash := client.TPM.EndorsementHash()
	require.Equal(t, "m-edge-systems-nuc-12-s-n-1-"+hash[:10], made.Name)
	require.Equal(t, "ns", made.Namespace)
	require.Equal(t, map[string]string{"site": "berlin", "model": "NUC-12", v1.LabelRegistration: "edge", v1.LabelAssurance: v1.AssuranceFirstUse,
		v1.LabelSerialNumber: "S-N-1"}, made.Labels)
	require.Equal(t, map[string]string{"serial": "s/n S/N 1"}, made.Annotations)
	require.Equal(t, hash, made.Spec.TPM)
	smbios, err := json.Marshal(nuc)
	require.NoError(t, err)
	require.JSONEq(t, string(smbios), string(made.Spec.SMBIOS.Raw))
	require.Contains(t, answer, `"hostname":"`+made.Name+`"`, "the first boot has its name already")
	require.Equal(t, []string{"create machineinventories ns/" + made.Name}, w.writes(), "one write")
	require.Equal(t, "Normal MachineRegistered machine "+made.Name+" registered (FirstUse)", <-w.recorder.Events)
}

func TestMachineWithoutSMBIOS(t *testing.T) {
	w := newWorld(t)
	registration := edge()
	registration.Spec.MachineName, registration.Spec.CloudConfig = "node-${System Information/Serial Number}", nil
	w.Put(registration)
	client := newMachine(t)
	answer := w.register(t, client, nil)
	made := w.Inventories.All()[0]
	require.Equal(t, "node-"+client.TPM.EndorsementHash()[:10], made.Name)
	require.Nil(t, made.Spec.SMBIOS)
	require.Equal(t, `{"hostname":"`+made.Name+`","rancherd":{"server":"https://rancher.example.com","token":"tpm://"},"rancheros":{"install":{"automatic":true}}}`, answer)
}

// A retry, a reboot, a reinstall: the same machine, and no write.
func TestKnownMachine(t *testing.T) {
	w := newWorld(t)
	client := newMachine(t)
	first := w.register(t, client, nuc)
	w.writes()
	require.Equal(t, first, w.register(t, client, nuc))
	require.Equal(t, first, w.register(t, client, nil), "whatever it says of itself")
	require.Empty(t, w.writes())
	require.Len(t, w.recorder.Events, 1)
}

// Whoever proves itself and is not let in is an event on the registration, with the way out; a crowd of them is a few.
func TestRefusedMachinesAreToldOf(t *testing.T) {
	w := newWorld(t)
	paused := edge()
	paused.UID, paused.Spec.Paused = "1", true
	w.Put(paused)
	first := newMachine(t)
	w.register(t, first, nuc)
	require.Equal(t, "Warning MachineRefused the machine with TPM hash "+first.TPM.EndorsementHash()+" was refused: this registration takes no new machines for now; "+
		"an administrator must set spec.paused of the MachineRegistration to false", <-w.recorder.Events)
	for range 2 * refusalEvents.Burst {
		w.register(t, newMachine(t), nuc)
	}
	require.Len(t, w.recorder.Events, refusalEvents.Burst-1)

	// For another reason, or by another registration, it is news.
	full, none := edge(), 0
	full.UID, full.Spec.Admission = "1", &v1.AdmissionSpec{MaxMachines: &none}
	w.Put(full)
	w.register(t, first, nuc)
	require.Len(t, w.recorder.Events, refusalEvents.Burst)
}

// Another replica made it, and our cache has not seen it yet (B12).
func TestKnownElsewhere(t *testing.T) {
	w := newWorld(t)
	client := newMachine(t)
	w.Inventories.Lag(true)
	first := w.register(t, client, nuc)
	require.Equal(t, first, w.register(t, client, nuc))
	require.Len(t, w.Inventories.Names(), 1)
	require.Len(t, w.recorder.Events, 1, "told once")
}

func TestSameMachineAtOnce(t *testing.T) {
	w := newWorld(t)
	client := newMachine(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := client.Register(t.Context(), w.url+registrationPath, nuc); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	require.Len(t, w.Inventories.Names(), 1)
}

// What killed the first operator: machines that register at once, with the documented cloudConfig (B1).
func TestManyMachinesAtOnce(t *testing.T) {
	w := newWorld(t)
	var wait sync.WaitGroup
	for range 8 {
		client := newMachine(t)
		wait.Go(func() {
			for range 3 {
				if _, err := client.Register(t.Context(), w.url+registrationPath, nuc); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	require.Len(t, w.Inventories.Names(), 8)
}

func TestPremadeInventory(t *testing.T) {
	for _, spec := range []func(hash string) v1.MachineInventorySpec{
		func(hash string) v1.MachineInventorySpec { return v1.MachineInventorySpec{TPM: hash} },
		func(hash string) v1.MachineInventorySpec { return v1.MachineInventorySpec{TPMHash: hash} },
	} {
		client := newMachine(t)
		made := inventory("shelf-7", spec(client.TPM.EndorsementHash()))
		made.Spec.Config = &v1.MachineConfig{NodeName: "node-7"}
		w := newWorld(t, made)
		require.Contains(t, w.register(t, client, nuc), `"hostname":"node-7"`)
		require.Equal(t, []string{"ns/shelf-7"}, w.Inventories.Names())
		require.Equal(t, map[string]string{v1.LabelRegistration: "edge", v1.LabelAssurance: v1.AssuranceListed}, w.Inventories.All()[0].Labels)
		w.writes()
		w.register(t, client, nuc)
		require.Empty(t, w.writes(), "it is the machine's now")
	}
}

// What a proven machine is told when it cannot be enrolled. Nothing but a config begins with a brace.
func TestRefusalsAfterTheProof(t *testing.T) {
	now := metav1.Now()
	for _, c := range []struct {
		why   string
		there func(hash string) []*v1.MachineInventory
		want  string
	}{
		{"T47, B13: the TPM belongs to another namespace", func(hash string) []*v1.MachineInventory {
			there := inventory("m", v1.MachineInventorySpec{TPM: hash})
			there.Namespace, there.Labels = "tenant-b", map[string]string{v1.LabelRegistration: "theirs"}
			return []*v1.MachineInventory{there}
		}, "this machine belongs to another registration"},
		{"two inventories of one TPM", func(hash string) []*v1.MachineInventory {
			return []*v1.MachineInventory{inventory("a", v1.MachineInventorySpec{TPM: hash}), inventory("b", v1.MachineInventorySpec{TPMHash: hash})}
		}, "this machine is registered more than once"},
		{"S23: its name is another's", func(hash string) []*v1.MachineInventory {
			return []*v1.MachineInventory{inventory("m-"+hash[:10], v1.MachineInventorySpec{TPM: strings.Repeat("0", 64)})}
		}, "this machine's name is taken"},
		{"its inventory is being deleted: what it was told now would not hold", func(hash string) []*v1.MachineInventory {
			there := inventory("m", v1.MachineInventorySpec{TPM: hash})
			there.DeletionTimestamp, there.Finalizers = &now, []string{v1.FinalizerClusterToken}
			return []*v1.MachineInventory{there}
		}, "this machine's inventory is being deleted"},
	} {
		t.Run(c.why, func(t *testing.T) {
			client := newMachine(t)
			w := newWorld(t)
			for _, there := range c.there(client.TPM.EndorsementHash()) {
				w.Put(there)
			}
			before := w.Inventories.Names()
			registration := edge()
			registration.Spec.MachineName = "m"
			w.Put(registration)
			require.Equal(t, c.want, w.register(t, client, nuc))
			require.Equal(t, before, w.Inventories.Names())
			for _, there := range w.Inventories.All() {
				require.Nil(t, there.Spec.SMBIOS, "nothing of it is touched")
			}
		})
	}
}

// W44, B2: success is sent when the object is stored. When that fails, the machine hears so, in the place of a config.
func TestFailedSaveIsNoSuccess(t *testing.T) {
	w := newWorld(t)
	client := newMachine(t)
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb == "create" {
			return errors.New("etcdserver: mvcc: database space exceeded at 10.0.0.7")
		}
		return nil
	}
	require.Equal(t, "the machine could not be saved", w.register(t, client, nuc), "and the API server's words stay inside")
	w.Fail = nil
	require.Contains(t, w.register(t, client, nuc), `"hostname"`)
}

// The API server has saved the inventory, and its answer was lost: the machine is registered, and told of like any other.
func TestLostAnswerOfASave(t *testing.T) {
	w := newWorld(t)
	client := newMachine(t)
	w.Fail = func(request memoryapi.Request) error {
		if request.Verb != "create" {
			return nil
		}
		made := inventory(request.Name, v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash()})
		made.Labels = map[string]string{v1.LabelRegistration: "edge", v1.LabelAssurance: v1.AssuranceFirstUse}
		w.Put(made)
		return io.ErrUnexpectedEOF
	}
	require.Contains(t, w.register(t, client, nuc), `"hostname"`)
	require.Contains(t, <-w.recorder.Events, "MachineRegistered")
	require.EqualValues(t, 1, w.server.Enrolled().New)
}

// The same hash for one key, whatever kind of key it is.
func TestIdentityIsTheEndorsementKey(t *testing.T) {
	for _, kind := range []tpm.KeyType{tpm.RSA2048, tpm.ECCP256} {
		w := newWorld(t)
		prover := newTPM(t, kind)
		w.register(t, &machine.OldClient{TPM: prover}, nil)
		require.Equal(t, prover.EndorsementHash(), w.Inventories.All()[0].Spec.TPM)
	}
}

// What somebody merely wrote in another namespace takes nothing from a machine (B14).
func TestInventoryWrittenElsewhere(t *testing.T) {
	client := newMachine(t)
	wish := inventory("wish", v1.MachineInventorySpec{TPM: client.TPM.EndorsementHash()})
	wish.Namespace = "tenant-b"
	w := newWorld(t, wish)
	require.Contains(t, w.register(t, client, nuc), `"hostname"`)
	require.Len(t, w.Inventories.Names(), 2)
}

// guarded adds a second registration to the namespace, and returns its path.
func (w world) guarded(admission *v1.AdmissionSpec) (path string) {
	token := strings.Repeat("z", len(goodToken))
	registration, secret := edge(), tokenSecret("guarded")
	registration.Name, registration.Spec.Admission = "guarded", admission
	registration.Spec.CloudConfig.Raw = []byte(`{"users":[{"name":"root","passwd":"GUARDED"}]}`)
	secret.Data["token"] = []byte(token)
	w.Put(registration, secret)
	return strings.TrimSuffix(registrationPath, goodToken) + token
}

// The mildest registration of a namespace opens no other one.
func TestAnotherRegistrationOfTheNamespace(t *testing.T) {
	w := newWorld(t)
	path := w.guarded(&v1.AdmissionSpec{Approval: v1.ApprovalManual, MaxMachines: new(1)})
	client := newMachine(t)
	ask := func(client *machine.OldClient) string {
		conversation, err := client.Register(t.Context(), w.url+path, nuc)
		require.NoError(t, err)
		return string(conversation.Final)
	}
	require.Contains(t, w.register(t, client, nuc), `"hostname"`)
	made := w.Inventories.All()[0]
	require.Nil(t, made.Spec.Approved)
	require.NotContains(t, ask(client), "GUARDED")

	made.Spec.Approved = new(true)
	w.Put(made)
	require.Contains(t, ask(client), "GUARDED")
	require.Equal(t, "edge", w.Inventories.All()[0].Labels[v1.LabelRegistration], "it stays where it came by")
	require.Contains(t, ask(client), "GUARDED", "its place is its own")

	other := newMachine(t)
	w.register(t, other, nil)
	for _, machine := range w.Inventories.All() {
		machine.Spec.Approved = new(true)
		w.Put(machine)
	}
	require.NotContains(t, ask(other), "GUARDED", "one machine and no more")

	registration := w.Registrations.All()[slices.IndexFunc(w.Registrations.All(), func(r *v1.MachineRegistration) bool { return r.Name == "guarded" })]
	registration.Spec.Paused = true
	w.Put(registration)
	require.NotContains(t, ask(client), "GUARDED")
}

// At two registrations in the same moment, a machine gets nothing that only one of them would give.
func TestTwoRegistrationsAtOnce(t *testing.T) {
	w := newWorld(t)
	path := w.guarded(&v1.AdmissionSpec{Approval: v1.ApprovalManual})
	for range 50 {
		client := newMachine(t)
		var both sync.WaitGroup
		for _, url := range []string{w.url + path, w.url + registrationPath} {
			both.Go(func() {
				conversation, err := client.Register(t.Context(), url, nil)
				if err == nil {
					assert.NotContains(t, string(conversation.Final), "GUARDED")
				}
			})
		}
		both.Wait()
	}
	require.Len(t, w.Inventories.All(), 50)
}
