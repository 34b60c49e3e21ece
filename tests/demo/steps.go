package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/tests/harness"
	"github.com/rancher/rancheros-operator/tests/machine"
)

const (
	cluster   = "elemental-demo-cluster"
	namespace = "default"
	// patience bounds each wait; on an idle machine every one of them takes less than a second.
	patience = 30 * time.Second
)

// demo carries what the steps hand on to each other.
type demo struct {
	*narrator
	world    *harness.World
	seeds    string
	url      string
	machines []*pretendMachine
}

type pretendMachine struct {
	*machine.Machine
	name, role string
}

type step struct {
	title string
	run   func(context.Context) error
}

func (d *demo) steps() []step {
	return []step{
		{"A registration URL", d.createRegistration},
		{"Three machines register through Rancher, each with its own TPM", d.registerMachines},
		{"A machine is assigned to a cluster that does not exist yet", d.assignFirst},
		{"The cluster appears, and the other machines are assigned as well", d.createCluster},
		{"Each machine asks for its cluster, and joins", d.join},
		{"The cluster's OS is upgraded", d.upgrade},
	}
}

func (d *demo) createRegistration(ctx context.Context) error {
	if err := d.apply(ctx, "000-machineregistration.yaml"); err != nil {
		return err
	}
	if err := d.waitReady(ctx, "machineregistration/default"); err != nil {
		return err
	}
	if err := d.show(ctx, "describe", "machineregistration", "default"); err != nil {
		return err
	}
	var err error
	d.url, err = d.world.Kubectl(ctx, "get", "machineregistration", "default", "-o", "jsonpath={.status.registrationURL}")
	if err != nil {
		return err
	}
	d.say("a plain GET of the URL answers with what to put on an ISO:")
	client := &machine.OldClient{TLS: d.world.TLS()}
	sample, _, err := client.Sample(ctx, d.url)
	if err != nil {
		return err
	}
	d.command("curl -s --cacert rancher-ca.pem $(kubectl get machineregistration default -o jsonpath={.status.registrationURL})", sample)
	return nil
}

func (d *demo) registerMachines(ctx context.Context) error {
	caFile := filepath.Join(d.world.Dir, "rancher-ca.pem")
	if err := os.WriteFile(caFile, d.world.Rancher.CACert(), 0o600); err != nil {
		return fmt.Errorf("writing Rancher's CA: %w", err)
	}
	for i, role := range []string{"server", "agent", "agent"} {
		hardware := machine.Hardware{
			Manufacturer: "Edge Systems", Product: "NUC 12",
			Serial: fmt.Sprintf("ES-%04d", 1001+i), UUID: fmt.Sprintf("3d3e8a40-0000-4000-8000-%012d", i+1),
		}
		m, err := machine.New(filepath.Join(d.world.Dir, fmt.Sprintf("machine-%d", i+1)), filepath.Join(d.world.Bin(), "rancheros-register"), hardware)
		if err != nil {
			return err
		}
		d.sayf("switching on machine %d", i+1)
		result, err := m.Register(ctx, d.url, caFile)
		if err != nil {
			return err
		}
		d.command("rancheros-register register --url <registration URL> --ca-file rancher-ca.pem", result.Stderr+result.Stdout)
		if result.ExitCode != 0 {
			return fmt.Errorf("machine %d could not register: exit code %d", i+1, result.ExitCode)
		}
		name, err := m.Hostname()
		if err != nil {
			return err
		}
		d.machines = append(d.machines, &pretendMachine{Machine: m, name: name, role: role})
	}
	return d.show(ctx, "get", "machineinventories")
}

func (d *demo) assignFirst(ctx context.Context) error {
	if err := d.assign(ctx, d.machines[0]); err != nil {
		return err
	}
	waiting := func() error {
		return d.expect(ctx, d.machines[0], "WaitingForCluster")
	}
	if err := harness.Eventually(ctx, patience, waiting); err != nil {
		return err
	}
	return d.show(ctx, "get", "machineinventories")
}

func (d *demo) createCluster(ctx context.Context) error {
	if err := d.apply(ctx, "000-cluster.yaml"); err != nil {
		return err
	}
	for _, m := range d.machines[1:] {
		if err := d.assign(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range d.machines {
		if err := harness.Eventually(ctx, patience, func() error { return d.expect(ctx, m, "TokenReady") }); err != nil {
			return err
		}
	}
	if err := d.show(ctx, "get", "machineinventories"); err != nil {
		return err
	}
	return d.show(ctx, "get", "clusterregistrationtokens", "--all-namespaces", "-L", "rancheros.cattle.io/machine")
}

func (d *demo) join(ctx context.Context) error {
	for _, m := range d.machines {
		dryRun, err := m.JoinCommand(ctx)
		if err != nil {
			return err
		}
		if dryRun.ExitCode != 0 {
			return fmt.Errorf("machine %s got no join command: %s", m.name, dryRun.Stderr)
		}
		d.command("rancheros-register join --dry-run     # on "+m.name, dryRun.Stdout)
		// A machine runs this by itself, as `rancheros-register join`; a pretend one must not change the host.
		joined, err := exec.CommandContext(ctx, "sh", "-c", dryRun.Stdout).CombinedOutput()
		if err != nil {
			return fmt.Errorf("machine %s could not join: %w: %s", m.name, err, joined)
		}
	}
	d.say("Rancher knows them as nodes of the cluster:")
	return d.show(ctx, "get", "nodes.management.cattle.io", "--all-namespaces")
}

func (d *demo) upgrade(ctx context.Context) error {
	manifest, err := os.ReadFile(filepath.Join(d.seeds, "000-managedosimage.yaml"))
	if err != nil {
		return fmt.Errorf("reading manifest: %w", err)
	}
	image := strings.ReplaceAll(string(manifest), "<your new image tag>", "rancher/os2:v0.1.0")
	output, err := d.world.Apply(ctx, image)
	if err != nil {
		return err
	}
	d.command("kubectl apply -f demo-update.yaml", image+output)
	if err := d.wait(ctx, "Delivered", "managedosimage/demo-update"); err != nil {
		return err
	}
	if err := d.wait(ctx, "Ready", "managedosimage/demo-update"); err != nil {
		return err
	}
	if err := d.show(ctx, "get", "managedosimages"); err != nil {
		return err
	}
	d.say("the Fleet Bundle carries the plan to the cluster:")
	if err := d.show(ctx, "get", "bundles", "mos-demo-update", "-o", `jsonpath={.spec.resources[?(@.name=="plan.yaml")].content}`); err != nil {
		return err
	}
	delivered := d.world.Rancher.Delivered(namespace, cluster)
	if len(delivered) == 0 {
		return errors.New("nothing has arrived in the cluster")
	}
	d.say("and in the cluster have arrived:")
	fmt.Println()
	for _, object := range delivered {
		fmt.Printf("         %s %s\n", object.GetKind(), object.GetName())
	}
	return nil
}

func (d *demo) apply(ctx context.Context, manifest string) error {
	body, err := os.ReadFile(filepath.Join(d.seeds, manifest))
	if err != nil {
		return fmt.Errorf("reading manifest: %w", err)
	}
	output, err := d.world.Apply(ctx, string(body))
	if err != nil {
		return err
	}
	_, name, _ := strings.Cut(manifest, "-")
	d.command("kubectl apply -f "+name, string(body)+output)
	return nil
}

func (d *demo) assign(ctx context.Context, m *pretendMachine) error {
	patch := fmt.Sprintf(`{"spec":{"clusterName":%q,"config":{"role":%q}}}`, cluster, m.role)
	return d.show(ctx, "patch", "machineinventory", m.name, "--type", "merge", "-p", patch)
}

func (d *demo) expect(ctx context.Context, m *pretendMachine, reason string) error {
	got, err := d.world.Kubectl(ctx, "get", "machineinventory", m.name, "-o",
		`jsonpath={.status.conditions[?(@.type=="ClusterAssigned")].reason}`)
	if err == nil && got != reason {
		err = fmt.Errorf("machine %s is at %q, not at %s", m.name, got, reason)
	}
	return err
}

func (d *demo) waitReady(ctx context.Context, object string) error {
	return d.wait(ctx, "Ready", object)
}

func (d *demo) wait(ctx context.Context, condition, object string) error {
	return d.show(ctx, "wait", "--for=condition="+condition, object, "--timeout="+patience.String())
}

// show runs kubectl and prints the command and its output.
func (d *demo) show(ctx context.Context, args ...string) error {
	output, err := d.world.Kubectl(ctx, args...)
	if err != nil {
		return err
	}
	d.command("kubectl "+quoted(args), output)
	return nil
}

// quoted makes of the arguments what a shell would take for them.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		if strings.ContainsAny(arg, ` "{}$()*?@'`) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words[i] = arg
	}
	return strings.Join(words, " ")
}
