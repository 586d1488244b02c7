// Package exchange decides which queues a message goes to: it holds the bindings
// of one exchange and answers with target numbers. It does no I/O, starts no
// goroutine, and does not know what a target is.
//
// Reads take no lock and allocate nothing. Writes are made by one goroutine at a
// time (the broker's topology lock) and change in place what readers see through
// atomic pointers, so adding one binding to 100,000 copies a few words, not the
// table. A reader that runs beside a write sees the table before it or after it.
//
//	direct   key ─► targets                      one hash look-up
//	fanout   targets
//	topic    words ─► node ─► node ─► targets    a trie, walked word by word
//	headers  list of conditions                  tried one by one
package exchange
