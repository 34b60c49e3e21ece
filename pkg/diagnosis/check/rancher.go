package check

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	managementv3 "github.com/rancher/rancheros-operator/pkg/apis/management.cattle.io/v3"
	"github.com/rancher/rancheros-operator/pkg/settings"
)

// isMissing is so for an object that is not there and for a kind that the API server does not know.
func isMissing(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

// soon is how long before the end of a certificate it is worth a word.
const soon = 30 * 24 * time.Hour

// getter reads Settings one by one, and remembers what was wrong with that.
type getter struct {
	ctx     context.Context //nolint:containedctx // settings.Getter is that of a cache, which needs none
	cluster *cluster
}

func (g getter) Get(name string) (*managementv3.Setting, error) {
	object, err := g.cluster.dynamic.Resource(resource("management.cattle.io", "v3", "settings")).Get(g.ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return decode[managementv3.Setting](object)
}

func decode[T any](object *unstructured.Unstructured) (*T, error) {
	body, err := object.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", object.GetKind(), err)
	}
	decoded := new(T)
	if err := json.Unmarshal(body, decoded); err != nil {
		return nil, fmt.Errorf("decoding %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return decoded, nil
}

// settings of Rancher's that machines are told.
func (c *cluster) settings(ctx context.Context) []Finding {
	rancher := settings.New(getter{ctx, c})
	var findings []Finding
	address, err := rancher.ServerURL()
	switch {
	case apierrors.IsForbidden(err):
		return []Finding{unseen("server-url", "Rancher's settings", err)}
	case err != nil:
		findings = append(findings, found("server-url", "%v", err).at(Problem, "set it in Rancher's global settings to the address that machines reach Rancher at"))
	case strings.HasPrefix(address, "http://"):
		findings = append(findings, found("server-url", "it is %s, without TLS: nothing proves to a machine who answers", address).
			at(Warning, "set an https address, or tell each machine --allow-http"))
	default:
		findings = append(findings, ok("server-url", "machines reach Rancher at %s", address))
	}
	bundle, err := rancher.CACerts()
	if err != nil {
		findings = append(findings, unseen("cacerts", "Rancher's CA", err))
	} else {
		findings = append(findings, c.authorities(bundle))
	}
	if registry, err := rancher.SystemDefaultRegistry(); err != nil {
		findings = append(findings, found("system-default-registry", "%v", err).at(Problem, "correct it in Rancher's global settings"))
	} else if registry != "" {
		findings = append(findings, ok("system-default-registry", "images that name no registry are taken from %s", registry))
	}
	return findings
}

// authorities are what machines trust Rancher's certificate by.
func (c *cluster) authorities(bundle string) Finding {
	const topic = "cacerts"
	if bundle == "" {
		return ok(topic, "Rancher has no CA of its own: machines trust it by the CAs of their system")
	}
	count, rest := 0, []byte(bundle)
	var block *pem.Block
	for {
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return found(topic, "a part of it is no certificate: %v", err).at(Problem, "correct Rancher's setting cacerts")
		case certificate.NotAfter.Before(c.now):
			return found(topic, "the certificate of %q has expired on %s", certificate.Subject, certificate.NotAfter.Format(time.DateOnly)).
				at(Problem, "renew Rancher's CA; media that hold the old one must be made anew")
		case certificate.NotAfter.Before(c.now.Add(soon)):
			return found(topic, "the certificate of %q expires on %s", certificate.Subject, certificate.NotAfter.Format(time.DateOnly)).
				at(Warning, "renew Rancher's CA in time; media that hold the old one must be made anew")
		}
		count++
	}
	if count == 0 {
		return found(topic, "there is no certificate in it").at(Problem, "correct Rancher's setting cacerts: it is PEM")
	}
	return ok(topic, "machines trust Rancher by %d certificate(s) of its own", count)
}

// tunnel is Rancher's to us: an APIService asks for it, and Rancher answers by filling the Secret that it names.
func (c *cluster) tunnel(ctx context.Context) []Finding {
	if c.TunnelSecretName == "" {
		return []Finding{found("tunnel", "no Secret is named: machines must reach the operator's own listener").
			at(Warning, "give --tunnel-secret-name and --tunnel-secret-namespace, as the operator has them, to have the tunnel looked at")}
	}
	return []Finding{c.apiService(ctx), c.tunnelSecret(ctx)}
}

func (c *cluster) apiService(ctx context.Context) Finding {
	const topic = "APIService"
	all, err := c.list(ctx, resource("management.cattle.io", "v3", "apiservices"))
	switch {
	case isMissing(err):
		return found(topic, "the API server does not know the kind apiservices.management.cattle.io").at(Problem, "install Rancher: this is not its cluster")
	case err != nil:
		return unseen(topic, "the APIService of Rancher", err)
	}
	for _, service := range all {
		name, _, _ := unstructured.NestedString(service.Object, "spec", "secretName")
		namespace, _, _ := unstructured.NestedString(service.Object, "spec", "secretNamespace")
		prefixes, _, _ := unstructured.NestedStringSlice(service.Object, "spec", "pathPrefixes")
		if name != c.TunnelSecretName || namespace != c.TunnelSecretNamespace {
			continue
		}
		if !slices.Contains(prefixes, "/v1-rancheros/") {
			return found(topic, "%s does not send /v1-rancheros/ to the operator", service.GetName()).at(Problem, "add it to spec.pathPrefixes")
		}
		return ok(topic, "%s sends /v1-rancheros/ to the operator", service.GetName())
	}
	return found(topic, "none names the Secret %s/%s", c.TunnelSecretNamespace, c.TunnelSecretName).
		at(Problem, "install the chart rancheros-operator, which brings it")
}

// tunnelSecret looks at the Secret's metadata only, which tells who has written which keys.
func (c *cluster) tunnelSecret(ctx context.Context) Finding {
	const topic = "tunnel"
	where := c.TunnelSecretNamespace + "/" + c.TunnelSecretName
	secret, err := c.metadata.Resource(resource("", "v1", "secrets")).Namespace(c.TunnelSecretNamespace).Get(ctx, c.TunnelSecretName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return found(topic, "Rancher has not made the Secret %s", where).at(Problem, "wait a moment; if it stays so, look at the APIService and at Rancher's log")
	case err != nil:
		return unseen(topic, "the Secret "+where, err)
	}
	keys := keysOf(secret.ManagedFields)
	for _, key := range []string{"url", "token"} {
		if len(keys) > 0 && !slices.Contains(keys, key) {
			return found(topic, "the Secret %s has no key %s", where, key).at(Problem, "delete it, and Rancher makes it anew; look at Rancher's log if it does not")
		}
	}
	return ok(topic, "Rancher has filled the Secret %s", where)
}

// keysOf are the keys of data that are there, by the API server's own record of who wrote what.
func keysOf(managed []metav1.ManagedFieldsEntry) []string {
	var keys []string
	for _, entry := range managed {
		var fields struct {
			Data map[string]json.RawMessage `json:"f:data"`
		}
		if entry.FieldsV1 == nil || json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields) != nil {
			continue
		}
		for field := range fields.Data {
			if key, found := strings.CutPrefix(field, "f:"); found {
				keys = append(keys, key)
			}
		}
	}
	return keys
}
