// Video is a queue of long jobs: videos are transcoded by ffmpeg, one at a time in
// each worker, and workers die, freeze and die again at the worst moment. Every
// video is done once all the same, and everybody can read how it went.
//
//	main ── amqp091-go ──► exchange "video" ─ job ─► queue video-jobs ─► workers (processes), one job each, acks
//	                          ▲        │                                   │ ffmpeg
//	                          │        ├─ begun, progress, … ─► queue video-log ──► Kafka: bars, report
//	                          └────────┼───────────────────────────────────┤
//	                                   └─ failed ─► queue video-failed     │ result
//	                                         ▲                             ▼
//	                          what no worker can do       exchange "video-results" (each name once) ─► queue video-done ─► Kafka: report
//
// It is a client like any other: it talks to the broker over AMQP and Kafka, and
// imports nothing of it. The parts:
//
//	topology.go   the exchanges and queues
//	ffmpeg.go     what is asked of ffmpeg, and what it says
//	source.go     videos that are made up, or the user's own
//	worker.go     one worker, a process of its own
//	crew.go       starting, killing and freezing workers
//	watch.go      what happened, read from the log
//	report.go     what a person reads at the end
package main
