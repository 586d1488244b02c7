package broker

// maxStandings bounds the standing rights of a session. One above it is asked for with each request only.
const maxStandings = 256

// standing is a right that a session uses between its requests, too: the one to be a member of a group.
type standing struct {
	permit
	holder string // whose it is, of several
}

// Stand notes that something of a client's, holder, lives by the right to do that with a resource: lost is
// called once the policy says no, from any goroutine, and it may take what locks it likes that are above none of the broker's.
// It may be called again for what is noted. An error is that of May, which is asked anew: from then on it is noted or was never.
func (s *Session) Stand(verb Verb, kind ResourceKind, name, holder string, lost func()) error {
	if s.vhost.b.opts.Policy == nil || s.inner {
		return nil
	}
	it := standing{permit{verb, Resource{kind, name}}, holder}
	s.mu.Lock()
	_, known := s.standings[it]
	if !known && len(s.standings) < maxStandings {
		if s.standings == nil {
			s.standings = map[standing]func(){}
		}
		s.standings[it] = lost
	}
	s.mu.Unlock()
	if known {
		return nil
	}
	err := s.May(verb, kind, name) // of those that are asked again it is one from here on
	if err != nil {
		s.Stopped(verb, kind, name, holder)
	}
	return err
}

// Stopped forgets what Stand noted.
func (s *Session) Stopped(verb Verb, kind ResourceKind, name, holder string) {
	s.mu.Lock()
	delete(s.standings, standing{permit{verb, Resource{kind, name}}, holder})
	s.mu.Unlock()
}

// loseStandings calls lost for what the session may not any more, and says so; for all of it without
// a right to be there.
func (s *Session) loseStandings(k Connection, all bool) {
	s.mu.Lock()
	list := make([]standing, 0, len(s.standings))
	for it := range s.standings {
		list = append(list, it)
	}
	s.mu.Unlock()
	for _, it := range list {
		err := error(nil)
		if !all {
			if err = s.May(it.verb, it.on.Kind, it.on.Name); err == nil {
				continue
			}
		}
		s.mu.Lock()
		lost := s.standings[it]
		delete(s.standings, it)
		s.mu.Unlock()
		if lost == nil {
			continue
		}
		if !all {
			s.vhost.b.opts.Log.Warn("a member is sent away: its user may not read the "+it.on.Kind.String()+" any more",
				"listener", k.list.protocol, "from", k.peer, "user", s.who.Name, "vhost", s.vhost.Name, it.on.Kind.String(), it.on.Name, "reason", err)
		}
		lost()
	}
}
