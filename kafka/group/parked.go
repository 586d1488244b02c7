package group

// Parked is a Join or Sync that waits for other members.
type Parked struct {
	g    *group
	m    *member
	join func(JoinReply)
	sync func(SyncReply)
}

// Abandon takes the call back, because its client is gone: its callback is not
// called any more. Of a call that was answered nothing is left to take back.
//
//	the member             becomes of it
//	never learnt its id    it leaves: nobody can come back as it
//	otherwise              it has its session timeout to come back
func (p *Parked) Abandon() {
	if p == nil {
		return
	}
	g := p.g
	g.mu.Lock()
	defer g.c.unlock(g)
	m := p.m
	switch {
	case m.gone:
	case m.sync == p:
		m.sync = nil
		g.touch(m)
	case m.join == p:
		m.join = nil
		g.joined--
		if !m.told && m.instance == "" {
			g.removeAndUpdate(m)
			return
		}
		g.touch(m)
	}
}

// Expel has the member leave, because it may not be in the group any more: its call is
// answered, if it was not before.
func (p *Parked) Expel() {
	if p == nil {
		return
	}
	p.g.mu.Lock()
	defer p.g.c.unlock(p.g)
	if m := p.m; !m.gone && (m.join == p || m.sync == p) {
		p.g.removeAndUpdate(m)
	}
}

// park keeps a join until the next generation stands.
func (g *group) park(m *member, call *Parked) {
	call.m, m.join = m, call
	g.joined++
}

// answerJoin answers a parked join, if there is one.
func (g *group) answerJoin(m *member, r JoinReply) {
	if m.join == nil {
		return
	}
	m.told = true
	m.join.join(r)
	m.join = nil
	g.joined--
}

// answerSync answers a parked sync, if there is one.
func (m *member) answerSync(r SyncReply) {
	if m.sync != nil {
		m.sync.sync(r)
		m.sync = nil
	}
}
