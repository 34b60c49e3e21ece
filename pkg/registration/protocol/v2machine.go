package protocol

import (
	"encoding/json"
	"errors"
	"net/netip"

	"github.com/rancher/rancheros-operator/pkg/machine"
)

// maxFact bounds one string of a machine's facts, maxEnvelopeKeys the keys around what is limited by itself.
const (
	maxFact         = 256
	maxEnvelopeKeys = 16
)

// ErrNoType is inside the refusal of a message that does not say what it is.
var ErrNoType = errors.New("no type")

// ParseAnswerV2 reads the machine's answer to the challenge. What is no answer says no more than that the attestation failed.
func ParseAnswerV2(frame []byte) ([]byte, error) {
	if len(frame) > MaxFrameUnauthenticated {
		return nil, attestationFailed("answer of %d bytes, limit %d", len(frame), MaxFrameUnauthenticated)
	}
	object, err := decodeObject(frame)
	if err != nil {
		return nil, attestationFailed("answer: %v", err)
	}
	if err := expectType(object["type"], TypeAnswer); err != nil {
		return nil, err
	}
	secret, err := bytesMember(object, "secret")
	if err != nil {
		return nil, attestationFailed("answer: %v", err)
	}
	if len(object) != 2 {
		return nil, attestationFailed("answer with %d members", len(object))
	}
	return secret, nil
}

// ParseReport reads what a proven machine says about itself: with the limits of ParseSMBIOS, and nothing beside what is known.
func ParseReport(frame []byte) (*Report, error) {
	if len(frame) > MaxFrameAuthenticated {
		return nil, refuse(CodeTooLarge, "the machine's facts are too large", "%d bytes, limit %d", len(frame), MaxFrameAuthenticated)
	}
	members, err := splitObject(frame, MaxJSONDepth+1, MaxJSONKeys+maxEnvelopeKeys)
	if err != nil {
		return nil, badFacts("%v", err)
	}
	var kind any
	if raw, ok := members["type"]; ok {
		if kind, err = decodeStrict(raw); err != nil {
			return nil, badFacts("type: %v", err)
		}
	}
	if err := expectType(kind, TypeFacts); err != nil {
		return nil, err
	}
	report := &Report{}
	for name, raw := range members {
		switch name {
		case "type":
		case "smbios":
			report.SMBIOS, err = ParseSMBIOS(raw)
		case "facts":
			report.Facts, err = parseFacts(raw)
		case "callHome":
			report.CallHome, err = parseFlag(raw)
		default:
			err = badFacts("unknown member %s", quoteShort(name))
		}
		if err != nil {
			return nil, err
		}
	}
	return report, nil
}

// expectType tells a message of another phase from one that nobody knows, and from one without type.
func expectType(value any, want MessageType) error {
	kind, _ := value.(string)
	switch MessageType(kind) {
	case want:
		return nil
	case "":
		return &Error{Code: CodeBadRequest, Message: "a message without type", Reason: "type is a " + kindOf(value), Err: ErrNoType}
	case TypeChallenge, TypeAnswer, TypeProven, TypeFacts, TypeConfig, TypeAssignment, TypeError:
		return refuse(CodeBadRequest, "a message out of turn", "%s where %s is expected", kind, want)
	default:
		return refuse(CodeUnsupported, "an unknown message", "type %s where %s is expected", quoteShort(kind), want)
	}
}

func parseFacts(raw []byte) (facts machine.Facts, err error) {
	object, err := decodeObject(raw)
	if err != nil {
		return facts, badFacts("%v", err)
	}
	for name, value := range object {
		switch name {
		case "hostname":
			facts.Hostname, err = factText(name, value)
		case "osImage":
			facts.OSImage, err = factText(name, value)
		case "osVersion":
			facts.OSVersion, err = factText(name, value)
		case "addresses":
			facts.Addresses, err = factAddresses(value)
		default:
			err = badFacts("unknown fact %s", quoteShort(name))
		}
		if err != nil {
			return machine.Facts{}, err
		}
	}
	return facts, nil
}

// factText is shown to people: what a terminal would act on is spelled out, and what is long is cut.
func factText(name string, value any) (string, error) {
	text, ok := value.(string)
	if !ok {
		return "", badFacts("%s is a %s", name, kindOf(value))
	}
	return cutString(escapeUnprintable(text), maxFact), nil
}

func factAddresses(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		return nil, badFacts("addresses is a %s", kindOf(value))
	}
	if len(list) > machine.MaxAddresses {
		return nil, badFacts("%d addresses, limit %d", len(list), machine.MaxAddresses)
	}
	addresses := make([]string, 0, len(list))
	for _, element := range list {
		text, _ := element.(string)
		address, err := netip.ParseAddr(text)
		if err != nil || address.Zone() != "" {
			return nil, badFacts("an address that is none: %s", quoteShort(text))
		}
		addresses = append(addresses, address.String())
	}
	return addresses, nil
}

func parseFlag(raw []byte) (bool, error) {
	var flag bool
	if string(raw) == "null" || json.Unmarshal(raw, &flag) != nil {
		return false, badFacts("callHome is not a boolean")
	}
	return flag, nil
}

func badFacts(format string, args ...any) *Error {
	return refuse(CodeBadRequest, "the machine's facts cannot be read", format, args...)
}
