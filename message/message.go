// Package message is the currency of everything above the log: offsets, the
// canonical record and the codecs between AMQP publishes and Kafka record batches.
//
// It owns no resource, does no I/O and starts no goroutine. Byte slices that it
// returns alias the input unless a comment says otherwise.
//
// # The canonical record
//
// Each log holds Kafka RecordBatch v2. A publish that came by AMQP, STOMP or XMPP is the record
//
//	timestamp   broker arrival, ms
//	key         routing key; null when it is empty
//	value       body, untouched
//	headers     "lv.a" first (see envelope.go), then readable copies of the user's headers
//
// and a record without "lv.a" is a Kafka producer's own.
package message

// Offset is the number of a message in its log. Offsets grow but are not dense:
// step to the next one read, never to +1.
type Offset int64

// NoOffset is the offset of nothing.
const NoOffset Offset = -1
