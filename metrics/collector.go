package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
)

// Source is where the figures come from; *broker.Broker is one.
type Source interface {
	// Stats collects the figures of every queue and of the store.
	Stats() broker.Stats
	// Counters are the running totals.
	Counters() *broker.Counters
	// ConnectionCounts are how many connections are open, by protocol.
	ConnectionCounts() map[string]int
}

// Options are what a Collector reads.
type Options struct {
	// Source gives the figures.
	Source Source
	// Version is the broker's.
	Version string
	// Disk reads the free and the total bytes of the file system with the data; nil leaves them out.
	Disk func() (free, total uint64, err error)
	// Requests reads how much memory requests take; nil leaves it out.
	Requests func() budget.Stats
}

// Collector is a prometheus.Collector over the broker's figures.
type Collector struct{ Options }

// New returns a Collector.
func New(o Options) *Collector { return &Collector{o} }

// Handler serves the Collector with the figures of the process and of the Go
// runtime beside it.
func (c *Collector) Handler() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(c, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Describe sends every series that Collect may send.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, s := range series {
		out <- s.desc
	}
}

// Collect reads the figures and sends them.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
	stats, totals := c.Source.Stats(), c.Source.Counters()
	for _, t := range counters {
		out <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, float64(t.read(totals)))
	}
	for why := range broker.Reasons {
		out <- prometheus.MustNewConstMetric(left.desc, prometheus.CounterValue, float64(totals.Left[why].Load()), why.String())
	}
	gauge := func(s *serie, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, v, labels...)
	}
	for protocol, n := range c.Source.ConnectionCounts() {
		gauge(connections, float64(n), protocol)
	}
	gauge(buildInfo, 1, c.Version, runtime.Version(), stats.Store.Mode)
	gauge(writable, boolean(stats.Err == ""))
	gauge(queues, float64(len(stats.Queues)))
	if c.Disk != nil {
		if free, total, err := c.Disk(); err == nil {
			gauge(diskFree, float64(free))
			gauge(diskTotal, float64(total))
		}
	}
	if c.Requests != nil {
		collectRequests(out, c.Requests())
	}
	gauge(requestDisk, float64(stats.Scratch))
	gauge(requestDiskMost, float64(stats.ScratchLimit))
	c.collectStore(out, stats)
	for i := range stats.Queues {
		collectQueue(gauge, &stats.Queues[i])
	}
	for _, d := range stats.Delays {
		gauge(exchangeDelayed, float64(d.Waiting), d.VHost, d.Exchange)
	}
}

func (c *Collector) collectStore(out chan<- prometheus.Metric, stats broker.Stats) {
	s := stats.Store
	counter := func(d *serie, v uint64) {
		out <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, float64(v))
	}
	counter(appendedBytes, s.AppendedBytes)
	counter(syncErrors, s.SyncErrors)
	buckets := make(map[float64]uint64, len(s.SyncBuckets))
	for _, b := range s.SyncBuckets {
		buckets[b.Le] = b.Count
	}
	out <- prometheus.MustNewConstHistogram(syncSeconds.desc, s.Syncs, s.SyncSeconds, buckets)
}

func collectRequests(out chan<- prometheus.Metric, s budget.Stats) {
	gauge := func(d *serie, v int64) {
		out <- prometheus.MustNewConstMetric(d.desc, prometheus.GaugeValue, float64(v))
	}
	gauge(requestBytes, s.Used)
	gauge(requestLimit, s.Bytes)
	gauge(requestsWaiting, int64(s.Waiting))
	out <- prometheus.MustNewConstMetric(requestsRefused.desc, prometheus.CounterValue, float64(s.Refused))
}

func collectQueue(gauge func(*serie, float64, ...string), q *broker.QueueStats) {
	gauge(queueReady, float64(q.Ready), q.VHost, q.Name)
	gauge(queueUnacked, float64(q.Unacked), q.VHost, q.Name)
	gauge(queueConsumers, float64(q.Consumers), q.VHost, q.Name)
	gauge(queueBytes, float64(q.Bytes), q.VHost, q.Name)
	gauge(queueSegments, float64(q.Segments), q.VHost, q.Name)
	gauge(queuePartitions, float64(q.Partitions), q.VHost, q.Name)
	gauge(queueReadOnly, boolean(q.ReadOnly != ""), q.VHost, q.Name)
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
