package operator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// good are options that a deployment might use.
func good() Options {
	return Options{
		Namespace:             "cattle-rancheros-operator-system",
		TunnelSecretNamespace: "cattle-rancheros-operator-system", TunnelSecretName: "rancheros-operator-tunnel",
		HealthAddr: ":8081", MetricsAddr: ":8080", LeaderElect: true,
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		QPS: 500, Burst: 1000, Workers: 5, MaxInFlight: 1024,
	}
}

// pair writes a certificate and its key.
func pair(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}), 0o600))
	return certificate, key
}

// F25, which is about a file of CAs that is a Secret here, on the files that there are.
func TestValidateReadsTheCertificate(t *testing.T) {
	certificate, key := pair(t)
	_, another := pair(t)
	empty, garbage := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "garbage")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	require.NoError(t, os.WriteFile(garbage, []byte("not PEM"), 0o600))
	for why, files := range map[string][2]string{
		"missing": {"/no/such", key}, "a folder": {t.TempDir(), key}, "empty": {empty, key}, "no PEM": {garbage, key}, "a key in its place": {key, key},
		"a certificate in the key's place": {certificate, certificate}, "another's key": {certificate, another},
	} {
		options := good()
		options.ListenAddr, options.TLSCertFile, options.TLSKeyFile = ":8443", files[0], files[1]
		require.ErrorContains(t, options.Validate(), "reading --tls-cert-file and --tls-key-file", why)
	}
}

func TestValidateAccepts(t *testing.T) {
	certificate, key := pair(t)
	for why, change := range map[string]func(*Options){
		"as it ships":                      func(*Options) {},
		"a listener beside the tunnel":     func(o *Options) { o.ListenAddr = ":8443" },
		"a listener alone":                 func(o *Options) { o.ListenAddr, o.TunnelSecretName, o.TunnelSecretNamespace = "127.0.0.1:0", "", "" },
		"IPv6":                             func(o *Options) { o.ListenAddr = "[::1]:8443" },
		"no probes":                        func(o *Options) { o.HealthAddr = "" },
		"TLS":                              func(o *Options) { o.ListenAddr, o.TLSCertFile, o.TLSKeyFile = ":8443", certificate, key },
		"no metrics":                       func(o *Options) { o.MetricsAddr = "" },
		"alone, and then no lease matters": func(o *Options) { o.LeaderElect, o.Namespace, o.LeaseDuration = false, "", 0 },
		"boot media": func(o *Options) {
			o.MediaDir, o.MediaFolder, o.MediaCacheGiB, o.MediaMaxBaseGiB = "/var/media", "/mnt", 20, 8
		},
		"Secrets in all namespaces":  func(o *Options) { o.SecretNamespaces = []string{"*"} },
		"Secrets in some namespaces": func(o *Options) { o.SecretNamespaces = []string{"fleet-default", "fleet-local"} },
		"the least":                  func(o *Options) { o.QPS, o.Burst, o.Workers, o.MaxInFlight = 1, 1, 1, 1 },
		"the most":                   func(o *Options) { o.QPS, o.Burst, o.Workers, o.MaxInFlight = 10000, 20000, 100, 65536 },
	} {
		options := good()
		change(&options)
		require.NoError(t, options.Validate(), why)
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, c := range []struct {
		id     string
		change func(*Options)
		want   string
	}{
		{"F5 no namespace", func(o *Options) { o.Namespace = "" }, "--namespace must name the namespace of the lease"},
		{"F5 a namespace in capitals", func(o *Options) { o.Namespace = "Cattle" }, `--namespace must be a name in Kubernetes: lower-case letters, digits and '-', not "Cattle"`},
		{"F5 a namespace of 64 characters", func(o *Options) { o.Namespace = "a123456789012345678901234567890123456789012345678901234567890123" }, "--namespace must be a name"},
		{"F31 a namespace with a newline, from a file", func(o *Options) { o.Namespace += "\n" }, "--namespace must be a name"},
		{"a Secret without its namespace", func(o *Options) { o.TunnelSecretNamespace = "" }, "--tunnel-secret-namespace must be given with --tunnel-secret-name"},
		{"a Secret's namespace that is none", func(o *Options) { o.TunnelSecretNamespace = "a/b" }, "--tunnel-secret-namespace must be a name"},
		{"a Secret's name that is none", func(o *Options) { o.TunnelSecretName = "../x" }, "--tunnel-secret-name must be a name"},
		{"F8 no such kubeconfig", func(o *Options) { o.Kubeconfig = "/no/such" }, `--kubeconfig must be a file that can be read, and "/no/such" is not`},
		{"F8 a folder", func(o *Options) { o.Kubeconfig = os.TempDir() }, "--kubeconfig must be a file that can be read"},
		{"F14 renewing as long as the lease lasts", func(o *Options) { o.RenewDeadline = o.LeaseDuration }, "--lease-duration > --renew-deadline > --retry-period >= 1s must hold"},
		{"F14 trying less often than the deadline allows", func(o *Options) { o.RetryPeriod = o.RenewDeadline }, "--lease-duration > --renew-deadline"},
		{"F14 zero", func(o *Options) { o.RetryPeriod = 0 }, "not 15s, 10s, 0s"},
		{"F14 negative", func(o *Options) { o.RetryPeriod = -time.Second }, "--retry-period >= 1s"},
		{"F14, F15 a developer's 45 hours", func(o *Options) { o.LeaseDuration = 45 * time.Hour }, "the lease be at most 5m"},
		{"F18 a port beyond the last", func(o *Options) { o.HealthAddr = ":99999" }, `--health-addr must be host:port or :port, not ":99999"`},
		{"F18 no port", func(o *Options) { o.ListenAddr = "localhost" }, `--listen-addr must be host:port or :port, not "localhost"`},
		{"F18 no number", func(o *Options) { o.ListenAddr = ":https" }, "--listen-addr must be"},
		{"F18 a negative port", func(o *Options) { o.ListenAddr = ":-1" }, "--listen-addr must be"},
		{"F19 one address for both", func(o *Options) { o.ListenAddr = o.HealthAddr }, "--health-addr must differ from --listen-addr"},
		{"F19 in other words", func(o *Options) { o.ListenAddr = "127.0.0.1:8081" }, `--health-addr must differ from --listen-addr, which is "127.0.0.1:8081"`},
		{"F10 a context of nothing", func(o *Options) { o.KubeContext = "c" }, "--kube-context must be given with --kubeconfig"},
		{"F19 metrics where the probes are", func(o *Options) { o.MetricsAddr = o.HealthAddr }, "--metrics-addr must differ from --health-addr"},
		{"F19 metrics where machines are", func(o *Options) { o.ListenAddr, o.MetricsAddr = ":8443", ":8443" }, "--metrics-addr must differ"},
		{"F18 metrics beyond the last port", func(o *Options) { o.MetricsAddr = ":99999" }, `--metrics-addr must be host:port or :port, not ":99999"`},
		{"nobody could reach us", func(o *Options) { o.TunnelSecretName = "" }, "--listen-addr or --tunnel-secret-name must be given"},
		{"F20 none at once", func(o *Options) { o.MaxInFlight = 0 }, "--max-in-flight must be from 1 to 65536, not 0"},
		{"F20 negative", func(o *Options) { o.MaxInFlight = -1 }, "--max-in-flight"},
		{"F20 a million", func(o *Options) { o.MaxInFlight = 1e6 }, "--max-in-flight"},
		{"F26 no requests", func(o *Options) { o.QPS = 0 }, "--qps must be from 1 to 10000, not 0"},
		{"F26 negative", func(o *Options) { o.QPS = -5 }, "--qps"},
		{"F26 a burst below the average", func(o *Options) { o.Burst = o.QPS - 1 }, "--burst must be from 500 to 20000, not 499"},
		{"F27 no workers", func(o *Options) { o.Workers = 0 }, "--workers must be from 1 to 100, not 0"},
		{"F27 ten thousand", func(o *Options) { o.Workers = 10000 }, "--workers"},
		{"networks that are none", func(o *Options) { o.ChannelNetworks = []string{"127.0.0.0/8", "localhost"} }, `--channel-networks must be networks such as 127.0.0.0/8, not "localhost"`},
		{"a folder to copy from, and none to copy to", func(o *Options) { o.MediaFolder = "/mnt" }, "--media-dir must be given with --media-folder"},
		{"timers that are too late", func(o *Options) { o.TimerSlack = time.Second }, "--timer-slack must be between 0 and 10ms, not 1s"},
		{"timers that are early", func(o *Options) { o.TimerSlack = -1 }, "--timer-slack must be between 0 and 10ms, not -1ns"},
		{"a cache of nothing", func(o *Options) { o.MediaDir = "/var/media" }, "--media-cache-gib must be from 1 to 100000, not 0"},
		{"a base that is larger than the cache", func(o *Options) { o.MediaDir, o.MediaCacheGiB, o.MediaMaxBaseGiB = "/var/media", 5, 8 }, "--media-max-base-gib must be from 1 to 5, not 8"},
		{"a namespace that is none", func(o *Options) { o.SecretNamespaces = []string{"fleet-default", "Fleet"} }, `--secret-namespaces must be names of namespaces, or * for all, not "Fleet"`},
		{"an empty one", func(o *Options) { o.SecretNamespaces = []string{""} }, "--secret-namespaces must be names of namespaces"},
		{"all, and one", func(o *Options) { o.SecretNamespaces = []string{"*", "fleet-default"} }, "--secret-namespaces must be * alone"},
		{"half of TLS", func(o *Options) { o.TLSCertFile = "tls.crt" }, "--tls-cert-file and --tls-key-file must be given together"},
		{"the other half", func(o *Options) { o.TLSKeyFile = "tls.key" }, "--tls-cert-file and --tls-key-file must be given together"},
	} {
		options := good()
		c.change(&options)
		require.ErrorContains(t, options.Validate(), c.want, c.id)
	}
}

// F8: a kubeconfig that says nothing is found before anything runs.
func TestValidateReadsTheKubeconfig(t *testing.T) {
	for name, content := range map[string]string{"too large": strings.Repeat("#", maxKubeconfig+1), "empty": "", "garbage": "\x00\x01", "another": "kind: Pod\napiVersion: v1\n", "no-context": "apiVersion: v1\nkind: Config\n"} {
		file := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		options := good()
		options.Kubeconfig = file
		require.ErrorContains(t, options.Validate(), "--kubeconfig", name)
	}
	file := filepath.Join(t.TempDir(), "good")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443"}}], users: [{name: u, user: {token: t}}]}`), 0o600))
	options := good()
	options.Kubeconfig = file
	require.NoError(t, options.Validate())
	config, err := options.RESTConfig()
	require.NoError(t, err)
	options.KubeContext = "d"
	require.ErrorContains(t, options.Validate(), `--kube-context must be a context of `+file+`, and "d" is none`, "F10")
	require.Equal(t, []any{float32(500), 1000, "rancheros-operator"}, []any{config.QPS, config.Burst, config.UserAgent})
}

// F9: a kubeconfig may name a program to run, which is nothing that a file should decide.
func TestValidateAsksBeforeAProgramIsRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "exec")
	require.NoError(t, os.WriteFile(file, []byte(`{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],
		clusters: [{name: k, cluster: {server: "https://127.0.0.1:6443"}}],
		users: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: cloud-login, interactiveMode: Never}}}]}`), 0o600))
	options := good()
	options.Kubeconfig = file
	require.ErrorContains(t, options.Validate(), `runs the program "cloud-login" for its credentials: give --kubeconfig-exec if it may`)
	options.KubeconfigExec = true
	require.NoError(t, options.Validate())
}

// All problems at once, always in the same order.
func TestValidateReportsAll(t *testing.T) {
	bad := Options{ListenAddr: "x", HealthAddr: "y", LeaderElect: true, TLSKeyFile: "k"}
	first := bad.Validate().Error()
	for _, flag := range []string{"--listen-addr", "--health-addr", "--tls-cert-file", "--lease-duration", "--qps", "--burst", "--workers", "--max-in-flight", "--namespace"} {
		require.Contains(t, first, flag)
	}
	for range 20 {
		require.Equal(t, first, bad.Validate().Error())
	}
}
