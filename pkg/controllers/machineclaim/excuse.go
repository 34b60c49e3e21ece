package machineclaim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// excuse is why a machine that matches is not claimed.
type excuse struct {
	kind kind
	// whose is the claim, cluster, pool or role that the kind speaks of.
	whose string
}

// kind orders excuses: what others have first, then what somebody can mend.
type kind int

const (
	claimedBy kind = iota
	inOtherPool
	assignedTo
	unapproved
	replacing
	forElsewhere
	otherRole
	unproven
	revoked
	deleting
)

// words go on after "1 " and "2 ".
var words = map[kind]struct{ one, many string }{
	claimedBy:    {"is claimed by MachineClaim %s", "are claimed by MachineClaim %s"},
	inOtherPool:  {"is in pool %s", "are in pool %s"},
	assignedTo:   {"is assigned to Cluster %s", "are assigned to Cluster %s"},
	unapproved:   {"waits for approval", "wait for approval"},
	replacing:    {"is to replace %s", "are to replace %s"},
	forElsewhere: {"is for clusters of namespace %s", "are for clusters of namespace %s"},
	otherRole:    {"has role %s", "have role %s"},
	unproven:     {"cannot prove itself", "cannot prove themselves"},
	revoked:      {"was replaced", "were replaced"},
	deleting:     {"is being deleted", "are being deleted"},
}

// excuses counts them.
type excuses map[excuse]int

func (e *excuses) add(one excuse) {
	if *e == nil {
		*e = excuses{}
	}
	(*e)[one]++
}

// maxExcuses bounds what a person is told at once.
const maxExcuses = 5

// String is "2 are claimed by MachineClaim default/other, 1 waits for approval".
func (e excuses) String() string {
	sorted := slices.SortedFunc(maps.Keys(e), func(a, b excuse) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.whose, b.whose))
	})
	var said []string
	rest := 0
	for i, why := range sorted {
		if i >= maxExcuses {
			rest += e[why]
			continue
		}
		phrase := words[why.kind].one
		if e[why] != 1 {
			phrase = words[why.kind].many
		}
		if why.whose != "" {
			phrase = fmt.Sprintf(phrase, why.whose)
		}
		said = append(said, fmt.Sprintf("%d %s", e[why], phrase))
	}
	switch {
	case rest == 1:
		said = append(said, "1 other is not free either")
	case rest > 1:
		said = append(said, fmt.Sprintf("%d others are not free either", rest))
	}
	return strings.Join(said, ", ")
}
