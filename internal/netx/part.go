package netx

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// Bounds of Part.
const (
	// lingerTime is how long the peer's bytes are still taken after our side's end.
	lingerTime = 5 * time.Second
	// hurryTime is the same once the broker is stopping.
	hurryTime = time.Second
	// maxLeftBytes is how many bytes of the peer's are taken and thrown away in all.
	maxLeftBytes = 256 << 20
	leftBytes    = 32 << 10 // in one read
	fewBytes     = 512      // in a read while little comes: many wait, and few have much to throw away
)

var leftPool = sync.Pool{New: func() any { b := make([]byte, leftBytes); return &b }}

// Part ends a connection on which the last word was written, so that the peer
// gets to read it. A socket that is closed with bytes unread sends a reset, at
// which the peer's kernel drops what it has not handed over yet; so what the peer
// had under way is taken and thrown away, within bounds of time and bytes:
//
//	up to wait        nothing of ours ends: the peer is the one to close
//	up to lingerTime  our side is closed, the peer sees the end of the stream
//	then              the socket is closed, whatever comes
//
// The end of ctx, which is the listener's, cuts the first short and hurries the second.
func Part(ctx context.Context, nc net.Conn, wait time.Duration) {
	defer nc.Close()
	left := maxLeftBytes
	if wait > 0 && ctx.Err() == nil && !discard(ctx, nc, wait, 0, &left) {
		return
	}
	if half, ok := nc.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		discard(ctx, nc, lingerTime, hurryTime, &left)
	}
}

// discard reads and drops until the time is over, or hurry after the end of ctx.
// It reports whether the peer is still there and may send more.
func discard(ctx context.Context, nc net.Conn, wait, hurry time.Duration, left *int) bool {
	if err := nc.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Now().Add(hurry)) })
	defer stop()
	few, much := make([]byte, fewBytes), false
	for *left > 0 {
		n, size, err := 0, fewBytes, error(nil)
		if much {
			n, size, err = readMuch(nc)
		} else {
			n, err = nc.Read(few)
		}
		*left -= n
		if err != nil {
			return errors.Is(err, os.ErrDeadlineExceeded)
		}
		much = n == size
	}
	return true
}

// readMuch reads once into a buffer of size that is given back at once.
func readMuch(nc net.Conn) (n, size int, err error) {
	b := leftPool.Get().(*[]byte)
	defer leftPool.Put(b)
	n, err = nc.Read(*b)
	return n, len(*b), err
}
