package metrics

import (
	"errors"
	"flag"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// figures is a Source with fixed values.
type figures struct {
	stats    broker.Stats
	queues   []broker.QueueStats
	counters broker.Counters

	partitions []broker.PartitionStats
}

func (f *figures) Stats() broker.Stats             { return f.stats }
func (f *figures) QueueStats() []broker.QueueStats { return f.queues }
func (f *figures) PartitionStats(fn func(broker.PartitionStats)) {
	for _, p := range f.partitions {
		fn(p)
	}
}
func (f *figures) Counters() *broker.Counters { return &f.counters }
func (f *figures) ConnectionCounts() map[string]int {
	return map[string]int{"amqp": 0, "kafka": 4}
}

func (f *figures) Logins() map[string]broker.Logins {
	return map[string]broker.Logins{"amqp": {In: 5, Refused: 2}, "kafka": {In: 1}}
}

// oddName has what must be escaped in a label.
const oddName = `odd \ "name"` + "\n"

func sample() *figures {
	f := &figures{stats: broker.Stats{
		Scratch: 50, ScratchLimit: 60,
		Store: broker.StoreStats{
			Mode: "group", AppendedBytes: 1000, Syncs: 3, SyncErrors: 1, SyncSeconds: 0.5,
			SyncBuckets: []broker.SyncBucket{{Le: 0.001, Count: 1}, {Le: 0.25, Count: 3}},
		},
		Queues: 2,
	}, queues: []broker.QueueStats{
		{VHost: "/", Name: "orders", Ready: 5, Unacked: 2, Consumers: 1, Bytes: 65536, Segments: 1, Partitions: 1, Oldest: broker.Age{Known: true, Ms: 61_999, Property: 77}},
		{VHost: "/", Name: oddName, Partitions: 3, ReadOnly: "input/output error"},
	}}
	f.counters.Published.Store(12)
	f.counters.Left[broker.Acked].Store(7)
	f.counters.Throttled[1].Store(1_500_000_000)
	return f
}

func scrape(t *testing.T, o Options) string {
	t.Helper()
	w := httptest.NewRecorder()
	New(o).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics/per-object", nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil || w.Code != 200 {
		t.Fatalf("%d %v %s", w.Code, err, body)
	}
	return string(body)
}

func TestScrapeShowsTheFiguresOfTheirOwners(t *testing.T) {
	page := scrape(t, Options{Source: sample(), Version: "v1", Disk: func() (uint64, uint64, error) { return 10, 20, nil },
		Requests: func() budget.Stats { return budget.Stats{Bytes: 100, Used: 7, Waiting: 3, Refused: 2} }})
	for _, want := range []string{
		`leveret_messages_published_total 12`,
		`leveret_messages_acked_total 7`,
		`leveret_connections{protocol="kafka"} 4`,
		`leveret_queue_messages_ready{queue="orders",vhost="/"} 5`,
		`leveret_queue_bytes{queue="orders",vhost="/"} 65536`,
		`leveret_queue_oldest_message_age_seconds{queue="orders",vhost="/"} 61`,
		`rabbitmq_queue_head_message_timestamp{queue="orders",vhost="/"} 77`,
		`leveret_queue_read_only{queue="odd \\ \"name\"\n",vhost="/"} 1`,
		`leveret_store_sync_seconds_bucket{le="0.25"} 3`,
		`leveret_store_sync_seconds_bucket{le="+Inf"} 3`,
		`leveret_store_sync_seconds_sum 0.5`,
		`leveret_store_writable 1`,
		`leveret_disk_free_bytes 10`,
		`leveret_queues 2`,
		`rabbitmq_auth_attempts_total{protocol="amqp091"} 7`,
		`rabbitmq_auth_attempts_succeeded_total{protocol="amqp091"} 5`,
		`rabbitmq_auth_attempts_failed_total{protocol="amqp091"} 2`,
		`rabbitmq_auth_attempts_total{protocol="kafka"} 1`,
		`leveret_limit_refused_total{limit="max-queues",of="vhost"} 0`,
		`leveret_throttled_seconds_total{direction="out"} 1.5`,
		`leveret_throttled_seconds_total{direction="in"} 0`,
		`leveret_request_memory_bytes 7`,
		`leveret_request_memory_limit_bytes 100`,
		`leveret_request_memory_waiting 3`,
		`leveret_request_memory_refused_total 2`,
		`leveret_request_disk_bytes 50`,
		`leveret_request_disk_limit_bytes 60`,
		`durability="group"`,
		`process_resident_memory_bytes`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

func TestStoreThatTakesNoWritesShows(t *testing.T) {
	f := sample()
	f.stats.Err = "no space left"
	page := scrape(t, Options{Source: f, Disk: func() (uint64, uint64, error) { return 0, 0, errors.New("gone") }})
	if !strings.Contains(page, "leveret_store_writable 0") || strings.Contains(page, "leveret_disk_free_bytes") {
		t.Fatal(page)
	}
}

func TestReferencePageIsCurrent(t *testing.T) {
	const page = "../docs/metrics.md"
	want := reference()
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Fatal("docs/metrics.md is not what the code says; renew it with: go test ./metrics -update")
	}
}
