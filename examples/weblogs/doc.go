// Weblogs is the job that Leveret was made for, from one end to the other: web
// server logs come in at high volume, exchanges route them, workers handle the
// errors one by one, a Kafka group computes figures over everything, and ten
// minutes of it are replayed by time.
//
//	archived lines ─ franz-go ─► topic weblogs-in ─┐ (record key = routing key)
//	                                               ▼
//	                                    exchange "weblogs" (topic)
//	                                               ▲              ┌─ *.error ─► queue weblogs-errors ─► AMQP workers, acks
//	newest lines ── amqp091-go ─ service.level ────┘──────────────┤                                └──► replay by time
//	                                                              └─ # ──────► queue weblogs-all ────► Kafka group: report
//	                                                                                               └──► replay by time
//
// It is a client like any other: it talks to the broker over AMQP, Kafka and
// HTTP, and imports nothing of it. The parts:
//
//	line.go      reads one line of a log in the common formats
//	source.go    lines of files and directories, merged by time
//	generate.go  lines that are made up, the same for the same seed
//	broker.go    declares the topology; ../internal/demo starts a broker of its own
//	ship.go      sends lines in, through Kafka and through AMQP
//	work.go      workers that ack error lines
//	analyse.go   the Kafka group and its figures
//	replay.go    ten minutes again, by time
//	figures.go   the broker's own figures from /metrics
//	report.go    what a person reads at the end
package main
