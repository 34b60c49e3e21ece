package oschannel

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	"github.com/rancher/rancheros-operator/pkg/channel"
)

const (
	typeJSON   = "json"
	typeGitHub = "github-releases"
	typeOCI    = "oci"
	typeCustom = "custom"

	defaultTimeout = 10 * time.Second
)

// taskOf is what the channel's worker is to do.
func (h *handler) taskOf(c *v1.ManagedOSVersionChannel) task {
	asked := c.DeepCopy()
	t := task{
		namespace: c.Namespace, name: c.Name, uid: c.UID,
		source:   sourceOf(c),
		open:     func() (channel.Fetcher, error) { return h.open(asked) },
		slot:     c.Spec.Type != typeCustom,
		interval: interval(c.Spec.PollInterval),
		suspend:  c.Spec.Suspend,
		sync:     c.Annotations[v1.AnnotationSyncChannel],
		handled:  c.Status.HandledSync,
	}
	// An operator that starts anew does not ask again what it has just been told.
	if c.Status.LastSync != nil && settled(c) {
		t.first = c.Status.LastSync.Add(t.interval)
	}
	return t
}

// sourceOf identifies what is asked: all of the spec that an answer depends on.
func sourceOf(c *v1.ManagedOSVersionChannel) string {
	spec := c.Spec.DeepCopy()
	spec.PollInterval, spec.Suspend, spec.Prune, spec.UpgradeContainer = "", false, false, nil
	return digestOf(spec)
}

func digestOf(value any) string {
	// Specs and releases can always be encoded.
	encoded, _ := json.Marshal(value)
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// open makes what asks the channel.
func (h *handler) open(c *v1.ManagedOSVersionChannel) (channel.Fetcher, error) {
	options := channel.Options{Timeout: defaultTimeout, CABundle: []byte(c.Spec.CABundle), Insecure: c.Spec.Insecure, Networks: h.networks}
	in := c.Spec.Options
	if in == nil {
		in = &v1.ChannelOptions{}
	}
	if timeout, err := time.ParseDuration(in.Timeout); err == nil && timeout >= time.Second && timeout <= time.Minute {
		options.Timeout = timeout
	}
	if c.Spec.SecretName != "" {
		secret, err := h.secret(c)
		if err != nil {
			return nil, err
		}
		withSecret(&options, secret)
	}
	switch c.Spec.Type {
	case typeJSON:
		return channel.JSON{URI: in.URI, Options: options}, nil
	case typeGitHub:
		return channel.GitHub{Channel: c.Name, URL: c.Spec.URL, API: in.URI, Image: in.Image, Options: options}, nil
	case typeOCI:
		return channel.OCI{Channel: c.Name, URL: c.Spec.URL, Options: options}, nil
	case typeCustom:
		return h.newJobFetcher(c)
	}
	return nil, &channel.Failure{Reason: v1.ReasonInvalidSpec, Message: fmt.Sprintf("spec.type is not known: %q; correct it", c.Spec.Type)}
}

// readable are the types of Secrets that a channel may name. The tokens of ServiceAccounts and of machines are not among
// them: the channel's address decides who gets to see what the Secret holds.
var readable = []corev1.SecretType{corev1.SecretTypeOpaque, corev1.SecretTypeBasicAuth, corev1.SecretTypeDockerConfigJson, ""}

func (h *handler) secret(c *v1.ManagedOSVersionChannel) (*corev1.Secret, error) {
	secret, err := h.secrets.Get(c.Namespace, c.Spec.SecretName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &channel.Failure{Reason: v1.ReasonSecretNotFound, Message: fmt.Sprintf(
			"there is no Secret %s in namespace %s; create it, or correct spec.secretName", c.Spec.SecretName, c.Namespace)}
	case err != nil:
		return nil, fmt.Errorf("reading Secret: %w", err)
	case !slices.Contains(readable, secret.Type):
		return nil, &channel.Failure{Reason: v1.ReasonSecretNotFound, Message: fmt.Sprintf(
			"Secret %s is of type %s, which channels do not read; put what the channel needs into one of type Opaque, %s or %s",
			secret.Name, secret.Type, corev1.SecretTypeBasicAuth, corev1.SecretTypeDockerConfigJson)}
	}
	return secret, nil
}

func withSecret(options *channel.Options, secret *corev1.Secret) {
	options.Token = string(secret.Data["token"])
	options.Username = string(secret.Data[corev1.BasicAuthUsernameKey])
	options.Password = string(secret.Data[corev1.BasicAuthPasswordKey])
	options.DockerConfig = secret.Data[corev1.DockerConfigJsonKey]
	if ca := secret.Data["ca.crt"]; len(ca) > 0 {
		options.CABundle = slices.Concat(options.CABundle, []byte("\n"), ca)
	}
}
