// Package definitions reads and writes RabbitMQ's definitions.json: users, virtual hosts,
// rights, policies, parameters, queues, exchanges and bindings in one file.
//
//	file ──► Parse ──► File ──► Check ──► Plan ──► Apply ──► access, broker
//	                    what it says       nothing is changed before all of it was checked
//	broker, access, or the tables of a data directory ──► Export ──► file
//
// It owns the form of the file and the sentences that say where one is wrong. What a value may be is
// known by those to whom it belongs: package access, and package broker with its table of settings.
//
// A file is read item by item, so that the memory it takes is that of what it says. An import adds and
// overwrites, and deletes nothing; a queue or exchange that is there already is left as it is.
//
// The package must not know a protocol or a socket, and must not put a password or a hash into an error
// or a log line.
package definitions
