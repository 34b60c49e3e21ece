package server

import (
	"bytes"
	"context"
	"net/http"
	"sync"

	"github.com/rancher/steve/pkg/aggregation"
	corev1controllers "github.com/rancher/wrangler/v3/pkg/generated/controllers/core/v1"
	"github.com/sirupsen/logrus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

// Tunnel serves the handler through Rancher: Rancher writes into a Secret where to dial and with which token, and sends
// down that connection the requests whose path it was told to.
type Tunnel struct {
	handler http.Handler
	events  record.EventRecorder

	mutex   sync.Mutex
	current endpoint
	stop    context.CancelFunc
}

// endpoint is what the Secret says.
type endpoint struct {
	url, token string
	ca         []byte
}

func (e endpoint) equal(other endpoint) bool {
	return e.url == other.url && e.token == other.token && bytes.Equal(e.ca, other.ca)
}

// NewTunnel follows the Secret, of which the controller must see no other, until ctx ends.
func NewTunnel(ctx context.Context, secrets corev1controllers.SecretController, handler http.Handler, events record.EventRecorder) *Tunnel {
	t := &Tunnel{handler: handler, events: events}
	secrets.OnChange(ctx, "tunnel", func(_ string, secret *corev1.Secret) (*corev1.Secret, error) {
		if secret != nil {
			t.follow(ctx, secret)
		}
		return secret, nil
	})
	return t
}

// follow dials anew when the Secret changed. An empty ca.crt would make Steve's client skip the check of Rancher's
// certificate: whoever answers then would see every machine's secrets, so such a Secret is refused.
func (t *Tunnel) follow(ctx context.Context, secret *corev1.Secret) {
	next := endpoint{url: string(secret.Data["url"]), token: string(secret.Data["token"])}
	ca, given := secret.Data["ca.crt"]
	if given && len(bytes.TrimSpace(ca)) == 0 {
		t.events.Event(secret, corev1.EventTypeWarning, "TunnelInsecure",
			"ca.crt is empty, which would turn off the check of Rancher's certificate; remove the key, or put Rancher's CA there")
		return
	}
	next.ca = ca
	if next.url == "" || next.token == "" {
		logrus.Info("waiting for Rancher to fill in the tunnel's Secret")
		return
	}
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.current.equal(next) {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	dialing, stop := context.WithCancel(ctx)
	t.current, t.stop = next, stop
	logrus.Infof("dialing Rancher's tunnel at %s", next.url)
	go aggregation.ListenAndServe(dialing, next.url, next.ca, next.token, t.handler)
}
