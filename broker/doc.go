// Package broker is what every protocol talks to: virtual hosts, exchanges,
// queues, bindings, publishing, consuming. It joins routing (exchange), turns
// (consumer) and storage (store), and knows no protocol, no file and no socket.
//
//	Broker ── VHost ── Exchange ── exchange.Table     who gets a message
//	             └──── Queue ───── Partition ── store.Log        where it is kept
//	                                   └─────── consumer.Cursor  whose turn it is
//
//	Session    one client connection, and the one door: every verb that a client can
//	           cause is a method of it, and asks May (permit.go) first
//	Connection  its place in the registry, from the first byte on (connections.go)
//	Publisher  what a connection publishes through: route cache, one batch per set of queues
//	Subscription  what a consumer gets: it pulls what its credit allows
//
// A queue is a topic: the same Queue is consumed with acks and read by offset.
// Most queues have one partition; a topic that a Kafka client made may have more.
//
// # Concurrency
//
// Names are looked up without a lock. A change of topology claims its names under
// VHost.mu, is written without it, and shown under it (change.go): no lock is held
// over a flush, and what is removed goes later (removal.go). Routing
// reads immutable tables. Publisher and Subscription belong to one goroutine at a time
// each; everything else may be called from any. A subscription never waits for a disk, nor
// do acks: see errand.go and note.go. Definitions are written before they act, and what
// goes together is deleted in one write.
//
// Lock order; of those in one line none is held with another of it:
//
//	Broker.vhostChange                           of an administrator; over the disk
//	expiry.looking  notes.slowly  producers.mu   a partition's; over its disk
//	VHost.mu                                     a plan, and what it shows
//	Queue.mu  Session.mu                         whose the queue is
//	Partition.makeCursor                         over the disk
//	notes.mu                                     a look at the cursor, and telling the store
//	those of packages consumer and store
//
// Whoever has a lock that is held over the disk waits as long as the disk does, so nobody
// takes one on a client's way but who asks for just that, with a limit (intime.go) or not:
// a produce, a fetch. The callbacks of a subscription run under any of these locks but
// those of the store, and only leave a note. All other locks are leaves.
package broker
