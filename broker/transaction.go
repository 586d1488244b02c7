package broker

// heldReply is a reply that waits for Store.
type heldReply struct {
	to *ReplyAddress
	Inbound
}

// NewTransaction makes a Publisher that stores nothing before Store is called, and then puts all of it into the logs as
// one batch for each: what a log gets of a transaction is there or not, also after a kill in between. It is routed when
// it is published, and arrives when it is stored.
//
//	Publish ─► route ─► one open batch for each log ─┬─ Store, Commit ─► Append, once a log; replies leave
//	                                                 └─ Discard ───────► nothing was ever seen
//
// How much is held is for the caller to bound; see HeldBytes.
func (s *Session) NewTransaction() *Publisher {
	p := s.NewPublisher()
	p.whole = true
	return p
}

// openWhole is open for a transaction: a batch for each log, for all that comes.
func (p *Publisher) openWhole(set *targetSet) []*targetSet {
	p.opened = p.opened[:0]
	for _, t := range set.targets {
		p.opened = append(p.opened, t.self)
		if t.self.batch == nil {
			t.self.batch = p.builder()
			p.pending = append(p.pending, t.self)
		}
	}
	return p.opened
}

// HeldBytes is about what was published to a transaction since the last Store or Discard, a copy for each log.
func (p *Publisher) HeldBytes() int64 { return p.held }

// heldOverhead is what a message takes beside its parts.
const heldOverhead = 64

// holdBack counts a message that goes where a route leads, and arrives with Store.
func (p *Publisher) holdBack(m *Inbound, r *route) {
	p.hold(m, r.copies())
	m.TimestampMs = 0
}

// hold counts copies of a message.
func (p *Publisher) hold(m *Inbound, copies int) {
	p.held += int64(copies) * int64(heldOverhead+len(m.Exchange)+len(m.Key)+len(m.Properties)+len(m.Body))
}

// holdReplies keeps copies of a reply until the transaction is stored.
func (p *Publisher) holdReplies(m *Inbound) {
	p.hold(m, len(p.replies))
	for _, a := range p.replies {
		p.heldReplies = append(p.heldReplies, heldReply{to: a, Inbound: Inbound{
			Key: append([]byte(nil), m.Key...), Properties: append([]byte(nil), m.Properties...), Body: append([]byte(nil), m.Body...),
		}})
	}
}

// Discard forgets what was published to a transaction since the last Store.
func (p *Publisher) Discard() {
	for _, set := range p.pending {
		p.close(set)
	}
	p.pending, p.size = p.pending[:0], 0
	p.published, p.routed, p.unroutable, p.bytes = 0, 0, 0, 0
	p.forgetTallies()
	p.err, p.needCommit = nil, false
	p.forgetHeld()
	p.Abandon()
	p.awaited = nil
	p.same.route, p.same.batch = nil, nil
}

func (p *Publisher) forgetHeld() {
	clear(p.heldReplies)
	p.heldReplies, p.held = p.heldReplies[:0], 0
	clear(p.sources)
}

// noteSources notes where a message of a transaction was published to, for which the session is asked
// again at the commit if the policy has changed by then.
func (p *Publisher) noteSources(m *Inbound) {
	b := p.v.b
	if b.opts.Policy == nil {
		return
	}
	if len(p.sources) == 0 {
		p.sources, p.allowedAt = map[string]struct{}{}, p.allowedBy
	}
	p.noteSource(m.Exchange, m.Key)
	for _, key := range m.MoreKeys {
		p.noteSource(m.Exchange, key)
	}
}

func (p *Publisher) noteSource(exchange, key []byte) {
	p.scratch = appendRouteKey(p.scratch[:0], &Inbound{Exchange: exchange, Key: key})
	if _, known := p.sources[string(p.scratch)]; !known {
		p.sources[string(p.scratch)] = struct{}{}
		p.held += int64(heldOverhead + len(p.scratch))
	}
}

// mayStill asks whether all that was published to the transaction may still be.
func (p *Publisher) mayStill() error {
	if len(p.sources) == 0 || p.allowedAt == p.v.b.policyGeneration.Load() {
		return nil
	}
	for source := range p.sources {
		exchange, key := cutRouteKey(source)
		if err := p.s.May(Publish, OnExchange, exchange); err != nil {
			return err
		}
		if x, err := p.v.Exchange(exchange); err == nil {
			if err := p.s.mayKey(p.s.keysOf(Publish, x), Publish, x, []byte(key)); err != nil {
				return err
			}
		}
	}
	return nil
}

// seal readies a transaction for its logs: every batch gets the time at which it arrives. If a log can't take its
// batch, which it could not know before, none is stored.
func (p *Publisher) seal() error {
	most, now := p.v.b.store.Caps().MaxBatchBytes, p.v.b.opts.Now().UnixMilli()
	for _, set := range p.pending {
		if n := set.batch.SizeBytes(); most > 0 && n > most {
			return fail(TooLarge, "a transaction of %d bytes for queue '%s' is larger than the maximum of %d", n, set.targets[0].part.q.Name, most)
		}
		set.batch.Date(now)
	}
	return nil
}

// storeWhole is Store for a transaction.
func (p *Publisher) storeWhole() {
	err := p.mayStill()
	if err == nil {
		err = p.seal()
	}
	if err != nil {
		p.Discard()
		p.err = err
		return
	}
	p.storePending()
	if p.err == nil && len(p.refused) == 0 {
		p.sendReplies()
	}
	p.forgetHeld()
}

// sendReplies lets out the replies of a transaction that was stored.
func (p *Publisher) sendReplies() {
	for i := range p.heldReplies {
		p.replies = append(p.replies[:0], p.heldReplies[i].to)
		p.deliver(&p.heldReplies[i].Inbound)
	}
}

// renewWhole is renew for a transaction, which keeps the batches that are open.
func (p *Publisher) renewWhole() {
	targets := p.targets
	p.forget()
	for part, t := range targets {
		if t.self.batch != nil {
			t.look()
			p.targets[part] = t
		}
	}
}
