package store

import (
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fault"
)

// View is a run of whole batches, borrowed from a log until Done. The bytes may
// lie in a file that is mapped into memory, so that looking at them can fail as
// reading a file can: only Use does so safely.
type View struct {
	data   []byte
	pin    Pin
	lender Lender
}

// Pin holds borrowed bytes in place. It is an interface over a pointer, so that
// a View costs no allocation.
type Pin interface{ Release() }

// PlacedPin is the Pin of bytes that may lie in a file which the kernel can send from.
type PlacedPin interface {
	Pin
	// Place says where in which file bytes of the view lie. What was told may be referred to for ever after: they
	// are never overwritten, though the file may go. ok is false if there is no such file, or not for that.
	Place(data []byte) (fd uintptr, at int64, ok bool)
}

// Lender is the log that a view's bytes are from.
type Lender interface {
	// Distrust is told that bytes which the log lent can't be read or are not what
	// was stored. The log becomes read-only with that reason. It returns the error
	// for whoever reads.
	Distrust(reason error) error
}

// NewView lends bytes out. pin is what keeps them in place, nil when nothing has to.
func NewView(data []byte, pin Pin, lender Lender) View {
	return View{data: data, pin: pin, lender: lender}
}

// Len is how many bytes there are; 0 is the empty view.
func (v View) Len() int { return len(v.data) }

// Use runs fn over the bytes and returns its error. When they can't be read, fn
// is left where it stands, as by a panic, and the error says which log has failed
// and why; it does so too when fn returns an error of package batch. So what fn had done so far must be visible to the caller, and locks
// that it takes must be let go by defer. Use costs a few nanoseconds: call it once
// a view and not once a message. What fn starts on another goroutine is not covered.
func (v View) Use(fn func(data []byte) error) error {
	faulted, err := fault.In(v.data, fn)
	if err != nil && (faulted || batch.Wrong(err)) && v.lender != nil {
		return v.lender.Distrust(err)
	}
	return err
}

// Raw is the bytes for a system call: the kernel answers EFAULT for those that it
// can't read. Whoever gets that calls Check. Nothing else may touch them.
func (v View) Raw() []byte { return v.data }

// Place says where n bytes behind the first at lie in a file, for a system call that sends from there before Done; see PlacedPin.
func (v View) Place(at, n int) (fd uintptr, position int64, ok bool) {
	p, ok := v.pin.(PlacedPin)
	if !ok {
		return 0, 0, false
	}
	return p.Place(v.data[at:][:n])
}

// Check looks whether all bytes can be read now.
func (v View) Check() error {
	return v.Use(func(data []byte) error {
		fault.Touch(data)
		return nil
	})
}

// Done ends the borrowing. Call it exactly once, also for an empty view.
func (v View) Done() {
	if v.pin != nil {
		v.pin.Release()
	}
}
