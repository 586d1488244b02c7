// Package spool keeps the bodies of messages that come in pieces, of one connection, until they are whole:
//
//	in memory        grows with what has come, taken from the budget, which they may fill in part
//	in a file        when that is refused; one piece of memory is needed again when a body is whole
//	refused          when the disk is full, too
//
// A client may have one under way on each of its channels, and leave them unfinished for ever; together they may be more
// than memory has room for. Every listener whose messages come in pieces keeps them here; what a refusal is in its
// protocol is its own.
package spool
