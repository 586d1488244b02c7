// Package pubsub is XEP-0060 on pubsub.DOMAIN: each node is a queue or an exchange of the broker, its items are
// messages, and whoever uses another protocol is a publisher or a consumer as much as those who use this one.
//
//	iq ─► Service.Answer ─► a verb, one file each ─► broker.Session
//	                                   │
//	                             host, node, subscription      what is kept beside the queue: broker.Attachment
//	                                   │
//	log ─► source ─► feed ─► agent ─► event ─► Peer.Send ─► settled ─► the subscriber's place in the log
//
// # Nodes
//
//	q/NAME   the queue NAME
//	x/NAME   the exchange NAME
//	NAME     the queue of that name if there is one, else the exchange
//
// The owner, the title and the other settings of a node, and its subscriptions with the place of each, are attached
// to the queue or exchange (broker/attach.go): they outlast a kill, and go when that is deleted, by whichever protocol.
//
// # Subscriptions
//
//	to a queue                  the subscriber has a place of its own in the queue's log, and gets every message
//	to a queue, mode "one"      the subscriber is a consumer of the queue: each message goes to one of them
//	to an exchange              a durable queue of the subscriber's own is bound to it
//
// An account has one agent while it has a stream here, which reads for all of the account's subscriptions. An event
// that a stream did not acknowledge before it ended is sent again. Nothing is read for an account that is away, and
// what comes meanwhile waits for it in the log, or in its queue.
//
// # Locks
//
// Service.mu, host.mu, agent.mu are taken in this order; none is held over a call of a Peer, nor over one of the broker that
// waits. Those of a feed and of an event are leaves. host.changing is held over a change of nodes and subscriptions, which
// writes, and comes before them. An event is settled under whatever lock its Peer holds then, which comes before all of these.
package pubsub
