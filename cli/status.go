package cli

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// statusReport is what leveret status says; its JSON is for programs and stays as it is.
type statusReport struct {
	Version       string           `json:"version"`
	Node          string           `json:"node"`
	ClusterName   string           `json:"cluster_name"`
	UptimeMs      int64            `json:"uptime_ms,omitempty"`
	DataDir       string           `json:"data_dir,omitempty"`
	Alarms        []string         `json:"alarms"`
	Listeners     []statusListener `json:"listeners"`
	Messages      int64            `json:"messages"`
	Ready         int64            `json:"messages_ready"`
	Unacked       int64            `json:"messages_unacknowledged"`
	Queues        int64            `json:"queues"`
	Exchanges     int64            `json:"exchanges"`
	Connections   int64            `json:"connections"`
	Channels      int64            `json:"channels"`
	Consumers     int64            `json:"consumers"`
	Memory        int64            `json:"memory_bytes,omitempty"`
	MemoryLimit   int64            `json:"memory_limit_bytes,omitempty"`
	DiskFree      int64            `json:"disk_free_bytes,omitempty"`
	DiskFreeLimit int64            `json:"disk_free_limit_bytes,omitempty"`
	Files         int64            `json:"open_files,omitempty"`
	MaxFiles      int64            `json:"max_open_files,omitempty"`
}

type statusListener struct {
	Protocol string `json:"protocol"`
	Address  string `json:"ip_address"`
	Port     int    `json:"port"`
}

func statusCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "status", Short: "Show how a broker is", Args: takes(0, 0),
		Long: `Shows what a running broker is, where it listens, how much it holds, and whether something is wrong: with an alarm, as of a full disk,
the command ends with status 1. leveret health asks without a user, and is what probes want.`,
		Example: `  leveret status
  leveret status --http https://broker.example.com:15671 --user ann
  leveret status --output json`,
	}
	t, o := reach(c), shaped(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		cl, asJSON, err := t.settleFor(c, o)
		if err != nil {
			return err
		}
		r, err := cl.status(c)
		if err != nil {
			return err
		}
		if asJSON {
			err = writeJSON(c.OutOrStdout(), r)
		} else {
			err = r.table().write(c.OutOrStdout(), 0)
		}
		if err == nil && len(r.Alarms) > 0 {
			err = fmt.Errorf("there is an alarm: %s", strings.Join(r.Alarms, "; "))
		}
		return err
	}
	return c
}

// status asks for all that makes a report. Who may not look at nodes hears less.
func (c *client) status(cmd *cobra.Command) (*statusReport, error) {
	var overview struct {
		Version string           `json:"leveret_version"`
		Rabbit  string           `json:"rabbitmq_version"`
		Node    string           `json:"node"`
		Cluster string           `json:"cluster_name"`
		Totals  map[string]int64 `json:"object_totals"`
		Queues  struct {
			Messages int64 `json:"messages"`
			Ready    int64 `json:"messages_ready"`
			Unacked  int64 `json:"messages_unacknowledged"`
		} `json:"queue_totals"`
		Listeners []statusListener `json:"listeners"`
	}
	if err := c.get(cmd.Context(), "overview", &overview); err != nil {
		return nil, err
	}
	if overview.Version == "" && overview.Rabbit != "" {
		overview.Version = "RabbitMQ " + overview.Rabbit // which has the same API
	}
	r := &statusReport{
		Version: overview.Version, Node: overview.Node, ClusterName: overview.Cluster, Alarms: []string{}, Listeners: overview.Listeners,
		Messages: overview.Queues.Messages, Ready: overview.Queues.Ready, Unacked: overview.Queues.Unacked,
		Queues: overview.Totals["queues"], Exchanges: overview.Totals["exchanges"], Connections: overview.Totals["connections"],
		Channels: overview.Totals["channels"], Consumers: overview.Totals["consumers"],
	}
	if r.Listeners == nil {
		r.Listeners = []statusListener{}
	}
	var nodes []struct {
		Uptime    int64  `json:"uptime"`
		DataDir   string `json:"db_dir"`
		Memory    int64  `json:"mem_used"`
		Limit     int64  `json:"mem_limit"`
		MemAlarm  bool   `json:"mem_alarm"`
		Disk      int64  `json:"disk_free"`
		DiskLimit int64  `json:"disk_free_limit"`
		DiskAlarm bool   `json:"disk_free_alarm"`
		Files     int64  `json:"fd_used"`
		MaxFiles  int64  `json:"fd_total"`
	}
	err := c.get(cmd.Context(), "nodes", &nodes)
	if isStatus(err, http.StatusUnauthorized) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		r.UptimeMs, r.DataDir, r.Memory, r.MemoryLimit, r.DiskFree, r.DiskFreeLimit, r.Files, r.MaxFiles = n.Uptime, n.DataDir, n.Memory, n.Limit, n.Disk, n.DiskLimit, n.Files, n.MaxFiles
		if n.MemAlarm {
			r.Alarms = append(r.Alarms, "memory is short: publishers wait until there is less in use than the limit")
		}
		if n.DiskAlarm {
			r.Alarms = append(r.Alarms, "the disk is full or fails: nothing is stored until there is room")
		}
	}
	return r, nil
}

func (r *statusReport) table() *table {
	t := &table{titles: []string{"", ""}, right: []bool{false, false}, bare: true}
	line := func(name, format string, args ...any) {
		t.rows = append(t.rows, []string{name, fmt.Sprintf(format, args...)})
	}
	line("leveret", "%s, called %s", r.Version, r.ClusterName)
	if r.UptimeMs > 0 {
		line("up for", "%s", (time.Duration(r.UptimeMs) * time.Millisecond).Round(time.Second))
	}
	if r.DataDir != "" {
		line("data", "%s (%s free on its disk, alarm below %s)", r.DataDir, sizeText(float64(r.DiskFree)), sizeText(float64(r.DiskFreeLimit)))
		line("memory", "%s (alarm above %s)", sizeText(float64(r.Memory)), sizeText(float64(r.MemoryLimit)))
		line("files", "%d open of %d", r.Files, r.MaxFiles)
	}
	line("messages", "%d: %d ready, %d with consumers", r.Messages, r.Ready, r.Unacked)
	line("there are", "%s, %s, %s, %s", counted(r.Queues, "queue"), counted(r.Exchanges, "exchange"), counted(r.Connections, "connection"), counted(r.Consumers, "consumer"))
	for _, l := range r.Listeners {
		line("listens for", "%s on %s", l.Protocol, hostPort(l.Address, l.Port))
	}
	switch {
	case len(r.Alarms) > 0:
		line("alarm", "%s", strings.Join(r.Alarms, "; "))
	case r.DataDir != "":
		line("alarms", "none")
	}
	return t
}

func hostPort(host string, port int) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + strconv.Itoa(port)
}
