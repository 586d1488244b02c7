package metrics

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leveret-mq/leveret/broker"
)

// The names here are those of RabbitMQ's rabbitmq_prometheus plugin, so that dashboards and alarms which are
// written for it go on. Labels are its, too, with the one protocol and the one type of queue that it would tell of.

// rabbitVersion is the version of RabbitMQ whose figures these are.
const rabbitVersion = "4.0.5"

const (
	rabbitPrefix   = "rabbitmq_"
	detailedPrefix = "rabbitmq_detailed_"
	// channelProtocol is what RabbitMQ calls everything that goes through a channel, STOMP included.
	channelProtocol = "amqp091"
	classicQueue    = "rabbit_classic_queue"
)

// everything is what the totals are read from.
type everything struct {
	stats   broker.Stats
	totals  *broker.Counters
	options *Options
}

// rabbitTotal is a family of one value.
type rabbitTotal struct {
	*serie
	values []string // of its labels
	read   func(*everything) float64
}

func newTotal(kind, name, help string, read func(*everything) float64) rabbitTotal {
	return rabbitTotal{addSerie(kind, rabbitPrefix+name, help), nil, read}
}

func newGlobal(name, help string, read func(*everything) uint64) rabbitTotal {
	return rabbitTotal{addSerie("counter", rabbitPrefix+"global_messages_"+name, help, "protocol"), []string{channelProtocol},
		func(e *everything) float64 { return float64(read(e)) }}
}

func newHanded(name, help string, read func(*broker.Flow) uint64) rabbitTotal {
	return rabbitTotal{addSerie("counter", rabbitPrefix+"global_messages_"+name, help, "protocol", "queue_type"), []string{channelProtocol, classicQueue},
		func(e *everything) float64 { return float64(read(&e.stats.Flow)) }}
}

func newDead(name, help string, why ...broker.Reason) rabbitTotal {
	return rabbitTotal{addSerie("counter", rabbitPrefix+"global_messages_dead_lettered_"+name, help, "queue_type", "dead_letter_strategy"),
		[]string{classicQueue, "at_most_once"}, func(e *everything) (sum float64) {
			for _, w := range why {
				sum += float64(e.totals.DeadLettered[w].Load())
			}
			return sum
		}}
}

// rabbitTotals are the families that RabbitMQ has for a whole broker.
var rabbitTotals = []rabbitTotal{
	newTotal("gauge", "connections", "Connections that are open.",
		func(e *everything) float64 {
			return open(e.stats.Churn.ConnectionsOpened, e.stats.Churn.ConnectionsClosed)
		}),
	newTotal("gauge", "channels", "Channels that are open.",
		func(e *everything) float64 { return open(e.stats.Churn.ChannelsOpened, e.stats.Churn.ChannelsClosed) }),
	newTotal("gauge", "queues", "Queues and topics that exist.", func(e *everything) float64 { return float64(e.stats.Queues) }),
	newTotal("counter", "connections_opened_total", "Connections that were opened.", func(e *everything) float64 { return float64(e.stats.Churn.ConnectionsOpened) }),
	newTotal("counter", "connections_closed_total", "Connections that were closed.", func(e *everything) float64 { return float64(e.stats.Churn.ConnectionsClosed) }),
	newTotal("counter", "channels_opened_total", "Channels that were opened.", func(e *everything) float64 { return float64(e.stats.Churn.ChannelsOpened) }),
	newTotal("counter", "channels_closed_total", "Channels that were closed.", func(e *everything) float64 { return float64(e.stats.Churn.ChannelsClosed) }),
	newTotal("counter", "queues_declared_total", "Declarations of queues, of those that were there as well.", func(e *everything) float64 { return float64(e.stats.Churn.QueuesDeclared) }),
	newTotal("counter", "queues_created_total", "Queues that were made.", func(e *everything) float64 { return float64(e.stats.Churn.QueuesCreated) }),
	newTotal("counter", "queues_deleted_total", "Queues that were deleted.", func(e *everything) float64 { return float64(e.stats.Churn.QueuesDeleted) }),

	newGlobal("received_total", "Messages that came in.", func(e *everything) uint64 { return e.totals.Published.Load() }),
	newGlobal("received_confirm_total", "Messages that came in and are confirmed.", func(e *everything) uint64 { return e.stats.Flow.Confirmed }),
	newGlobal("confirmed_total", "Messages that were confirmed.", func(e *everything) uint64 { return e.stats.Flow.Confirmed }),
	newGlobal("routed_total", "Messages that reached at least one queue.", func(e *everything) uint64 { return e.totals.Routed.Load() }),
	newGlobal("unroutable_dropped_total", "Messages that reached no queue and were dropped.", func(e *everything) uint64 { return e.stats.Flow.Dropped }),
	newGlobal("unroutable_returned_total", "Messages that reached no queue and went back.", func(e *everything) uint64 { return e.stats.Flow.Returned }),
	newHanded("delivered_total", "Messages that went to consumers and gets.", func(f *broker.Flow) uint64 { return f.Handed() }),
	newHanded("delivered_consume_manual_ack_total", "Messages that went to consumers who ack.", func(f *broker.Flow) uint64 { return f.Delivered }),
	newHanded("delivered_consume_auto_ack_total", "Messages that went to consumers who do not.", func(f *broker.Flow) uint64 { return f.DeliveredNoAck }),
	newHanded("delivered_get_manual_ack_total", "Messages that went to gets that ack.", func(f *broker.Flow) uint64 { return f.Got }),
	newHanded("delivered_get_auto_ack_total", "Messages that went to gets that do not.", func(f *broker.Flow) uint64 { return f.GotNoAck }),
	newHanded("get_empty_total", "Gets from empty queues.", func(f *broker.Flow) uint64 { return f.GotNothing }),
	newHanded("redelivered_total", "Messages that went out, not for the first time.", func(f *broker.Flow) uint64 { return f.Redelivered }),
	newHanded("acknowledged_total", "Messages that consumers acked.", func(f *broker.Flow) uint64 { return f.Acked }),
	{addSerie("gauge", rabbitPrefix+"global_publishers", "Connections that have published.", "protocol"), []string{channelProtocol},
		func(e *everything) float64 { return float64(e.stats.Churn.Publishers) }},
	newDead("expired_total", "Dead letters that expired.", broker.Expired),
	newDead("rejected_total", "Dead letters that were rejected.", broker.Rejected),
	newDead("maxlen_total", "Dead letters of queues at their limit.", broker.LengthLimit),
	newDead("delivery_limit_total", "Dead letters that came back too often.", broker.DeliveryLimit),

	newTotal("gauge", "process_resident_memory_bytes", "Memory that the process holds of its own.", func(e *everything) float64 { used, _ := e.memory(); return float64(used) }),
	newTotal("gauge", "resident_memory_limit_bytes", "Memory above which publishers wait.", func(e *everything) float64 { _, limit := e.memory(); return float64(limit) }),
	newTotal("gauge", "disk_space_available_bytes", "Free bytes of the file system with the data.", func(e *everything) float64 { return e.diskFree() }),
	newTotal("gauge", "disk_space_available_limit_bytes", "Free bytes below which publishers wait.", func(e *everything) float64 { return float64(e.options.DiskFreeLimit) }),
	newTotal("gauge", "process_open_fds", "Descriptors that are open.", func(e *everything) float64 { open, _ := e.files(); return float64(open) }),
	newTotal("gauge", "process_max_fds", "Descriptors that the process may open.", func(e *everything) float64 { _, most := e.files(); return float64(most) }),
	newTotal("gauge", "erlang_uptime_seconds", "Seconds since the start.", func(e *everything) float64 { return e.uptime().Seconds() }),
	newTotal("gauge", "erlang_processes_used", "Goroutines, which are what processes are there.", func(*everything) float64 { return float64(runtime.NumGoroutine()) }),
	newTotal("gauge", "erlang_processes_limit", "There is none.", func(*everything) float64 { return math.Inf(1) }),
	newTotal("gauge", "alarms_memory_used_watermark", "1 while publishers wait for memory.", func(e *everything) float64 { return boolean(e.options.alarm(1)) }),
	newTotal("gauge", "alarms_free_disk_space_watermark", "1 while publishers wait for room on the disk.", func(e *everything) float64 { return boolean(e.options.alarm(0)) }),
}

var (
	rabbitIdentity = addSerie("gauge", rabbitPrefix+"identity_info", "Always 1; the labels say who it is.", "rabbitmq_node", "rabbitmq_cluster", "rabbitmq_cluster_permanent_id")
	rabbitBuild    = addSerie("gauge", rabbitPrefix+"build_info", "Always 1; the labels say what runs.", "rabbitmq_version", "prometheus_plugin_version", "prometheus_client_version", "erlang_version", "product_name", "product_version")
	// rabbitConsumers is the sum of what queues have.
	rabbitConsumers = addSerie("gauge", rabbitPrefix+"consumers", "Consumers of queues.")
	// rabbitGlobalConsumers is the same by protocol.
	rabbitGlobalConsumers = addSerie("gauge", rabbitPrefix+"global_consumers", "Consumers of queues.", "protocol")
	rabbitSizes           = addSerie("histogram", rabbitPrefix+"message_size_bytes", "Bytes of the bodies of messages that came in; it has one bucket, so that it tells the mean.", "protocol")
)

// perRabbitQueue are the families that RabbitMQ has for each queue, after rabbitmq_ or rabbitmq_detailed_; in /metrics they are summed up.
var perRabbitQueue = []queueSerie{
	newRabbitQueue("gauge", "queue_coarse_metrics", "queue_messages_ready", "Messages that wait for a consumer.", func(q *broker.QueueStats) int64 { return q.Ready }),
	newRabbitQueue("gauge", "queue_coarse_metrics", "queue_messages_unacked", "Messages that consumers hold and have not acked.", func(q *broker.QueueStats) int64 { return q.Unacked }),
	newRabbitQueue("gauge", "queue_coarse_metrics", "queue_messages", "Both together.", func(q *broker.QueueStats) int64 { return q.Ready + q.Unacked }),
	newRabbitQueue("gauge", "queue_consumer_count", "queue_consumers", "Consumers of the queue.", func(q *broker.QueueStats) int64 { return int64(q.Consumers) }),
	oldest(newRabbitQueue("gauge", "queue_metrics", "queue_head_message_timestamp", "Property timestamp of the first message that is not settled, in seconds since 1970, where it has one. In /metrics it is the latest.", func(q *broker.QueueStats) int64 {
		if q.Oldest.Known && q.Oldest.Property > 0 {
			return q.Oldest.Property
		}
		return -1
	})),
	newRabbitQueue("counter", "queue_metrics", "queue_messages_published_total", "Messages that came into the queue.", func(q *broker.QueueStats) int64 { return int64(q.Flow.Published) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_get_ack_total", "Messages that went to gets that ack.", func(q *broker.QueueStats) int64 { return int64(q.Flow.Got) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_get_total", "Messages that went to gets that do not.", func(q *broker.QueueStats) int64 { return int64(q.Flow.GotNoAck) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_messages_delivered_ack_total", "Messages that went to consumers who ack.", func(q *broker.QueueStats) int64 { return int64(q.Flow.Delivered) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_messages_delivered_total", "Messages that went to consumers who do not.", func(q *broker.QueueStats) int64 { return int64(q.Flow.DeliveredNoAck) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_messages_redelivered_total", "Messages that went out, not for the first time.", func(q *broker.QueueStats) int64 { return int64(q.Flow.Redelivered) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_messages_acked_total", "Messages that consumers acked.", func(q *broker.QueueStats) int64 { return int64(q.Flow.Acked) }),
	newRabbitQueue("counter", "queue_delivery_metrics", "queue_get_empty_total", "Gets while the queue was empty.", func(q *broker.QueueStats) int64 { return int64(q.Flow.GotNothing) }),
}

func newRabbitQueue(kind, family, name, help string, read func(*broker.QueueStats) int64) queueSerie {
	return queueSerie{addSerie(kind, rabbitPrefix+name, help, "queue", "vhost"), read, family, false}
}

// open is how many are open of which so many were opened and closed; the two are not read at one moment.
func open(opened, closed uint64) float64 { return math.Max(0, float64(opened)-float64(closed)) }

func (e *everything) memory() (used, limit int64) {
	if e.options.Memory == nil {
		return 0, 0
	}
	return e.options.Memory()
}

func (e *everything) diskFree() float64 {
	if e.options.Disk == nil {
		return 0
	}
	free, _, err := e.options.Disk()
	if err != nil {
		return math.NaN() // as Prometheus tells what can't be known
	}
	return float64(free)
}

func (e *everything) files() (open, most int) {
	if e.options.Files == nil {
		return 0, 0
	}
	return e.options.Files()
}

func (e *everything) uptime() time.Duration {
	if e.options.Started.IsZero() {
		return 0
	}
	return time.Since(e.options.Started)
}

// alarm says whether an alarm is raised: 0 is the disk's, 1 the memory's.
func (o *Options) alarm(which int) bool {
	if o.Alarms == nil {
		return false
	}
	disk, memory := o.Alarms()
	return [...]string{disk, memory}[which] != ""
}

// collectRabbit sends what RabbitMQ tells of a whole broker.
func (c *Collector) collectRabbit(out chan<- prometheus.Metric, e *everything) {
	for i := range rabbitTotals {
		t := &rabbitTotals[i]
		kind := prometheus.GaugeValue
		if t.kind == "counter" {
			kind = prometheus.CounterValue
		}
		out <- prometheus.MustNewConstMetric(t.desc, kind, t.read(e), t.values...)
	}
	out <- prometheus.MustNewConstMetric(rabbitIdentity.desc, prometheus.GaugeValue, 1, c.Node, c.cluster(), c.ClusterID)
	out <- prometheus.MustNewConstMetric(rabbitBuild.desc, prometheus.GaugeValue, 1, rabbitVersion, rabbitVersion, runtime.Version(), runtime.Version(), "Leveret", c.Version)
	out <- prometheus.MustNewConstHistogram(rabbitSizes.desc, e.totals.Published.Load(), float64(e.totals.PublishedBytes.Load()), nil, channelProtocol)
}

func (c *Collector) cluster() string {
	if c.Cluster == nil {
		return c.Node
	}
	return c.Cluster()
}

// wantedFamilies are the families of queues that ?family= names, one or more; all if it names none.
func wantedFamilies(asked []string) []queueSerie {
	if len(asked) == 0 {
		return perRabbitQueue
	}
	var out []queueSerie
	for _, s := range perRabbitQueue {
		if slices.Contains(asked, s.family) {
			out = append(out, s)
		}
	}
	return out
}

// detailed is a family's name in /metrics/detailed.
func detailed(name string) string { return detailedPrefix + strings.TrimPrefix(name, rabbitPrefix) }
