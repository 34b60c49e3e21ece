// Package operator puts the parts together and runs them: the composition root. In the order of operator.go:
//
//	clients and indexes    one set of caches for all
//	health                 /healthz as soon as the process lives, /readyz once the caches are filled
//	library of boot media  on every replica: base media are fetched before anybody asks for them
//	registration server    on every replica, from the caches: on a listener, and through Rancher's tunnel
//	controllers            on the one replica that holds the lease
//
// On a signal the server stops taking requests and finishes those under way, the lease is given back so that the next
// replica takes over at once, and the process ends.
package operator
