// Package budget bounds the memory that clients can make the broker hold at a
// time with what they ask: unfinished bodies, answers that are built and not yet
// read, data that is being unpacked, what members of a group say of themselves.
//
// A Budget is the broker's; each connection has an Account of it, and so has
// whatever keeps memory of clients beyond their connections. Who is about to
// allocate by what a client says takes the bytes first:
//
//	        bytes held by one account
//	0 ─────┬────────┬──────────────────────────────────────────┬──────►
//	  free │ little │ counted against Budget without Reserve   │ ErrShare: never to be
//	       │        │ ErrFull: not to be had for now           │ had, however long one waits
//
// The free part is small and belongs to each account alone: it takes no lock, and
// ordinary requests stay within it. So a client that holds all the rest does not
// keep others from being answered.
//
// Who holds little more has the Reserve, which those who hold much do not get: the
// line of those who wait for much holds up nobody else.
//
// Take waits in line, for at most the Budget's patience and only while the client
// is there; Try does not wait. Who was refused answers with an error of its
// protocol. Nothing here allocates or frees memory: it only counts.
package budget
