// Package client is the machine's half of the registration conversation.
//
//	ReadSettings   where is the server, whom to trust      cloud-config files, kernel command line   settings.go, cmdline.go
//	Register       proof -> the machine's cloud-config     one websocket, one deadline               register.go, exchange.go
//	Inventory      proof -> role and cluster token         the same exchange, or a shared token      inventory.go
//	CallHome       proof and facts -> still assigned?      the same exchange, without the token      inventory.go
//	CACerts        Rancher's CA, if it can be trusted                                                cacerts.go
//	Store          what was learnt, on disk                whole files or none, readable by root     store.go
//	Retry          how often to ask again                                                            retry.go
//	Install        the arguments of Rancher's install script                                         install.go
//
// Everything that goes wrong is a [Failure]: which of a few causes, one sentence for the person at the machine about what happened and one about
// what to do. Nothing here prints; secrets are in no sentence.
//
// A CA that is given replaces the system's. There is no way back to the system's roots, and none to no verification at all:
// whoever could answer in the server's place would hand the machine any configuration.
package client
