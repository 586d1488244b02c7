package budget

import (
	"math"
	"sync"
	"sync/atomic"
)

// Account is one connection's part of a Budget. All methods may be called from any
// goroutine.
type Account struct {
	b     *Budget
	share int64
	held  atomic.Int64

	once   sync.Once
	closed chan struct{}
}

// Open returns the account of a connection, of which nothing is used.
func (b *Budget) Open() *Account {
	return &Account{b: b, share: b.opts.Share, closed: make(chan struct{})}
}

// OpenCommon returns the account of what keeps memory of many clients beyond their
// connections. It may hold half of the whole.
func (b *Budget) OpenCommon() *Account {
	return &Account{b: b, share: b.opts.Bytes / 2, closed: make(chan struct{})}
}

// Share is the most that the account may hold.
func (a *Account) Share() int64 { return a.share }

// Held is what it holds.
func (a *Account) Held() int64 { return a.held.Load() }

// Try takes n bytes at once, or fails with ErrShare, ErrFull or ErrGone.
func (a *Account) Try(n int64) error {
	counted, err := a.hold(n)
	if err != nil || counted == 0 {
		return err
	}
	if a.b.try(counted) {
		return nil
	}
	a.undo(n, counted)
	return ErrFull
}

// Take takes n bytes, waiting for them when it must: no longer than the Budget's
// patience (ErrFull), and not when gone or the account is closed (ErrGone). A nil
// gone is a client whose end can't be seen.
func (a *Account) Take(n int64, gone <-chan struct{}) error {
	counted, err := a.hold(n)
	if err != nil || counted == 0 {
		return err
	}
	if err := a.b.take(counted, gone, a.closed); err != nil {
		a.undo(n, counted)
		return err
	}
	return nil
}

// undo ends a hold that was not granted. Which bytes of an account are
// the free ones depends on what else it holds, which may have changed meanwhile:
// the difference is made up for.
func (a *Account) undo(n, counted int64) {
	now := a.held.Add(-n)
	if d := a.above(now+n) - a.above(now) - counted; d != 0 {
		a.b.give(d)
	}
}

// hold enters n bytes into the account and returns how many of them count
// against the Budget.
func (a *Account) hold(n int64) (counted int64, err error) {
	if n < 0 {
		n = math.MaxInt64 / 2 // an estimate that overflowed
	}
	if n > a.share {
		a.b.countRefused()
		return 0, ErrShare
	}
	select {
	case <-a.closed:
		return 0, ErrGone
	default:
	}
	now := a.held.Add(n)
	counted = a.above(now) - a.above(now-n)
	if now > a.share {
		a.undo(n, counted)
		a.b.countRefused()
		return 0, ErrShare
	}
	return counted, nil
}

// above is the part of held bytes that is counted.
func (a *Account) above(held int64) int64 { return max(0, held-a.b.opts.Free) }

// Give returns n bytes that were taken.
func (a *Account) Give(n int64) {
	if n == 0 {
		return
	}
	now := a.held.Add(-n)
	if counted := a.above(now+n) - a.above(now); counted > 0 {
		a.b.give(counted)
	}
}

// Close has those who wait give up and later calls fail. What is held is returned
// by those who hold it.
func (a *Account) Close() { a.once.Do(func() { close(a.closed) }) }
