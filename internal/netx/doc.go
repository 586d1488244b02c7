// Package netx is what every TCP listener of the broker needs and none should
// write twice: accept connections up to a limit, survive accept errors, know
// who is connected, and stop in order.
//
//	Listen ─► Listener ─► Serve(handle) ── accept ─► go handle(conn) ─► closed, forgotten
//	             │
//	             ├─ Close      stops accepting; open connections go on
//	             └─ Shutdown   also waits for handlers, then cuts what is left
//
// When all Slots are taken, one whose client is not Known yet, nor Busy waiting for us, makes room for the next.
//
// A handler reads with a ReadBuffer, which knows the time and how long a peer may be
// silent, and writes with a Writer, which has patience with one that does not read.
// What must wait for a flush of the disk before it leaves stands in Answers. What a turn of
// deliveries comes to is Gathered, and Turns say who is next. Who is held up waits in Hold or
// Await, which end with the client.
//
// What a client was refused is written by a Log, in the same words for every
// protocol and once a cause and interval.
//
// A handler that said the last word of its protocol ends with Part, which sees to
// it that the client gets to read it.
//
// It owns the goroutine of each connection and the connection itself: both end
// when handle returns. What handle gets is the accepted connection, on Linux with
// reads and writes that cost less (see conn) and a word when its client is gone while
// nobody reads (Gone, see watched). It knows no protocol, and imports of this module
// what records refusals (internal/audit) and what makes errors of faults (internal/fault).
package netx
