// Package wire is the AMQP 0-9-1 codec: frames, methods with RabbitMQ's extensions, content headers and
// field tables. It knows bytes only: no sockets, no broker, no clock. Everything here is safe on hostile
// input: each length is checked against the bytes that are there before it is used, and nothing is
// allocated from a length that the peer merely claims.
//
// A frame (specification section 4.2.3), numbers in network byte order:
//
//	0      1         3             7                  7+size
//	+------+---------+-------------+------------------+------+
//	| type | channel | size        | payload          | 0xCE |
//	| u8   | u16     | u32         | size bytes       |      |
//	+------+---------+-------------+------------------+------+
//
//	type 1 method:  class u16, method u16, arguments
//	type 2 header:  class u16, weight u16 (0), body size u64, property flags u16, property list
//	type 3 body:    bytes
//	type 8 heartbeat: empty, channel 0
//
// A publish is three or more frames of one channel: method 60/40, header, bodies until body size is
// reached. parsePublish takes a whole one out of a read buffer without copying or allocating;
// DeliveryEncoder appends a whole delivery to a write buffer. Those two are the hot paths. All other
// methods go through Decode and Append, which may allocate.
//
// Byte slices in decoded values alias the input. Strings are copies.
package wire
