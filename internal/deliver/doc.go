// Package deliver is how the consumers of one connection share its way out: whose turn it is, how much it gets, and
// what becomes of bodies that are written from where they lie in the log. A protocol embeds a [Lane] in what it calls a
// consumer and a [Writer] in what writes its socket, and brings the frames and the answers that go before them.
//
//	wake-up ─► Lane.Look ─► listed ─► Writer.Take ─► ready ─► Writer.Deliver ─► pull: the protocol's frames ─► socket
package deliver

import (
	"time"

	"github.com/leveret-mq/leveret/internal/netx"
)

// Bounds of a turn.
const (
	// writeBytes is how much a turn gathers before it is written.
	writeBytes = netx.GatherBytes
	// InPlaceBytes is the body size from which the log's own bytes are written instead of a copy.
	InPlaceBytes = 16 << 10
	// pullMessages is the most that one consumer gets in a turn, so that others get theirs. Of messages
	// whose frames are longer it gets what writeBytes holds, but always pullFewest.
	pullMessages = 1024
	pullFewest   = 16
	// smallTurnBytes is what makes a turn not worth its system call: before the next one the writer lets
	// others run once, so that more acks and publishes can join it.
	smallTurnBytes = 16 << 10
	// readRetry is when a consumer whose queue could not be read tries again.
	readRetry = time.Second
)
