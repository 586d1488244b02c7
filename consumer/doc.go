// Package consumer is the work cursor of a queue: which message goes to which
// consumer next, what is out there unacked, and what was acked ahead of order.
//
//	0        floor                               next             end
//	├─────────┼──────────────────────────────────┼────────────────┤
//	 acked     open: each is unacked (a consumer   fresh: never
//	           has it), dealt (in an inbox), back  dealt to anyone
//	           (returned, ready again) or on hold
//	           (leaving) or waits to be back; what is
//	           not open was acked ahead or is no
//	           message at all
//
// It owns no message, only their offsets: three sets of one bit an offset where
// the log is mixed and nothing where it is all one or all the other, so a long
// backlog costs nothing and ten million acks out of order a megabyte. It starts no
// goroutine, takes no clock, and sees its log only through Source. What must
// be looked up in the log is looked up without the cursor's mutex and handed in, and
// where that takes a disk no consumer waits for it (lookup.go).
//
// # Turns
//
// A consumer's connection calls Take when it has room to write. The caller deals
// under the cursor's one mutex, to itself and to the others that have credit:
// highest priority first, then round-robin, one message a turn while the backlog
// is small, up to 64 while it is large, and without limit to a consumer that is
// alone. What it deals to another waits in that one's inbox, which is bounded, and
// it wakes each at most once. A consumer whose inbox is full is passed over, and
// its share goes to the others and to lower priorities. Of those that wait, one that
// says it is busy is woken last. The highest priority is found on a ladder (ladder.go).
//
// Delivery is in offset order. What is requeued, or was dealt to a consumer that
// went before it took it, is ready again in its old place.
//
// # Redelivered
//
// A message is marked redelivered when it was requeued, or when the process that
// handed it out is gone: after New that is everything from State.Floor up to
// State.Handed that was not acked. How often a message was returned is kept only for
// messages that were.
package consumer
