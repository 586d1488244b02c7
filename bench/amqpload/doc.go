// Package amqpload loads an AMQP 0-9-1 broker at next to no cost of its own, so that what
// is measured is the broker: a publisher writes prebuilt blocks of frames, stamping only
// sequence and time into each body; a consumer scans its read buffer once, in place,
// without allocation, checks every delivery's tag, flag, size and sequence, and answers
// with acknowledgements collected for a whole buffer.
//
// It owns its connections and the queues and exchanges that a Load declares. It is a
// measuring instrument, not a client library: one channel a connection, no recovery, no
// heartbeats (it asks for none).
//
// A publish is three or more frames, each as on the wire (AMQP 0-9-1 §2.3.5):
//
//	 0      1         3        7              7+size
//	┌──────┬─────────┬────────┬──────────────┬──────┐
//	│ type │ channel │ size   │ payload      │ 0xCE │   type 1 method: class, id, arguments
//	└──────┴─────────┴────────┴──────────────┴──────┘        2 header: class, 0, body size, flags, properties
//	                                                         3 body: at most frame-max - 8 bytes
package amqpload
