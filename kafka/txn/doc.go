// Package txn decides about the transactions of Kafka's producers: who has a transactional id now, and
// whether what was produced under it, and the offsets of groups with it, count. It is a state machine behind method calls;
// it opens no socket and stores nothing but through the functions of its Options.
//
//	        first partition                decided, and kept            every marker is written
//	Empty ─────────────────► Ongoing ───────────────► PrepareCommit ────────────────► CompleteCommit ─┐
//	  ▲                         ▲  time is up, or another ► PrepareAbort ───────────► CompleteAbort ──┤
//	  └── InitProducerId        └─────────────────────────────────────────────────────────────────────┘
//
// A decision is one write: the new state, the producer's next epoch and the committed offsets of all groups, at once or not at all.
// Markers follow it, and the client's answer the markers. What is kept names no partitions: after a restart these tell what is open in
// them (Recover), and the epoch tells of which transaction it is. A decision holds for everything up to its epoch:
//
//	epoch of what is open   is the decided one or older   the decision's marker was not written, or was lost: it is written
//	                        is newer                      the producer's next transaction, which goes on
//
// So a decision may be replaced only when the markers of the one before are safe on disk (txn.flushed), and a producer whose epoch stayed
// the same over a decision (clients before KIP-890) has it kept that it began anew before it does.
//
// Lock order: a transaction's mutex, which is held over the disk, then Coordinator.mu, and the other way round only by TryLock; a group's
// locks are taken inside of the first.
package txn
