package broker

import (
	"bytes"
	"encoding/binary"

	"github.com/leveret-mq/leveret/exchange"
)

// route finds where a message goes, mostly from the cache, and what of it decided that.
func (p *Publisher) route(m *Inbound) (*route, exchange.Decider, error) {
	l := &p.last
	if !bytes.Equal(l.exchange, m.Exchange) {
		l.exchange, l.route = append(l.exchange[:0], m.Exchange...), nil
		p.turnTo(m.Exchange)
	}
	if l.route != nil && m.MoreKeys == nil && m.from == nil && bytes.Equal(l.key, m.Key) {
		return l.route, exchange.Key, nil
	}
	if m.MoreKeys != nil || m.from != nil {
		return p.resolve(m)
	}
	p.scratch = appendRouteKey(p.scratch[:0], m)
	r := p.routes[string(p.scratch)]
	if r == nil {
		var decider exchange.Decider
		var err error
		if r, decider, err = p.resolve(m); err != nil || decider != exchange.Key {
			return r, decider, err
		}
		if len(p.routes) >= maxRoutes {
			if r, err = p.makeRoom(m, r); err != nil {
				return nil, 0, err
			}
		}
		p.routes[string(appendRouteKey(p.scratch[:0], m))] = r
	}
	l.key = append(l.key[:0], m.Key...)
	l.route = r
	return r, exchange.Key, nil
}

// makeRoom empties a full cache. Keys that lead to a few queues only lose their routes: the
// sets of queues stay, and with them the batches that are open.
func (p *Publisher) makeRoom(m *Inbound, r *route) (*route, error) {
	if len(p.targets) < maxRoutes/2 || p.whole {
		clear(p.routes)
		return r, nil
	}
	p.Store()
	p.forget()
	r, _, err := p.resolve(m)
	return r, err
}

// appendRouteKey tells any two pairs of exchange and key apart: names may hold any byte.
func appendRouteKey(dst []byte, m *Inbound) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m.Exchange)))
	return append(append(dst, m.Exchange...), m.Key...)
}

// cutRouteKey is the way back.
func cutRouteKey(s string) (exchange, key string) {
	n, at := binary.Uvarint([]byte(s))
	return s[at : at+int(n)], s[at+int(n):]
}

// resolve asks the tables. What the key alone decides can be cached by it. What leads to
// the default exchange's missing queue is not, since queues are declared often.
func (p *Publisher) resolve(m *Inbound) (r *route, decider exchange.Decider, err error) {
	x := m.from
	if x == nil {
		if x, err = p.sourceOf(m); err != nil {
			return nil, 0, err
		}
		if p.source.keys != nil {
			if err := p.mayKeys(m); err != nil {
				return nil, 0, err
			}
		}
	}
	p.parts, p.late = p.parts[:0], p.late[:0]
	if x.Name == "" {
		decider = p.addNamed(m)
	} else if decider, err = p.walk(x, m); err != nil {
		return nil, 0, err
	}
	if len(p.late) > 0 {
		return p.lateRoute(m, x.plain), decider, nil
	}
	if len(p.parts) > 0 {
		return p.setOf(p.parts).route(x.plain), decider, nil
	}
	if x.Name == "" {
		decider = max(decider, exchange.Content)
	}
	return &nowhere, decider, nil
}

// sourceOf is the exchange that a message is published to.
func (p *Publisher) sourceOf(m *Inbound) (x *Exchange, err error) {
	if x = p.source.exchange; x == nil || !bytes.Equal(p.source.name, m.Exchange) {
		if x, err = p.s.Exchange(Publish, string(m.Exchange)); err != nil {
			return nil, err
		}
		p.source.name, p.source.exchange, p.source.keys = append(p.source.name[:0], m.Exchange...), x, p.s.keysOf(Publish, x)
	}
	if x.Internal && !p.s.inner {
		return nil, fail(Refused, "cannot publish to internal exchange '%s' in vhost '%s'", x.Name, p.v.Name)
	}
	return x, nil
}

// without is a route but for the queues to be avoided.
func (p *Publisher) without(r *route) *route {
	if r.set == nil {
		return r
	}
	p.parts = p.parts[:0]
	for _, t := range r.set.targets {
		if !p.avoid(t.part.q) {
			p.parts = append(p.parts, t.part)
		}
	}
	var set *targetSet
	switch {
	case len(p.parts) == len(r.set.targets):
		return r
	case len(p.parts) > 0:
		set = p.setOf(p.parts)
	case r.late == nil:
		return &nowhere
	}
	if r.late != nil { // which is of this message alone
		r.set = set
		return r
	}
	return set.route(r.plain)
}

// straight is the route into the one queue that gets everything.
func (p *Publisher) straight(m *Inbound) *route {
	p.parts = p.parts[:0]
	p.addPart(p.only, m.Key)
	return p.setOf(p.parts).route(true)
}

// nowhere is the route of a message that no queue gets.
var nowhere route

// route is the set's one route for messages of plain exchanges, or of others.
func (s *targetSet) route(plain bool) *route {
	r := &s.routes[0]
	if plain {
		r = &s.routes[1]
	}
	r.set, r.plain = s, plain
	return r
}

// addNamed adds the queues that the keys name, and hands the message to the requesters whose addresses they are.
func (p *Publisher) addNamed(m *Inbound) (decider exchange.Decider) {
	p.addName(m.Key, m)
	for _, key := range m.MoreKeys {
		p.addName(key, m)
	}
	if len(p.replies) > 0 {
		p.reply(m)
		return exchange.Chance // the next one like it must come this way too
	}
	return exchange.Key
}

func (p *Publisher) addName(key []byte, m *Inbound) {
	if isReplyAddress(key) {
		p.addReply(key)
	} else if q := p.v.queueBytes(key); q != nil {
		p.addPart(q, m.Key)
	}
}

// walk collects the partitions behind an exchange, each once, through further exchanges,
// each once: those bound to it and, where none of the message's keys is bound to anything,
// its alternate exchange. At one that delays it, it may wait instead.
func (p *Publisher) walk(x *Exchange, m *Inbound) (decider exchange.Decider, err error) {
	p.walked = append(p.walked[:0], x)
	names := p.named()
	for i := 0; i < len(p.walked); i++ {
		x := p.walked[i]
		if x.delays != nil && x != m.from {
			waits, why, err := p.delay(x.delays, m)
			if decider = max(decider, why); err != nil {
				p.unnameFrom(names)
				clear(p.visited)
				return 0, err
			}
			if waits {
				continue
			}
		}
		if x.seen != nil {
			passes, why, err := p.passOr(x, m)
			if decider = max(decider, why); err != nil {
				p.unnameFrom(names)
				clear(p.visited)
				return 0, err
			}
			if !passes {
				continue
			}
		}
		t := x.table.Load()
		decider = max(decider, t.Decider())
		p.found = lookUp(t, m, p.found[:0])
		if len(p.found) == 0 && !p.visitAlternate(x) {
			decider = max(decider, exchange.Content) // it may be declared any time
		}
		p.follow(m)
	}
	clear(p.visited)
	if len(p.parts) == 0 && len(p.late) == 0 {
		p.unnameFrom(names) // so that it can be published again
	}
	return decider, nil
}

// lookUp finds the targets of all keys. A message goes through a table that chooses one
// by its first key alone.
func lookUp(t *exchange.Table, m *Inbound, found []exchange.Target) []exchange.Target {
	seen := exchange.Message{Key: m.Key, Headers: m.Headers, Properties: m.Properties}
	found = t.Route(seen, found)
	if t.One() {
		return found
	}
	for _, seen.Key = range m.MoreKeys {
		found = t.Route(seen, found)
	}
	return found
}

// follow goes on to what was found.
func (p *Publisher) follow(m *Inbound) {
	ends := *p.v.ends.Load()
	for _, n := range p.found {
		if int(n) >= len(ends) {
			continue // bound after this goroutine looked; as if published before
		}
		switch e := ends[n].Load(); {
		case e == nil:
		case e.queue != nil:
			p.addPart(e.queue, m.Key)
		default:
			p.visit(e.exchange)
		}
	}
}

// visit has an exchange looked at unless it was.
func (p *Publisher) visit(x *Exchange) {
	if p.visited == nil {
		p.visited = map[*Exchange]bool{}
	}
	p.visited[p.walked[0]] = true
	if !p.visited[x] {
		p.visited[x] = true
		p.walked = append(p.walked, x)
	}
}

// visitAlternate has an exchange's alternate looked at. There may be none of that name,
// which is no error; the default exchange gets nothing that way, as in RabbitMQ. there is false
// when one may come.
func (p *Publisher) visitAlternate(x *Exchange) (there bool) {
	name := x.alternateName()
	if name == "" {
		return true // there is nothing that could be declared
	}
	alt, there := p.v.exchanges.Load(name)
	if there {
		p.visit(alt.(*Exchange))
	}
	return there
}

// addPart picks the queue's partition for a key, the one that Kafka's producers pick for it: so what has one key stands
// in one order, whoever sends it. It adds the partition if it is new.
func (p *Publisher) addPart(q *Queue, key []byte) {
	parts := q.Partitions()
	part := parts[0]
	if len(parts) > 1 && q.Topic { // of a queue with levels Publish finds the right one
		part = parts[keyHash(key)%uint32(len(parts))]
	}
	for _, have := range p.parts {
		if have == part {
			return
		}
	}
	p.parts = append(p.parts, part)
}

// setOf returns the one targetSet for these partitions, so that routes of
// different keys to the same queues share a batch.
func (p *Publisher) setOf(parts []*Partition) *targetSet {
	if len(parts) == 1 {
		return p.targetOf(parts[0]).self
	}
	p.scratch = p.scratch[:0]
	for _, part := range parts {
		id := part.serial
		for shift := 0; shift < 64; shift += 8 {
			p.scratch = append(p.scratch, byte(id>>shift))
		}
	}
	set := p.sets[string(p.scratch)]
	if set == nil {
		switch { // of routes that headers decide, which are not counted
		case len(p.sets) < maxRoutes:
		case p.whole:
			clear(p.sets)
		default:
			p.Store()
			p.forget()
		}
		set = &targetSet{tracked: p.fates != nil}
		for _, part := range parts {
			t := p.targetOf(part)
			set.targets = append(set.targets, t)
			set.tracked = set.tracked || t.refuses
		}
		set.levels = levelsOf(set.targets)
		p.sets[string(p.scratch)] = set
	}
	return set
}

func (p *Publisher) targetOf(part *Partition) *target {
	t := p.targets[part]
	if t == nil {
		t = &target{part: part}
		t.self = &targetSet{targets: []*target{t}}
		t.look()
		t.self.tracked = p.fates != nil || t.refuses
		p.targets[part] = t
	}
	return t
}

// look takes over what of its queue matters.
func (t *target) look() {
	s := t.part.q.Settings()
	t.settings = s
	t.ttl, t.chooses, t.refuses, t.levels = s.MessageTTL >= 0, s.limited() || s.Distinct || s.Compact, s.refuses() || s.Distinct || s.Compact || s.limited() && t.part.txns() != nil, t.part.q.levelled()
	t.self.levels = levelsOf(t.self.targets)
}
