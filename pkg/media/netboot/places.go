package netboot

import "sync"

// places bounds what is done at the same time, in all and for each address.
type places struct {
	mutex     sync.Mutex
	all, each int
	taken     int
	by        map[string]int
}

func newPlaces(all, each int) *places { return &places{all: all, each: each, by: map[string]int{}} }

// take is false when there is no place; what was taken must be given back.
func (p *places) take(whom string) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if p.taken >= p.all || p.by[whom] >= p.each {
		return false
	}
	p.taken++
	p.by[whom]++
	return true
}

func (p *places) give(whom string) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.taken--
	if p.by[whom]--; p.by[whom] == 0 {
		delete(p.by, whom)
	}
}
