package broker

import (
	"sync"
	"time"
)

// Dead letters are copied behind everybody's back. Who rejects a message and looks into the
// queue for dead letters next would come too early, by as long as a copy takes; on RabbitMQ he
// finds it there as a rule. So a look into a queue waits for the letters that were under way
// when it began and may lead there: one that found nothing, one that counts, and a purge. No
// other look asks.
//
//	rejected ─► waiting ─► turn ─► stored ─► turnOver
//	Get: nothing ─► awaitLetters ── those that waited then had their turn ─► Get

// lettersPatience is how long a look waits for dead letters at most. That is many times what a
// copy takes where there is no crowd, and no matter to a connection that does other things, too.
const lettersPatience = 500 * time.Millisecond

// awaited are letters of a log which somebody waits for: all until so many had their turn.
type awaited struct {
	part    *Partition
	letters *deadLetters
	until   int64
}

// awaitLetters waits for the dead letters that may come to the queue of what has happened by
// now, or until enough says that those that came will do.
func (s *Session) awaitLetters(q *Queue, enough func() bool) {
	b := q.vhost.b
	list := b.undertakers.awaitedIn(q)
	if len(list) == 0 {
		return
	}
	timer := time.NewTimer(lettersPatience)
	defer timer.Stop()
	for {
		turned := b.undertakers.nextTurn()
		if list = b.undertakers.left(list); len(list) == 0 || enough() {
			return
		}
		select {
		case <-turned:
		case <-timer.C:
			return
		case <-s.givenUp:
			return
		case <-b.stop:
			return
		}
	}
}

// awaitedIn are the letters under way that may lead to a queue.
func (u *undertakers) awaitedIn(q *Queue) (list []awaited) {
	u.mu.Lock()
	for p := range u.moving {
		if p.q.vhost == q.vhost {
			list = append(list, awaited{part: p, letters: p.active().letters.Load()})
		}
	}
	u.mu.Unlock()
	led := list[:0]
	sources := sync.OnceValue(func() map[string]bool { return q.vhost.sourcesOf(q) })
	for _, a := range list {
		if a.part.q.Settings().buriesIn(q, sources) {
			a.letters.mu.Lock()
			a.until = a.letters.added
			a.letters.mu.Unlock()
			led = append(led, a)
		}
	}
	return led
}

// nextTurn is closed when the next turn is over.
func (u *undertakers) nextTurn() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.turned == nil {
		u.turned = make(chan struct{})
	}
	return u.turned
}

// turnOver tells who waits for letters that some are stored.
func (u *undertakers) turnOver() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tellTurn()
}

// tellTurn is turnOver with mu held.
func (u *undertakers) tellTurn() {
	if u.turned != nil {
		close(u.turned)
		u.turned = nil
	}
}

// left are those of the letters that are still under way. Those that wait for another try are
// not: nobody knows when they come.
func (u *undertakers) left(list []awaited) []awaited {
	u.mu.Lock()
	defer u.mu.Unlock()
	still := list[:0]
	for _, a := range list {
		if u.moving[a.part] > 0 && a.letters.hadTurns() < a.until {
			still = append(still, a)
		}
	}
	return still
}

// hadTurns is how many letters had their turn.
func (l *deadLetters) hadTurns() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.turned
}

// buriesIn says whether dead letters of a queue with these settings may come to a queue to which
// these exchanges lead.
func (s *Settings) buriesIn(q *Queue, sources func() map[string]bool) bool {
	switch name := string(s.DeadLetterExchange); {
	case s.DeadLetterExchange == nil:
		return false
	case name == "":
		return s.DeadLetterKey == nil || string(s.DeadLetterKey) == q.Name
	default:
		return sources()[name]
	}
}

// sourcesOf are the exchanges that lead to the queue, through others and as their alternates
// too, whatever the keys.
func (v *VHost) sourcesOf(q *Queue) map[string]bool {
	alternates := map[string][]*Exchange{} // whose they are
	v.exchanges.Range(func(_, e any) bool {
		x := e.(*Exchange)
		if name := x.alternateName(); name != "" {
			alternates[name] = append(alternates[name], x)
		}
		return true
	})
	v.mu.Lock()
	defer v.mu.Unlock()
	found := map[string]bool{}
	var todo []*Exchange
	add := func(name string) {
		if x, _ := v.Exchange(name); x != nil && !found[name] {
			found[name] = true
			todo = append(todo, x)
		}
	}
	for b := range q.incoming.all() {
		add(b.def.Source)
	}
	for ; len(todo) > 0; todo = todo[1:] {
		for b := range todo[0].incoming.all() {
			add(b.def.Source)
		}
		for _, x := range alternates[todo[0].Name] {
			add(x.Name)
		}
	}
	return found
}

// allOfThem never has enough.
func allOfThem() bool { return false }
