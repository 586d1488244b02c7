package budget

import (
	"errors"
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
	o.Share = min(o.Share, o.Bytes)
	if o.Free == 0 {
		o.Free = 32 << 10
	}
	o.Free = max(o.Free, 0)
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
}

// Budget is the memory that all clients share. All methods may be called from any
// goroutine.
type Budget struct {
	opts Options

	mu      sync.Mutex // guards the rest
	used    int64
	waiting []*waiter // in line; the first is given first
	peak    int64
	waits   uint64
	refused uint64
}

// waiter is one call of Take that waits.
type waiter struct {
	bytes int64
	given chan struct{} // closed under mu when the bytes are its own
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
	return Stats{Bytes: b.opts.Bytes, Used: b.used, Peak: b.peak, Waiting: len(b.waiting), Waits: b.waits, Refused: b.refused}
}

// try takes bytes when they are there and nobody waits for them.
func (b *Budget) try(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) > 0 || !b.fits(n) {
		b.refused++
		return false
	}
	b.add(n)
	return true
}

func (b *Budget) fits(n int64) bool { return b.used+n <= b.opts.Bytes }

func (b *Budget) add(n int64) {
	b.used += n
	b.peak = max(b.peak, b.used)
}

// take is try for those who wait in line.
func (b *Budget) take(n int64, gone, closed <-chan struct{}) error {
	b.mu.Lock()
	if len(b.waiting) == 0 && b.fits(n) {
		b.add(n)
		b.mu.Unlock()
		return nil
	}
	w := &waiter{bytes: n, given: make(chan struct{})}
	b.waiting = append(b.waiting, w)
	b.waits++
	b.mu.Unlock()

	patience := time.NewTimer(b.opts.Patience)
	defer patience.Stop()
	var err error
	select {
	case <-w.given:
		return nil
	case <-patience.C:
		err = ErrFull
	case <-gone:
		err = ErrGone
	case <-closed:
		err = ErrGone
	}
	return b.leave(w, err)
}

// leave takes a waiter out of the line, unless it was given its bytes meanwhile.
func (b *Budget) leave(w *waiter, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.waiting {
		if b.waiting[i] == w {
			b.waiting = append(b.waiting[:i], b.waiting[i+1:]...)
			b.refused++
			b.serve() // those behind may want less
			return err
		}
	}
	return nil
}

// give returns bytes and serves the line.
func (b *Budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	b.serve()
}

// serve gives to those who wait, in their order: a large wish is not overtaken by
// small ones for ever.
func (b *Budget) serve() {
	for len(b.waiting) > 0 && b.fits(b.waiting[0].bytes) {
		w := b.waiting[0]
		b.waiting[0] = nil
		b.waiting = b.waiting[1:]
		b.add(w.bytes)
		close(w.given)
	}
}

func (b *Budget) countRefused() {
	b.mu.Lock()
	b.refused++
	b.mu.Unlock()
}
