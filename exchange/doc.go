// Package exchange answers one question: to which targets does this exchange send
// a message with this routing key and these headers?
//
// A Table is the bindings of one exchange and never changes; With and Without make
// the next one, which shares nearly everything with it. So routing takes no lock: the
// owner keeps the current Table behind an atomic pointer, and only changes are serialised.
//
//	direct    key ──► targets                     hash trie of keys
//	fanout    targets
//	topic     word ─ word ─ * ─ # ──► targets     trie of words, each node's children a hash trie
//	headers   (name, value) ──► rules ──► targets a rule is looked at only if a pair of it is there
//	hash      value ──► one target                each target draws, the best draw by weight wins
//	random    one of the targets
//
// Adding one of 100,000 bindings copies a few kilobytes. Route allocates nothing
// beyond the slice that it appends to.
//
// The package does no I/O, starts no goroutine, and knows targets as numbers only.
// The default exchange needs no table: its bindings are the queues' names.
package exchange
