package clients

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	v1 "github.com/rancher/rancheros-operator/pkg/apis/rancheros.cattle.io/v1"
)

// same tells whether two strings are one in memory.
func same(a, b string) bool {
	return len(a) == len(b) && unsafe.StringData(a) == unsafe.StringData(b)
}

func TestWords(t *testing.T) {
	var w words
	require.Empty(t, w.share(""))
	sentence := "the machine is Ready"
	ready := w.share(sentence[len(sentence)-5:])
	require.Equal(t, "Ready", ready)
	require.False(t, same(ready, sentence[len(sentence)-5:]), "a word must not keep the sentence that it came in")
	require.True(t, same(ready, w.share(strings.Clone("Ready"))))
	story := strings.Repeat("long ", longestWord)
	require.True(t, same(story, w.share(story)))
	require.Len(t, w.known, 1, "what is long is not kept")
}

// Words that come once, as many as anybody likes to send, are not kept for ever; and what comes again and again is shared anew.
func TestWordsAreBounded(t *testing.T) {
	var w words
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range mostWords {
				word := fmt.Sprintf("word %d of %d", i, worker)
				if got := w.share(word); got != word {
					t.Errorf("%q became %q", word, got)
				}
			}
		})
	}
	group.Wait()
	require.LessOrEqual(t, len(w.known), mostWords)
	require.True(t, same(w.share(strings.Clone("Ready")), w.share(strings.Clone("Ready"))))
}

func TestPack(t *testing.T) {
	a, none, b := "a", "", "bé"
	pack(&a, &none, &b)
	require.Equal(t, []string{"a", "", "bé"}, []string{a, none, b})
	require.True(t, same(unsafe.String(unsafe.StringData(a), 4)[1:], b), "neighbours")
	a += "c"
	require.Equal(t, "bé", b)
	pack()
}

func TestInventoriesShareWords(t *testing.T) {
	fast, _ := serializers(t)
	var inventories []*v1.MachineInventory
	for range 2 {
		_, object, err := decodeEvent(fast, `{"type":"ADDED","object":`+registeredJSON+"}\n")
		require.NoError(t, err)
		inventories = append(inventories, object.(*v1.MachineInventory))
	}
	a, b := inventories[0], inventories[1]
	require.Equal(t, a, b)
	words := func(inventory *v1.MachineInventory) []string {
		words := []string{inventory.APIVersion, inventory.Kind, inventory.Namespace, inventory.Status.Assurance}
		for _, label := range []string{v1.LabelAssurance, v1.LabelRegistration} {
			for name, value := range inventory.Labels {
				if name == label {
					words = append(words, name, value)
				}
			}
		}
		for _, condition := range inventory.Status.Conditions {
			words = append(words, condition.Type, string(condition.Status), condition.Reason, condition.Message)
		}
		return words
	}
	for i, word := range words(a) {
		require.NotEmpty(t, word)
		require.True(t, same(word, words(b)[i]), word)
	}
	require.Len(t, words(a), 8+3*4)
	require.True(t, same(a.Spec.TPM, a.Status.TPMHash))
	require.False(t, same(a.Name, b.Name), "a name is its own")
	require.Equal(t, len(a.Status.Conditions), cap(a.Status.Conditions))
}
