package broker

import (
	"cmp"
	"sync"
)

// naming is the names that one publisher took since its last Commit, and who waits for what
// becomes of them. It is the publisher's own until that.
type naming struct {
	names []newName

	mu      sync.Mutex // guards the rest; a leaf
	ended   bool
	err     error // why the names are free again
	waiting []func(error)
}

// newName is a name that was taken.
type newName struct {
	at    *seen
	id    messageID
	dueMs int64
	ref   uint64 // of its message
}

// unname gives the names of a message back that is not stored.
func (p *Publisher) unname(ref uint64) {
	if p.naming == nil {
		return
	}
	for i := range p.naming.names {
		if n := &p.naming.names[i]; n.ref == ref {
			n.at.free(n.id, p.naming)
		}
	}
}

// unnameFrom gives those names back that the message under way has taken: it goes nowhere.
func (p *Publisher) unnameFrom(first int) {
	if p.naming == nil {
		return
	}
	for _, n := range p.naming.names[first:] {
		n.at.free(n.id, p.naming)
	}
	p.naming.names = p.naming.names[:first]
}

// named is how many names were taken since the last Commit.
func (p *Publisher) named() int {
	if p.naming == nil {
		return 0
	}
	return len(p.naming.names)
}

// Abandon gives back what was published and will not be committed: its publisher is gone.
func (p *Publisher) Abandon() {
	if n := p.naming; n != nil {
		p.naming = nil
		n.end(fail(Closed, "its publisher is gone"), func(error) {})
	}
}

// endNames has the names be remembered that were taken since the last Commit, when what
// they name is as durable as done says, or be free again. With an error that is known. A
// duplicate of what another publisher has under way is as durable as that.
func (p *Publisher) endNames(err error, done func(error)) func(error) {
	n, awaited := p.naming, p.awaited
	if n == nil && awaited == nil {
		return done
	}
	p.naming, p.awaited = nil, nil
	if done == nil {
		done = func(error) {}
	}
	last := func(err error) { awaitNames(awaited, err, done) }
	switch {
	case n == nil:
		return last
	case err != nil:
		n.end(err, func(error) {})
		return last
	}
	return func(err error) { n.end(err, last) }
}

// end decides on all names: with an error they are free, else they are written down where
// they last. done may be called later, by whoever writes.
func (n *naming) end(err error, done func(error)) {
	for err == nil && len(n.names) > 0 {
		s := n.names[0].at
		var names, rest []newName
		for _, name := range n.names {
			if name.at == s {
				names = append(names, name)
			} else {
				rest = append(rest, name)
			}
		}
		if s.log != nil {
			s.log.active().errands.send(nil, func(*errand) error {
				if err := s.write(names, n); err != nil {
					n.end(err, done)
					return nil
				}
				n.names = rest
				n.end(nil, done)
				return nil
			})
			return
		}
		n.names = rest
		s.keep(names, n, 0, s.b.opts.Now().UnixMilli())
	}
	for _, name := range n.names {
		name.at.free(name.id, n)
	}
	n.names = nil
	n.mu.Lock()
	waiting := n.waiting
	n.ended, n.err, n.waiting = true, err, nil
	n.mu.Unlock()
	done(err)
	for _, w := range waiting {
		w(err)
	}
}

// wait has fn called when it is decided what becomes of the names; false says that it is.
func (n *naming) wait(fn func(error)) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.ended {
		n.waiting = append(n.waiting, fn)
	}
	return !n.ended
}

// awaitNames calls done when all are decided, with the first error.
func awaitNames(list []*naming, err error, done func(error)) {
	for i, n := range list {
		if n.wait(func(e error) { awaitNames(list[i+1:], cmp.Or(err, e), done) }) {
			return
		}
		err = cmp.Or(err, n.err)
	}
	done(err)
}
