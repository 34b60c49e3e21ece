// Package protocol holds all that both halves of the registration conversation share: paths, header
// names, size limits, and the shape of every message. The machine's half is pkg/registration/client, the
// server's half is pkg/registration/server; neither writes nor reads a byte that is not described here.
//
// The conversation, in order:
//
//	machine                                             server
//	GET  /v1-rancheros/registration/<token>         ->  sample cloud-config (YAML)
//	WS   /v1-rancheros/registration/<token>
//	     Authorization: Bearer TPM<AttestationToken>
//	     X-Cattle-Smbios: <SMBIOS>                  ->  guards on the endorsement key and attestation key
//	                                                <-  Challenge
//	     ChallengeResponse                          ->
//	                                                <-  the machine's cloud-config (JSON)
//	WS   /v1-rancheros/inventory, the same proof    ->  InventoryAnswer
//	GET  /v1-rancheros/cacerts                      ->  Rancher's CA, with an HMAC
//
// That is version 1. Version 2 (v2.go) is spoken on the same paths when the client offers the websocket subprotocol
// [SubprotocolV2] and the server takes it up. The Authorization header stays; after the upgrade every frame is one JSON
// message that names its type:
//
//	machine                                             server
//	WS   ... Sec-WebSocket-Protocol: v2.rancheros.cattle.io
//	     Authorization: Bearer TPM<AttestationToken> ->  guards
//	                                                <-  challenge
//	     answer                                     ->
//	                                                <-  proven
//	     facts: SMBIOS, host name, addresses, OS    ->
//	                                                <-  config, assignment or error; then a close frame
//
// A refusal before the proof is HTTP, or an error message; after it an error message. Nothing at all is never success.
//
// The bytes of version 1's good path are those that ros-installer and rancherd have always spoken. What differs is the
// answer to bad input: everything parsed here comes from somebody who has proven nothing yet, so every
// parser is strict (exact key names, no duplicate keys, canonical base64, valid UTF-8, nothing after the end) and
// bounded (size, depth and number of keys, checked before anything is allocated for them). A parser
// that forgives is a parser that two programs read differently.
//
// Every refusal is an [Error]: a code for programs, a sentence for people, and for our own logs a reason that is
// never sent.
package protocol
