package broker

import "github.com/leveret-mq/leveret/store"

// Writes are the logs that one request of a client wrote to, for Commit. The zero
// value is ready; it belongs to one goroutine until Commit returns.
type Writes struct{ logs []store.Log }

// Add notes that something was produced to the partition.
func (w *Writes) Add(p *Partition) { w.logs = append(w.logs, p.log) }

// Empty says that there is nothing to commit.
func (w *Writes) Empty() bool { return len(w.logs) == 0 }

// Reset forgets all of them and keeps the memory.
func (w *Writes) Reset() {
	clear(w.logs)
	w.logs = w.logs[:0]
}

// Commit calls done once everything that was written there before the call is as
// durable as each queue promises, or with the error that prevents it. done may run
// before Commit returns or later, and must not block.
func (s *Session) Commit(w *Writes, done func(error)) { s.vhost.b.store.Commit(w.logs, done) }
