package web

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

// details is how fast a figure changes, as the API says it.
type details struct{ Rate float64 }

// flow are the counters of messages, as the API says them.
type flow struct {
	Publish           float64
	PublishDetails    details `json:"publish_details"`
	DeliverGet        float64 `json:"deliver_get"`
	DeliverGetDetails details `json:"deliver_get_details"`
	Ack               float64
	AckDetails        details `json:"ack_details"`
	Redeliver         float64
	ReturnUnroutable  float64 `json:"return_unroutable"`
	DropUnroutable    float64 `json:"drop_unroutable"`
}

// overviewData is what the first page shows.
type overviewData struct {
	ClusterName string `json:"cluster_name"`
	Stats       flow   `json:"message_stats"`
	Totals      struct {
		Messages, Ready, Unacked float64
		MessagesReady            float64 `json:"messages_ready"`
		MessagesUnacknowledged   float64 `json:"messages_unacknowledged"`
	} `json:"queue_totals"`
	Objects struct {
		Connections, Channels, Queues, Exchanges, Consumers int
	} `json:"object_totals"`
	Listeners []listener

	Node    *node `json:"-"`
	Rates   *chart
	Lengths *chart
	Longest []queueRow `json:"-"`
	Host    string     `json:"-"`
}

type listener struct {
	Protocol string
	Address  string `json:"ip_address"`
	Port     int
}

// node is the process and its machine.
type node struct {
	Name          string
	Uptime        int64
	MemUsed       float64 `json:"mem_used"`
	MemLimit      float64 `json:"mem_limit"`
	MemAlarm      bool    `json:"mem_alarm"`
	DiskFree      float64 `json:"disk_free"`
	DiskFreeLimit float64 `json:"disk_free_limit"`
	DiskFreeAlarm bool    `json:"disk_free_alarm"`
	FilesUsed     float64 `json:"fd_used"`
	FilesTotal    float64 `json:"fd_total"`
	DataDir       string  `json:"db_dir"`
}

// Age is how long the broker has been running.
func (n *node) Age() string { return age(time.Duration(n.Uptime) * time.Millisecond) }

func (v *visit) overview() (string, any, error) {
	d := &overviewData{Host: v.r.Host}
	if err := v.get(d, "overview"); err != nil {
		return "", nil, err
	}
	if v.has("monitoring") {
		var nodes []*node
		if err := v.get(&nodes, "nodes", "columns", "name,uptime,mem_used,mem_limit,mem_alarm,disk_free,disk_free_limit,disk_free_alarm,fd_used,fd_total,db_dir"); err != nil {
			return "", nil, err
		}
		if len(nodes) > 0 {
			d.Node = nodes[0]
		}
	}
	if d.Totals.Messages > 0 {
		list, err := v.queueRows("messages_ready", true, "", "", 1, 8)
		if err != nil {
			return "", nil, err
		}
		d.Longest = slices.DeleteFunc(list.Items, func(q queueRow) bool { return q.Ready == 0 })
	}
	slices.SortFunc(d.Listeners, func(a, b listener) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	samples := v.note("overview", d.Stats.Publish, d.Stats.DeliverGet, d.Stats.Ack, d.Totals.MessagesReady, d.Totals.MessagesUnacknowledged)
	d.Rates, d.Lengths = trafficChart(samples), lengthChart(samples)
	return "Overview", d, nil
}

// note adds figures of an object to its history.
func (v *visit) note(object string, values ...float64) []sample {
	return v.s.history.note(historyKey{v.name, object}, time.Now(), values...)
}

// trafficChart is drawn from samples of published, delivered and acked.
func trafficChart(samples []sample) *chart {
	return draw("Messages a second", rate,
		drawn{"published", "c1", perSecond(samples, 0)}, drawn{"delivered", "c2", perSecond(samples, 1)}, drawn{"acked", "c3", perSecond(samples, 2)})
}

// lengthChart is drawn from samples whose fourth and fifth are ready and unacked.
func lengthChart(samples []sample) *chart {
	text := func(f float64) string { return count(f) }
	return draw("Messages held", text, drawn{"ready", "c4", gauges(samples, 3)}, drawn{"unacked", "c5", gauges(samples, 4)})
}

// atoi is a number in a query, or another where there is none.
func atoi(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return n
	}
	return otherwise
}
