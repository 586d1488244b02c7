// Package kafkaload loads a broker that speaks the Kafka protocol, in two ways: with raw
// connections that send one prebuilt Produce request over and over and read Fetch answers
// without decoding records, so that the broker is what is measured; and with franz-go's
// client, which is what a program would use.
//
// A raw batch carries its own number, and when it was written, in the last eight bytes of
// its last record's value. These lie at the end of what the checksum covers, so a batch is
// renumbered at the cost of a checksum over nine bytes:
//
//	0                61                                   n-9        n-5        n-1  n
//	┌────────────────┬────────────────────────────────────┬──────────┬──────────┬────┐
//	│ batch header   │ records: i in the first 8 bytes of │ number   │ written, │ 0  │
//	│ (CRC at 17)    │ the value of record i, then filler │ u32      │ µs u32   │    │
//	└────────────────┴────────────────────────────────────┴──────────┴──────────┴────┘
//	                  └───────── checksum kept ──────────┘└─── added each time ─────┘
//
// The trailing zero is the last record's count of headers. A load whose every record shall
// be checked by itself stamps each value (see measure) instead, and has the whole checksum
// computed for each batch. All else in a batch is as the
// Kafka protocol guide has it, version 2.
//
// The package is a measuring instrument: one broker, no recovery, and any error ends the
// load. It owns the topics that its caller makes through Admin.
package kafkaload
