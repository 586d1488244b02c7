// Package kafka answers Kafka clients: every queue with a legal name is a
// topic, every partition of it one log of record batches that go out as they
// came in.
//
// It owns the sockets of Kafka clients, the classic consumer groups (package
// group) and their committed offsets. It has no routing, no storage and no
// cursors of its own: a handler decodes, makes one call of the broker and
// encodes. Protocol bytes are package wire's business.
//
//	           one goroutine a connection
//	socket ─► frames ─► dispatch ─► handler ─► broker.Partition ─► log
//	   ▲                               │
//	   │      answers in request order │ Produce with acks=all that waits
//	   └────────── outbox ◄────────────┘ for its flush does not hold up the
//	                                     Produce behind it
//
// There is one file for each API key or small family; its header comment says
// versions and behaviour. The advertised versions are wire.Supported.
package kafka
