//go:build race

package server

// raceFactor is how much slower, and bigger, the race detector makes things.
const raceFactor = 10
