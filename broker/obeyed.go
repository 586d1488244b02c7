package broker

// What a change of settings has to be followed by, once the queue has them: that it is looked at
// where it holds more than it may, or what may expire, or nobody uses it. None of it is done under a lock
// that others need, nor all at once.

// changedQueue is a queue whose settings are others.
type changedQueue struct {
	q        *Queue
	old, now *Settings
}

// obeyed sees to queues whose settings have changed.
func (b *Broker) obeyed(list []changedQueue) {
	var held []*Queue // whose consumers may hold a message for another time
	for _, c := range list {
		if c.q.Deleted() {
			continue
		}
		if c.old.Expires != c.now.Expires {
			b.lapses.renew(c.q)
		}
		if c.old.logOptions(false) != c.now.logOptions(false) {
			c.q.setLogOptions()
		}
		if c.old.ConsumerTimeout != c.now.ConsumerTimeout && c.now.ConsumerTimeout > 0 {
			held = append(held, c.q)
		}
		for _, p := range c.q.inTurn() {
			c.partition(p)
		}
	}
	if len(held) > 0 {
		b.stopped.Go(func() {
			for _, q := range held {
				q.tellHolders()
			}
		})
	}
}

// partition sees to one log.
func (c changedQueue) partition(p *Partition) {
	if c.old.Distinct != c.now.Distinct || (c.old.MaxLengthBytes == noLimit) != (c.now.MaxLengthBytes == noLimit) {
		p.limitsChanged()
	}
	if c.now.MessageTTL >= 0 && c.old.MessageTTL != c.now.MessageTTL {
		p.restoreTTL()
	}
	if e := p.expiry.Load(); e != nil && c.now.DeadLetterExchange != nil {
		e.headMoved(p)
	}
	if c.now.limited() && c.now.Overflow == DropHead && c.now.tighter(c.old) {
		p.trimLater()
	}
}

// tighter says whether there may be too much now where there was not before.
func (s *Settings) tighter(old *Settings) bool {
	return s.MaxLength < old.MaxLength || s.MaxLengthBytes < old.MaxLengthBytes || old.Overflow != DropHead
}

// tellHolders tells those who consume that they may hold a message for another time.
func (q *Queue) tellHolders() {
	q.mu.Lock()
	list := make([]*Subscription, 0, len(q.subs))
	for s := range q.subs {
		if s.o.Timeout != nil {
			list = append(list, s)
		}
	}
	q.mu.Unlock()
	for _, s := range list {
		s.o.Timeout(s.Timeout())
	}
}

// trimmers cut queues to a new limit, a few at a time. They come when there is something to cut.
const maxTrimmers = 4

// trimLater has the log cut to its limit behind everybody's back, if there may be something in it. Who counts
// meanwhile has it cut first.
func (p *Partition) trimLater() {
	if f := p.log.Figures(); f.Certain && f.Waiting == 0 {
		return
	}
	p.turns().settled.Store(false)
	b := p.q.vhost.b
	b.trimMu.Lock()
	defer b.trimMu.Unlock()
	if b.trimming.enlist(p, maxTrimmers) {
		b.stopped.Go(b.trimAll)
	}
}

func (b *Broker) trimAll() {
	for p := b.nextToTrim(); p != nil; p = b.nextToTrim() {
		p.trimInTurns()
	}
}

func (b *Broker) nextToTrim() *Partition {
	b.trimMu.Lock()
	defer b.trimMu.Unlock()
	return b.trimming.next(b.closed.Load())
}
