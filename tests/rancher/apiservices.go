package rancher

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	management "github.com/rancher/rancher/pkg/apis/management.cattle.io/v3"
	"github.com/rancher/wrangler/v3/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// The annotation and the type that make Kubernetes issue a token for a ServiceAccount.
const (
	serviceAccountAnnotation = "kubernetes.io/service-account.name"
	serviceAccountTokenType  = "kubernetes.io/service-account-token"
)

// apiServices answers APIService objects: a ServiceAccount, and a Secret that tells the aggregated server where to dial
// and with what.
type apiServices struct {
	api *api

	mutex  sync.RWMutex
	tokens map[string]string // what a dialling server presents -> key of its session
	names  map[string]string // APIService -> what its server presents
}

func newAPIServices(a *api) *apiServices {
	return &apiServices{api: a, tokens: map[string]string{}, names: map[string]string{}}
}

func (s *apiServices) loop(log func(string)) (*loop, error) {
	l := newLoop("APIService", 0, log, s.reconcile)
	if err := l.watch(s.api.informer(apiServicesGVR), nil); err != nil {
		return nil, err
	}
	if err := l.watch(s.api.informer(settingsGVR), func(*unstructured.Unstructured) []key { return s.all() }); err != nil {
		return nil, err
	}
	// A token arrives in its Secret a little after the Secret was made, and another one when the Secret is deleted.
	return l, l.watch(s.api.informer(secretsGVR), func(secret *unstructured.Unstructured) []key {
		if text(secret, "type") != serviceAccountTokenType {
			return nil
		}
		account := secret.GetAnnotations()[serviceAccountAnnotation]
		return slices.DeleteFunc(s.all(), func(k key) bool { return serviceAccountName(k.Name) != account })
	})
}

func (s *apiServices) all() []key {
	var keys []key
	for _, obj := range s.api.cachedIn(apiServicesGVR, "") {
		keys = append(keys, keyOf(obj))
	}
	return keys
}

func (s *apiServices) reconcile(ctx context.Context, k key) (time.Duration, error) {
	obj, found := s.api.cached(apiServicesGVR, k)
	if !found || obj.GetDeletionTimestamp() != nil {
		s.remember(k.Name, "", "")
		return 0, nil
	}
	service, err := into[management.APIService](obj)
	if err != nil {
		return 0, err
	}
	token, err := s.ensureAccount(ctx, obj)
	if err != nil {
		return 0, err
	}
	if token == nil {
		return 0, nil // its Secret will call us
	}
	sum := sha256.Sum256(token)
	presented := base64.StdEncoding.EncodeToString(sum[:])
	s.remember(k.Name, presented, sessionKey(service))

	if err := s.api.applyStatus(ctx, apiServicesGVR, obj, map[string]any{
		"serviceAccountName": serviceAccountName(k.Name), "serviceAccountNamespace": systemNamespace,
	}, "status"); err != nil {
		return 0, err
	}
	server := s.api.setting(settingInternalServerURL)
	if service.Spec.SecretName == "" || service.Spec.SecretNamespace == "" || server == "" {
		return 0, nil
	}
	data := map[string]any{
		"url":   base64.StdEncoding.EncodeToString([]byte(server + "/v3/connect")),
		"token": base64.StdEncoding.EncodeToString([]byte(presented)),
	}
	if ca := s.api.setting(settingInternalCACerts); ca != "" {
		data["ca.crt"] = base64.StdEncoding.EncodeToString([]byte(ca))
	}
	secret := manifest("v1", "Secret", key{Namespace: service.Spec.SecretNamespace, Name: service.Spec.SecretName},
		map[string]any{"data": data})
	secret.SetOwnerReferences(ownedByService(obj))
	return 0, s.api.apply(ctx, secretsGVR, secret)
}

// ensureAccount makes the ServiceAccount and returns its token, nil while Kubernetes has not issued it.
func (s *apiServices) ensureAccount(ctx context.Context, service *unstructured.Unstructured) ([]byte, error) {
	account := manifest("v1", "ServiceAccount", key{Namespace: systemNamespace, Name: serviceAccountName(service.GetName())}, nil)
	account.SetOwnerReferences(ownedByService(service))
	if err := s.api.apply(ctx, serviceAccountsGVR, account); err != nil {
		return nil, err
	}
	k := key{Namespace: systemNamespace, Name: account.GetName() + "-token"}
	secret, err := s.api.get(ctx, secretsGVR, k)
	if err != nil {
		return nil, err
	}
	if secret == nil {
		secret = manifest("v1", "Secret", k, map[string]any{"type": serviceAccountTokenType})
		secret.SetAnnotations(map[string]string{serviceAccountAnnotation: account.GetName()})
		return nil, s.api.apply(ctx, secretsGVR, secret)
	}
	data, err := secretData(secret)
	if err != nil {
		return nil, err
	}
	return data["token"], nil
}

func (s *apiServices) remember(service, presented, session string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.tokens, s.names[service])
	delete(s.names, service)
	if presented != "" {
		s.tokens[presented] = session
		s.names[service] = presented
	}
}

// authorize is the tunnel's: it says whose session a dialling server may open.
func (s *apiServices) authorize(request *http.Request) (session string, ok bool, err error) {
	presented := strings.TrimSpace(strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer "))
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	session, ok = s.tokens[presented]
	return session, ok && presented != "", nil
}

// route finds the session that serves a path: that of the first APIService, by name, with a prefix or a path that fits.
func (s *apiServices) route(escapedPath string) (session string, ok bool) {
	services := s.api.cachedIn(apiServicesGVR, "")
	slices.SortFunc(services, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	for _, obj := range services {
		service, err := into[management.APIService](obj)
		if err != nil {
			continue
		}
		for _, prefix := range service.Spec.PathPrefixes {
			if prefix != "" && strings.HasPrefix(escapedPath, prefix) {
				return sessionKey(service), true
			}
		}
		if slices.Contains(service.Spec.Paths, escapedPath) {
			return sessionKey(service), true
		}
	}
	return "", false
}

// cleanPath is what Rancher's router redirects an untidy path to: no double slashes, no dots; a last slash stays.
func cleanPath(escaped string) string {
	clean := path.Clean("/" + escaped)
	if strings.HasSuffix(escaped, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

func serviceAccountName(service string) string {
	return name.SafeConcatName(service, "api-service")
}

// sessionKey is also the host that an aggregated server finds in its requests.
func sessionKey(service *management.APIService) string {
	return fmt.Sprintf("stv-%s", service.UID)
}

func ownedByService(service *unstructured.Unstructured) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: service.GetAPIVersion(), Kind: service.GetKind(), Name: service.GetName(), UID: service.GetUID(),
	}}
}
