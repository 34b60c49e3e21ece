package chart

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// refusals are bad values, by their number in the threat model, and what of Helm's answer leads to the way out.
var refusals = []struct{ id, values, want string }{
	{"X1 an empty repository", `image: {repository: ""}`, "/image/repository"},
	{"X1 a tag in the repository", `image: {repository: "rancher/rancheros-operator:v1"}`, "/image/repository"},
	{"X1 a scheme", `image: {repository: "https://registry.example.com/operator"}`, "/image/repository"},
	{"X2 a number", `image: {tag: 1.10}`, `image.tag is a number, 1.1, and YAML may have taken digits off it: quote it`},
	{"X3 a plus", `image: {tag: "v1.0.0+build"}`, "/image/tag"},
	{"X4 half a digest", `image: {digest: "sha256:abc"}`, "/image/digest"},
	{"X4 another algorithm", `image: {digest: "md5:d41d8cd98f00b204e9800998ecf8427e"}`, "/image/digest"},
	{"X5 a policy in lower case", `image: {imagePullPolicy: always}`, "/image/imagePullPolicy"},
	{"X7 negative", `replicas: -1`, "/replicas"},
	{"X7 text", `replicas: "2"`, "/replicas"},
	{"X7 fifty", `replicas: 50`, "/replicas"},
	{"X8 a number", `sync_interval: 60`, "sync_interval"},
	{"X8 nothing", `sync_interval: "0"`, "sync_interval"},
	{"X8 negative", `sync_interval: -1m`, "sync_interval"},
	{"X8 a second", `sync_interval: 1s`, "sync_interval"},
	{"X8 a space", `sync_interval: 60 m`, "sync_interval"},
	{"X8 a bad interval where there is one", `monitoring: {serviceMonitor: {interval: 60 m}}`, "/monitoring/serviceMonitor/interval"},
	{"X9 credentials", `proxy: "http://user:secret@proxy.example.com:3128"`, "/proxy"},
	{"X9 both", `{proxy: "http://proxy.example.com", proxySecret: proxy}`, "proxy and proxySecret exclude each other"},
	{"X12 a scheme", `global: {cattle: {systemDefaultRegistry: "https://registry.example.com"}}`, "/global/cattle/systemDefaultRegistry"},
	{"X13 a list", `nodeSelector: [a]`, "/nodeSelector"},
	{"X14 a map", `tolerations: {key: a}`, "/tolerations"},
	{"X15 memory without a unit", `resources: {limits: {memory: "512"}}`, "/resources/limits/memory"},
	{"X15 memory as a number", `resources: {limits: {memory: 512}}`, "/resources/limits/memory"},
	{"X15 no memory at all", `resources: {limits: {memory: lots}}`, "/resources/limits/memory"},
	{"X15 less than asked for", `resources: {limits: {memory: 64Mi}}`, "resources.limits.memory, 64Mi, must not be less than resources.requests.memory, 128Mi"},
	{"X15 fewer cores than asked for", `resources: {requests: {cpu: 1}, limits: {cpu: 500m}}`, "resources.limits.cpu, 500m, must not be less than"},
	{"X16 privileged", `securityContext: {privileged: true}`, "/securityContext/privileged"},
	{"X16 root", `podSecurityContext: {runAsUser: 0}`, "/podSecurityContext/runAsUser"},
	{"X16 a capability", `securityContext: {capabilities: {add: [NET_ADMIN]}}`, "capabilities"},
	{"X19 another namespace", `namespace: elsewhere`, "namespace"},
	{"X28 a kubeconfig", `extraEnv: [{name: KUBECONFIG, value: /x}]`, "extraEnv[0].name: KUBECONFIG is set by this chart"},
	{"X28 leases of 45 hours", `extraEnv: [{name: CATTLE_DEV_MODE, value: "1"}]`, "extraEnv[0].name: CATTLE_DEV_MODE is a switch for developers"},
	{"X28 ours", `extraEnv: [{name: LOG_LEVEL, value: debug}]`, "extraEnv[0].name: LOG_LEVEL is set by this chart"},
	{"X28 twice", `extraEnv: [{name: A, value: b}, {name: A, value: c}]`, "extraEnv[1].name: A is there twice"},
	{"X29 no leader", `extraArgs: ["--leader-elect=false"]`, "extraArgs[0]: --leader-elect=false would let two replicas work against each other"},
	{"X29 a flag that has a value", `extraArgs: ["--workers=7"]`, "extraArgs[0]: --workers is set by this chart"},
	{"X30 a second", `leaderElection: {leaseDuration: 1s}`, "leaderElection: leaseDuration > renewDeadline > retryPeriod >= 1s must hold"},
	{"X30 renewing longer than the lease", `leaderElection: {renewDeadline: 20s}`, "not 15s, 20s, 2s"},
	{"X30 trying less often", `leaderElection: {retryPeriod: 11s}`, "not 15s, 10s, 11s"},
	{"X30 45 hours", `leaderElection: {leaseDuration: 45h}`, "leaseDuration be at most 5m"},
	{"X30 no unit", `leaderElection: {leaseDuration: "15"}`, "/leaderElection/leaseDuration"},
	{"X31 a loud level", `logLevel: trace!!`, "/logLevel"},
	{"X32 a value of old", `hostbin: true`, "hostbin"},
	{"X33 a typing error", `tolerration: []`, "tolerration"},
	{"X35 a line break", `image: {tag: "v1\nmalicious: true"}`, "/image/tag"},
	{"X35 one in a name", `priorityClassName: "a\nb"`, "/priorityClassName"},
	{"X38 all must stay", `podDisruptionBudget: {minAvailable: 2}`, "podDisruptionBudget.minAvailable, 2, must be less than replicas, 2"},
	{"X39 a port that is none", `networkPolicy: {apiServerPorts: [0]}`, "/networkPolicy/apiServerPorts/0"},
	{"X40 none", `registration: {maxInFlight: 0}`, "/registration/maxInFlight"},
	{"X40 negative", `registration: {maxInFlight: -1}`, "/registration/maxInFlight"},
	{"X40 a milliard", `registration: {maxInFlight: 1000000000}`, "/registration/maxInFlight"},
	{"X41 any machine: registrations say who may, never the chart", `trust: {default: any}`, "trust"},
	{"X41 not even on purpose", `{trust: {default: any}, iUnderstandAnyMachineCanJoin: true}`, "trust"},
	{"X42 an old TLS: there is no switch", `tls: {minVersion: "1.0"}`, "tls"},
	{"X42 nor at the listener", `registration: {listener: {tls: {minVersion: "1.0"}}}`, "tls"},
	{"X43 text", `imagePullSecrets: [regcred]`, `imagePullSecrets[0] is the text "regcred": write it as an object, {name: regcred}`},
	{"nobody could register", `registration: {tunnel: {enabled: false}}`, "enable registration.tunnel or registration.listener"},
	{"an Ingress to nothing", `registration: {listener: {ingress: {enabled: true, host: a.example.com}}}`, "set registration.listener.enabled"},
	{"an Ingress for all hosts", `registration: {listener: {enabled: true, ingress: {enabled: true}}}`, "registration.listener.ingress.host must name"},
	{"one port for two things", `registration: {listener: {enabled: true, port: 8081}}`, "registration.listener.port, 8081, is that of probes or metrics"},
	{"all namespaces, and one", `secretNamespaces: ["*", fleet-default]`, `secretNamespaces: "*" is all namespaces`},
	{"no namespace", `secretNamespaces: []`, "/secretNamespaces"},
	{"a base larger than the cache", `media: {enabled: true, cacheGiB: 5}`, "media.maxBaseGiB, 8, must not be more than media.cacheGiB, 5"},
	{"a volume smaller than the cache", `media: {enabled: true, volume: {size: 5Gi}}`, "media.volume.size, 5Gi, must not be less than media.cacheGiB, 20"},
	{"network boot of nobody", `netboot: {enabled: true}`, "netboot.config must say which machines boot"},
	{"two configurations", `netboot: {configSecret: a, config: {httpPort: 80}}`, "netboot.configSecret is instead of netboot.config"},
	{"a CA that is none", `netboot: {ca: "-----BEGIN PRIVATE KEY-----"}`, "/netboot/ca"},
	{"a burst below the average", `apiClient: {burst: 10}`, "apiClient.burst, 10, must not be less than apiClient.qps, 500"},
}

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, c := range refusals {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			output, err := helm(t, c.values, "template", operator, chart(operator), "--namespace", namespace)
			require.Error(t, err, output)
			require.Contains(t, output, c.want)
		})
	}
}

// Every problem of the values is reported, not the first alone.
func TestRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	output, err := helm(t, `{imagePullSecrets: [a], leaderElection: {retryPeriod: 11s}, extraEnv: [{name: QPS, value: "1"}], podDisruptionBudget: {minAvailable: 5}}`,
		"template", operator, chart(operator))
	require.Error(t, err)
	for _, want := range []string{"imagePullSecrets[0]", "leaderElection", "extraEnv[0]", "podDisruptionBudget.minAvailable"} {
		require.Contains(t, output, want)
	}
}

// The other rows of the threat model: what is odd and allowed, each with what comes of it.
func TestAllowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, values string
		want       []string
		never      []string
	}{
		{"X6 the release's own image", ``, []string{`image: "rancher/rancheros-operator:v0.1.0"`}, []string{":dev"}},
		{"X7 none", `replicas: 0`, []string{"replicas: 0"}, []string{"PodDisruptionBudget"}},
		{"X10 a list", `{proxySecret: p, noProxy: [10.0.0.0/8, example.com]}`, []string{`value: "10.0.0.0/8,example.com,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"`}, nil},
		{"X10 spaces, X11 .svc is there", `{proxy: "http://proxy.example.com", noProxy: "10.0.0.0/8, .svc"}`, []string{`value: "10.0.0.0/8,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)"`}, nil},
		{"X12 a slash at the end", `global: {cattle: {systemDefaultRegistry: "registry.example.com:5000/"}}`, []string{`image: "registry.example.com:5000/rancher/rancheros-operator:v0.1.0"`}, nil},
		{"X12 an image that names its registry", `{global: {cattle: {systemDefaultRegistry: a.example.com}}, image: {repository: b.example.com/operator}}`, []string{`image: "b.example.com/operator:v0.1.0"`}, nil},
		{"X4 a digest counts", `image: {digest: "sha256:` + strings.Repeat("a", 64) + `", tag: v9}`, []string{`rancher/rancheros-operator@sha256:aaa`}, []string{":v9"}},
		{"X17 an account of somebody else", `serviceAccount: {create: false, name: mine}`, []string{`serviceAccountName: "mine"`}, []string{"kind: ServiceAccount\n"}},
		{"X18 rights of somebody else", `{rbac: {create: false}, userRoles: {create: false}}`, nil, []string{"kind: ClusterRole", "kind: RoleBinding"}},
		{"X34 null is the default of a map", `{nodeSelector: null, podLabels: null, tolerations: null, extraEnv: null, extraArgs: null, imagePullSecrets: null}`, []string{"kind: Deployment"}, []string{"nodeSelector"}},
		{"X36 no template of a template", `podAnnotations: {a: "{{ .Release.Name }}"}`, []string{`'{{ .Release.Name }}'`}, nil},
		{"X39 other ports", `networkPolicy: {apiServerPorts: [16443]}`, []string{"{protocol: TCP, port: 16443}"}, nil},
		{"X41 what Rancher adds to global is Rancher's", `global: {cattle: {clusterId: local, url: "https://rancher.example.com"}, systemDefaultRegistry: ""}`, []string{"kind: Deployment"}, nil},
		{"X44 a class that may not exist", `priorityClassName: system-cluster-critical`, []string{`priorityClassName: "system-cluster-critical"`}, nil},
	} {
		t.Run(c.id, func(t *testing.T) {
			t.Parallel()
			output := render(t, c.values)
			for _, want := range c.want {
				require.Contains(t, output, want)
			}
			for _, never := range c.never {
				require.NotContains(t, output, never)
			}
		})
	}
}

// X21: Helm itself has a limit for the names of releases, and none of our names depends on one.
func TestLongReleaseName(t *testing.T) {
	t.Parallel()
	for length, want := range map[int]bool{53: true, 60: false} {
		output, err := helm(t, "", "template", strings.Repeat("r", length), chart(operator), "--namespace", namespace)
		require.Equal(t, want, err == nil, output)
		if want {
			require.Contains(t, output, "kind: Deployment\nmetadata:\n  name: rancheros-operator\n")
		}
	}
}

// X24
func TestOldKubernetes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{operator, operator + "-crd"} {
		output, err := helm(t, "", "template", name, chart(name), "--kube-version", "1.20.0")
		require.Error(t, err)
		require.Contains(t, output, "chart requires kubeVersion: >= 1.30.0-0")
	}
}
