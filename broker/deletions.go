package broker

import "sync"

// deletions tells whoever hangs on a queue or an exchange that it is gone, or was purged: by which protocol it was
// deleted, or whether it went by itself, makes no difference. One goroutine tells
// them, in the order of the deletions, so they may write to a disk.
//
//	leaving ─► pending ─► tell ─► each subscriber
type deletions struct {
	wake chan struct{}

	mu      sync.Mutex // guards the rest; a leaf
	pending []deleted
	tell    map[*func(deleted)]struct{}
}

// deleted is what is gone: either of the first two, or the messages of a queue.
type deleted struct {
	queue    *Queue
	exchange *Exchange
	vhost    *VHost
	purged   *Queue
}

func newDeletions() *deletions {
	return &deletions{wake: make(chan struct{}, 1), tell: map[*func(deleted)]struct{}{}}
}

// OnDeleted has fn called for every queue that is deleted from now on, one at a time
// and some time after nobody could find the queue any more: another of its name may
// be there already, which has another TopicID. What is being told when stop
// is called may still come after it.
func (b *Broker) OnDeleted(fn func(*Queue)) (stop func()) {
	return b.deletions.subscribe(func(d deleted) {
		if d.queue != nil {
			fn(d.queue)
		}
	})
}

// OnExchangeDeleted is OnDeleted for exchanges, but for those that go with their virtual host.
func (b *Broker) OnExchangeDeleted(fn func(*VHost, *Exchange)) (stop func()) {
	return b.deletions.subscribe(func(d deleted) {
		if d.exchange != nil {
			fn(d.vhost, d.exchange)
		}
	})
}

// OnPurged has fn called for every queue that a client purges from now on, one at a time and some time after: what was
// published since may be there already.
func (b *Broker) OnPurged(fn func(*Queue)) (stop func()) {
	return b.deletions.subscribe(func(d deleted) {
		if d.purged != nil {
			fn(d.purged)
		}
	})
}

func (d *deletions) subscribe(fn func(deleted)) (stop func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tell[&fn] = struct{}{}
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.tell, &fn)
	}
}

// add notes what nobody finds any more.
func (d *deletions) add(gone deleted) {
	d.mu.Lock()
	d.pending = append(d.pending, gone)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run tells of deletions until stop is closed, and then of those before.
func (d *deletions) run(stop <-chan struct{}) {
	for {
		select {
		case <-d.wake:
			d.tellAll()
		case <-stop:
			d.tellAll()
			return
		}
	}
}

func (d *deletions) tellAll() {
	d.mu.Lock()
	list := d.pending
	d.pending = nil
	subscribers := make([]func(deleted), 0, len(d.tell))
	for fn := range d.tell {
		subscribers = append(subscribers, *fn)
	}
	d.mu.Unlock()
	for _, gone := range list {
		for _, fn := range subscribers {
			fn(gone)
		}
	}
}
