// Package xmpp serves XMPP clients over the broker's API: streams, accounts and their messages, and queues and
// exchanges as addresses. XEP-0060 is another package's, which is a Service here.
//
//	socket ─► read loop ─► netx.ReadBuffer ─► stanza.Reader ─► route ─┬─► the domain, the client's own account
//	             │                                                   ├─► a Service: queues, exchanges, pubsub
//	             │                                                   └─► another Client of a user, or its offline queue
//	             └─ feed ─► Publisher ─► Store, Commit ─► who wants to hear of it
//
//	Client.out ◄─ Send, Offer: of any goroutine          Consumer ◄─ Subscription.Pull
//	     │             └────────────── Client.mu ──────────────┘
//	     ▼
//	writer goroutine ─► socket
//
// A connection is a read loop, and a writer while there is something to write; before a resource is bound the read
// loop writes as well. A Client is a
// bound resource, and outlives its connection where its stream may be resumed (XEP-0198). All that it is sent goes
// through Client.out in one order, which is that of its stream management.
//
// # For a Service
//
// A Service gets what is sent to LABEL.DOMAIN and to anybody at it, on the read loop of the client that has sent it
// (see Service). It works with
//
//	Client.JID, User, Domain, Session    who asks, and the door to the broker: every verb goes through the session
//	Client.Reply, Refuse                 the answers to an iq; an error that is returned is sent as Refuse does
//	Client.Publish                       publishes; then is called when the message is as durable as it gets
//	Client.Consume, Consumer             a competing consumer of a queue for the client, whose messages are written as
//	                                     stanzas by Append and settled by the client's acknowledgements
//	Client.Set, Get                      what a service keeps with a client until it is gone
//	Server.Online, Server.Client         who is there of a bare address, and who has a full one
//	Client.Offer                         what a client did not ask for: no when too much waits for it already
//	Server.Deliver                       a message to a bare or full address: to who is there, else to the offline queue
//	Info, FromBroker                     parts of answers
//
// It is made before New and given to it in Options.Services; server does that.
//
// # Locks
//
// Client.mu guards what a client is sent and its consumers; registry.mu, a leaf, who is there; feed.mu what waits for the
// disk; rosters.changing is held while contacts are written, and what clients hear of it is put in order.
// Client.mu is held while a Subscription is pulled and a Lease is settled, which do not wait for a disk. What the
// broker calls back takes Client.noteMu, a leaf, and no other. No two of the package's locks are held at a time, but
// a leaf with another, and any under rosters.changing.
//
// # Bounds
//
// A client has thirty seconds to sign in and to bind a resource, ten for a TLS handshake. Before it has signed in an
// element has 10,000 bytes, after it a stanza what Options say, in 64 elements deep and 8192 in all; what it takes
// beyond 16 KiB is counted against the memory of requests. So is what waits for a client that does not read: at
// maxOutBytes its own requests are not read any more, others' messages are refused, and its queues wait.
//
// The package knows no exchange rule, no queue rule and no file; the rules are the broker's.
package xmpp
