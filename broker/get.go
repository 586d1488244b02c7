package broker

// Got is one message taken with Get. Call Done when its bytes are not needed any more.
type Got struct {
	Delivery
	Remaining int64 // messages still ready
	reader    reader
}

// Done ends the borrowing of the message's bytes.
func (g *Got) Done() { g.reader.release() }

// Get takes the first message that is ready, without a consumer. It is nil when
// there is none. Without noAck the caller acks or requeues it with its lease.
func (q *Queue) Get(s *Session, noAck bool) (*Got, error) {
	if err := q.allow(s); err != nil {
		return nil, err
	}
	for _, p := range q.Partitions() {
		cursor, err := p.work()
		if err != nil {
			return nil, err
		}
		run, ok := cursor.Get()
		if !ok {
			continue
		}
		p.progress()
		g := &Got{reader: reader{part: p, lease: &p.getter, redelivered: run.Redelivered}}
		if _, _, _, err := g.reader.read(run.First, run.Last, 1<<62, func(d *Delivery) { g.Delivery = *d }); err != nil {
			g.Done()
			_ = p.getter.Requeue(run.First, run.Last)
			return nil, err
		}
		if noAck && g.Lease != nil {
			if err := p.getter.Ack(run.First, run.Last); err != nil {
				g.Done()
				return nil, err
			}
		}
		c := &q.vhost.b.counters
		c.Delivered.Add(1)
		c.DeliveredBytes.Add(uint64(len(g.Body)))
		c.Redelivered.Add(g.reader.again)
		if g.Lease == nil { // it can't be delivered, and is settled
			g.Done()
			return q.Get(s, noAck)
		}
		g.Remaining = q.Ready()
		return g, nil
	}
	return nil, nil
}
