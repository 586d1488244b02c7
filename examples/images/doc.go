// Images is image resizing as a shop or a chat has it: a small web server takes
// pictures and answers at once, workers make three sizes of each, the small ones
// first, and the page shows them as they come.
//
//	browser, phone ── HTTP ──► web server ── amqp091-go ──► exchange "images" (topic)
//	                  202       ▲                            │
//	                            │                            ├─ job.*   ─► queue images-work, by priority ─► AMQP workers, acks
//	                            │                            ├─ job.thumb ─► queue images-originals, kept ─► Kafka group: a new size
//	                            │                            └─ taken, done.* ─► queue images-album, kept
//	                            └── franz-go, from the beginning ───────────────────────┘   └──► Kafka group: report
//
// It is a client like any other: it talks to the broker over AMQP and Kafka, and
// imports nothing of it. The parts:
//
//	topology.go   the exchange and its queues
//	server.go     the web server; page/ is what a browser gets
//	album.go      what the web server knows, read from the log
//	work.go       workers
//	picture.go    reading, turning and resizing a picture
//	generate.go   pictures that are made up, the same for the same seed
//	upload.go     a client that sends pictures to the web server
//	replay.go     a new size for old pictures; a web server that comes late; the report's figures
//	report.go     what a person reads at the end
package main
