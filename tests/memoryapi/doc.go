// Package memoryapi is an API server in memory, and the caches in front of it, for the unit tests of whatever works with
// the typed clients of pkg/clients: the indexes, the controllers, the registration server.
//
//	api.go     all kinds together, and the clients that show them
//	store.go   one kind: create, update, merge patch and delete as the real API server does them
//	cache.go   what an informer shows of it: shared pointers, indexes, and a lag when asked for
//
// It knows what reconciling needs (resource versions, conflicts, generations, finalizers, the status subresource) and
// nothing else: there is no schema, no watch and no rights. Those are what tests/e2e has a real API server for.
package memoryapi
