package netx

import (
	"errors"
	"io"
	"net"
	"os"
	"time"
)

// HoldPoll is how often one who is held up looks whether that still holds.
const HoldPoll = 50 * time.Millisecond

// Gone is closed when the client is seen to have left while nobody reads; nil where that can't
// be seen.
func Gone(nc net.Conn) <-chan struct{} {
	if w, ok := nc.(interface{ Gone() <-chan struct{} }); ok {
		return w.Gone()
	}
	return nil
}

// Await waits for an answer. ok is false when nobody is there to have it: the client has left,
// ended is closed, or waits, which is asked now and then, says no.
func Await[T any](nc net.Conn, ended <-chan struct{}, answer <-chan T, waits func() bool) (got T, ok bool) {
	gone := Gone(nc)
	poll := time.NewTicker(HoldPoll)
	defer poll.Stop()
	for {
		select {
		case got = <-answer:
			return got, true
		case <-gone:
			return got, false
		case <-ended:
			return got, false
		case <-poll.C:
			if !waits() {
				return got, false
			}
		}
	}
}

// Hold holds its caller up as long as held says so, and at most so long; 0 is any time. It ends
// with the client, and when ended is closed, too.
func Hold(nc net.Conn, ended <-chan struct{}, most time.Duration, held func() bool) {
	if !held() {
		return
	}
	var over <-chan time.Time
	if most > 0 {
		timer := time.NewTimer(most)
		defer timer.Stop()
		over = timer.C
	}
	Await(nc, ended, over, held)
}

// OrdinaryEnd tells whether a connection ended as clients' connections do, so that nobody need
// read of it.
func OrdinaryEnd(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)
}
