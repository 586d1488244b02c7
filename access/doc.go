// Package access keeps users and what they may do: in the store, and in memory as
// one immutable picture that every check reads.
//
//	definitions, HTTP, Kafka's calls ──────────► Keeper.Change ──► table "access"
//	                                                  │               (written first)
//	                                                  ├─► picture, of a new generation ◄── Policy, at the session's door
//	                                                  ├─► auth.Users ◄── logins
//	                                                  └─► the broker: ask again; who was deleted goes
//
// It owns the table, the rules for names, tags, patterns and limits, and the one user
// that a broker has from its first start. Package auth checks passwords and knows nothing
// of rights; package broker asks Policy for every verb and knows nothing of users.
//
// Changes are made one at a time, under Keeper.mu, which is held over the write; whoever
// asks for a right never waits for one. The order of locks is Keeper.mu, then those of
// package auth and of the broker.
//
// The package must not know a protocol, and must not put a password, a hash or a key into
// an error or a log line.
package access
