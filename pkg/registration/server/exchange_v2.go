package server

import (
	"github.com/gorilla/websocket"

	"github.com/rancher/rancheros-operator/pkg/registration/protocol"
)

// conversationV2 is ours: challenge, answer, proven, facts, and a last message that says what it is. Each phase takes one message of
// one type; anything else ends the conversation with a typed error and a close code.
type conversationV2 struct {
	*frames
	opening
	*conversation
}

func (c conversationV2) run() error {
	last, err := c.lastMessage()
	if err != nil {
		c.refuse(err)
		return err
	}
	c.write(opBinary, last)
	c.finish(websocket.CloseNormalClosure, "")
	return nil
}

func (c conversationV2) lastMessage() ([]byte, error) {
	if err := c.prove(); err != nil {
		return nil, err
	}
	c.authenticated()
	proven, err := protocol.EncodeProven(c.session.Identity().Hash)
	if err != nil {
		return nil, err
	}
	c.write(opBinary, proven)
	message, err := c.read()
	if err != nil {
		return nil, err
	}
	report, err := protocol.ParseReport(message)
	if err != nil {
		return nil, err
	}
	who := caller{Identity: c.session.Identity(), SMBIOS: report.SMBIOS, Facts: &report.Facts, CallHome: report.CallHome}
	if who.CallHome {
		return c.answerCallHome(who)
	}
	body, err := c.decide(who)
	if err != nil {
		return nil, err
	}
	if c.last == protocol.TypeConfig {
		return protocol.EncodeConfig(body)
	}
	return (&protocol.Assignment{State: protocol.StateAssigned, Answer: body}).Encode()
}

func (c conversationV2) prove() error {
	challenge, err := protocol.EncodeChallengeV2(c.session.Challenge())
	if err != nil {
		return err
	}
	c.write(opBinary, challenge)
	answer, err := c.read()
	if err != nil {
		return err
	}
	return c.session.VerifyV2(answer)
}

func (c conversationV2) answerCallHome(who caller) ([]byte, error) {
	if c.callHome == nil {
		return nil, &protocol.Error{Code: protocol.CodeBadRequest, Message: "machines do not call home here",
			Hint: "they do at " + protocol.PathInventory}
	}
	assignment, err := c.callHome(who)
	if err != nil {
		return nil, err
	}
	return assignment.Encode()
}

// refuse says what is wrong, in words for a person and in a code for the websocket.
func (c conversationV2) refuse(err error) {
	code, reason := closing(err)
	if code == 0 {
		return
	}
	if message, err := protocol.EncodeErrorV2(protocol.AsError(err)); err == nil {
		c.write(opBinary, message)
	}
	c.finish(code, reason)
}
