package clients

import (
	"strings"
	"sync"
)

// mostWords is how many words are known at a time, and longestWord how many bytes one has: a fleet's inventories have a few dozen in
// common, the sentences of their conditions among them.
const (
	mostWords   = 1024
	longestWord = 256
)

// common are the words that inventories have in common.
var common words

// words keeps one copy of each word that comes again and again. What is kept is bounded: words that only one object has push
// the others out, and these come back with the next object.
type words struct {
	mutex sync.Mutex
	known map[string]string
}

// share is the copy of word that everybody has.
func (w *words) share(word string) string {
	if word == "" || len(word) > longestWord {
		return word
	}
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if known, is := w.known[word]; is {
		return known
	}
	if w.known == nil || len(w.known) == mostWords {
		w.known = make(map[string]string)
	}
	word = strings.Clone(word)
	w.known[word] = word
	return word
}

// pack makes neighbours of strings: one piece of memory, instead of one for each, for the garbage collector to look at.
func pack(strs ...*string) {
	var all strings.Builder
	size := 0
	for _, s := range strs {
		size += len(*s)
	}
	all.Grow(size)
	for _, s := range strs {
		all.WriteString(*s)
	}
	rest := all.String()
	for _, s := range strs {
		*s, rest = rest[:len(*s)], rest[len(*s):]
	}
}
