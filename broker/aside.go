package broker

import "time"

// aside are dead letters of a log that could not be stored: they are out of the way of those
// behind them until these had their turn, and then come before all others again.
//
//	waiting ─► turn ── no place ─► aside
//	   ▲                             │ when those that waited then had their turn, and a while
//	   └─────── at the front ◄───────┘
//
// They are kept as runs, and there is a limit to these: beyond it those in front are in the
// way of the others until they find a place.
type aside struct {
	list   []ended
	behind int64 // what deadLetters.added was when the first came here: those have their turn before
	since  time.Time
	timed  bool // they will be called for
	tries  int  // that failed
	err    error
}

const (
	// maxAside is how many runs are kept aside.
	maxAside = 1 << 16
	// asidePauses is how many times as long as a walk through all that wait the pause
	// before the next one is at least, up to asideLongest.
	asidePauses  = 20
	asideLongest = 10 * time.Minute
)

// setAside puts runs aside that could not be stored for a reason; ok is false when there is no
// room for more, and all must wait.
func (l *deadLetters) setAside(list []ended, why error, now time.Time) (ok bool) {
	if len(list) == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := &l.aside
	if len(a.list) == 0 {
		a.behind, a.since = l.added, now
	}
	a.list, a.err = joined(append(a.list, list...)), why
	if len(a.list) <= maxAside {
		return true
	}
	l.recall()
	return false
}

// recall puts what is aside in front of all others; mu is held.
func (l *deadLetters) recall() {
	l.turned -= lenOf(l.aside.list)
	l.waiting = append(l.aside.list, l.waiting...)
	l.aside.list = nil
}

// recallLater has what is aside come back in a while, if the others had their turn.
func (p *Partition) recallLater(l *deadLetters) {
	now := p.q.vhost.b.opts.Now()
	l.mu.Lock()
	after, ok := l.aside.recall(now, l.turned)
	tries, err := l.aside.tries, l.aside.err
	l.mu.Unlock()
	if ok {
		p.tellFailed(tries, err)
		time.AfterFunc(after, func() { p.recallNow(l) })
	}
}

// recall says in how long what is aside is to be recalled, if it is time to say so: turned is how many
// messages had their turn.
func (a *aside) recall(now time.Time, turned int64) (after time.Duration, ok bool) {
	if len(a.list) == 0 || a.timed || turned < a.behind {
		return 0, false
	}
	a.timed = true
	a.tries++
	return max(retryAfter(a.tries), min(asidePauses*now.Sub(a.since), asideLongest)), true
}

// recallNow has what is aside tried again.
func (p *Partition) recallNow(l *deadLetters) {
	l.mu.Lock()
	l.aside.timed = false
	begin := len(l.aside.list) > 0 && !l.busy
	l.recall()
	l.busy = l.busy || begin
	l.mu.Unlock()
	switch {
	case begin && l.areGivenUp():
		p.dropLetters()
	case begin:
		p.q.vhost.b.undertakers.call(p)
	}
}
