package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // Windows name time zones, and the image has no zoneinfo of its own.

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/rancher/rancheros-operator/pkg/operator"
)

func runCommand() *cli.Command {
	var options operator.Options
	var logLevel, logFormat string
	flags := slices.Concat(kubeFlags(&options), connectionFlags(&options), serverFlags(&options), mediaFlags(&options), logFlags(&logLevel, &logFormat), []cli.Flag{
		&cli.BoolFlag{Name: "print-config", EnvVars: []string{"PRINT_CONFIG"},
			Usage: "print every flag with the value that counts and where it comes from, and end"},
	})
	return &cli.Command{
		Name:         "run",
		Usage:        "runs the operator until it is told to stop",
		Flags:        flags,
		OnUsageError: onUsageError,
		Action: func(c *cli.Context) error {
			options.ChannelNetworks = listed(c.StringSlice("channel-networks"))
			options.SecretNamespaces = listed(c.StringSlice("secret-namespaces"))
			wrong := errors.Join(problems(c.App), noArguments(c), setLog(logLevel, logFormat), options.Validate())
			if wrong != nil {
				return usageError{wrong}
			}
			if c.Bool("print-config") {
				return callOf(c.App).Print(c, flags)
			}
			if err := operator.RelaxTimers(options.TimerSlack); err != nil {
				logrus.Warnf("going on without --timer-slack: %v", err)
			}
			warnOfForeignVariables()
			return operator.Run(c.Context, options)
		},
	}
}

// listed leaves out what is empty or there twice, as lists that are put together by templates are.
func listed(given []string) []string {
	var kept []string
	for _, item := range given {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(kept, item) {
			kept = append(kept, item)
		}
	}
	return kept
}

// warnOfForeignVariables names those by which other programs of Rancher's are told how to elect a leader: whoever sets one here
// must not believe that it does something. CATTLE_DEV_MODE would make a lease last for 45 hours there.
func warnOfForeignVariables() {
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if name == "CATTLE_DEV_MODE" || strings.HasPrefix(name, "CATTLE_ELECTION_") {
			logrus.Warnf("the variable %s has no effect here: leader election is set by --lease-duration, --renew-deadline and --retry-period", name)
		}
	}
}

// kubeFlags say which cluster, and as whom.
func kubeFlags(o *operator.Options) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "kubeconfig", EnvVars: []string{"KUBECONFIG"}, Destination: &o.Kubeconfig,
			Usage: "`FILE` to reach the API server with; without it, the pod's ServiceAccount"},
		&cli.StringFlag{Name: "kube-context", EnvVars: []string{"KUBE_CONTEXT"}, Destination: &o.KubeContext,
			Usage: "`NAME` of the context to use of that file; without it, its current one"},
		&cli.BoolFlag{Name: "kubeconfig-exec", EnvVars: []string{"KUBECONFIG_EXEC"}, Destination: &o.KubeconfigExec,
			Usage: "allow that file to run programs, which may give credentials"},
		&cli.StringFlag{Name: "namespace", EnvVars: []string{"NAMESPACE"}, Destination: &o.Namespace,
			Value: "cattle-rancheros-operator-system", Usage: "`NAMESPACE` of the operator's lease"},
	}
}

func connectionFlags(o *operator.Options) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "secret-namespaces", EnvVars: []string{"SECRET_NAMESPACES"}, Value: cli.NewStringSlice("*"),
			Usage: "`NAMESPACES` in which the operator may list and write Secrets, so that registrations, boot media and images with a cloud-config may be made there; * for all"},
		&cli.IntFlag{Name: "qps", EnvVars: []string{"QPS"}, Destination: &o.QPS, Value: 500,
			Usage: "most requests per second to the API server, on average"},
		&cli.IntFlag{Name: "burst", EnvVars: []string{"BURST"}, Destination: &o.Burst, Value: 1000,
			Usage: "most requests to the API server at once"},
		&cli.IntFlag{Name: "workers", EnvVars: []string{"WORKERS"}, Destination: &o.Workers, Value: 5,
			Usage: "how many objects of a kind are worked on at the same time"},
		&cli.DurationFlag{Name: "timer-slack", EnvVars: []string{"TIMER_SLACK"}, Destination: &o.TimerSlack,
			Usage: "how much later than asked for the kernel may wake the operator's threads, which saves CPU in virtual machines; 0 for what it has"},
		&cli.BoolFlag{Name: "leader-elect", EnvVars: []string{"LEADER_ELECT"}, Destination: &o.LeaderElect, Value: true,
			Usage: "run controllers only while holding the lease; false for a single replica"},
		&cli.BoolFlag{Name: "ignore-lease", EnvVars: []string{"IGNORE_LEASE"}, Destination: &o.IgnoreLease,
			Usage: "with --leader-elect=false, start although another replica holds the lease: both then write"},
		&cli.DurationFlag{Name: "lease-duration", EnvVars: []string{"LEASE_DURATION"}, Destination: &o.LeaseDuration, Value: 15 * time.Second,
			Usage: "how long other replicas wait before they take over from a silent leader"},
		&cli.DurationFlag{Name: "renew-deadline", EnvVars: []string{"RENEW_DEADLINE"}, Destination: &o.RenewDeadline, Value: 10 * time.Second,
			Usage: "how long the leader tries to renew its lease before it gives up"},
		&cli.DurationFlag{Name: "retry-period", EnvVars: []string{"RETRY_PERIOD"}, Destination: &o.RetryPeriod, Value: 2 * time.Second,
			Usage: "how long to wait between two tries to get or renew the lease"},
	}
}

func serverFlags(o *operator.Options) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "tunnel-secret-namespace", EnvVars: []string{"TUNNEL_SECRET_NAMESPACE"}, Destination: &o.TunnelSecretNamespace,
			Usage: "`NAMESPACE` of the Secret that Rancher fills for our APIService"},
		&cli.StringFlag{Name: "tunnel-secret-name", EnvVars: []string{"TUNNEL_SECRET_NAME"}, Destination: &o.TunnelSecretName,
			Usage: "`NAME` of that Secret; without it, machines reach the operator on --listen-addr only"},
		&cli.StringFlag{Name: "listen-addr", EnvVars: []string{"LISTEN_ADDR"}, Destination: &o.ListenAddr,
			Usage: "`HOST:PORT` to answer machines on directly, beside or instead of the tunnel"},
		&cli.StringFlag{Name: "tls-cert-file", EnvVars: []string{"TLS_CERT_FILE"}, Destination: &o.TLSCertFile,
			Usage: "PEM `FILE` of the listener's certificate; without it, plain HTTP for a proxy in front"},
		&cli.StringFlag{Name: "tls-key-file", EnvVars: []string{"TLS_KEY_FILE"}, Destination: &o.TLSKeyFile,
			Usage: "PEM `FILE` of the listener's key"},
		&cli.StringFlag{Name: "health-addr", EnvVars: []string{"HEALTH_ADDR"}, Destination: &o.HealthAddr, Value: ":8081",
			Usage: "`HOST:PORT` of /healthz and /readyz"},
		&cli.StringFlag{Name: "metrics-addr", EnvVars: []string{"METRICS_ADDR"}, Destination: &o.MetricsAddr, Value: ":8080",
			Usage: "`HOST:PORT` of /metrics, for Prometheus; empty for none"},
		&cli.BoolFlag{Name: "profile", EnvVars: []string{"PROFILE"}, Destination: &o.Profile,
			Usage: "serve Go's profiles on --health-addr, below /debug/pprof/"},
		&cli.StringSliceFlag{Name: "channel-networks", EnvVars: []string{"CHANNEL_NETWORKS"},
			Usage: "`NETWORKS`, such as 127.0.0.0/8, that channels may reach although they are the operator's own host or link-local"},
		&cli.IntFlag{Name: "max-in-flight", EnvVars: []string{"MAX_IN_FLIGHT"}, Destination: &o.MaxInFlight, Value: 1024,
			Usage: "most machines that are answered at the same time; the rest are told to come back"},
	}
}

func mediaFlags(o *operator.Options) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "media-dir", EnvVars: []string{"MEDIA_DIR"}, Destination: &o.MediaDir,
			Usage: "`FOLDER` to keep the base media of SeedImages in; without it, there are no boot media"},
		&cli.StringFlag{Name: "media-folder", EnvVars: []string{"MEDIA_FOLDER"}, Destination: &o.MediaFolder,
			Usage: "`FOLDER`, a mounted volume for example, that file:// in a SeedImage leads to; without it, nowhere"},
		&cli.IntFlag{Name: "media-cache-gib", EnvVars: []string{"MEDIA_CACHE_GIB"}, Destination: &o.MediaCacheGiB, Value: 20,
			Usage: "how many GiB --media-dir may take"},
		&cli.IntFlag{Name: "media-max-base-gib", EnvVars: []string{"MEDIA_MAX_BASE_GIB"}, Destination: &o.MediaMaxBaseGiB, Value: 8,
			Usage: "how many GiB one base medium may have"},
	}
}

func logFlags(level, format *string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "log-level", EnvVars: []string{"LOG_LEVEL"}, Destination: level, Value: "info",
			Usage: "error, warn, info or debug"},
		&cli.StringFlag{Name: "log-format", EnvVars: []string{"LOG_FORMAT"}, Destination: format, Value: "text",
			Usage: "text or json"},
	}
}

func setLog(level, format string) error {
	parsed, err := logrus.ParseLevel(level)
	if err != nil || parsed < logrus.ErrorLevel || parsed > logrus.DebugLevel {
		return fmt.Errorf("--log-level must be error, warn, info or debug, not %q", level)
	}
	logrus.SetLevel(parsed)
	switch format {
	case "json":
		logrus.SetFormatter(&logrus.JSONFormatter{})
	case "text":
		logrus.SetFormatter(&logrus.TextFormatter{FullTimestamp: true})
	default:
		return fmt.Errorf("--log-format must be text or json, not %q", format)
	}
	return nil
}
