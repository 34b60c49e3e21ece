// Package why explains one object of our kinds in a paragraph: what it is at, why, and what those around it have to do with it.
//
//	gather.go   reads the object and those around it, with the rights of whoever asks
//	facts.go    what was gathered
//	explain.go  facts in, sentences out; pure, with one file for each group of kinds: machine.go, rollout.go, supply.go
package why
