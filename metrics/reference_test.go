package metrics

import (
	"fmt"
	"strings"
)

// reference prints the page docs/metrics.md.
func reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Printed from package metrics; a test holds this page to it. To renew it: go test ./metrics -update -->

Prometheus reads them at ` + "`http://HOST:15692/metrics`" + `. Beside these come the usual ` + "`process_…` and `go_…`" + ` series.

What is of a queue is summed up there, without labels, as RabbitMQ does. ` + "`/metrics/per-object`" + ` has a line for each queue, topic and partition instead, and
` + "`/metrics/detailed?family=queue_coarse_metrics&vhost=/`" + ` those of some families (queue_coarse_metrics, queue_consumer_count, queue_metrics, queue_delivery_metrics) and
virtual hosts only, under names that begin with rabbitmq_detailed_. What begins with rabbitmq_ is called as RabbitMQ calls it, what begins with kafka_ as kafka_exporter does, with
the virtual host among the labels: dashboards and alarms for these find what they ask for.

| series | kind | labels | meaning |
|---|---|---|---|
`)
	for _, s := range series {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", s.name, s.kind, strings.Join(s.labels, ", "), s.help)
	}
	return b.String()
}
