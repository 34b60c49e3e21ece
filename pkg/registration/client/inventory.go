package client

import (
	"context"
	"errors"
	"net/http"

	"github.com/rancher/rancheros-operator/pkg/machine"
	"github.com/rancher/rancheros-operator/pkg/registration/attestation"
	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// TPMToken is the shared token of machines that have none: they prove themselves by their TPM.
const TPMToken = "tpm://"

// ErrServerTooOld is in CallHome's error when the server does not speak version 2: nothing is wrong with the machine.
var ErrServerTooOld = errors.New("the server speaks version 1 only")

// InventoryRequest is one machine that asks for its role.
type InventoryRequest struct {
	// Endpoint is Rancher's address and the CA to trust.
	Endpoint Endpoint
	// Token is TPMToken, or the machine's shared token.
	Token string
	// Prover is needed with TPMToken only.
	Prover attestation.Prover
	// Facts are what the operating system says; servers of version 2 get them.
	Facts machine.Facts
	// Role takes the place of the one that the server answers with, unless it is empty.
	Role string
}

// Inventory asks what the machine is to become. The error is a *Failure; CauseNotYet means that the machine is known and has no cluster.
func Inventory(ctx context.Context, request InventoryRequest) (*protocol.InventoryAnswer, error) {
	answer, err := inventory(ctx, &request)
	if err != nil {
		return nil, explainInventory(err, request.Endpoint.host())
	}
	return answer, nil
}

// explainInventory knows what an unknown machine is to do here, which is not what an unknown registration is to do.
func explainInventory(err error, server string) *Failure {
	var refusal *protocol.Error
	unknown := errors.As(err, &refusal) && (refusal.Code == protocol.CodeNotFound || refusal.Code == protocol.CodeUnauthorized)
	failure := Explain(err, server)
	if unknown && refusal.Hint == "" {
		failure.Hint = "the server does not know this machine: run `rancheros-register register`, or correct the machine's token"
	}
	return failure
}

func inventory(ctx context.Context, request *InventoryRequest) (*protocol.InventoryAnswer, error) {
	data, err := askInventory(ctx, request)
	if err != nil {
		return nil, err
	}
	answer, err := protocol.ParseInventoryAnswer(data)
	if err != nil {
		return nil, err
	}
	if request.Role != "" {
		answer.Role = request.Role
	}
	switch {
	case answer.Token == "":
		// Servers of old answer a machine that waits for its cluster with what they know so far.
		return nil, &protocol.Error{Code: protocol.CodeNotAssigned, Message: "this machine has no cluster token yet"}
	case answer.Role == "":
		return nil, &protocol.Error{Code: protocol.CodeNotAssigned, Message: "this machine has no role in its cluster, and joins with none that nobody chose",
			Hint: "set spec.config.role of its machineinventory, or give --role"}
	}
	return answer, nil
}

// CallHome reports what the machine says about itself, and returns what became of its place in a cluster. It needs a Prover and a server
// that speaks version 2, see ErrServerTooOld. The error is a *Failure.
func CallHome(ctx context.Context, request InventoryRequest, facts machine.Facts) (*protocol.Assignment, error) {
	assignment, err := callHome(ctx, &request, facts)
	if err != nil {
		return nil, explainInventory(err, request.Endpoint.host())
	}
	return assignment, nil
}

func callHome(ctx context.Context, request *InventoryRequest, facts machine.Facts) (*protocol.Assignment, error) {
	if request.Token != TPMToken || request.Prover == nil {
		return nil, badConfig("only machines with a TPM call home", "this machine's token is a shared one: it has nothing to report")
	}
	reply, err := request.converse(ctx, protocol.Report{Facts: facts, CallHome: true})
	if err != nil {
		return nil, err
	}
	assignment, err := protocol.ParseAssignment(reply.frame)
	return assignment, withClock(err, reply.clock)
}

// askInventory returns an InventoryAnswer as JSON, or what the server sends in its place.
func askInventory(ctx context.Context, request *InventoryRequest) ([]byte, error) {
	switch {
	case request.Token == "":
		return nil, badConfig("no machine token is given", "set rancherd.token to tpm:// or to the machine's shared token")
	case request.Token == TPMToken && request.Prover == nil:
		return nil, badConfig("the token is tpm:// and no TPM is open", "")
	case request.Token != TPMToken:
		return request.get(ctx)
	}
	reply, err := request.converse(ctx, protocol.Report{Facts: request.Facts})
	if err != nil || !reply.v2 {
		return reply.last(), err
	}
	assignment, err := protocol.ParseAssignment(reply.frame)
	if err != nil {
		return nil, withClock(err, reply.clock)
	}
	return assignment.Answer, nil
}

func (r *reply) last() []byte {
	if r == nil {
		return nil
	}
	return r.frame
}

func (r *InventoryRequest) converse(ctx context.Context, report protocol.Report) (*reply, error) {
	target, err := r.Endpoint.path(protocol.PathInventory)
	if err != nil {
		return nil, err
	}
	c := conversation{endpoint: &r.Endpoint, target: target, prover: r.Prover, report: report}
	return c.exchange(ctx)
}

func (r *InventoryRequest) get(ctx context.Context) ([]byte, error) {
	target, err := r.Endpoint.path(protocol.PathInventory)
	if err != nil {
		return nil, err
	}
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	get.Header.Set(protocol.HeaderAuthorization, protocol.SharedTokenAuthorization(r.Token))
	config, err := r.Endpoint.tlsConfig()
	if err != nil {
		return nil, err
	}
	body, _, err := r.Endpoint.get(get, config)
	return body, err
}
