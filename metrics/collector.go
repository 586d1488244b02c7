package metrics

import (
	"runtime"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
)

// Source is where the figures come from; *broker.Broker is one.
type Source interface {
	// Stats are the figures of the store and of the whole.
	Stats() broker.Stats
	// QueueStats are those of every queue.
	QueueStats() []broker.QueueStats
	// PartitionStats calls fn for every partition.
	PartitionStats(fn func(broker.PartitionStats))
	// Counters are the running totals.
	Counters() *broker.Counters
	// ConnectionCounts are how many connections are open, by protocol.
	ConnectionCounts() map[string]int
	// Logins are how many logins were good and how many refused, by protocol.
	Logins() map[string]broker.Logins
}

// Options are what a Collector reads.
type Options struct {
	// Source gives the figures.
	Source Source
	// Version is the broker's.
	Version string
	// Disk reads the free and the total bytes of the file system with the data; nil leaves them out.
	Disk func() (free, total uint64, err error)
	// Memory reads how much memory the process holds of its own, and the watermark, 0 for none; nil leaves them out.
	Memory func() (used, watermark int64)
	// Listeners reads what there is to say of each listener; nil leaves that out.
	Listeners func() []Listener
	// CertificateEnd reads when the certificate of the listeners with TLS expires; nil leaves that out.
	CertificateEnd func() time.Time
	// Requests reads how much memory requests take; nil leaves it out.
	Requests func() budget.Stats
	// Groups reads how far Kafka's consumer groups are; nil leaves them out.
	Groups func() []broker.GroupStats
	// Node is what RabbitMQ's figures call this broker, ClusterID what they call the cluster for good, Cluster reads its name; nil is Node.
	Node, ClusterID string
	Cluster         func() string
	// Started is when the broker was started.
	Started time.Time
	// Files reads how many descriptors are open and may be; nil leaves 0.
	Files func() (open, most int)
	// DiskFreeLimit is how many free bytes publishers wait below.
	DiskFreeLimit uint64
	// Alarms reads why publishers wait, for the disk and for memory, "" for not; nil is never.
	Alarms func() (disk, memory string)
}

// Listener is what is shown of one.
type Listener struct {
	Name                         string
	Connections                  int
	TLS                          bool
	Handshakes, HandshakesFailed uint64 // with TLS
}

// Collector is a prometheus.Collector over the broker's figures but for those of single
// queues, which stand in perQueue.
type Collector struct{ Options }

// New returns a Collector.
func New(o Options) *Collector { return &Collector{o} }

// Describe sends every series that Collect may send.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, s := range series {
		if !byPage(s) {
			out <- s.desc
		}
	}
}

// byPage says that a family is written by page and not collected here: what is read from queues, partitions and groups.
func byPage(s *serie) bool {
	return s == rabbitConsumers || s == rabbitGlobalConsumers || slices.ContainsFunc(s.labels, func(l string) bool { return l == "queue" || l == "topic" || l == "consumergroup" })
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
	for _, why := range broker.DeathReasons() {
		out <- prometheus.MustNewConstMetric(deadLettered.desc, prometheus.CounterValue, float64(totals.DeadLettered[why].Load()), why.String())
	}
	for why := range broker.Losses {
		out <- prometheus.MustNewConstMetric(deadLettersLost.desc, prometheus.CounterValue, float64(totals.DeadLettersLost[why].Load()), why.String())
	}
	for _, why := range broker.DelayLosses() {
		out <- prometheus.MustNewConstMetric(delayedLost.desc, prometheus.CounterValue, float64(totals.DelayedLost[why].Load()), why.String())
	}
	gauge := func(s *serie, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(s.desc, prometheus.GaugeValue, v, labels...)
	}
	for protocol, n := range c.Source.ConnectionCounts() {
		gauge(connections, float64(n), protocol)
	}
	c.collectRefusals(out, totals)
	gauge(buildInfo, 1, c.Version, runtime.Version(), stats.Store.Mode)
	gauge(writable, boolean(stats.Err == ""))
	gauge(queues, float64(stats.Queues))
	c.collectListeners(out)
	if c.Disk != nil {
		if free, total, err := c.Disk(); err == nil {
			gauge(diskFree, float64(free))
			gauge(diskTotal, float64(total))
		}
	}
	if c.Memory != nil {
		used, watermark := c.Memory()
		gauge(memoryUsed, float64(used))
		gauge(memoryWatermark, float64(watermark))
	}
	if c.Requests != nil {
		collectRequests(out, c.Requests())
	}
	gauge(requestDisk, float64(stats.Scratch))
	gauge(requestDiskMost, float64(stats.ScratchLimit))
	c.collectStore(out, stats)
	gauge(kafkaBrokers, 1)
	c.collectRabbit(out, &everything{stats, totals, &c.Options})
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

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// collectRefusals sends who was let in, refused or slowed down.
func (c *Collector) collectRefusals(out chan<- prometheus.Metric, totals *broker.Counters) {
	counter := func(d *serie, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d.desc, prometheus.CounterValue, v, labels...)
	}
	for protocol, n := range c.Source.Logins() {
		if protocol == "amqp" {
			protocol = "amqp091" // as RabbitMQ calls it
		}
		counter(loginsTried, float64(n.In+n.Refused), protocol)
		counter(loginsGood, float64(n.In), protocol)
		counter(loginsRefused, float64(n.Refused), protocol)
	}
	totals.OverLimit(func(limit, of string, n uint64) { counter(limitsRefused, float64(n), limit, of) })
	for way, name := range [...]string{"in", "out"} {
		counter(throttledTimes, time.Duration(totals.Throttled[way].Load()).Seconds(), name)
	}
}

// collectListeners sends what there is to say of listeners and of TLS.
func (c *Collector) collectListeners(out chan<- prometheus.Metric) {
	if c.Listeners != nil {
		for _, l := range c.Listeners() {
			out <- prometheus.MustNewConstMetric(listenerConnections.desc, prometheus.GaugeValue, float64(l.Connections), l.Name)
			if l.TLS {
				out <- prometheus.MustNewConstMetric(handshakes.desc, prometheus.CounterValue, float64(l.Handshakes), l.Name, "done")
				out <- prometheus.MustNewConstMetric(handshakes.desc, prometheus.CounterValue, float64(l.HandshakesFailed), l.Name, "failed")
			}
		}
	}
	if c.CertificateEnd != nil {
		out <- prometheus.MustNewConstMetric(certificateEnd.desc, prometheus.GaugeValue, float64(c.CertificateEnd().Unix()))
	}
}
