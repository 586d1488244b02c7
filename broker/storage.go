package broker

import "github.com/leveret-mq/leveret/store"

// Names of the store's contract that a listener holds in its hands, so that it
// needs to know no store.
type (
	// Log is one partition's log, for reading by offset.
	Log = store.Log
	// Table is a small map that survives, for what a protocol has of its own.
	Table = store.Table
	// TableEntry is one key of a Table; a nil Value deletes it.
	TableEntry = store.Entry
)

// Commit calls done once everything that was appended to the logs before the
// call is as durable as each of them promises, or with the error that prevents
// it. done may run before Commit returns or later, and must not block.
func (b *Broker) Commit(logs []Log, done func(error)) { b.store.Commit(logs, done) }
