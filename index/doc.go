// Package index is the sparse map of one segment: record number to byte
// position and time to record number, one entry for every few KiB of batches.
//
// A segment that is being written has its Index in memory: one writer adds,
// any number of readers look up without a lock. The index file beside the
// segment is a list of checkpoints, each written after the bytes that it speaks
// of were made durable, so recovery starts where the last whole one ends. The
// file can be lost: the segment is then read from its start.
//
// The package sees numbers and its own file's bytes. It does not know what a
// batch is and does no I/O but Dump's.
//
// # File
//
// All integers are big endian. A file is one header and any number of blocks;
// a torn or foreign block ends it.
//
//	header, 48 bytes
//	0        8       10    12     16           24            32        40         48
//	┌────────┬───────┬─────┬──────┬────────────┬─────────────┬─────────┬──────────┐
//	│LVINDEX\n│version│flags│length│ generation │ base offset │reserved │ xxhash64 │
//	│        │ = 1   │ = 0 │ = 48 │ of segment │ of segment  │ = 0     │ of 0..40 │
//	└────────┴───────┴─────┴──────┴────────────┴─────────────┴─────────┴──────────┘
//
//	block, 56 bytes + 16 an entry
//	0      4       8        16       24        32       40          48
//	┌──────┬───────┬────────┬────────┬─────────┬────────┬───────────┬───────────┐
//	│ kind │entries│ end    │ next   │ records │ max    │ reserved  │ entries … │
//	│      │ n     │position│ offset │ so far  │ time ms│ = 0       │ 16 × n    │
//	└──────┴───────┴────────┴────────┴─────────┴────────┴───────────┴───────────┘
//	then xxhash64 of the block so far, exclusive-or generation, 8 bytes
//
//	entry, 16 bytes
//	┌─────────────────┬─────────────┬───────────────────────────┐
//	│ offset less base│ position    │ max time of the batches   │
//	│ 4 bytes         │ 4 bytes     │ before this one, ms, 8    │
//	└─────────────────┴─────────────┴───────────────────────────┘
//
// Times are those of records; a batch whose records have none counts as of when it was
// appended.
//
// Kind 1 is a checkpoint: the segment is whole up to the end position. Kind 2
// seals: nothing follows that position. A block repeats no entry of an earlier
// one; its figures are totals.
package index
