// Package wire turns Kafka protocol bytes into values and back. It knows no
// socket, no broker and no clock, and every decoder in it is fuzzed.
//
// It owns framing limits, the table of API keys and versions that the listener
// advertises, request and response headers, error codes, and hand-written
// codecs for the two requests that carry records: Produce and Fetch. All other
// requests are franz-go's generated kmsg types, reached through Decode.
//
// A frame on the socket, all integers big-endian:
//
//	 0        4     6      8           12
//	+--------+-----+------+-----------+-----------------+------+----------
//	| size   | key | ver. | correl.   | client id       | tags | body ...
//	| int32  | i16 | i16  | int32     | int16 + bytes   | v2   |
//	+--------+-----+------+-----------+-----------------+------+----------
//	          \______________ size bytes ______________________________/
//
// Tags stand only in header v2, which "flexible" versions of a request use.
// The answer is size, correlation and, for flexible versions of everything but
// ApiVersions, one empty tag section.
//
// Byte slices in decoded requests (names, records) alias the frame: they are
// valid until the frame's buffer is used again.
package wire
