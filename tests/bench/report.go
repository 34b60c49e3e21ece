package main

import (
	"fmt"
	"math"
	"slices"
)

// anchorCPU is what a first registration cost the operator of 2022, in milliseconds, on the machine that the targets in milliseconds
// were set on: 0.87 to 1.03 with 0 to 20,000 inventories. What it costs the plain server here, with none, is as much on that scale.
const anchorCPU = 0.9

// median is the middle of what was measured under a name.
func (b *bench) median(name string, of func(result) float64) float64 {
	values := make([]float64, 0, rounds)
	for _, r := range b.results[name] {
		values = append(values, of(r))
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// report compares with the targets.
func report(none, many *bench, plain, flat duel) {
	rate := func(r result) float64 { return r.rate }
	writes := func(r result) float64 { return r.writes }
	perRawCreate := func(b *bench) float64 { return b.median("first", rate) / b.median("raw creates", rate) }
	slower := plain.second["first"] / anchorCPU
	cpu := func(what string) float64 { return plain.first[what] / slower }
	flatness := func(what string) float64 { return flat.first[what] / flat.second[what] }
	fmt.Printf("\nmedians; this machine is %.2f times slower than the anchor\n", slower)
	for _, line := range []struct {
		what        string
		value, want float64
		atLeast     bool
	}{
		{"first registrations per raw create", perRawCreate(none), 0.5, true},
		{"the same, full inventory against empty", perRawCreate(many) / perRawCreate(none), 0.95, true},
		{"CPU per first registration, ms at the anchor", cpu("first"), 0.7, false},
		{"the same, full inventory", cpu("first") / flatness("first"), 0.7, false},
		{"empty inventory against full", flatness("first"), 0.95, true},
		{"CPU per repeated registration, ms at the anchor", cpu("again"), 0.4, false},
		{"the same, full inventory", cpu("again") / flatness("again"), 0.4, false},
		{"empty inventory against full", flatness("again"), 0.95, true},
		{"repeated registrations per second at the anchor", none.median("again", rate) * slower, 800, true},
		{"writes per new machine", none.median("first", writes), 2, false},
		{"writes per known machine", none.median("again", writes), 0, false},
	} {
		line.value = math.Round(line.value*100) / 100 // As it is printed.
		verdict, sign := "missed", "<="
		if line.atLeast {
			sign = ">="
		}
		if (line.atLeast && line.value >= line.want) || (!line.atLeast && line.value <= line.want) {
			verdict = "held"
		}
		fmt.Printf("%-48s %8.2f   %s %-6.2f %s\n", line.what, line.value, sign, line.want, verdict)
	}
}
