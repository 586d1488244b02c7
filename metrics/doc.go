// Package metrics turns the broker's own figures into Prometheus series.
//
//	scrape ─► Collector.Collect ─► broker.Counters, broker.Stats, Options.Disk
//
// It keeps no figure of its own: every value is read from its owner when
// Prometheus asks, so that nothing on the path of a message knows that metrics
// exist. Names begin with leveret_, or are those that dashboards of RabbitMQ and
// kafka_exporter ask for; docs/metrics.md lists them and a test holds the page to
// the code. It must never be called from a hot path.
package metrics
