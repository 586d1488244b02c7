// Package segment is one file of a log: record batches back to back in a
// preallocated, mapped file, with its sparse index.
//
// A Segment is written by one appender at a time (the log's mutex) and read by
// any number of readers without a lock: the appender publishes the position up
// to which the bytes are whole, and readers never look behind it. A Pool makes
// segments, takes back those that are done with and closes what nobody uses;
// its one goroutine does all slow work, so that an append never unlinks, unmaps
// or (when things go well) allocates a file.
//
// The package knows batch headers and bytes. It does not know its neighbours,
// messages, or when to sync: its log tells it.
//
// # Life
//
//	          Take             Append …          Seal           Drop
//	Pool ───────────► Segment ─────────► Segment ────► Segment ─────► name gone
//	 ▲  fresh or       mapped             sealed        closed by       │ last reader
//	 │  recycled                                        the sweep,      ▼
//	 └───────────────────────────────────────────────── read by pread  Pool or unlinked
//
// A segment is only ever appended to by the process that created it. One that
// was found on disk is read-only: its log goes on in a new one. So behind the
// end of a segment there is nothing but zeros or batches of former lives.
//
// # Why old content is never read
//
// A recycled file still holds the batches of its former lives. Three rules keep
// them out, also after a power cut that kept any mixture of pages:
//
//   - The removal of the old name is made durable before the file is used again.
//   - A file is used again only for base offsets at or above every offset that
//     was ever written to it, so an old batch never carries an offset that could follow.
//   - Recovery accepts a batch only with exactly the next offset and a good CRC, and
//     readers of recovered bytes check both once more.
//
// A fourth one holds while the process lives: a file from which the kernel was told to send (memory.Place) is deleted and not
// used again, because what it sends it refers to until a peer's program has read it.
//
// # File
//
// All integers are big endian.
//
//	0        8       10    12     16           24            32         40         48         56        120        128
//	┌────────┬───────┬─────┬──────┬────────────┬─────────────┬──────────┬──────────┬──────────┬─────────┬──────────┬────────
//	│LVSEGMT\n│version│flags│length│ generation │ base offset │ created  │allocated │ covers   │reserved │ xxhash64 │ batches
//	│        │ 1, 2  │ = 0 │= 128 │ random     │             │ ms, 1970 │ bytes    │ 1: 0     │ = 0     │ of 0..120│ …
//	└────────┴───────┴─────┴──────┴────────────┴─────────────┴──────────┴──────────┴──────────┴─────────┴──────────┴────────
//
// The batches are Kafka RecordBatch v2 (internal/batch), each beginning where
// the one before ends. Base offsets rise without gaps. A thinned segment has
// empty ones in place of what was removed (see Thinned); its file is as long as its
// content, and keeps the time of creation of the one that it replaced. Version 2 is of one
// that took the place of several (see Merge): it covers the log up to the offset in its
// header, and a file that begins before that is left over and of no use.
package segment
