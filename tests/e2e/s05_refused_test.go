package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Bad values are refused at `kubectl apply`, each with a sentence that names the field and the way out.
func Test05RefusedAtApply(t *testing.T) {
	ns := namespace(t, "s05-refused")
	hash := strings.Repeat("ab", 32)
	image := func(spec string) string { return "ManagedOSImage\nspec: {osImage: rancher/os2, " + spec + "}" }
	config := func(config string) string { return "MachineInventory\nspec: {config: {" + config + "}}" }
	claim := func(pools string) string { return "MachineClaim\nspec: {clusterName: site, pools: [" + pools + "]}" }
	pool := func(spec string) string { return claim("{name: a, replicas: 1, role: agent, " + spec + "}") }
	channel := func(spec string) string { return "ManagedOSVersionChannel\nspec: {" + spec + "}" }
	for _, test := range []struct{ id, manifest, want string }{
		{"C1 unknown field", "MachineRegistration\nspec: {cloudconfig: {}}", `unknown field "spec.cloudconfig"`},
		{"C8 machineName with a newline", `MachineRegistration` + "\nspec: {machineName: \"a\\nb\"}", "one line without control characters"},
		{"C8 machineName of 10 kB", "MachineRegistration\nspec: {machineName: " + strings.Repeat("x", 10<<10) + "}", "512"},
		{"C10 label key", "MachineRegistration\nspec: {machineInventoryLabels: {\"a b\": c}}", "is not a label key"},
		{"C10 label value", "MachineRegistration\nspec: {machineInventoryLabels: {a: \"b c\"}}", "is not a label value"},
		{"C11 our own prefix", "MachineRegistration\nspec: {machineInventoryLabels: {rancheros.cattle.io/registration: x}}", "the operator's own"},
		{"C11 our own prefix", "MachineRegistration\nspec: {machineInventoryAnnotations: {rancheros.cattle.io/x: x}}", "the operator's own"},
		{"C12 cloudConfig as a list", "MachineRegistration\nspec: {cloudConfig: [a]}", "spec.cloudConfig"},
		{"C23 hash too short", "MachineInventory\nspec: {tpm: abc}", "64 lower-case hex digits"},
		{"C23 hash in upper case", "MachineInventory\nspec: {tpmHash: " + strings.ToUpper(hash) + "}", "64 lower-case hex digits"},
		{"C23 hash with a prefix", "MachineInventory\nspec: {tpm: sha256-" + hash + "}", "64 lower-case hex digits"},
		{"two hashes", "MachineInventory\nspec: {tpm: " + hash + ", tpmHash: " + strings.Repeat("cd", 32) + "}", "mean the same"},
		{"C28 clusterName", "MachineInventory\nspec: {clusterName: ../x}", "must be the name of a Cluster"},
		{"C28 clusterName", "MachineInventory\nspec: {clusterName: Upper}", "must be the name of a Cluster"},
		{"C28 clusterNamespace", "MachineInventory\nspec: {clusterName: a, clusterNamespace: ../x}", "must be the name of a namespace"},
		{"C28 clusterNamespace", "MachineInventory\nspec: {clusterName: a, clusterNamespace: \"*\"}", "must be the name of a namespace"},
		{"replaces itself", "MachineInventory\nspec: {replaces: bad}", "must name another MachineInventory"},
		{"replaces a path", "MachineInventory\nspec: {replaces: other/m}", "must be the name of a MachineInventory"},
		{"C32 role", config("role: root"), "role must be server, agent or cluster-init"},
		{"C32 role", config(`role: "server,agent"`), "role must be server, agent or cluster-init"},
		{"C32 role", config(`role: ""`), "role must be server, agent or cluster-init"},
		{"C32 role", config(`role: " server"`), "role must be server, agent or cluster-init"},
		{"C33 nodeName", config("nodeName: Upper"), "nodeName must be a DNS name"},
		{"S24 nodeName", config("nodeName: localhost"), "not localhost"},
		{"C34 address", config(`address: "1.2.3.4 --foo"`), "address must be an IP address or a DNS name"},
		{"C34 address", config(`internalAddress: "$(id)"`), "internalAddress must be an IP address or a DNS name"},
		{"C34 address with a zone", config(`address: "fe80::1%eth0"`), "address must be an IP address or a DNS name"},
		{"C35 label", config("labels: {node-role.kubernetes.io/etcd: \"true\"}"), "set role instead"},
		{"C35 label value", config(`labels: {a: "b c"}`), "is not a label value"},
		{"C37 label value", config(`labels: {a: "b,c=d"}`), "is not a label value"},
		{"C36 taint effect", config("taints: [{key: a, effect: Never}]"), "NoSchedule"},
		{"C36 taint key", config("taints: [{key: \"\", effect: NoSchedule}]"), "a taint's key must be a label key"},
		{"C36 taint twice", config("taints: [{key: a, effect: NoSchedule}, {key: a, value: b, effect: NoSchedule}]"), "the same key and effect twice"},
		{"C36 taint value", config("taints: [{key: a, value: " + strings.Repeat("x", 64) + ", effect: NoSchedule}]"), "a taint's value must be a label value"},
		{"claim without a cluster", "MachineClaim\nspec: {pools: [{name: a, replicas: 1, role: agent}]}", "spec.clusterName"},
		{"claim of a foreign cluster", "MachineClaim\nspec: {clusterName: other/site, pools: [{name: a, replicas: 1, role: agent}]}", "must be the name of a Cluster"},
		{"claim without pools", claim(""), "spec.pools"},
		{"claim's pools of one name", claim("{name: a, replicas: 1, role: agent}, {name: a, replicas: 2, role: server}"), "pools must not hold the same name twice"},
		{"claim's pool name", claim("{name: A b, replicas: 1, role: agent}"), "a pool's name must be made of"},
		{"claim's replicas", claim("{name: a, replicas: -1, role: agent}"), "replicas must be between 0 and 1000"},
		{"claim's replicas", claim("{name: a, replicas: 1001, role: agent}"), "replicas must be between 0 and 1000"},
		{"claim's role", claim("{name: a, replicas: 1, role: root}"), "role must be server, agent or cluster-init"},
		{"claim without role", claim("{name: a, replicas: 1}"), "spec.pools[0].role"},
		{"claim's role in its config", pool("config: {role: server}"), "set the pool's role"},
		{"claim's node name", pool("config: {nodeName: n1}"), "they are each machine's own"},
		{"claim's node label", pool(`config: {labels: {a: "b c"}}`), "is not a label value"},
		{"claim's unknown field", pool("labels: {a: b}"), `unknown field "spec.pools[0].labels"`},
		{"claim's selector key", pool(`selector: {matchLabels: {"a b": c}}`), "a key of matchLabels is not a label key"},
		{"claim's selector value", pool(`selector: {matchLabels: {a: "b c"}}`), "a value of matchLabels is not a label value"},
		{"claim's selector operator", pool("selector: {matchExpressions: [{key: a, operator: Near}]}"), `"DoesNotExist"`},
		{"claim's selector without values", pool("selector: {matchExpressions: [{key: a, operator: In}]}"), "values must be given with the operators In and NotIn"},
		{"claim's selector with values", pool("selector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}"), "and left out with Exists and DoesNotExist"},
		{"C44 image with a space", "ManagedOSImage\nspec: {osImage: \"a b\"}", "osImage must be an image reference"},
		{"C44 image with a command", "ManagedOSImage\nspec: {osImage: \"a;$(id)\"}", "osImage must be an image reference"},
		{"C44 image in upper case", "ManagedOSImage\nspec: {osImage: Rancher/OS2}", "osImage must be an image reference"},
		{"C44 image with a short digest", "ManagedOSImage\nspec: {osImage: \"a@sha256:abc\"}", "osImage must be an image reference"},
		{"C45 concurrency", image("concurrency: -1"), "concurrency"},
		{"C45 concurrency", image("concurrency: 1000000000"), "concurrency"},
		{"C47 timeout", image("drain: {timeout: -5m}"), "timeout must be a duration such as 5m"},
		{"C47 timeout", image("drain: {timeout: 1e9h}"), "timeout must be a duration such as 5m"},
		{"C47 timeout", image("drain: {timeout: 999999h}"), "timeout must be a duration such as 5m"},
		{"C47 gracePeriod", image("drain: {gracePeriod: -2}"), "gracePeriod must be a duration such as 5m"},
		{"C47 gracePeriod", image("drain: {gracePeriod: soon}"), "gracePeriod must be a duration such as 5m"},
		{"C48 no image", image("prepare: {command: [sh]}"), "prepare.image"},
		{"C48 command as a string", image("prepare: {image: a, command: sh}"), "prepare.command"},
		{"C50 empty target", image("clusterTargets: [{name: a}]"), "clusterSelector: {} selects every cluster"},
		{"C52 strategy", image("clusterRolloutStrategy: {maxUnavailable: 200%}"), "maxUnavailable must be a number of clusters or a percentage"},
		{"C52 strategy", image("clusterRolloutStrategy: {maxUnavailable: -1}"), "maxUnavailable must be a number of clusters or a percentage"},
		{"failures that cannot be seen", image("maxFailures: 3, cordon: false, drain: null"), "maxFailures needs cordon or drain"},
		{"no failures at all", image("maxFailures: 0"), "maxFailures"},
		{"nodeTimeout", image("nodeTimeout: soon"), "nodeTimeout must be a duration such as 90m"},
		{"nodeTimeout", image("nodeTimeout: 0"), "nodeTimeout must be a duration such as 90m"},
		{"two lists of targets", image("targets: [{clusterName: a}], clusterTargets: [{clusterName: b}]"), "mean the same"},
		{"C58 channel without type", channel("options: {uri: \"https://example.com\"}"), "spec.type"},
		{"C58 json without options", channel("type: json"), "options.uri"},
		{"C58 type in upper case", channel("type: JSON"), `"json"`},
		{"C59 http", channel("type: json, options: {uri: \"http://example.com\"}"), "uri must be an https address"},
		{"C59 no URL", channel("type: json, options: {uri: \"::::\"}"), "uri must be an https address"},
		{"C59 password", channel("type: json, options: {uri: \"https://a:b@example.com\"}"), "uri must be an https address"},
		{"C60 interval", channel("type: json, options: {uri: \"https://example.com\"}, pollInterval: 1s"), "pollInterval must be a duration"},
		{"C60 interval", channel("type: json, options: {uri: \"https://example.com\"}, pollInterval: 999999999h"), "pollInterval must be a duration"},
		{"C61 timeout", channel("type: json, options: {uri: \"https://example.com\", timeout: 1000h}"), "timeout must be a duration"},
		{"C62 custom without image", channel("type: custom, options: {command: [sh]}"), "options.image"},
	} {
		t.Run(test.id, func(t *testing.T) {
			kind, spec, _ := strings.Cut(test.manifest, "\n")
			_, err := world.Apply(t.Context(), fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: %s\nmetadata: {name: bad, namespace: %s}\n%s\n", kind, ns, spec))
			require.ErrorContains(t, err, test.want)
		})
	}
}

// A long name would become a label value, or a hostname, that is too long.
func Test05LongNames(t *testing.T) {
	claim := "{clusterName: a, pools: [{name: a, replicas: 0, role: agent}]}"
	for kind, spec := range map[string]string{"MachineRegistration": "{}", "MachineInventory": "{}", "ManagedOSImage": "{}", "MachineClaim": claim} {
		_, err := world.Apply(t.Context(), fmt.Sprintf("apiVersion: rancheros.cattle.io/v1\nkind: %s\nmetadata: {name: %s, namespace: default}\nspec: %s\n", kind, strings.Repeat("x", 64), spec))
		require.ErrorContains(t, err, "at most 63 characters", kind)
	}
}

// An identity, once bound, never changes: another TPM cannot take an inventory over.
func Test05IdentityIsImmutable(t *testing.T) {
	ns := namespace(t, "s05-identity")
	one, two := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	manifest := "apiVersion: rancheros.cattle.io/v1\nkind: MachineInventory\nmetadata: {name: m, namespace: " + ns + "}\nspec: {%s}\n"
	apply(t, fmt.Sprintf(manifest, "tpm: "+one))
	for _, spec := range []string{"tpm: " + two, "tpmHash: " + two, ""} {
		_, err := world.Apply(t.Context(), fmt.Sprintf(manifest, spec))
		require.ErrorContains(t, err, "cannot be changed or removed", spec)
	}
	apply(t, fmt.Sprintf(manifest, "tpmHash: "+one)) // The same identity under its other name.
}

func Test05TargetsInFleetLocal(t *testing.T) {
	for _, field := range []string{"clusterTargets", "targets"} {
		_, err := world.Apply(t.Context(), fmt.Sprintf(imageManifest, "bad", "fleet-local", `{osImage: rancher/os2, `+field+`: [{clusterName: x}]}`))
		require.ErrorContains(t, err, "must be empty in fleet-local", field)
	}
}
