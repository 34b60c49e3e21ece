package osversion

import (
	"cmp"
	"slices"
	"strings"
)

// Compare orders two versions: negative when a is older, zero when they are the same, positive when a is newer. Certain
// is false when one of them is not Known, or when all that differs is their build, which says nothing of age.
func Compare(a, b Version) (order int, certain bool) {
	if !a.Known() || !b.Known() {
		return 0, false
	}
	if order := byPrecedence(a, b); order != 0 {
		return order, true
	}
	return 0, byWords(a.build, b.build) == 0
}

// Older tells whether it is certain that a is older than b.
func Older(a, b Version) bool {
	order, certain := Compare(a, b)
	return certain && order < 0
}

// Order is for sorting, and has an answer for any two versions: those that are not Known come first, and what Compare
// cannot tell apart follows its text. It is no ground for a decision about a node.
func Order(a, b Version) int {
	switch {
	case a.Known() != b.Known():
		if b.Known() {
			return -1
		}
		return 1
	case !a.Known():
		return strings.Compare(a.text, b.text)
	}
	return cmp.Or(byPrecedence(a, b), byWords(a.build, b.build), strings.Compare(a.text, b.text))
}

func byPrecedence(a, b Version) int {
	for i := range max(len(a.numbers), len(b.numbers)) {
		if order := byNumber(at(a.numbers, i), at(b.numbers, i)); order != 0 {
			return order
		}
	}
	switch {
	case a.Prerelease() && b.Prerelease():
		return slices.CompareFunc(a.prerelease, b.prerelease, byWords)
	case a.Prerelease():
		return -1
	case b.Prerelease():
		return 1
	}
	return 0
}

// at is the i-th number; those that were left out are zero.
func at(numbers []string, i int) string {
	if i < len(numbers) {
		return numbers[i]
	}
	return "0"
}

// byNumber compares numbers of any length.
func byNumber(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(a), len(b)), strings.Compare(a, b))
}

// byWords compares two identifiers: a number comes before a word, as semver has it, and in words the runs of digits are
// compared as numbers.
func byWords(a, b string) int {
	if numeric(a) != numeric(b) {
		if numeric(a) {
			return -1
		}
		return 1
	}
	return slices.CompareFunc(runs(a), runs(b), func(a, b string) int {
		switch aNumber, bNumber := numeric(a), numeric(b); {
		case aNumber && bNumber:
			return byNumber(a, b)
		case aNumber:
			return -1
		case bNumber:
			return 1
		}
		return strings.Compare(a, b)
	})
}

func numeric(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// runs cuts a word where digits begin or end.
func runs(word string) []string {
	var found []string
	start := 0
	for i := 1; i <= len(word); i++ {
		if i == len(word) || digit(word[i]) != digit(word[i-1]) {
			found = append(found, word[start:i])
			start = i
		}
	}
	return found
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
