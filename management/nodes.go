package management

import (
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"
)

// nodeRows are about the process. There is one node.
var nodeRows = []row{
	{path: "nodes", method: get, who: monitoring, do: (*call).nodes, about: "The node, as a list"},
	{path: "nodes/{node}", method: get, who: monitoring, do: (*call).oneNode, about: "The node"},
	{path: "nodes/{node}/memory", method: get, who: monitoring, do: (*call).nodeMemory, about: "What its memory is for"},
	{path: "nodes/{node}/memory/relative", method: get, who: monitoring, do: (*call).nodeMemory, about: "The same"},
}

func (c *call) nodes() error { return c.list([]object{c.nodeObject()}) }

// node says whether the path is about the node that there is.
func (c *call) node() error {
	if c.arg("node") != c.s.opts.Node {
		return missing()
	}
	return nil
}

func (c *call) oneNode() error {
	if err := c.node(); err != nil {
		return err
	}
	o := c.nodeObject()
	if c.flag("memory") {
		o = append(o, pair{"memory", c.s.opts.Machine().breakdown()})
	}
	if c.flag("binary") {
		o = append(o, pair{"binary", object{}})
	}
	return c.one(o)
}

func (c *call) nodeMemory() error {
	if err := c.node(); err != nil {
		return err
	}
	return c.one(object{{"memory", c.s.opts.Machine().breakdown()}})
}

// breakdown is the memory by RabbitMQ's kinds. The Go runtime tells its own apart from what is in use, and no more.
func (m Machine) breakdown() object {
	var used runtime.MemStats
	runtime.ReadMemStats(&used)
	o := object{}
	for _, name := range []string{"connection_readers", "connection_writers", "connection_channels", "connection_other", "queue_procs", "quorum_queue_procs", "quorum_queue_dlx_procs",
		"stream_queue_procs", "stream_queue_replica_reader_procs", "stream_queue_coordinator_procs", "plugins", "metadata_store", "metrics", "mgmt_db", "mnesia", "quorum_ets",
		"metadata_store_ets", "other_ets", "msg_index", "code", "atom"} {
		o = append(o, pair{name, 0})
	}
	return append(o, object{
		{"other_proc", used.StackInuse}, {"binary", used.HeapInuse}, {"other_system", used.GCSys + used.MSpanInuse + used.OtherSys},
		{"allocated_unused", used.HeapIdle - used.HeapReleased}, {"reserved_unallocated", 0}, {"strategy", "rss"},
		{"total", object{{"rss", m.Memory}, {"allocated", used.Sys - used.HeapReleased}, {"erlang", used.HeapInuse}}},
	}...)
}

// mechanisms are those by which AMQP clients log in.
var mechanisms = []object{
	{{"name", "PLAIN"}, {"description", "SASL PLAIN authentication mechanism"}, {"enabled", true}},
	{{"name", "AMQPLAIN"}, {"description", "QPid AMQPLAIN mechanism"}, {"enabled", true}},
	{{"name", "EXTERNAL"}, {"description", "TLS peer verification SASL mechanism"}, {"enabled", true}},
}

// exchangeTypes are those that there are.
var exchangeTypes = []object{
	{{"name", "direct"}, {"description", "AMQP direct exchange, as per the AMQP specification"}, {"enabled", true}},
	{{"name", "fanout"}, {"description", "AMQP fanout exchange, as per the AMQP specification"}, {"enabled", true}},
	{{"name", "topic"}, {"description", "AMQP topic exchange, as per the AMQP specification"}, {"enabled", true}},
	{{"name", "headers"}, {"description", "AMQP headers exchange, as per the AMQP specification"}, {"enabled", true}},
	{{"name", "x-consistent-hash"}, {"description", "Consistent hashing of routing keys"}, {"enabled", true}},
	{{"name", "x-delayed-message"}, {"description", "Messages wait before they are routed"}, {"enabled", true}},
	{{"name", "x-message-deduplication"}, {"description", "Messages of a name are routed once"}, {"enabled", true}},
}

// plugins are what RabbitMQ needs plugins for and is here anyway: tools ask whether they are enabled.
var plugins = []string{"rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_prometheus", "rabbitmq_stomp", "rabbitmq_stream", "rabbitmq_web_dispatch"}

func (c *call) nodeObject() object {
	m, s := c.s.opts.Machine(), c.s
	disk, memory := s.opts.Broker.Alarms()
	o := object{
		{"name", s.opts.Node}, {"type", "disc"}, {"running", true}, {"os_pid", strconv.Itoa(os.Getpid())}, {"uptime", time.Since(s.opts.Started).Milliseconds()},
		{"run_queue", runnable()}, {"processors", runtime.GOMAXPROCS(0)},
		{"fd_total", m.MaxFiles}, {"sockets_total", m.MaxFiles}, {"proc_total", 1 << 20}, {"mem_limit", m.MemoryLimit}, {"mem_alarm", memory != ""},
		{"mem_calculation_strategy", "rss"}, {"disk_free_limit", m.DiskFreeLimit}, {"disk_free_alarm", disk != ""},
		{"rates_mode", "basic"}, {"enabled_plugins", plugins}, {"being_drained", false}, {"exchange_types", exchangeTypes}, {"auth_mechanisms", mechanisms},
		{"applications", []object{{{"name", "leveret"}, {"description", "Leveret"}, {"version", s.opts.Version}}, {{"name", "rabbit"}, {"description", "RabbitMQ's API, as Leveret answers it"}, {"version", apiVersion}}}},
		{"partitions", []any{}}, {"contexts", c.contexts()}, {"cluster_links", []any{}}, {"metrics_gc_queue_length", object{}}, {"log_files", []any{}},
		{"db_dir", m.DataDir}, {"config_files", configFiles(m.ConfigFile)}, {"net_ticktime", 60}, {"message_stats", object{}},
	}
	for _, g := range []struct {
		name  string
		value int64
	}{
		{"fd_used", int64(m.OpenFiles)}, {"sockets_used", int64(m.Sockets)}, {"proc_used", int64(runtime.NumGoroutine())},
		{"mem_used", int64(m.Memory)}, {"disk_free", int64(min(m.DiskFree, math.MaxInt64))},
	} {
		o = append(o, c.gauge(rateKey{}, g.name, g.value)...)
	}
	return append(o, c.churn(s.opts.Broker.Churn())...)
}

// runnable is how many goroutines wait for a processor.
func runnable() uint64 {
	s := []metrics.Sample{{Name: "/sched/goroutines/runnable:goroutines"}}
	if metrics.Read(s); s[0].Value.Kind() != metrics.KindUint64 {
		return 0 // of another version of Go
	}
	return s[0].Value.Uint64()
}

func configFiles(name string) []string {
	if name == "" {
		return []string{}
	}
	return []string{name}
}
