package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/leveret-mq/leveret/broker"
)

// serie is one family of values.
type serie struct {
	name, kind, help string
	labels           []string
	desc             *prometheus.Desc
}

// series lists every family, in the order of the reference page.
var series []*serie

func newSerie(kind, name, help string, labels ...string) *serie {
	return addSerie(kind, "leveret_"+name, help, labels...)
}

// addSerie is newSerie by a name of others, which stands on their dashboards already.
func addSerie(kind, name, help string, labels ...string) *serie {
	s := &serie{name: name, kind: kind, help: help, labels: labels, desc: prometheus.NewDesc(name, help, labels, nil)}
	series = append(series, s)
	return s
}

// total is a running total that a Counters field holds.
type total struct {
	*serie
	read func(*broker.Counters) uint64
}

// counters are the totals of the broker.
var counters = []total{
	{newSerie("counter", "messages_published_total", "Messages that came in."),
		func(c *broker.Counters) uint64 { return c.Published.Load() }},
	{newSerie("counter", "messages_published_bytes_total", "Bytes of their bodies; for Kafka producers, of their batches."),
		func(c *broker.Counters) uint64 { return c.PublishedBytes.Load() }},
	{newSerie("counter", "messages_routed_total", "Messages that reached at least one queue."),
		func(c *broker.Counters) uint64 { return c.Routed.Load() }},
	{newSerie("counter", "messages_unroutable_total", "Messages that reached no queue."),
		func(c *broker.Counters) uint64 { return c.Unroutable.Load() }},
	{newSerie("counter", "messages_stored_total", "Copies of messages put into queues."),
		func(c *broker.Counters) uint64 { return c.Stored.Load() }},
	{newSerie("counter", "messages_delivered_total", "Messages handed to consumers that ack, gets included."),
		func(c *broker.Counters) uint64 { return c.Delivered.Load() }},
	{newSerie("counter", "messages_delivered_bytes_total", "Bytes of the bodies of these."),
		func(c *broker.Counters) uint64 { return c.DeliveredBytes.Load() }},
	{newSerie("counter", "messages_redelivered_total", "Of these, the ones that were not handed out for the first time."),
		func(c *broker.Counters) uint64 { return c.Redelivered.Load() }},
	{newSerie("counter", "messages_overdue_total", "Messages that went back to their queues because a consumer held them for too long (x-consumer-timeout)."),
		func(c *broker.Counters) uint64 { return c.Overdue.Load() }},
	{newSerie("counter", "messages_duplicate_total", "Messages that an exchange did not route, or a queue did not take, because it has one of that name (x-message-deduplication)."),
		func(c *broker.Counters) uint64 { return c.Duplicates.Load() }},
	{newSerie("counter", "compactions_total", "Logs of compacted topics that were compacted."),
		func(c *broker.Counters) uint64 { return c.Compactions.Load() }},
	{newSerie("counter", "compaction_failures_total", "Times that the log of a compacted topic could not be compacted; the broker's log says which, and why. It is tried again a minute later."),
		func(c *broker.Counters) uint64 { return c.CompactionsFailed.Load() }},
	{newSerie("counter", "compaction_removed_total", "Records that these removed: their key had a later one, or was ended, or their transaction aborted."),
		func(c *broker.Counters) uint64 { return c.CompactedAway.Load() }},
	{newSerie("counter", "messages_passed_total", "Messages that retention took before a consumer of their stream had got them."),
		func(c *broker.Counters) uint64 { return c.Passed.Load() }},
	{newSerie("counter", "messages_acked_total", "Messages that consumers acked."),
		func(c *broker.Counters) uint64 { return c.Left[broker.Acked].Load() }},
	{newSerie("counter", "records_fetched_total", "Records read by offset, as Kafka consumers do."),
		func(c *broker.Counters) uint64 { return c.Fetched.Load() }},
	{newSerie("counter", "records_fetched_bytes_total", "Bytes of the batches of these."),
		func(c *broker.Counters) uint64 { return c.FetchedBytes.Load() }},
	{newSerie("counter", "replies_total", "Messages handed to who waits for them by direct reply-to (amq.rabbitmq.reply-to); they reach no queue."),
		func(c *broker.Counters) uint64 { return c.Replies.Load() }},
	{newSerie("counter", "replies_dropped_total", "Messages that were not, because their requester does not read what it has got."),
		func(c *broker.Counters) uint64 { return c.RepliesDropped.Load() }},
}

// left is the totals by reason.
var left = newSerie("counter", "messages_left_total", "Messages that left their queues: acked, expired, rejected, dropped for a limit of the queue's length or of deliveries, purged, passed by the log's start, damaged, compacted away, or dead letters that were sent back (redriven).", "reason")

// deadLettered, deadLettersLost and delayedLost are the totals by reason.
var (
	deadLettered    = newSerie("counter", "messages_dead_lettered_total", "Messages that left their queues and were copied to where those send dead letters, by why they left.", "reason")
	deadLettersLost = newSerie("counter", "dead_letters_lost_total", "Dead letters that have no place: the exchange is missing, no queue is bound to it, a queue there does not take them, they would go round in a circle, or their queue was deleted before they could be stored.", "reason")
	delayedLost     = newSerie("counter", "delayed_lost_total", "Delayed messages that had no place when they were due, and are dropped there: no queue was bound to their exchange, or a queue there did not take them, at its limit or, where others took them, failed.", "reason")
)

// What there is.
var (
	connections         = newSerie("gauge", "connections", "Client connections that are open.", "protocol")
	listenerConnections = newSerie("gauge", "listener_connections", "Connections that a listener has accepted and that are open, those in their TLS handshake among them.", "listener")
	handshakes          = newSerie("counter", "tls_handshakes_total", "TLS handshakes of a listener, by what became of them.", "listener", "outcome")
	certificateEnd      = newSerie("gauge", "tls_certificate_not_after_seconds", "When the certificate of the listeners with TLS expires, in seconds since 1970.")
	queues              = newSerie("gauge", "queues", "Queues and topics that exist.")
)

// Who was let in, refused or slowed down. Those of logins are RabbitMQ's.
var (
	loginsTried    = addSerie("counter", "rabbitmq_auth_attempts_total", "Logins of a protocol (amqp091, kafka, stomp, xmpp, http), by RabbitMQ's name; of HTTP each request is one, and of Kafka's clients those who give no name.", "protocol")
	loginsGood     = addSerie("counter", "rabbitmq_auth_attempts_succeeded_total", "Of these, the ones that were good.", "protocol")
	loginsRefused  = addSerie("counter", "rabbitmq_auth_attempts_failed_total", "Of these, the ones that were refused, or not looked at because too many waited.", "protocol")
	limitsRefused  = newSerie("counter", "limit_refused_total", "What was refused for a limit of a user or of a virtual host (of): connections, channels, queues or consumers, by the limit's name.", "limit", "of")
	throttledTimes = newSerie("counter", "throttled_seconds_total", "Time for which connections were to wait for the rates of their user or virtual host, of all together: in, with what they publish; out, with what they get.", "direction")
)

// queueSerie is a family with a line for each queue.
type queueSerie struct {
	*serie
	read func(*broker.QueueStats) int64
	// family is RabbitMQ's name of what the series is of, by which /metrics/detailed is asked.
	family string
	// most says that all queues together have the most that one of them has, and not the sum. What is negative is not there.
	most bool
}

func newQueueSerie(name, help string, read func(*broker.QueueStats) int64) queueSerie {
	return queueSerie{newSerie("gauge", "queue_"+name, help, "queue", "vhost"), read, "", false}
}

// perQueue are the figures of each queue.
var perQueue = []queueSerie{
	newQueueSerie("messages_ready", "Messages that wait for a consumer; for a topic that nobody works on, its records.",
		func(q *broker.QueueStats) int64 { return q.Ready }),
	newQueueSerie("messages_unacked", "Messages that consumers hold and have not acked.",
		func(q *broker.QueueStats) int64 { return q.Unacked }),
	newQueueSerie("messages_retrying", "Messages that came back and wait before they are ready again (x-delayed-retry-type).",
		func(q *broker.QueueStats) int64 { return q.Retrying }),
	newQueueSerie("consumers", "Consumers of the queue that ack.",
		func(q *broker.QueueStats) int64 { return int64(q.Consumers) }),
	newQueueSerie("bytes", "Bytes that the queue takes on disk.",
		func(q *broker.QueueStats) int64 { return q.Bytes }),
	newQueueSerie("segments", "Segment files of the queue.",
		func(q *broker.QueueStats) int64 { return int64(q.Segments) }),
	newQueueSerie("partitions", "Logs that the queue consists of.",
		func(q *broker.QueueStats) int64 { return int64(q.Partitions) }),
	newQueueSerie("read_only", "1 when a fault of the disk has made a log of the queue read-only.",
		func(q *broker.QueueStats) int64 { return int64(boolean(q.ReadOnly != "")) }),
	oldest(newQueueSerie("oldest_message_age_seconds", "Age of the first message that is not settled; of a topic that nobody works on, of its first record. In /metrics it is that of the queue where it is highest. It is not there for an empty queue, nor for one that nobody has used, or looked at by itself, since the start: a scrape opens no logs.",
		func(q *broker.QueueStats) int64 { return seconds(q.Oldest) })),
}

func oldest(s queueSerie) queueSerie {
	s.most = true
	return s
}

// seconds is an age, or -1 where it is not known.
func seconds(a broker.Age) int64 {
	if !a.Known {
		return -1
	}
	return a.Ms / 1000
}

// The other families.
var (
	exchangeDelayed = newSerie("gauge", "exchange_messages_delayed", "Messages that an exchange keeps until their time has come.", "vhost", "exchange")

	appendedBytes = newSerie("counter", "store_appended_bytes_total", "Bytes appended to logs.")
	syncSeconds   = newSerie("histogram", "store_sync_seconds", "Time that a flush to the disk took.")
	syncErrors    = newSerie("counter", "store_sync_errors_total", "Flushes that failed.")
	writable      = newSerie("gauge", "store_writable", "1 when the store as a whole takes writes.")
	diskFree      = newSerie("gauge", "disk_free_bytes", "Free bytes of the file system with the data.")
	diskTotal     = newSerie("gauge", "disk_total_bytes", "Size of the file system with the data.")

	memoryUsed      = newSerie("gauge", "memory_used_bytes", "Memory that the process holds of its own; pages of the logs are not counted.")
	memoryWatermark = newSerie("gauge", "memory_watermark_bytes", "Memory above which publishers wait; 0 is no bound.")

	requestBytes    = newSerie("gauge", "request_memory_bytes", "Memory that requests of clients take while they arrive, are worked on and wait to be answered; small ones are not counted.")
	requestLimit    = newSerie("gauge", "request_memory_limit_bytes", "Most that these may take.")
	requestsWaiting = newSerie("gauge", "request_memory_waiting", "Requests that wait for others to give memory back.")
	requestDisk     = newSerie("gauge", "request_disk_bytes", "Disk space that unfinished messages of clients take.")
	requestDiskMost = newSerie("gauge", "request_disk_limit_bytes", "Most that these may take.")
	requestsRefused = newSerie("counter", "request_memory_refused_total", "Requests that were refused because they took more than one client may, or because too little was given back in time.")

	buildInfo = newSerie("gauge", "build_info", "Always 1; the labels say what runs, and which durability mode is the default.", "version", "goversion", "durability")
)
