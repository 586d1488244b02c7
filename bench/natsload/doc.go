// Package natsload loads a NATS server's JetStream with the project's own client, nats.go:
// publishes that wait in a window for their acknowledgements, and a pull consumer that
// acknowledges one by one or many at a time. Streams are in files, with one replica.
//
// It does to a stream what amqpload does to a queue, and checks the same: every message
// exactly once and in order, every publish given the next sequence, nothing left
// unacknowledged. It is not a raw generator: the client takes more processor time than
// amqpload does, so rates are not to be compared without the broker's processor time a
// message beside them.
//
// The package is a measuring instrument: one server, no recovery, and any error ends the
// load. It owns the stream that a Load declares.
package natsload
