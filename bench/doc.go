// Package bench measures any broker that speaks AMQP 0-9-1 or the Kafka protocol, from
// outside: Leveret, RabbitMQ, Kafka, with the very same load, and a NATS server with one that
// does the same over its own protocol. The program leveret-bench is its
// Command.
//
//	command ─► target   where the broker is, which process it is, or starting one
//	        ─► rows     one load each: prepare, measured part, check, clean up
//	             │ amqpload   raw AMQP generator           measure   latencies, pacing, order,
//	             │ kafkaload  raw Kafka generator, franz-go          CPU, memory, disk
//	             │ natsload   nats.go
//	        ─► result   a line of JSON, a line of the table; compare: ratios of medians;
//	                    report: a page with charts (chart draws them)
//
// A curve (curve*.go) is a climb instead of a row: one dimension grows on one broker, and at
// each point some series are measured and checked just so.
//
// Every row checks what it sent: each message exactly once and in order, by numbers in the
// bodies, offsets, checksums, or, for confirms, tags. A row that finds anything else has
// failed, whatever its speed. Rows are bounded in messages and in time.
//
// The broker's CPU is that of its process, user and system time, while the load ran. On a
// machine that broker and load share, it is the figure that carries over to others;
// throughput also shows how much the load itself took (client CPU is in the JSON).
//
// The package goes over the wire only: it must not call the broker's Go API.
package bench
