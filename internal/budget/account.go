package budget

import (
	"math"
	"sync"
	"sync/atomic"
)

// Account is one connection's part of a Budget. All methods may be called from any
// goroutine.
type Account struct {
	b      *Budget
	share  int64
	common bool
	held   atomic.Int64

	once   sync.Once
	closed chan struct{}
}

// Open returns the account of a connection, of which nothing is used.
func (b *Budget) Open() *Account {
	return &Account{b: b, share: b.opts.Share, closed: make(chan struct{})}
}

// OpenCommon returns the account of what keeps memory of many clients beyond their
// connections. It may hold as much as is Standing, and its wishes pass those who wait:
// it keeps what it gets, and so does not overtake them for ever.
func (b *Budget) OpenCommon() *Account {
	return &Account{b: b, share: b.Standing(), common: true, closed: make(chan struct{})}
}

// Share is the most that the account may hold.
func (a *Account) Share() int64 { return a.share }

// Held is what it holds.
func (a *Account) Held() int64 { return a.held.Load() }

// Try takes n bytes at once, or fails with ErrShare, ErrFull or ErrGone.
func (a *Account) Try(n int64) error {
	counted, err := a.hold(n)
	if err != nil || counted.none() {
		return err
	}
	if a.b.try(wish{counted, a.common}) {
		return nil
	}
	a.undo(n, counted)
	return ErrFull
}

// Take takes n bytes, waiting for them when it must: no longer than the Budget's
// patience (ErrFull), and not when gone or the account is closed (ErrGone). A nil
// gone is a client whose end can't be seen.
func (a *Account) Take(n int64, gone <-chan struct{}) error { return a.take(n, false, gone) }

// Await is Take without an end of its own. Who waits for long keeps its place in the
// line, and lets those behind go first half of the time.
func (a *Account) Await(n int64, gone <-chan struct{}) error { return a.take(n, true, gone) }

func (a *Account) take(n int64, stubborn bool, gone <-chan struct{}) error {
	counted, err := a.hold(n)
	if err != nil || counted.none() {
		return err
	}
	if err := a.b.take(wish{counted, a.common}, stubborn, gone, a.closed); err != nil {
		a.undo(n, counted)
		return err
	}
	return nil
}

// undo ends a hold that was not granted. Which bytes of an account are free, little
// or more depends on what else it holds, which may have changed meanwhile: the
// difference is made up for.
func (a *Account) undo(n int64, refused counted) {
	now := a.held.Add(-n)
	if d := a.parts(now + n).minus(a.parts(now)).minus(refused); !d.none() {
		a.b.give(d)
	}
}

// hold enters n bytes into the account and returns how they count against the Budget.
func (a *Account) hold(n int64) (counted, error) {
	if n < 0 {
		n = math.MaxInt64 / 2 // an estimate that overflowed
	}
	if n > a.share {
		a.b.countRefused()
		return counted{}, ErrShare
	}
	select {
	case <-a.closed:
		return counted{}, ErrGone
	default:
	}
	now := a.held.Add(n)
	c := a.parts(now).minus(a.parts(now - n))
	if now > a.share {
		a.undo(n, c)
		a.b.countRefused()
		return counted{}, ErrShare
	}
	return c, nil
}

// parts tells how held bytes count. What is common to many is never little.
func (a *Account) parts(held int64) counted {
	c := max(0, held-a.b.opts.Free)
	if a.common {
		return counted{much: c}
	}
	little := min(c, a.b.opts.Little)
	return counted{little: little, much: c - little}
}

// Give returns n bytes that were taken.
func (a *Account) Give(n int64) {
	if n == 0 {
		return
	}
	now := a.held.Add(-n)
	if c := a.parts(now + n).minus(a.parts(now)); !c.none() {
		a.b.give(c)
	}
}

// Close has those who wait give up and later calls fail. What is held is returned
// by those who hold it.
func (a *Account) Close() { a.once.Do(func() { close(a.closed) }) }
