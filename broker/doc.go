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
// reads immutable tables. Publisher and Subscription belong to one goroutine
// each; everything else may be called from any. Lock order: VHost.mu, Queue.mu or
// Session.mu, then the locks of a cursor or a log, which are leaves. The callbacks
// of a subscription run under any of these and only leave a note. Definitions are
// written before they act, and what goes together is deleted in one write.
package broker
