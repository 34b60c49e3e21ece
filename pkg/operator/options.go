package operator

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// allNamespaces stands for all of them in SecretNamespaces.
const allNamespaces = "*"

// maxTimerSlack is what no time that the operator keeps would notice.
const maxTimerSlack = 10 * time.Millisecond

// Options are what a deployment decides; cmd/rancheros-operator documents each. Durations are Go durations.
type Options struct {
	// Kubeconfig is a file; empty means the pod's own ServiceAccount.
	Kubeconfig string
	// KubeContext is one of that file's contexts; empty means its current one.
	KubeContext string
	// KubeconfigExec lets that file run programs for credentials.
	KubeconfigExec bool
	// Namespace holds the lease.
	Namespace string
	// TunnelSecretNamespace and TunnelSecretName name the Secret that Rancher fills; an empty name means no tunnel.
	TunnelSecretNamespace, TunnelSecretName string
	// SecretNamespaces are those in which we may list and write Secrets; "*" alone means all.
	SecretNamespaces []string
	// ListenAddr, HealthAddr and MetricsAddr are host:port; empty means not to listen.
	ListenAddr, HealthAddr, MetricsAddr string
	// Profile serves Go's profiles on HealthAddr, below /debug/pprof/.
	Profile bool
	// TLSCertFile and TLSKeyFile make the listener speak TLS; both or neither.
	TLSCertFile, TLSKeyFile string
	// LeaderElect is false for a replica that knows that it is alone.
	LeaderElect bool
	// IgnoreLease starts such a replica although another one holds the lease.
	IgnoreLease bool
	// LeaseDuration > RenewDeadline > RetryPeriod, as in Kubernetes' own components.
	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
	// QPS and Burst bound our requests to the API server, per second.
	QPS, Burst int
	// Workers is how many objects of a kind are reconciled at the same time.
	Workers int
	// TimerSlack is how much later than asked for the kernel may wake our threads; 0 leaves it as it is.
	TimerSlack time.Duration
	// ChannelNetworks are networks, such as 127.0.0.0/8, that channels may reach although they are forbidden otherwise.
	ChannelNetworks []string
	// MaxInFlight is how many machines are answered at the same time.
	MaxInFlight int
	// MediaDir is where base media are kept; empty means that there are no boot media.
	MediaDir string
	// MediaFolder is where file:// leads to; empty means nowhere.
	MediaFolder string
	// MediaCacheGiB bounds MediaDir, and MediaMaxBaseGiB one base.
	MediaCacheGiB, MediaMaxBaseGiB int
}

// Validate reports everything that is wrong, each with the flag that it is about.
func (o *Options) Validate() error {
	return errors.Join(
		o.validateAddresses(),
		o.validateTLS(),
		o.validateLease(),
		between("qps", o.QPS, 1, 10000),
		between("burst", o.Burst, max(1, min(o.QPS, 20000)), 20000),
		between("workers", o.Workers, 1, 100),
		between("max-in-flight", o.MaxInFlight, 1, 65536),
		o.validateTimerSlack(),
		o.validateMedia(),
		o.validateNames(),
		o.validateNetworks(),
		o.validateSecretNamespaces(),
	)
}

func (o *Options) validateTimerSlack() error {
	if o.TimerSlack < 0 || o.TimerSlack > maxTimerSlack {
		return fmt.Errorf("--timer-slack must be between 0 and %s, not %s", maxTimerSlack, o.TimerSlack)
	}
	return nil
}

func (o *Options) validateSecretNamespaces() error {
	var errs []error
	for _, namespace := range o.SecretNamespaces {
		switch {
		case namespace == allNamespaces && len(o.SecretNamespaces) > 1:
			errs = append(errs, errors.New("--secret-namespaces must be * alone, which is all namespaces, or names"))
		case namespace != allNamespaces && len(validation.IsDNS1123Label(namespace)) > 0:
			errs = append(errs, fmt.Errorf("--secret-namespaces must be names of namespaces, or * for all, not %q", namespace))
		}
	}
	return errors.Join(errs...)
}

// secretNamespaces are as clients takes them: nil for all.
func (o *Options) secretNamespaces() []string {
	if slices.Contains(o.SecretNamespaces, allNamespaces) {
		return nil
	}
	return o.SecretNamespaces
}

func (o *Options) validateNetworks() error {
	var errs []error
	for _, network := range o.ChannelNetworks {
		if _, err := netip.ParsePrefix(network); err != nil {
			errs = append(errs, fmt.Errorf("--channel-networks must be networks such as 127.0.0.0/8, not %q", network))
		}
	}
	return errors.Join(errs...)
}

// channelNetworks are those that Validate has found to be some.
func (o *Options) channelNetworks() []netip.Prefix {
	var networks []netip.Prefix
	for _, network := range o.ChannelNetworks {
		if prefix, err := netip.ParsePrefix(network); err == nil {
			networks = append(networks, prefix)
		}
	}
	return networks
}

func (o *Options) validateMedia() error {
	if o.MediaDir == "" {
		if o.MediaFolder != "" {
			return errors.New("--media-dir must be given with --media-folder: a base in that folder is copied there before it is used")
		}
		return nil
	}
	return errors.Join(
		between("media-cache-gib", o.MediaCacheGiB, 1, 100_000),
		between("media-max-base-gib", o.MediaMaxBaseGiB, 1, max(1, min(o.MediaCacheGiB, 4096))),
	)
}

func between(flag string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("--%s must be from %d to %d, not %d", flag, least, most, value)
	}
	return nil
}

func (o *Options) validateNames() error {
	var errs []error
	if o.LeaderElect && o.Namespace == "" {
		errs = append(errs, errors.New("--namespace must name the namespace of the lease, or --leader-elect=false be given"))
	}
	if o.TunnelSecretName != "" && o.TunnelSecretNamespace == "" {
		errs = append(errs, errors.New("--tunnel-secret-namespace must be given with --tunnel-secret-name"))
	}
	return errors.Join(append(errs, isName("tunnel-secret-namespace", o.TunnelSecretNamespace, validation.IsDNS1123Label),
		isName("tunnel-secret-name", o.TunnelSecretName, validation.IsDNS1123Subdomain), o.ValidateConnection())...)
}

func isName(flag, value string, check func(string) []string) error {
	if value != "" && len(check(value)) > 0 {
		return fmt.Errorf("--%s must be a name in Kubernetes: lower-case letters, digits and '-', not %q", flag, value)
	}
	return nil
}

// ValidateConnection is the part of Validate that is about the cluster, for commands that only look at it.
func (o *Options) ValidateConnection() error {
	return errors.Join(isName("namespace", o.Namespace, validation.IsDNS1123Label), o.validateKubeconfig())
}

// address is one that the operator listens on.
type address struct{ flag, value string }

// addresses are all of them.
func (o *Options) addresses() []address {
	return []address{{"listen-addr", o.ListenAddr}, {"health-addr", o.HealthAddr}, {"metrics-addr", o.MetricsAddr}}
}

func (o *Options) validateAddresses() error {
	var errs []error
	addresses := o.addresses()
	for i, address := range addresses {
		if address.value == "" {
			continue
		}
		_, port, err := net.SplitHostPort(address.value)
		number, portErr := strconv.Atoi(port)
		if err != nil || portErr != nil || number < 0 || number > 65535 {
			errs = append(errs, fmt.Errorf("--%s must be host:port or :port, not %q", address.flag, address.value))
			continue
		}
		for _, other := range addresses[:i] {
			if overlap(address.value, other.value) {
				errs = append(errs, fmt.Errorf("--%s must differ from --%s, which is %q", address.flag, other.flag, other.value))
			}
		}
	}
	if o.ListenAddr == "" && o.TunnelSecretName == "" {
		errs = append(errs, errors.New("--listen-addr or --tunnel-secret-name must be given: without both no machine can reach the operator"))
	}
	return errors.Join(errs...)
}

// overlap is so for addresses of one port, unless they name two hosts; port 0 is any that is free.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	everywhere := func(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }
	return errA == nil && errB == nil && portA == portB && portA != "0" && (hostA == hostB || everywhere(hostA) || everywhere(hostB))
}

func (o *Options) validateTLS() error {
	if (o.TLSCertFile == "") != (o.TLSKeyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file must be given together")
	}
	_, err := certificates(*o)
	return err
}

func (o *Options) validateLease() error {
	if !o.LeaderElect {
		return nil
	}
	if o.RetryPeriod < time.Second || o.RenewDeadline <= o.RetryPeriod || o.LeaseDuration <= o.RenewDeadline || o.LeaseDuration > 5*time.Minute {
		return fmt.Errorf("--lease-duration > --renew-deadline > --retry-period >= 1s must hold, and the lease be at most 5m; not %s, %s, %s",
			o.LeaseDuration, o.RenewDeadline, o.RetryPeriod)
	}
	return nil
}
