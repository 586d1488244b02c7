package budget

import (
	"errors"
	"slices"
	"sync"
	"time"
)

// Reasons why bytes were not given.
var (
	// ErrShare says that the account would hold more than one may: asking again
	// does not help.
	ErrShare = errors.New("the request takes more memory than one client may hold")
	// ErrFull says that others hold the bytes: asking again later may help.
	ErrFull = errors.New("the memory for requests is in use by other clients")
	// ErrGone says that the client, or its account, ended while it waited.
	ErrGone = errors.New("the client is gone")
)

// Options are a Budget's settings; a zero field gets its default.
type Options struct {
	// Bytes is what all accounts may hold together; default 256 MiB.
	Bytes int64
	// Share is what one account may hold; default a quarter of Bytes, but as much
	// as the largest request of any protocol takes (160 MiB) where that is no more
	// than half of Bytes.
	Share int64
	// Free is what each account may hold without being counted; default 32 KiB,
	// negative is none.
	Free int64
	// Little is how much, beyond that, an account may hold and still wish for bytes of
	// the Reserve; default a 1024th of Bytes.
	Little int64
	// Reserve is the part of Bytes that is for accounts that hold little; default an
	// eighth, negative is none.
	Reserve int64
	// Patience is how long Take waits; default 10 s.
	Patience time.Duration
}

// largestRequest is what the largest message over AMQP or Kafka takes, with some
// room for what stands around it.
const largestRequest = 160 << 20

func (o *Options) defaults() {
	if o.Bytes == 0 {
		o.Bytes = 256 << 20
	}
	if o.Share == 0 {
		o.Share = max(o.Bytes/4, min(o.Bytes/2, largestRequest))
	}
	if o.Free == 0 {
		o.Free = 32 << 10
	}
	o.Free = max(o.Free, 0)
	if o.Little == 0 {
		o.Little = o.Bytes / 1024
	}
	if o.Reserve == 0 {
		o.Reserve = o.Bytes / 8
	}
	o.Reserve = max(o.Reserve, 0)
	o.Share = min(o.Share, o.Bytes-o.Reserve)
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
}

// counted are bytes that count against a Budget: the first ones of an account, which
// are little, and those beyond.
type counted struct{ little, much int64 }

func (c counted) none() bool { return c == counted{} }

func (c counted) minus(d counted) counted { return counted{c.little - d.little, c.much - d.much} }

// wish is what a call wants.
type wish struct {
	counted
	// passes says that nobody who waits stands before it.
	passes bool
}

// Budget is the memory that all clients share. All methods may be called from any
// goroutine.
type Budget struct {
	opts Options

	mu      sync.Mutex // guards the rest
	used    counted
	line    []*waiter // those who want more than the Reserve has for them; the first is given first
	little  []*waiter // those who hold little, and wait for others who do
	peak    int64
	waits   uint64
	refused uint64
}

// waiter is one call that waits.
type waiter struct {
	wish
	given chan struct{} // closed under Budget.mu when the bytes are its own
	aside bool          // it keeps its place in the line, and those behind may be given before
}

// New returns a Budget of which nothing is used.
func New(o Options) *Budget {
	o.defaults()
	return &Budget{opts: o}
}

// Stats are the figures of a Budget.
type Stats struct {
	// Bytes is the limit, Used what is taken of it now and Peak the most that ever was.
	Bytes, Used, Peak int64
	// Waiting is the number of calls that wait now.
	Waiting int
	// Waits counts calls that had to wait, Refused calls that got nothing.
	Waits, Refused uint64
}

// Stats reads the figures.
func (b *Budget) Stats() Stats {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{Bytes: b.opts.Bytes, Used: b.all(), Peak: b.peak, Waiting: len(b.line) + len(b.little), Waits: b.waits, Refused: b.refused}
}

// Standing is what those should hold together at most who hold it for as long as
// clients please. Beside it and the Reserve half is left for what comes and goes.
func (b *Budget) Standing() int64 { return b.opts.Bytes * 3 / 8 }

func (b *Budget) all() int64 { return b.used.little + b.used.much }

// try takes bytes when they are there and nobody waits for them.
func (b *Budget) try(w wish) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.grant(w) {
		b.refused++
		return false
	}
	return true
}

// grant gives a new wish what it wants, unless others stand before it or it does not fit.
func (b *Budget) grant(w wish) bool {
	switch {
	case b.reserved(w) && len(b.little) == 0:
	case (w.passes || len(b.line)+len(b.little) == 0) && b.fits(w):
	default:
		return false
	}
	b.add(w.counted)
	return true
}

// reserved reports whether the Reserve has room for a wish of one who holds little.
func (b *Budget) reserved(w wish) bool {
	return w.much == 0 && b.used.little+w.little <= b.opts.Reserve
}

// fits reports whether there is room for a wish beside what is kept for those who hold little.
func (b *Budget) fits(w wish) bool {
	return b.used.much+w.much+max(b.used.little+w.little, b.opts.Reserve) <= b.opts.Bytes
}

func (b *Budget) add(c counted) {
	b.used.little += c.little
	b.used.much += c.much
	b.peak = max(b.peak, b.all())
}

// take is try for those who wait in line: for as long as the patience, or for as long
// as it takes when they are stubborn.
func (b *Budget) take(w wish, stubborn bool, gone, closed <-chan struct{}) error {
	b.mu.Lock()
	if b.grant(w) {
		b.mu.Unlock()
		return nil
	}
	in := &waiter{wish: w, given: make(chan struct{})}
	line := &b.line
	if w.much == 0 {
		line = &b.little
	}
	*line = append(*line, in)
	b.waits++
	b.mu.Unlock()

	wait := b.opts.Patience
	if stubborn {
		wait /= 2 // those behind have their turn before their patience ends
	}
	patience := time.NewTimer(wait)
	defer patience.Stop()
	for {
		select {
		case <-in.given:
			return nil
		case <-patience.C:
			if !stubborn {
				return b.leave(line, in, ErrFull)
			}
			b.aside(in)
			patience.Reset(wait)
		case <-gone:
			return b.leave(line, in, ErrGone)
		case <-closed:
			return b.leave(line, in, ErrGone)
		}
	}
}

// aside has one who waits for long stand aside, or no longer: by turns, so that
// it has the line's room to itself for long enough, and so have those behind.
func (b *Budget) aside(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	w.aside = !w.aside
	b.serve()
}

// leave takes a waiter out of its line, unless it was given its bytes meanwhile.
func (b *Budget) leave(line *[]*waiter, w *waiter, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(*line, w)
	if i < 0 {
		return nil
	}
	*line = slices.Delete(*line, i, i+1)
	b.refused++
	b.serve() // those behind may want less
	return err
}

// give returns bytes and serves the lines.
func (b *Budget) give(c counted) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used = b.used.minus(c)
	b.serve()
}

// serve gives to those who wait, in their order: a large wish is not overtaken for
// ever. Those who hold little have the Reserve, and what nobody else waits for.
func (b *Budget) serve() {
	b.line = b.serveLine(b.line, b.fits)
	b.little = b.serveLine(b.little, func(w wish) bool { return b.reserved(w) || len(b.line) == 0 && b.fits(w) })
}

func (b *Budget) serveLine(line []*waiter, room func(wish) bool) []*waiter {
	for i := 0; i < len(line); {
		w := line[i]
		switch {
		case room(w.wish):
			b.add(w.counted)
			close(w.given)
			line = slices.Delete(line, i, i+1)
		case w.aside:
			i++
		default:
			return line
		}
	}
	return line
}

func (b *Budget) countRefused() {
	b.mu.Lock()
	b.refused++
	b.mu.Unlock()
}
