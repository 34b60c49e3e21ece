// Package plain registers machines in the plainest way that works: the libraries of this field as they come, and the steps that
// wire.md tells of the operator of 2022. It checks nothing but the proof, bounds nothing, and saves what it is told.
//
// It is a yardstick. What a registration costs in milliseconds differs between machines by more than between programs, and
// most of it is what those libraries and the kernel cost; so the benchmark measures this server in turns with the operator's,
// on the same cores in the same minutes, and compares.
package plain

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/google/go-attestation/attest"
	"github.com/gorilla/websocket"
	"github.com/rancher/lasso/pkg/controller"
	"github.com/rancher/wrangler/v3/pkg/schemes"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
	rancherosv1 "github.com/rancher/rancheros-operator/pkg/generated/controllers/rancheros.cattle.io/v1"
)

const (
	byToken = "token"
	byHash  = "hash"
	// workers is how many goroutines each kind's handlers have, as in the operators of this field.
	workers = 5
)

type server struct {
	registrations rancherosv1.MachineRegistrationController
	inventories   rancherosv1.MachineInventoryController
	upgrader      websocket.Upgrader
}

// Run answers machines at addr until ctx ends.
func Run(ctx context.Context, kubeconfig, addr string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return fmt.Errorf("reading kubeconfig: %w", err)
	}
	config.QPS, config.Burst = 1000, 2000
	s, err := start(ctx, config)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	serving := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = serving.Close() })
	if err := serving.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// start fills the caches, with a handler on each that looks at what comes and does nothing.
func start(ctx context.Context, config *rest.Config) (*server, error) {
	factory, err := controller.NewSharedControllerFactoryFromConfig(config, schemes.All)
	if err != nil {
		return nil, fmt.Errorf("making clients: %w", err)
	}
	kinds := rancherosv1.New(factory)
	s := &server{registrations: kinds.MachineRegistration(), inventories: kinds.MachineInventory()}
	s.registrations.Cache().AddIndexer(byToken, func(registration *v1.MachineRegistration) ([]string, error) {
		return []string{registration.Status.RegistrationToken}, nil
	})
	s.inventories.Cache().AddIndexer(byHash, func(inventory *v1.MachineInventory) ([]string, error) {
		return []string{inventory.Spec.TPM}, nil
	})
	s.registrations.OnChange(ctx, "plain", func(_ string, registration *v1.MachineRegistration) (*v1.MachineRegistration, error) {
		return registration, nil
	})
	s.inventories.OnChange(ctx, "plain", func(_ string, inventory *v1.MachineInventory) (*v1.MachineInventory, error) {
		return inventory, nil
	})
	if err := factory.Start(ctx, workers); err != nil {
		return nil, fmt.Errorf("starting handlers: %w", err)
	}
	return s, nil
}

// ServeHTTP lets a machine register at the URL of a registration.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	registrations, err := s.registrations.Cache().GetByIndex(byToken, path.Base(r.URL.Path))
	if err != nil || len(registrations) == 0 {
		http.Error(w, "MachineRegistration does not exist", http.StatusUnauthorized)
		return
	}
	claim, err := parse(r.Header.Get("Authorization"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	conn, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	answer, err := s.converse(conn, claim, registrations[0])
	if err != nil {
		answer = []byte(err.Error())
	}
	_ = conn.WriteMessage(websocket.BinaryMessage, answer)
}

func (s *server) converse(conn *websocket.Conn, claim *attest.ActivationParameters, registration *v1.MachineRegistration) ([]byte, error) {
	if err := prove(conn, claim); err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(claim.EK)
	if err != nil {
		return nil, fmt.Errorf("encoding EK: %w", err)
	}
	sum := sha256.Sum256(der)
	inventory, err := s.inventory(registration, hex.EncodeToString(sum[:]))
	if err != nil {
		return nil, err
	}
	config := map[string]any{}
	if registration.Spec.CloudConfig != nil {
		if err := json.Unmarshal(registration.Spec.CloudConfig.Raw, &config); err != nil {
			return nil, fmt.Errorf("reading cloudConfig: %w", err)
		}
	}
	config["hostname"] = inventory.Name
	config["rancherd"] = map[string]any{"server": "https://rancher.example.com", "token": "tpm://"}
	return json.Marshal(config)
}

// prove sends a challenge and takes the answer.
func prove(conn *websocket.Conn, claim *attest.ActivationParameters) error {
	secret, credential, err := claim.Generate()
	if err != nil {
		return fmt.Errorf("making challenge: %w", err)
	}
	challenge, err := json.Marshal(map[string]any{"EC": credential})
	if err != nil {
		return fmt.Errorf("encoding challenge: %w", err)
	}
	if err := conn.WriteMessage(websocket.BinaryMessage, challenge); err != nil {
		return fmt.Errorf("sending challenge: %w", err)
	}
	var answer struct{ Secret []byte }
	if err := conn.ReadJSON(&answer); err != nil {
		return fmt.Errorf("reading answer: %w", err)
	}
	if subtle.ConstantTimeCompare(answer.Secret, secret) != 1 {
		return errors.New("the answer is not the challenge's secret")
	}
	return nil
}

// inventory is the machine's, made when there is none.
func (s *server) inventory(registration *v1.MachineRegistration, hash string) (*v1.MachineInventory, error) {
	known, err := s.inventories.Cache().GetByIndex(byHash, hash)
	if err != nil {
		return nil, fmt.Errorf("looking up machine: %w", err)
	}
	if len(known) > 0 {
		return known[0], nil
	}
	created, err := s.inventories.Create(&v1.MachineInventory{
		ObjectMeta: metav1.ObjectMeta{Namespace: registration.Namespace, GenerateName: "m-",
			Labels: registrationLabels(registration), Annotations: map[string]string{}},
		Spec: v1.MachineInventorySpec{TPM: hash},
	})
	if err != nil {
		return nil, fmt.Errorf("saving machine: %w", err)
	}
	return created, nil
}

// registrationLabels are as many as the operator puts on a machine, so that objects are of one size.
func registrationLabels(registration *v1.MachineRegistration) map[string]string {
	return map[string]string{"plain.example.com/registration": registration.Name, "plain.example.com/assurance": v1.AssuranceFirstUse}
}

// parse reads the machine's claim.
func parse(header string) (*attest.ActivationParameters, error) {
	encoded, _ := strings.CutPrefix(header, "Bearer TPM")
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, fmt.Errorf("reading Authorization: %w", err)
	}
	var token struct {
		EK []byte
		AK *attest.AttestationParameters
	}
	if err := json.Unmarshal(data, &token); err != nil {
		return nil, fmt.Errorf("reading Authorization: %w", err)
	}
	block, _ := pem.Decode(token.EK)
	if block == nil || token.AK == nil {
		return nil, errors.New("reading Authorization: EK or AK is missing")
	}
	ek, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading EK: %w", err)
	}
	return &attest.ActivationParameters{EK: ek, AK: *token.AK}, nil
}
