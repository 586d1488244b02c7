// Package log is one queue's ordered segments: append, read, roll, recover,
// drop what is done with.
//
// A Log gives every record a number, its offset, rising from 0. It sees bytes:
// whole record batches (internal/batch), which it copies, numbers and hands out
// again. It owns its folder's segment and index files and nothing else there;
// it knows no messages, no queue names and no clock but the one given.
//
//	 start                                                        end
//	   │  logical                                                   │
//	┌──┼───────────┐┌──────────────┐┌──────────────┐┌───────────────┼──────┐  ┌─────────┐
//	│  │  sealed   ││    sealed    ││    sealed    ││    active     │ free │  │prepared │
//	└──────────────┘└──────────────┘└──────────────┘└──────────────────────┘  └─────────┘
//	 dropped whole   closed when idle,               mapped; one appender      by the pool's
//	 and recycled    read by pread                   under the mutex           goroutine
//
// # Concurrency
//
// Append, and all that changes the list of segments, runs under one mutex.
// Readers take no lock: they load the list, which is never changed but
// replaced, and the end. The end moves a moment before the bytes show, so that
// nobody reads what Bounds does not tell yet; a reader that comes between the two
// waits for the appender.
// Sync has a lock of its own and holds the append mutex only to note what is
// dirty. Thin has a lock of its own too, and holds the append mutex only to
// exchange one segment in the list. Lock order: thinMu, then syncMu, then mu,
// then those of package segment.
//
// # What a crash costs
//
//	                          process killed        power lost
//	synced                    nothing               nothing
//	appended, not synced      nothing               any batches of it
//	not yet returned          all of it or nothing  as above
//
// After a failed sync, a full disk aside, nobody knows what the disk holds: the
// log takes no more appends for good, Err says why, reading goes on.
package log
