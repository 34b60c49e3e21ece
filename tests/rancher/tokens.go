package rancher

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rancher/wrangler/v3/pkg/randomtoken"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// tokens gives ClusterRegistrationTokens their token, rotates it, and knows which ones are good right now.
type tokens struct {
	api  *api
	opts Options
	form *tokenFormBox

	// writing keeps a rotation that a test asked for from crossing the loop's own work on the same token.
	writing sync.Mutex

	mutex  sync.RWMutex
	good   map[key][]string  // registration token object -> what its machines may present
	owner  map[string]key    // the same the other way round
	issued map[string]Issued // all that there ever were
}

// Issued is a token that this Rancher has given out.
type Issued struct {
	// Namespace and Name are the ClusterRegistrationToken's; the namespace is that of the management cluster.
	Namespace, Name string
	// Until is when another took its place, or its object was seen to be gone; zero for the present one. Whoever has read it
	// where Rancher keeps it has done so before.
	Until time.Time
}

func newTokens(a *api, opts Options, form *tokenFormBox) *tokens {
	return &tokens{api: a, opts: opts, form: form, good: map[key][]string{}, owner: map[string]key{}, issued: map[string]Issued{}}
}

func (t *tokens) loop(log func(string)) (*loop, error) {
	l := newLoop("registration token", t.opts.TokenDelay, log, func(ctx context.Context, k key) (time.Duration, error) {
		return t.reconcile(ctx, k, false)
	})
	if err := l.watch(t.api.informer(registrationTokensGVR), nil); err != nil {
		return nil, err
	}
	// The commands in a token's status show the server's URL and CA.
	return l, l.watch(t.api.informer(settingsGVR), func(*unstructured.Unstructured) []key { return t.all() })
}

// all returns every registration token there is.
func (t *tokens) all() []key {
	var keys []key
	for _, obj := range t.api.cachedIn(registrationTokensGVR, "") {
		keys = append(keys, keyOf(obj))
	}
	return keys
}

// rotateAll replaces every token at once and returns when that is done.
func (t *tokens) rotateAll(ctx context.Context) error {
	for _, k := range t.all() {
		if _, err := t.reconcile(ctx, k, true); err != nil {
			return err
		}
	}
	return nil
}

func (t *tokens) reconcile(ctx context.Context, k key, rotate bool) (time.Duration, error) {
	t.writing.Lock()
	defer t.writing.Unlock()

	// Not from the cache: a Secret that lags would bring back a token that has been rotated away.
	obj, err := t.api.get(ctx, registrationTokensGVR, k)
	if err != nil {
		return 0, err
	}
	if obj == nil || obj.GetDeletionTimestamp() != nil {
		t.remember(k, nil)
		return 0, nil
	}
	crt, err := into[clusterRegistrationToken](obj)
	if err != nil {
		return 0, err
	}
	secret, err := t.api.get(ctx, secretsGVR, key{Namespace: k.Namespace, Name: tokenSecretPrefix + k.Name})
	if err != nil {
		return 0, err
	}
	in := tokenInput{form: t.form.get(), now: time.Now(), rotate: rotate, crt: *crt, ttl: t.opts.TokenTTL, grace: t.opts.TokenGrace}
	if secret != nil && !ownedByUID(secret, obj) {
		// It was of an object of the same name that is gone, and the garbage collector would take it with it.
		if err := t.api.remove(ctx, secretsGVR, keyOf(secret)); err != nil {
			return 0, err
		}
		secret = nil
	}
	if secret != nil {
		if in.secret, err = secretData(secret); err != nil {
			return 0, err
		}
	}
	if in.fresh, err = randomtoken.Generate(); err != nil {
		return 0, fmt.Errorf("making token: %w", err)
	}

	out := decideToken(in)
	// A machine may read the token as soon as it is written, and come with it at once.
	t.announce(k, out.good()[0])
	out.status.describe(t.api.setting(settingServerURL), t.api.publicCA(), crt.Spec.ClusterName)
	if err := t.write(ctx, obj, secret, in, out); err != nil {
		return 0, err
	}
	t.remember(k, out.good())
	return out.again, nil
}

// write saves what changed: the Secret first, so that nobody is told of one that is not there yet.
func (t *tokens) write(ctx context.Context, obj, secret *unstructured.Unstructured, in tokenInput, out tokenOutput) error {
	if out.secret != nil && !maps.EqualFunc(in.secret, out.secret, bytes.Equal) {
		desired := tokenSecret(obj, out.secret)
		resource := t.api.client.Resource(secretsGVR).Namespace(obj.GetNamespace())
		var err error
		if secret == nil {
			_, err = resource.Create(ctx, desired, metav1.CreateOptions{FieldManager: fieldManager})
		} else {
			desired.SetResourceVersion(secret.GetResourceVersion())
			_, err = resource.Update(ctx, desired, metav1.UpdateOptions{FieldManager: fieldManager})
		}
		if err != nil {
			return fmt.Errorf("writing Secret %s: %w", desired.GetName(), err)
		}
	}
	if out.status == in.crt.Status {
		return nil
	}
	status, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&out.status)
	if err != nil {
		return fmt.Errorf("encoding status of %s: %w", obj.GetName(), err)
	}
	return t.api.applyStatus(ctx, registrationTokensGVR, obj, status)
}

func tokenSecret(owner *unstructured.Unstructured, data map[string][]byte) *unstructured.Unstructured {
	encoded := map[string]any{}
	for name, value := range data {
		encoded[name] = base64.StdEncoding.EncodeToString(value)
	}
	k := key{Namespace: owner.GetNamespace(), Name: tokenSecretPrefix + owner.GetName()}
	secret := manifest("v1", "Secret", k, map[string]any{"type": "Opaque", "data": encoded})
	secret.SetOwnerReferences([]metav1.OwnerReference{{
		APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(),
	}})
	return secret
}

func ownedByUID(secret, owner *unstructured.Unstructured) bool {
	return slices.ContainsFunc(secret.GetOwnerReferences(), func(reference metav1.OwnerReference) bool { return reference.UID == owner.GetUID() })
}

// announce records a token that is about to be written.
func (t *tokens) announce(k key, token string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if _, known := t.issued[token]; known {
		return
	}
	t.issued[token] = Issued{Namespace: k.Namespace, Name: k.Name}
	t.good[k] = append(t.good[k], token)
	t.owner[token] = k
}

// remember records what machines may present for a registration token, nothing once it is gone.
func (t *tokens) remember(k key, good []string) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	for _, token := range t.good[k] {
		delete(t.owner, token)
		if was := t.issued[token]; was.Until.IsZero() && (len(good) == 0 || token != good[0]) {
			was.Until = time.Now()
			t.issued[token] = was
		}
	}
	delete(t.good, k)
	if len(good) > 0 {
		t.good[k] = slices.Clone(good)
	}
	for _, token := range good {
		t.owner[token] = k
	}
}

// find returns the registration token object that a presented token belongs to.
func (t *tokens) find(token string) (key, bool) {
	t.mutex.RLock()
	defer t.mutex.RUnlock()
	k, found := t.owner[token]
	return k, found
}

// secretData decodes a Secret's data.
func secretData(secret *unstructured.Unstructured) (map[string][]byte, error) {
	encoded, _, err := unstructured.NestedStringMap(secret.Object, "data")
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", keyOf(secret), err)
	}
	data := map[string][]byte{}
	for name, value := range encoded {
		if data[name], err = base64.StdEncoding.DecodeString(value); err != nil {
			return nil, fmt.Errorf("reading Secret %s key %s: %w", keyOf(secret), name, err)
		}
	}
	return data, nil
}
