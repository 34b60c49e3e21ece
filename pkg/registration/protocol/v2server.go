package protocol

import (
	"encoding/json"
	"math"
	"time"
)

const unreadable = "the server's answer cannot be read"

// ParseChallengeV2 reads the server's first message.
func ParseChallengeV2(frame []byte) (*Challenge, error) {
	if len(frame) > MaxFrameUnauthenticated {
		return nil, refuse(CodeTooLarge, unreadable, "challenge of %d bytes", len(frame))
	}
	if _, err := serverMessage(frame, TypeChallenge); err != nil {
		return nil, err
	}
	object, err := decodeObject(frame)
	if err != nil {
		return nil, refuse(CodeInternal, unreadable, "%v", err)
	}
	challenge := &Challenge{}
	if challenge.EC.Credential, err = bytesMember(object, "credential"); err != nil {
		return nil, refuse(CodeInternal, unreadable, "challenge: %v", err)
	}
	if challenge.EC.Secret, err = bytesMember(object, "secret"); err != nil {
		return nil, refuse(CodeInternal, unreadable, "challenge: %v", err)
	}
	return challenge, nil
}

// ParseProven reads the server's second message.
func ParseProven(frame []byte) error {
	_, err := serverMessage(frame, TypeProven)
	return err
}

// ParseConfig reads the last message of a registration: the machine's cloud-config.
func ParseConfig(frame []byte) (map[string]any, error) {
	members, err := serverMessage(frame, TypeConfig)
	if err != nil {
		return nil, err
	}
	config, err := decodeWithin(members["config"], math.MaxInt, math.MaxInt)
	if err != nil {
		return nil, refuse(CodeInternal, unreadable, "config: %v", err)
	}
	object, ok := config.(map[string]any)
	if !ok {
		return nil, refuse(CodeInternal, unreadable, "config is a %s", kindOf(config))
	}
	return object, nil
}

// ParseAssignment reads the last message of an inventory request.
func ParseAssignment(frame []byte) (*Assignment, error) {
	members, err := serverMessage(frame, TypeAssignment)
	if err != nil {
		return nil, err
	}
	assignment := &Assignment{Answer: members["assignment"]}
	var retryAfter int64
	if err := optional(members["state"], &assignment.State); err != nil {
		return nil, err
	}
	if err := optional(members["retryAfter"], &retryAfter); err != nil {
		return nil, err
	}
	assignment.RetryAfter = pause(retryAfter)
	switch assignment.State {
	case StateAssigned, StateReleased, StateNotAssigned:
		return assignment, nil
	default:
		return nil, refuse(CodeInternal, unreadable, "state %s", quoteShort(string(assignment.State)))
	}
}

// serverMessage checks that the message is of the type that is due. An error message is returned as the Error that it is. Members
// that are not known are for clients to come.
func serverMessage(frame []byte, want MessageType) (map[string]json.RawMessage, error) {
	if len(frame) > MaxAnswer {
		return nil, refuse(CodeTooLarge, "the server's answer is too large", "%d bytes, limit %d", len(frame), MaxAnswer)
	}
	members, err := splitObject(frame, math.MaxInt, math.MaxInt)
	if err != nil {
		return nil, refuse(CodeInternal, unreadable, "%v", err)
	}
	var kind MessageType
	if err := optional(members["type"], &kind); err != nil {
		return nil, err
	}
	switch kind {
	case want:
		return members, nil
	case TypeError:
		return nil, parseErrorMessage(frame)
	default:
		return nil, refuse(CodeInternal, unreadable, "message %s where %s is expected", quoteShort(string(kind)), want)
	}
}

func parseErrorMessage(frame []byte) *Error {
	var message errorMessage
	if err := json.Unmarshal(frame, &message); err != nil || message.Code == "" {
		return refuse(CodeInternal, unreadable, "an error message without code")
	}
	return &Error{Code: message.Code, Message: sentence(message.Message, message.Code), Hint: CleanText(message.Hint), RetryAfter: pause(message.RetryAfter)}
}

// sentence is what a refusal says; one that says nothing is shown by its code, so that a person reads at least that.
func sentence(message string, code Code) string {
	if text := CleanText(message); text != "" {
		return text
	}
	return "the server refuses, and says no more than " + quoteShort(string(code))
}

// optional leaves the target as it is when there is no such member.
func optional(raw json.RawMessage, target any) error {
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, target); err != nil {
		return refuse(CodeInternal, unreadable, "%v", err)
	}
	return nil
}

// pause bounds how long a server can send a client to sleep.
func pause(seconds int64) time.Duration {
	return time.Duration(min(max(seconds, 0), int64(maxRetryAfter/time.Second))) * time.Second
}
