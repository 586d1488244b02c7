// Package local is the store on this machine's disk: one directory a log, a file
// a table, one goroutine that flushes.
//
// It owns the data directory, the directory's lock, what stands in it beside the
// logs' own segments, and the goroutines that flush and that drop what retention
// lets go. It knows neither exchanges nor protocols, and no message: a log's
// batches are the business of package log, a cursor's data that of package consumer.
//
// # Directory
//
//	DATA/
//	  leveret.lock                    held while a process uses the directory
//	  format                          the layout's version, one line of text
//	  defs/entries groups/entries …   one table each; .new while it is rewritten,
//	                                  .damaged-<ms> the copy of one that was damaged
//	  store/entries                   the store's own table: the next log id
//	  checkpoint/                     what there is: see checkpoints
//	  queues/<xx>/<id>/               a log; xx are two hexadecimal digits of the id's hash,
//	    meta                          id 16 of them; whose it is
//	    *.log *.idx …                 package log's
//	    cursor                        floor, handed, reservation, the consumer's data
//	  transient/<xx>/<id>/            the same for logs that need not survive; wiped at start
//	  spare/                          segments between two lives
//
// A log has no directory before its first append, and nothing of it is opened
// before it is used, so a hundred thousand idle queues cost a small struct each.
//
// # The path of an append and of a commit
//
//	Append ─► log.Append (its mutex, a copy into the mapping) ─► watchers
//	Commit ─► mode os: done at once
//	          group:   syncer's goroutine: flush each dirty log once a round, then done
//	          always:  flush now, then done
//
// # Locks
//
// In this order; of those in one line none is held with another of it:
//
//	checkpoints.mu  Store.roomMu  idSource.mu   over whole pieces of work, flushes included
//	Store.mu                                    the maps; over the opening of a table
//	table.flushing, then table.mu               a flush; a write to the file, and what it says
//	Log.mu                                      over the opening of the log, its directory, meta file
//	Store.dirMu  cursor.mu                      over the page's opening, a reservation's flush, data
//	Store.cursorMu                              and with it another cursor's mu, if that is free
//	checkpoints.listMu  ends.mu                 over a line of the list, a new file of ends
//	syncer.mu  reserve.mu  Store.eventMu        leaves
//
// Opening a log holds the most: Log.mu, its cursor's and, to note that it changed, listMu
// or ends.mu, and package log's in between. An append to an open log holds package log's alone, under which
// segments that go are noted (listMu, ends.mu); the flush of a commit holds none of these
// that an append or an ack could wait for. What ends in Now, and Release, wait for none:
// they try, and leave it to others.
package local
