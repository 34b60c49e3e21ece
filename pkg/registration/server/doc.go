// Package server is the operator's half of the registration conversation; package protocol describes the messages.
//
//	GET|WS /v1-rancheros/registration/<token>   sample cloud-config, or the TPM exchange        registration.go
//	GET|WS /v1-rancheros/inventory              role and cluster token of an assigned machine   inventory.go
//	GET    /v1-rancheros/cacerts                Rancher's CA                                    cacerts.go
//	GET    /v1-rancheros/seedimage/<token>/...  boot media, of which media/library knows more   medium.go
//
// A machine that registers is judged once it has proven its key: what the registration demands (trust.go), whether that is
// met (admission.go), whether there is a place left (reserve.go); then its inventory is found or made (enroll.go). What
// it says of its hardware decides nothing, and is told of where it looks odd (hardware.go).
//
// The exchange is the same behind both paths: exchange.go has its beginning and version 1, exchange_v2.go has version 2,
// frames.go the websocket below them. A machine that has joined only reports, and is told whether it still has its
// place: callhome.go.
//
// Whoever it is, the way in is the same: what no machine sends is refused before anything is looked up (acceptable.go);
// work under way, how often one URL, machine or guesser comes, and open connections are bounded (limits.go, rates.go,
// connections.go); and every refusal is one constant sentence for the caller, and one line and one count for us
// (refuse.go).
//
// Everything is answered from the informers' caches, on every replica; what a registration hands out is decoded once
// (templates.go). A registration costs one write, the inventory's creation under a name that follows from the machine's
// identity; a machine that is known costs none, and one that takes a limited place one more. Success is sent when the object is
// committed, and never before.
//
// The same handler is served twice: through Rancher's tunnel (tunnel.go), and on a listener of our own (listener.go).
// Who is asking is decided by the proof in the request alone: headers that proxies add, and the identity that Rancher
// attaches to the caller, are not looked at.
package server
