// Command crash kills a real broker with SIGKILL, again and again, while AMQP
// and Kafka clients that others wrote publish with confirms, and checks after
// every restart that the broker kept its word:
//
//   - a message that was confirmed is there, in every queue it was routed to;
//
//   - each publisher's messages come in the order in which it sent them, and of
//     what was not confirmed a beginning is there or nothing, never a hole;
//
//   - a message that a consumer saw and did not ack comes back with redelivered
//     set; one that was published after the restart comes without it;
//
//   - what was acked in order, and is known to have reached the broker, is gone;
//
//   - Kafka records acked with acks=all are at the offset that was reported;
//
//   - group offsets whose commit was answered are there;
//
//   - Kafka's transactions (transactions.go), in both generations of their protocol, are in every partition and in the offsets
//     of their group or nowhere: what was answered as committed is there, what was aborted is not, what was under way is all there
//     or not at all;
//
//   - of groups of each kind (classic.go, consumers.go) members go on in the generation or epoch that was answered, with the ids and
//     assignments that they had, and who is of another is refused; of share groups (share.go) what was settled is not handed out again, and what
//     was not is; settings of groups stay;
//
//   - a producer goes on with its sequence numbers (sequence.go), and each record is there once; sums of what was consumed, produced in
//     transactions, add up (sums.go), and the producer of the life before is fenced;
//
//   - what was answered to Kafka's tools (tools.go) holds: topics with their settings and partitions, credentials, access lists, quotas;
//
//   - through dead letters (expired, rejected, over a limit), delays, limits, priorities and
//     transactions (flows.go) each message that was confirmed is found in one of the queues
//     where it may be, once and at most once more for each kill, in order on each priority;
//     what was refused or not committed is nowhere; of a transaction a queue has all or nothing;
//
//   - in a stream (stream.go) what was confirmed stands at offsets without a gap, in the order in
//     which it was sent, and stays there; a reader goes on at the offset behind the last;
//
//   - over XMPP (xmpp.go) a message comes that has its receipt, until the count of stream management has acknowledged it and
//     the broker has said anything since, and never after that; a pubsub item whose publishing was answered is told to the subscriber;
//
//   - what administrators were answered over HTTP (admin.go) holds: virtual hosts, users and permissions
//     are there as they were last put, or gone with all that was in them, and of what was under way
//     all or nothing is done.
//
//     make crash ROUNDS=200 SEED=…
//
//     ┌ round ────────────────────────────────────────────────┐
//     │ start ─► verify ─► load for a random while ─► SIGKILL │ ─► next round
//     └───────────────────────────────────────────────────────┘
//     every tenth round, and the last, reads every queue empty first
//
// A run is decided by its seed, as far as timing allows. After a violation the
// data directory stays, its name and the seed are printed, and the exit status is 1.
// A power cut can't be tried this way: package internal/fs does that in memory.
package main
