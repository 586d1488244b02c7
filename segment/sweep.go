package segment

// The sweep is a clock: a segment that nobody used between two turns is closed
// (unmapped, its descriptor closed, its index dropped) and opened again on
// demand. So an idle log costs its structs alone, and the number of mappings
// stays far below the kernel's limit.

// track notes that a segment holds a mapping, a descriptor or an index.
func (p *Pool) track(s *Segment) {
	p.mu.Lock()
	p.open[s] = struct{}{}
	over := len(p.open) > p.o.MaxOpen && len(p.open)%64 == 0
	if over {
		p.jobs = append(p.jobs, p.trim)
		p.wake.Signal()
	}
	p.mu.Unlock()
}

func (p *Pool) untrack(s *Segment) {
	p.mu.Lock()
	delete(p.open, s)
	p.mu.Unlock()
}

// Sweep closes what was not used since the last sweep, and returns when that is
// done. The pool does it by itself every PoolOptions.Sweep.
func (p *Pool) Sweep() {
	p.later(p.sweep)
	p.Wait()
}

// sweeps asks for a sweep at each tick until the pool is closed.
func (p *Pool) sweeps() {
	for {
		select {
		case <-p.tick.C:
			p.later(p.sweep)
		case <-p.done:
			return
		}
	}
}

// sweep closes what was not used since the last one.
func (p *Pool) sweep() {
	p.round(0)
	p.trim()
	p.age()
}

// trim closes segments if more than MaxOpen are open, and an eighth more, so that
// it is not needed again at once. It first spares those used since the last round.
func (p *Pool) trim() {
	for range 2 {
		if p.opened() > p.o.MaxOpen {
			p.round(p.o.MaxOpen - p.o.MaxOpen/8)
		}
	}
}

func (p *Pool) opened() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.open)
}

// round goes through the open segments, in no order, and closes unused ones until
// no more than keep are open.
func (p *Pool) round(keep int) {
	p.mu.Lock()
	open := make([]*Segment, 0, len(p.open))
	for s := range p.open {
		open = append(open, s)
	}
	p.mu.Unlock()
	left := len(open)
	for _, s := range open {
		if left <= keep {
			return
		}
		if !s.used.Swap(false) && s.shrink() {
			left--
		}
	}
}

// age discards free files that nobody wanted for a dozen sweeps, so that memory
// follows the load down.
func (p *Pool) age() {
	const sweeps = 12
	var old []*block
	p.mu.Lock()
	kept := p.free[:0]
	for _, b := range p.free {
		if b.idle++; b.idle > sweeps {
			old = append(old, b)
			p.freed -= b.size
			continue
		}
		kept = append(kept, b)
	}
	p.free = kept
	p.mu.Unlock()
	for _, b := range old {
		p.discard(b)
	}
}
