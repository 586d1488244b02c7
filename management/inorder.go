package management

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// inOrder remembers the queues of virtual hosts with very many of them in the order of their names: most of what a page of a list
// costs is to bring them into it, and pages are asked for again every few seconds by who looks at one. It is forgotten a
// while after the last look.
type inOrder struct {
	mu     sync.Mutex // guards all below
	known  map[*broker.VHost]ordered
	forget *time.Timer
}

// ordered are queues as the broker lists them, and by name. Neither is changed.
type ordered struct{ listed, sorted []*broker.Queue }

const (
	orderFrom   = 1000 // queues
	orderForget = time.Minute
)

// queues are those of a virtual host by name. They must not be changed.
func (o *inOrder) queues(v *broker.VHost) []*broker.Queue {
	list := v.Queues()
	if len(list) < orderFrom {
		sortQueues(list)
		return list
	}
	o.mu.Lock()
	known := o.known[v]
	o.mu.Unlock()
	if slices.Equal(known.listed, list) { // the same ones, in the same places of the broker's table
		return known.sorted
	}
	sorted := slices.Clone(list)
	sortQueues(sorted)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known == nil {
		o.known = map[*broker.VHost]ordered{}
	}
	o.known[v] = ordered{list, sorted}
	if o.forget == nil {
		o.forget = time.AfterFunc(orderForget, o.clear)
	}
	o.forget.Reset(orderForget)
	return sorted
}

func (o *inOrder) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.known = nil
}

func sortQueues(list []*broker.Queue) {
	slices.SortFunc(list, func(a, b *broker.Queue) int { return cmp.Compare(a.Name, b.Name) })
}
