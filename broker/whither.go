package broker

import (
	"slices"

	"github.com/leveret-mq/leveret/exchange"
)

// Whither is where an exchange would lead a message: the queues, in the order in which they are found, and the exchanges that it goes
// through. Nothing is published, counted or remembered; what an exchange does besides routing is left out: one that delays messages or drops
// duplicates is taken as one that lets this one pass (delayed says that it would wait), and one that chooses by chance may choose others
// the next time. No more than most queues are looked for.
func (v *VHost) Whither(x *Exchange, m *Inbound, most int) (queues []*Queue, through []*Exchange, delayed bool) {
	if x.Name == "" {
		for _, key := range append([][]byte{m.Key}, m.MoreKeys...) {
			if q := v.queueBytes(key); q != nil && !slices.Contains(queues, q) {
				queues = append(queues, q)
			}
		}
		return queues, nil, false
	}
	var found []exchange.Target
	walked, ends := []*Exchange{x}, *v.ends.Load()
	for i := 0; i < len(walked); i++ {
		x := walked[i]
		delayed = delayed || x.delays != nil
		if found = lookUp(x.table.Load(), m, found[:0]); len(found) == 0 {
			if alternate, ok := v.exchanges.Load(x.alternateName()); ok && x.alternateName() != "" && !slices.Contains(walked, alternate.(*Exchange)) {
				walked = append(walked, alternate.(*Exchange))
			}
		}
		for _, n := range found {
			if int(n) >= len(ends) {
				continue // bound since
			}
			switch e := ends[n].Load(); {
			case e == nil: // gone since
			case e.queue != nil:
				if len(queues) < most && !slices.Contains(queues, e.queue) {
					queues = append(queues, e.queue)
				}
			case !slices.Contains(walked, e.exchange):
				walked = append(walked, e.exchange)
			}
		}
	}
	return queues, walked[1:], delayed
}
