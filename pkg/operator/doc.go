// Package operator puts the parts together and runs them: the composition root. In the order of operator.go:
//
//	clients and indexes    one set of caches for all
//	health                 /healthz as soon as the process lives, /readyz once machines get right answers
//	metrics                /metrics, on every replica
//	library of boot media  on every replica: base media are fetched before anybody asks for them
//	registration server    on every replica, from the caches: on a listener, and through Rancher's tunnel
//	controllers            on the one replica that holds the lease
//	tenure                 holds back what controllers write when it does not
//
// On a signal the server stops taking requests and finishes those under way, controllers stop writing, the lease is given
// back so that the next replica takes over at once, and the process ends. Probes and Prometheus are answered until then.
package operator
