// Package fault turns memory faults in mapped files into errors. A mapping whose
// pages can't be read or written (a failing disk, a file cut under it) faults
// where its bytes are touched, and ends the process unless somebody catches that.
//
// A guard is for one goroutine: what fn starts is not guarded. It costs a few
// nanoseconds, so it stands around a run of batches and not around a message.
// A fault leaves fn in the middle of what it does, as a panic would: locks that it
// took must be let go by defer, and what it had half changed must be put right.
package fault

import (
	"errors"
	"fmt"
	"runtime/debug"
	"unsafe"
)

// Err is what a fault turns into.
var Err = errors.New("memory fault in a mapping")

// pageBytes is how exact a system has to be about the address of a fault.
const pageBytes = 4096

// Guard runs fn and turns a fault in it into an error that wraps Err.
func Guard(fn func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer Catch(&err)
	return fn()
}

// Catch is deferred by hot paths that cannot afford Guard's closure. It
// recovers a fault into *err and lets every other panic pass. The caller must
// have set debug.SetPanicOnFault.
func Catch(err *error) {
	r := recover()
	if r == nil {
		return
	}
	f, ok := r.(address)
	if !ok {
		panic(r)
	}
	*err = wrap(f)
}

// In runs fn over data. A fault at an address in data comes back as an error that
// wraps Err, with faulted true; every other panic passes, also a fault elsewhere,
// which is no matter of whoever lent data. What fn returned is lost by a fault: it
// notes how far it came where the caller can see it.
func In(data []byte, fn func(data []byte) error) (faulted bool, err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		f, ok := r.(address)
		if !ok || !covers(data, f.Addr()) {
			panic(r)
		}
		faulted, err = true, wrap(f)
	}()
	return false, fn(data)
}

// address is the panic of a fault that has one; that of a nil pointer has none.
type address interface{ Addr() uintptr }

func wrap(f address) error { return fmt.Errorf("%w at %#x", Err, f.Addr()) }

// covers reports whether an address lies in a page of data.
func covers(data []byte, at uintptr) bool {
	first := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	return len(data) > 0 && at >= first&^(pageBytes-1) && at <= (first+uintptr(len(data))-1)|(pageBytes-1)
}

// Touch reads a byte of every page of data, so that a page that can't be read
// faults now.
//
//go:noinline
func Touch(data []byte) (sum byte) {
	for i := 0; i < len(data); i += pageBytes {
		sum += data[i]
	}
	if n := len(data); n > 0 {
		sum += data[n-1]
	}
	return sum
}
