package fs

import "sync"

// Freezer is a disk that stops answering on demand. Its Hook is for Failing: while
// frozen, the operations that were named wait for the thaw, as those of a real disk
// would that hangs, and then are done. What lies in a mapping stays readable.
type Freezer struct {
	mu      sync.Mutex // guards the fields below
	which   func(op Op, name string) bool
	thaw    chan struct{} // not nil while frozen
	met     chan struct{} // closed when an operation waits, and replaced
	waiting int
}

// NewFreezer makes one that is not frozen.
func NewFreezer() *Freezer { return &Freezer{met: make(chan struct{})} }

// Freeze makes the operations wait for which says so; nil is all of them.
func (z *Freezer) Freeze(which func(op Op, name string) bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.which = which
	if z.thaw == nil {
		z.thaw = make(chan struct{})
	}
}

// Thaw lets go of all that waits.
func (z *Freezer) Thaw() {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.thaw != nil {
		close(z.thaw)
		z.thaw, z.which = nil, nil
	}
}

// Waiting is how many operations wait now.
func (z *Freezer) Waiting() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.waiting
}

// AwaitWaiting returns when at least n operations wait.
func (z *Freezer) AwaitWaiting(n int) {
	z.mu.Lock()
	for z.waiting < n {
		met := z.met
		z.mu.Unlock()
		<-met
		z.mu.Lock()
	}
	z.mu.Unlock()
}

// Hook waits while the operation is frozen. It makes no error.
func (z *Freezer) Hook(op Op, name string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	for z.thaw != nil && (z.which == nil || z.which(op, name)) {
		thaw := z.thaw
		z.waiting++
		close(z.met)
		z.met = make(chan struct{})
		z.mu.Unlock()
		<-thaw
		z.mu.Lock()
		z.waiting--
	}
	return nil
}
