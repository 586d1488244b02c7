// Campaign is an e-mail campaign: one template becomes ten thousand mails, of which
// some wait for their time and some are worth nothing after theirs; senders keep to a
// rate; what fails for a while is tried again, later each time; what fails for good
// is set aside with its reason, and sent again when the reason is gone.
//
//	one template ─► queue campaign-start ─► planner, acks at the end
//	                                          │ 10,000 mails, each with a name
//	                                          ▼
//	                exchange "campaign" (each name once) ─► exchange "campaign-schedule" (delays)
//	                                                          │ when due
//	                                                          ▼
//	     ┌──── again, later each time ◄── 4xx ── queue campaign-mail ─► senders ── SMTP ──► mail server
//	     └────────────────────────────────────────►   │                   └── 2xx ─► queue campaign-sent ─┐
//	                                5xx, too late, too often                                             ├─► Kafka group: report
//	                                                  └─► queue campaign-dead ───────────────────────────┘
//	                                                        └─► redrive
//
// It is a client like any other: it talks to the broker over AMQP and Kafka, and
// imports nothing of it. The parts:
//
//	topology.go    the exchanges and queues, with the rules for what fails
//	recipients.go  whom to write, and the template
//	plan.go        the planner: one template in, ten thousand mails out
//	send.go        senders: a rate, an SMTP client, and what an answer means
//	sink.go        the mail server, which is difficult in ways that mail servers are
//	ledger.go      what became of each mail, read from the log
//	redrive.go     dead letters are sent again
//	report.go      what a person reads at the end
package main
