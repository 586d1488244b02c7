package broker

import "sync/atomic"

// exchangeFlow counts what clients published to an exchange since the start. Publishers add to it once for many messages.
type exchangeFlow struct{ in, out atomic.Uint64 }

// ExchangeFlow is what went through an exchange since the start of the broker: only of the exchange that clients published to
// are messages counted, not of those behind it.
type ExchangeFlow struct {
	In  uint64 // messages that clients published to it
	Out uint64 // their copies in logs
}

// Flow is what went through the exchange.
func (x *Exchange) Flow() ExchangeFlow {
	return ExchangeFlow{In: x.flow.in.Load(), Out: x.flow.out.Load()}
}

// tally counts what a publisher published to one exchange since its last Commit. Messages in a row go to the same exchange
// mostly, so that nobody looks for it.
type tally struct {
	name    string
	x       *Exchange // nil: not looked up yet
	in, out uint64
}

// Bounds of tallies.
const (
	searchedTallies = 16  // are looked through for an exchange; who uses more of them in turns has several of each
	maxTallies      = 256 // are kept, but in a transaction
)

// turnTo has what is published from now on counted for an exchange.
func (p *Publisher) turnTo(name []byte) {
	for i := range p.tallies[:min(len(p.tallies), searchedTallies)] {
		if p.tallies[i].name == string(name) {
			p.tally = i
			return
		}
	}
	if len(p.tallies) >= maxTallies && !p.whole {
		if p.fates == nil {
			p.tell()
		}
		p.forgetTallies()
	}
	p.tally = len(p.tallies)
	p.tallies = append(p.tallies, tally{name: string(name)})
}

// tell adds to the exchanges what was published to them.
func (p *Publisher) tell() {
	for i := range p.tallies {
		t := &p.tallies[i]
		if t.in == 0 {
			continue
		}
		if t.x == nil {
			if t.x, _ = p.v.Exchange(t.name); t.x == nil {
				continue // it is gone
			}
		}
		t.x.flow.in.Add(t.in)
		t.x.flow.out.Add(t.out)
	}
}

// forgetTallies begins anew, with the exchange that is published to.
func (p *Publisher) forgetTallies() {
	now := p.tallies[p.tally]
	now.in, now.out = 0, 0
	if cap(p.tallies) > maxTallies {
		p.tallies = nil
	}
	p.tallies, p.tally = append(p.tallies[:0], now), 0
}
