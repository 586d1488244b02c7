// Package stomp serves STOMP 1.0, 1.1 and 1.2 clients over the broker's API: destinations, subscriptions and
// transactions as RabbitMQ's STOMP plugin has them.
//
//	socket ─► read loop ─► netx.ReadBuffer ─► frame.Decoder ─► Publisher, Session, unacked.Set …
//	             │ receipts                                          │ wake
//	             ▼                                                   ▼
//	          outbox ───────────────► writer goroutine ◄── Subscription.Pull
//	          receipts, ERROR            │ one write a turn
//	                                     ▼
//	                                   socket
//
// Over WebSocket a websocket.Conn stands before the ReadBuffer, and each frame that is written is made a message (web.go).
//
// A connection is these two goroutines, as one of package amqp is. The read loop takes every whole frame of its
// buffer in place, hands SENDs to the broker's Publisher, and has them stored once a buffer; ACKs of a buffer are
// gathered to ranges of offsets. The writer sends what its subscriptions have, encoded from the log's own
// bytes into one buffer a turn, then the receipts that are due.
//
// # Order
//
// Receipts leave in the order of their frames: that of a SEND when the message is stored as a confirm of AMQP would
// say, and those behind it wait for it. An ERROR is the last thing that a client is sent, behind the receipts of
// what was done before.
//
// # Locks
//
// conn.mu guards subscriptions and what is unacked of them; conn.outMu the outbox, the receipts under way and the
// list of subscriptions that may have something. conn.mu is taken first. Neither is held while a socket is written
// or read, nor over anything that may wait for a disk.
//
// # Bounds
//
// A client has ten seconds to sign in. A frame has a hundred headers in 64 KiB and a body of the broker's limit; one
// that is larger than the read buffer is counted against the memory of requests. Sixteen transactions may be open,
// whose messages and acks count there, too. What waits to be written is bounded by maxOutboxBytes, at which the read
// loop stops reading; a client that does not read its messages stops its own subscriptions only.
//
// The package knows no exchange rule, no queue rule and no file; the rules are the broker's.
package stomp
