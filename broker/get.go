package broker

import "github.com/leveret-mq/leveret/consumer"

// Got is one message taken with Get. Its bytes are the caller's own.
type Got struct {
	Delivery
	Remaining int64 // messages still ready
}

// take copies a delivery out of what the reader borrowed.
func (g *Got) take(d *Delivery) {
	g.Delivery = *d
	b := make([]byte, 0, len(d.Exchange)+len(d.Key)+len(d.Properties)+len(d.Body))
	for _, s := range []*[]byte{&g.Exchange, &g.Key, &g.Properties, &g.Body} {
		at := len(b)
		b = append(b, *s...)
		*s = b[at:len(b):len(b)]
	}
}

// Get takes the first message of a queue that is ready, without a consumer. It is nil when
// there is none. Without noAck the caller acks or requeues it with its lease.
func (s *Session) Get(name string, noAck bool) (*Got, error) {
	q, err := s.Queue(Consume, name)
	if err != nil {
		return nil, err
	}
	for _, p := range q.Partitions() {
		g, err := p.get(noAck)
		if err != nil {
			return nil, err
		}
		if g != nil {
			g.Remaining = q.Ready()
			return g, nil
		}
	}
	return nil, nil
}

// get takes messages until one can be delivered: those that expired, or can't be
// decoded, are settled on the way.
func (p *Partition) get(noAck bool) (*Got, error) {
	cursor, err := p.work()
	if err == nil {
		err = p.noted()
	}
	if err != nil {
		return nil, err
	}
	g := &Got{}
	r := reader{part: p, lease: &p.getter, heads: new(uint64)}
	defer r.release()
	for {
		run, ok := cursor.Get()
		if !ok {
			return nil, cursor.Err()
		}
		if err := p.note(); err != nil {
			_ = p.getter.member.ReturnRuns([]consumer.Run{run}) // it is held, so this can't fail
			return nil, err
		}
		r.tell(&run)
		next, n, _, err := r.read(run.First, run.Last, 1<<62, g.take)
		if e := r.settle(noAck, run.First, min(next, run.Last+1)); err == nil {
			err = e
		}
		switch {
		case err != nil:
			_ = p.getter.member.ReturnRuns([]consumer.Run{run}) // not held any more when the Ack failed
			return nil, err
		case n == 0:
			r.release()
			continue
		}
		c := &p.q.vhost.b.counters
		c.Delivered.Add(1)
		c.DeliveredBytes.Add(uint64(len(g.Body)))
		c.Redelivered.Add(r.again)
		return g, nil
	}
}
