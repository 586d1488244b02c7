package auth

import (
	"context"
	"slices"
	"sync"
)

// rank says how much stands against a login, by what was wrong lately.
type rank int

const (
	clean    rank = iota // nothing from its source
	doubtful             // something from its source, nothing for its name
	suspect              // something of both
)

// rotation is which rank is asked for first, turn by turn. Those with nothing against
// them have every other turn, and nobody has none.
var rotation = [...]rank{clean, doubtful, clean, suspect}

// turns deals out who may make a slow hash: a few at a time, since each takes a
// processor and much memory. Within a rank the source goes first that was served the
// longest ago, so that one that sends many logins holds up its own.
type turns struct {
	mu      sync.Mutex // guards the rest, and source.served
	free    int
	waiting []*turn // in the order in which they came
	dealt   uint64
}

type turn struct {
	source *source
	rank   rank
	given  chan struct{} // closed under turns.mu
}

// take waits for a turn.
func (t *turns) take(ctx context.Context, s *source, r rank) error {
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.deal(s)
		t.mu.Unlock()
		return nil
	}
	mine := &turn{source: s, rank: r, given: make(chan struct{})}
	t.waiting = append(t.waiting, mine)
	t.mu.Unlock()
	select {
	case <-mine.given:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	i := slices.Index(t.waiting, mine)
	if i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 { // it was given meanwhile
		t.give()
	}
	return ErrBusy
}

// give ends a turn: the next one has it.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		t.free++
		return
	}
	i := t.next()
	next := t.waiting[i]
	t.waiting = slices.Delete(t.waiting, i, i+1)
	t.deal(next.source)
	close(next.given)
}

func (t *turns) deal(s *source) {
	t.dealt++
	s.served = t.dealt
}

// next finds whose turn it is. They are few, and a hash takes thousands of times longer.
func (t *turns) next() (best int) {
	wanted := rotation[t.dealt%uint64(len(rotation))]
	for i := range t.waiting {
		if t.waiting[i].before(t.waiting[best], wanted) {
			best = i
		}
	}
	return best
}

func (w *turn) before(other *turn, wanted rank) bool {
	if w.rank != other.rank {
		return w.rank == wanted || other.rank != wanted && w.rank < other.rank
	}
	return w.source.served < other.source.served
}
