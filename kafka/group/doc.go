// Package group is the coordinator of Kafka's groups: who is a member, which generation or epoch it is, what the leader or
// the coordinator assigned, and how far the group has committed. It is a state machine behind method calls: it opens no
// socket, starts no goroutine of its own, and stores nothing but through the
// Journal and the Keeper it is given: offsets by the one, and by the other the last
// generation that stood, so that its members go on after a restart. Time comes from
// package time, which testing/synctest replaces in tests.
//
//	         first join                all joined or time is up
//	Empty ──────────────► PreparingRebalance ──────────────► CompletingRebalance
//	  ▲                      ▲        │ nobody left                  │ leader's
//	  └──────────────────────┼────────┘                              │ SyncGroup
//	                         └────────────────── Stable ◄────────────┘
//	                   join, leave, expiry
//
// That is a classic group, whose leader assigns. Where the broker does (KIP-848), there is one call, EpochHeartbeat, whose answer
// waits for nobody: each member goes over to the newest target by itself, and is granted what others have given back.
//
//	a member's          targets change,                      has given back what it must, or must not
//	heartbeat ───► revoking ──────────────────────────────► settled, in the epoch of the target
//	                     some of what it is to get is still held │   ▲ given back by the others
//	                                                             ▼   │
//	                                                           receiving
//
// While clients go over from one to the other a group has members of both: see mixed.go.
//
// Join and Sync answer through a callback, because their answer may have to wait
// for other members. Every callback is called exactly once, perhaps before the
// call returns, with the group's lock held: it must not block nor call back. Only
// Abandon takes a call back, whose client is gone.
//
// Lock order: group.commit, then group.mu or Coordinator.mu, which are not held
// together. Coordinator.mu is held for a look at the list only, so that a group with
// much to do keeps no other waiting. group.commit alone is held over the disk: offsets
// and what is kept of a group are written with it, and with group.mu free.
package group
