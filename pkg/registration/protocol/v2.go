package protocol

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/rancher/rancheros-operator/pkg/machine"
)

// SubprotocolV2 is the websocket subprotocol (Sec-WebSocket-Protocol) of version 2. A client that offers it to a server that
// knows it speaks version 2; every other pair speaks version 1, in which the server answers no subprotocol at all.
const SubprotocolV2 = "v2.rancheros.cattle.io"

// MessageType names a message of version 2.
type MessageType string

// The messages, in the order of the conversation. Each is one binary frame of JSON with its type as the member "type".
const (
	// TypeChallenge: server, a Challenge.
	TypeChallenge MessageType = "challenge"
	// TypeAnswer: machine, a ChallengeResponse.
	TypeAnswer MessageType = "answer"
	// TypeProven: server, the identity is accepted.
	TypeProven MessageType = "proven"
	// TypeFacts: machine, what it says about itself: a Report.
	TypeFacts MessageType = "facts"
	// TypeConfig: server, the last message of a registration: the machine's cloud-config.
	TypeConfig MessageType = "config"
	// TypeAssignment: server, the last message of an inventory request: an Assignment.
	TypeAssignment MessageType = "assignment"
	// TypeError: server, at any time, and then the last message.
	TypeError MessageType = "error"
)

// Report is what a proven machine says about itself.
type Report struct {
	SMBIOS map[string]any
	Facts  machine.Facts
	// CallHome asks for the state of the assignment only: the answer holds no secret.
	CallHome bool
}

// AssignmentState is what a call home is answered.
type AssignmentState string

const (
	// StateAssigned: the machine has a cluster that is ready for it.
	StateAssigned AssignmentState = "assigned"
	// StateReleased: the machine had a cluster, and was taken out of it.
	StateReleased AssignmentState = "released"
	// StateNotAssigned: the machine has no cluster that is ready for it, yet.
	StateNotAssigned AssignmentState = "not-assigned"
)

// Assignment is the last message of an inventory request.
type Assignment struct {
	State AssignmentState
	// Answer is for a machine that joins: an InventoryAnswer as JSON, with the cluster's token. A call home gets none.
	Answer json.RawMessage
	// RetryAfter is when to ask again; zero means that the caller decides.
	RetryAfter time.Duration
}

// EncodeChallengeV2 is the first message.
func EncodeChallengeV2(c *Challenge) ([]byte, error) {
	return json.Marshal(struct {
		Type       MessageType `json:"type"`
		Credential []byte      `json:"credential"`
		Secret     []byte      `json:"secret"`
	}{TypeChallenge, c.EC.Credential, c.EC.Secret})
}

// EncodeAnswerV2 is the second message.
func EncodeAnswerV2(secret []byte) ([]byte, error) {
	return json.Marshal(struct {
		Type   MessageType `json:"type"`
		Secret []byte      `json:"secret"`
	}{TypeAnswer, secret})
}

// EncodeProven is the third message.
func EncodeProven(identity string) ([]byte, error) {
	return json.Marshal(struct {
		Type     MessageType `json:"type"`
		Identity string      `json:"identity"`
	}{TypeProven, identity})
}

// Encode is the fourth message.
func (r *Report) Encode() ([]byte, error) {
	data, err := json.Marshal(struct {
		Type     MessageType    `json:"type"`
		SMBIOS   map[string]any `json:"smbios,omitempty"`
		Facts    machine.Facts  `json:"facts"`
		CallHome bool           `json:"callHome,omitempty"`
	}{TypeFacts, r.SMBIOS, r.Facts, r.CallHome})
	if err == nil && len(data) > MaxFrameAuthenticated {
		err = refuse(CodeTooLarge, "the machine's facts are too large", "%d bytes, limit %d", len(data), MaxFrameAuthenticated)
	}
	return data, err
}

// EncodeConfig is the last message of a registration; config is the machine's cloud-config as JSON.
func EncodeConfig(config []byte) ([]byte, error) {
	return json.Marshal(struct {
		Type   MessageType     `json:"type"`
		Config json.RawMessage `json:"config"`
	}{TypeConfig, config})
}

// Encode is the last message of an inventory request.
func (a *Assignment) Encode() ([]byte, error) {
	return json.Marshal(struct {
		Type       MessageType     `json:"type"`
		State      AssignmentState `json:"state"`
		Assignment json.RawMessage `json:"assignment,omitempty"`
		RetryAfter int64           `json:"retryAfter,omitempty"`
	}{TypeAssignment, a.State, a.Answer, seconds(a.RetryAfter)})
}

// EncodeErrorV2 is a refusal, as the last message.
func EncodeErrorV2(e *Error) ([]byte, error) {
	return json.Marshal(errorMessage{TypeError, e.Code, CleanText(e.Message), CleanText(e.Hint), seconds(e.RetryAfter)})
}

type errorMessage struct {
	Type       MessageType `json:"type"`
	Code       Code        `json:"code"`
	Message    string      `json:"message"`
	Hint       string      `json:"hint,omitempty"`
	RetryAfter int64       `json:"retryAfter,omitempty"`
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// OffersV2 reads the values of Sec-WebSocket-Protocol: a caller that offers nothing speaks version 1; one that offers only what
// nobody knows is refused, because it would not understand version 1 either.
func OffersV2(values []string) (bool, error) {
	if len(values) == 0 {
		return false, nil
	}
	for _, value := range values {
		for offer := range strings.SplitSeq(value, ",") {
			if strings.TrimSpace(offer) == SubprotocolV2 {
				return true, nil
			}
		}
	}
	return false, &Error{Code: CodeUnsupported, Message: "unsupported version",
		Hint:   fmt.Sprintf("this server speaks %s, or version 1 without a subprotocol", SubprotocolV2),
		Reason: "Sec-WebSocket-Protocol offers " + quoteShort(strings.Join(values, ","))}
}
