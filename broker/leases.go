package broker

import (
	"slices"

	"github.com/leveret-mq/leveret/store"
)

// leasesChanged saves and forgets the cursors of slots that go to another process.
// Those of slots that came are loaded when somebody needs them.
func (b *Broker) leasesChanged(_, lost []store.Lease) {
	if len(lost) == 0 {
		return
	}
	for _, v := range b.VHosts() {
		for _, q := range v.Queues() {
			for _, p := range q.Partitions() {
				c := p.cursor.Load()
				slot := b.store.Leases().Slot(p.log.ID())
				if c == nil || !slices.ContainsFunc(lost, func(l store.Lease) bool { return l.Slot == slot }) {
					continue
				}
				if err := p.saveCursor(); err != nil {
					b.opts.Log.Error("can't save a queue's cursor", "queue", q.Name, "error", err)
				}
				p.lose(c)
			}
		}
	}
}
