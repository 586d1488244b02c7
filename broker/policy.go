package broker

// PolicyChanged has every session and publisher ask the policy again. What runs is asked
// for at once: whoever may not be in the virtual host any more is sent away, and the
// consumers of a session that may not read their queue any more are cancelled (what they
// hold they may settle), and members leave the groups that they may not read any more.
//
//	publishers             when they find their next route, which none remembers (Publisher.renew)
//	transactions           at their commit, for all that is in them (Publisher.mayStill)
//	all that is asked for  by the next request (Session.May), a fetch that waits included (PolicyChange)
//	consumers              here
//	members of groups      here (Session.Stand)
//	connections            here
func (b *Broker) PolicyChanged() {
	b.policyGeneration.Add(1)
	b.limitsChanged(func() {})
	for _, v := range b.VHosts() {
		v.changed() // publishers ask when they find a route
	}
	changed := make(chan struct{})
	if before := b.policyChange.Swap(&changed); before != nil {
		close(*before)
	}
	for _, k := range b.entered() {
		if k.session.vhost.Gone() {
			continue // the client was told so, or hears it when it enters
		}
		if err := k.session.May(Enter, OnVHost, k.session.vhost.Name); err != nil {
			b.opts.Log.Warn("a connection is closed: its user may not use the virtual host any more",
				"listener", k.list.protocol, "from", k.peer, "user", k.session.who.Name, "vhost", k.session.vhost.Name, "reason", err)
			k.sendAway(err.Error())
			continue
		}
		k.session.askAgain(k)
		k.session.loseStandings(k, false)
	}
}

// sendAway tells a client that is in a virtual host to go. Its consumers are cancelled first: a
// farewell takes time, and nothing is delivered in it.
func (k *Connection) sendAway(reason string) {
	for _, sub := range k.session.subscriptions() {
		sub.cancel()
	}
	k.session.loseStandings(*k, true)
	k.client.Evict(reason)
}

// PolicyChange is closed when the policy changes the next time.
func (s *Session) PolicyChange() <-chan struct{} {
	b := s.vhost.b
	for {
		if c := b.policyChange.Load(); c != nil {
			return *c
		}
		c := make(chan struct{})
		b.policyChange.CompareAndSwap(nil, &c)
	}
}

// entered are the connections that have a session.
func (b *Broker) entered() []Connection {
	r := &b.connections
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Connection, 0, len(r.open))
	for _, k := range r.open {
		if k.session != nil {
			out = append(out, *k)
		}
	}
	return out
}

// subscribed notes a subscription that the session has begun, unless the right to it was
// lost meanwhile.
func (s *Session) subscribed(sub *Subscription) error {
	sub.session = s
	s.mu.Lock()
	if s.subs == nil {
		s.subs = map[*Subscription]struct{}{}
	}
	s.subs[sub] = struct{}{}
	s.mu.Unlock()
	return s.May(Consume, OnQueue, sub.q.Name) // of those who are asked again it is one from here on
}

// unsubscribed forgets it.
func (s *Session) unsubscribed(sub *Subscription) {
	s.mu.Lock()
	delete(s.subs, sub)
	s.mu.Unlock()
}

// subscriptions are those of the session.
func (s *Session) subscriptions() []*Subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	subs := make([]*Subscription, 0, len(s.subs))
	for sub := range s.subs {
		subs = append(subs, sub)
	}
	return subs
}

// cancel has the consumer end, if it can be told.
func (s *Subscription) cancel() {
	if s.o.Cancelled != nil {
		s.o.Cancelled()
	}
}

// askAgain cancels the session's consumers that may not read any more.
func (s *Session) askAgain(k Connection) {
	for _, sub := range s.subscriptions() {
		err := s.May(Consume, OnQueue, sub.q.Name)
		if err == nil || sub.o.Cancelled == nil {
			continue
		}
		s.vhost.b.opts.Log.Warn("a consumer is cancelled: its user may not read the queue any more",
			"listener", k.list.protocol, "from", k.peer, "user", s.who.Name, "vhost", s.vhost.Name, "queue", sub.q.Name, "reason", err)
		sub.cancel()
	}
}
