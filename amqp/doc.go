// Package amqp serves AMQP 0-9-1 clients: connections, channels and one verb a file over the broker's API.
//
//	socket ─► read loop ─► netx.ReadBuffer ─► wire ─► Publisher, VHost, Subscription.Ack …
//	             │ replies                                        │ wake
//	             ▼                                                ▼
//	          outbox ──────────────► writer goroutine ◄── Subscription.Take
//	          replies, confirms          │ one write a turn
//	                                     ▼
//	                                   socket
//
// A connection is these two goroutines. The read loop takes every whole publish of its buffer in place,
// hands it to the broker's Publisher, and has it stored once a buffer; acks of a buffer are gathered to ranges
// of offsets. The writer is woken through a channel of capacity 1, sends replies first, then confirms,
// then what its consumers' credit allows, encoded from the log's own bytes into one buffer a turn.
//
// # Order
//
// Whatever the read loop answers goes through the outbox in order. A reply that starts a consumer is put
// there before the writer sees the consumer; a reply that ends one, after the writer has let go of it:
// both happen under the channel's mutex, which the writer holds while it encodes a turn of that
// channel's deliveries. A returned message is in the outbox before its confirm can be.
//
// # Locks
//
// channel.mu guards a channel's consumers, delivery tags and unacked messages; conn.outMu guards the
// outbox, the confirms under way and the list of consumers. channel.mu is taken first. Neither is held
// while a socket is written or read, nor over anything that may wait for a disk: under channel.mu the
// writer pulls and the reader settles, which in the broker are made not to wait (broker/errand.go, note.go).
//
// # Bounds
//
// A handshake has ten seconds and 64 KiB a frame; afterwards frames are bounded by frame_max, messages
// by the broker's limit, all unfinished messages of a connection together by twice that, and what waits
// to be written by maxOutboxBytes, at which the read loop stops reading. A client that does not read
// its deliveries stops its own consumers only; one that does not read its direct replies gets no more
// than maxReplyBytes of them.
//
// The package knows no exchange rule, no queue rule and no file; the rules are the broker's.
package amqp
