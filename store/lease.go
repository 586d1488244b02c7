package store

// Lease is the right to hold the work cursors of the logs of one slot. A process that
// has lost it, knowing or not, can't write them any more: see ErrFenced.
type Lease struct {
	Slot  int32
	Epoch int64 // rises with each owner of the slot
}

// Leases say which process works which logs. A store that nobody shares has one slot,
// which is always here.
type Leases interface {
	// Slot is where a log belongs. It never changes.
	Slot(id LogID) int32
	// Owner is the address of the process that has a slot, "" for this one; ok is
	// false while nobody has it, or nobody knows.
	Owner(slot int32) (address string, ok bool)
	// Watch has fn called with what is gained and lost, at once with all that is
	// held, until stop is called. What is lost is told before another can have it,
	// if there is time; that ends when fn returns, so fn saves the cursors first. It
	// is called by one goroutine at a time and must not call Watch.
	Watch(fn func(gained, lost []Lease)) (stop func())
}

// Sole are the leases of a store that nobody shares.
type Sole struct{}

// Slot is 0 for every log.
func (Sole) Slot(LogID) int32 { return 0 }

// Owner is this process.
func (Sole) Owner(int32) (string, bool) { return "", true }

// Watch tells of the one slot, and never again.
func (Sole) Watch(fn func(gained, lost []Lease)) (stop func()) {
	fn([]Lease{{Epoch: 1}}, nil)
	return func() {}
}
