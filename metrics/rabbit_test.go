package metrics

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/leveret-mq/leveret/broker"
)

// busy is a Source with figures of everything.
func busy() (*figures, Options) {
	f := sample()
	f.queues[0].Flow = broker.Flow{Published: 40, Delivered: 30, Got: 3, Redelivered: 2, Acked: 25}
	f.queues[1].VHost, f.queues[1].Consumers = "other", 4
	f.queues[1].Oldest = broker.Age{Known: true, Ms: 3000}
	f.stats.Flow = broker.Flow{Published: 40, Confirmed: 9, Returned: 2, Dropped: 1, Delivered: 30, DeliveredNoAck: 5, Got: 3, GotNoAck: 1, GotNothing: 6, Redelivered: 2, Acked: 25}
	f.stats.Churn = broker.Churn{ConnectionsOpened: 8, ConnectionsClosed: 3, ChannelsOpened: 7, ChannelsClosed: 1, QueuesCreated: 2}
	f.partitions = []broker.PartitionStats{
		{VHost: "/", Queue: "events", Partition: 0, Start: 5, End: 25}, {VHost: "/", Queue: "events", Partition: 1, End: 3},
		{VHost: "other", Queue: "events", Partition: 0, End: 9},
	}
	return f, Options{Source: f, Node: "rabbit@here", Cluster: func() string { return "farm" }, ClusterID: "id", Started: time.Now().Add(-time.Hour),
		Files: func() (int, int) { return 12, 99 }, Memory: func() (int64, int64) { return 5, 9 }, Disk: func() (uint64, uint64, error) { return 10, 20, nil },
		DiskFreeLimit: 7, Alarms: func() (string, string) { return "", "short" },
		Groups: func() []broker.GroupStats {
			return []broker.GroupStats{{VHost: "/", Name: "report", Members: 2, Positions: []broker.GroupPosition{
				{Topic: "events", Partition: 0, Offset: 20, Lag: 5, Age: broker.Age{Known: true, Ms: 9999}}, {Topic: "events", Partition: 1, Offset: 3}, {Topic: "other", Partition: 0, Offset: 1, Lag: 4}}}}
		}}
}

func TestTotalsAreWithoutLabelsUnderAllNames(t *testing.T) {
	_, o := busy()
	_, page := readPath(t, New(o).Handler(), "/metrics")
	for _, want := range []string{
		"\nleveret_queue_messages_ready 5\n", "\nrabbitmq_queue_messages_ready 5\n", "\nrabbitmq_queue_messages_unacked 2\n", "\nrabbitmq_queue_messages 7\n",
		"\nleveret_queue_oldest_message_age_seconds 61\n", "\nrabbitmq_queue_head_message_timestamp 77\n",
		`leveret_consumergroup_oldest_message_age_seconds{vhost="/",consumergroup="report",topic="events",partition="0"} 9`,
		"\nrabbitmq_consumers 5\n", "\nrabbitmq_queue_consumers 5\n", "\nrabbitmq_queues 2\n", "\nrabbitmq_connections 5\n", "\nrabbitmq_channels 6\n",
		"\nrabbitmq_connections_opened_total 8\n", "\nrabbitmq_queue_messages_published_total 40\n",
		`rabbitmq_identity_info{rabbitmq_cluster="farm",rabbitmq_cluster_permanent_id="id",rabbitmq_node="rabbit@here"} 1`,
		`rabbitmq_global_messages_received_total{protocol="amqp091"} 12`,
		`rabbitmq_global_messages_received_confirm_total{protocol="amqp091"} 9`,
		`rabbitmq_global_messages_unroutable_returned_total{protocol="amqp091"} 2`,
		`rabbitmq_global_messages_unroutable_dropped_total{protocol="amqp091"} 1`,
		`rabbitmq_global_messages_delivered_total{protocol="amqp091",queue_type="rabbit_classic_queue"} 39`,
		`rabbitmq_global_messages_delivered_get_auto_ack_total{protocol="amqp091",queue_type="rabbit_classic_queue"} 1`,
		`rabbitmq_global_messages_acknowledged_total{protocol="amqp091",queue_type="rabbit_classic_queue"} 25`,
		"\nrabbitmq_process_max_fds 99\n", "\nrabbitmq_resident_memory_limit_bytes 9\n", "\nrabbitmq_disk_space_available_limit_bytes 7\n",
		"\nrabbitmq_alarms_memory_used_watermark 1\n", "\nrabbitmq_alarms_free_disk_space_watermark 0\n", "\nrabbitmq_erlang_uptime_seconds 3600",
		`rabbitmq_message_size_bytes_bucket{protocol="amqp091",le="+Inf"} 12`,
		`kafka_consumergroup_lag{vhost="/",consumergroup="report",topic="events",partition="0"} 5`,
		`kafka_consumergroup_lag_sum{vhost="/",consumergroup="report",topic="events"} 5`,
		`kafka_consumergroup_current_offset_sum{vhost="/",consumergroup="report",topic="events"} 23`,
		`kafka_consumergroup_lag_sum{vhost="/",consumergroup="report",topic="other"} 4`,
		`kafka_consumergroup_members{vhost="/",consumergroup="report"} 2`, "\nkafka_brokers 1\n",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, `queue="`) {
		t.Error("it has lines of single queues")
	}
	if strings.Count(page, "\nleveret_consumergroup_oldest") != 1 {
		t.Error("a group that has read all has an age")
	}
	_, lines := readPath(t, New(o).Handler(), "/metrics/per-object")
	if strings.Count(lines, "\nleveret_queue_oldest_message_age_seconds{") != 2 || strings.Count(lines, "\nrabbitmq_queue_head_message_timestamp{") != 1 {
		t.Error("ages are there that nobody knows, or not those that are known")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	if _, err := parser.TextToMetricFamilies(strings.NewReader(page)); err != nil {
		t.Error(err)
	}
}

func TestDetailsAreOfTheFamiliesAndVirtualHostsAskedFor(t *testing.T) {
	_, o := busy()
	h := New(o).Handler()
	for asked, want := range map[string]struct{ has, lacks []string }{
		"":                             {[]string{`rabbitmq_detailed_queue_messages_ready{queue="orders",vhost="/"} 5`, `_queue_messages_acked_total{queue="orders",vhost="/"} 25`}, []string{"leveret_", " rabbitmq_queue", "go_"}},
		"?family=queue_consumer_count": {[]string{`rabbitmq_detailed_queue_consumers{queue="orders",vhost="/"} 1`, `vhost="other"} 4`}, []string{"ready"}},
		"?vhost=other&family=queue_coarse_metrics&family=queue_metrics": {[]string{`rabbitmq_detailed_queue_messages_ready{queue="odd`, "published"}, []string{"orders", "acked_total"}},
		"?family=no": {nil, []string{"rabbitmq"}},
	} {
		_, page := readPath(t, h, "/metrics/detailed"+asked)
		for _, s := range want.has {
			if !strings.Contains(page, s) {
				t.Errorf("%s lacks %s:\n%s", asked, s, page)
			}
		}
		for _, s := range want.lacks {
			if strings.Contains(page, s) {
				t.Errorf("%s has %s:\n%s", asked, s, page)
			}
		}
	}
}

func TestPartitionsHaveTheirLines(t *testing.T) {
	_, o := busy()
	_, page := read(t, New(o).Handler())
	for _, want := range []string{
		`kafka_topic_partitions{vhost="/",topic="events"} 2`, `kafka_topic_partitions{vhost="other",topic="events"} 1`,
		`kafka_topic_partition_current_offset{vhost="/",topic="events",partition="0"} 25`,
		`kafka_topic_partition_oldest_offset{vhost="/",topic="events",partition="0"} 5`,
		`kafka_topic_partition_in_sync_replica{vhost="/",topic="events",partition="1"} 1`,
		`kafka_topic_partition_under_replicated_partition{vhost="/",topic="events",partition="1"} 0`,
		`rabbitmq_queue_messages_delivered_ack_total{queue="orders",vhost="/"} 30`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// overviewNames are what the queries of RabbitMQ's dashboard "RabbitMQ-Overview" ask for.
var overviewNames = []string{
	"rabbitmq_identity_info", "rabbitmq_build_info", "rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_unacked", "rabbitmq_connections",
	"rabbitmq_channels", "rabbitmq_consumers", "rabbitmq_queues", "rabbitmq_connections_opened_total", "rabbitmq_connections_closed_total",
	"rabbitmq_channels_opened_total", "rabbitmq_channels_closed_total", "rabbitmq_queues_declared_total", "rabbitmq_queues_created_total",
	"rabbitmq_queues_deleted_total", "rabbitmq_global_messages_received_total", "rabbitmq_global_messages_received_confirm_total",
	"rabbitmq_global_messages_confirmed_total", "rabbitmq_global_messages_routed_total", "rabbitmq_global_messages_unroutable_dropped_total",
	"rabbitmq_global_messages_unroutable_returned_total", "rabbitmq_global_messages_delivered_total", "rabbitmq_global_messages_redelivered_total",
	"rabbitmq_global_messages_delivered_consume_manual_ack_total", "rabbitmq_global_messages_delivered_consume_auto_ack_total",
	"rabbitmq_global_messages_acknowledged_total", "rabbitmq_global_messages_delivered_get_auto_ack_total",
	"rabbitmq_global_messages_delivered_get_manual_ack_total", "rabbitmq_global_messages_get_empty_total", "rabbitmq_global_publishers",
	"rabbitmq_global_consumers", "rabbitmq_message_size_bytes", "rabbitmq_process_resident_memory_bytes", "rabbitmq_resident_memory_limit_bytes",
	"rabbitmq_disk_space_available_bytes", "rabbitmq_disk_space_available_limit_bytes", "rabbitmq_process_open_fds", "rabbitmq_process_max_fds",
	"rabbitmq_erlang_uptime_seconds",
}

func TestTheDashboardOfRabbitMQFindsItsNames(t *testing.T) {
	_, o := busy()
	_, page := readPath(t, New(o).Handler(), "/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range overviewNames {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}
