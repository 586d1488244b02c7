package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// notHere makes verbs that are answered with what to do instead.
func notHere(instead string, names ...string) (out []verb) {
	for _, n := range names {
		out = append(out, verb{name: n, instead: instead})
	}
	return out
}

// foreignVerbs are those of rabbitmqctl that Leveret has no like of.
var foreignVerbs = slices.Concat(
	notHere("stop the process: systemctl stop leveret, or SIGTERM, which ends connections in order and keeps everything", "stop", "stop_app", "shutdown"),
	notHere("start it with leveret serve, or systemctl start leveret", "start_app"),
	notHere("stop the broker, and delete or move its data directory", "reset", "force_reset"),
	notHere("there is one node; what is stored is there as soon as it starts", "force_boot", "join_cluster", "forget_cluster_node", "change_cluster_node_type", "rename_cluster_node", "update_cluster_nodes", "sync_queue", "cancel_sync_queue", "add_member", "delete_member", "grow", "shrink", "quorum_status", "transfer_leadership", "drain", "revive"),
	notHere("it is a setting: disk-free-limit or memory-high-watermark in leveret.toml, then SIGHUP (systemctl reload leveret); leveret config shows what is in force", "set_vm_memory_high_watermark", "set_disk_free_limit"),
	notHere("it is a setting: log-level in leveret.toml, then SIGHUP (systemctl reload leveret)", "set_log_level"),
	notHere("the log goes to standard error, where journald or whoever started it keeps it; SIGHUP (systemctl reload leveret) opens the audit file anew", "rotate_logs"),
	notHere("journalctl -u leveret shows the log", "log_tail", "log_tail_stream", "log_location", "consume_event_stream"),
	notHere("there is no Erlang in it", "eval", "eval_file", "exec", "remote_shell", "observer", "erlang_version", "erlang_cookie_hash", "erlang_cookie_sources", "force_gc", "decode", "encode", "runtime_thread_stats", "maybe_stuck", "os_env"),
	notHere("leveret config shows the settings in force and where each comes from", "environment"),
	notHere("leveret status, leveret config and curl localhost:15692/metrics say what there is", "report", "schema_info", "metadata_store_status", "command_line_arguments", "tls_versions", "cipher_suites", "resolver_info", "discover_peers", "resolve_hostname", "disable_auth_attempt_source_tracking", "enable_auth_attempt_source_tracking"),
	notHere("leveret tail QUEUE shows what comes into a queue", "trace_on", "trace_off"),
	notHere("LEVERET_DEFAULT_PASSWORD_FILE and files that only their owner may read keep passwords", "encrypt_conf_value", "decrypt_conf_value"),
	notHere("leveret browse QUEUE looks at messages", "peek"),
	notHere("queues of type stream are Kafka topics, whose settings are in docs/settings.md", "set_stream_retention_policy", "add_replica", "delete_replica", "stream_status", "restart_stream"),
	notHere("definitions that are there need no import: leveret import FILE adds what a file says", "restart_vhost"),
)

// tools are programs of others whose names people type, and what does the same here.
var tools = map[string]string{
	"kafka-topics":               "leveret list queues, leveret declare queue NAME, leveret delete queue NAME",
	"kafka-console-producer":     "leveret publish QUEUE --lines",
	"kafka-console-consumer":     "leveret tail QUEUE --first",
	"kafka-consumer-groups":      "leveret list groups and leveret show group NAME",
	"kafka-configs":              "leveret declare queue NAME with its settings, leveret declare policy",
	"kafka-acls":                 "leveret declare permissions USER",
	"kafka-run-class":            "leveret --help",
	"kafka-server-start":         "leveret serve",
	"kafka-server-stop":          "systemctl stop leveret, or SIGTERM",
	"kafka-storage":              "leveret serve, which makes its data directory by itself",
	"kafka-get-offsets":          "leveret show queue NAME",
	"kafka-delete-records":       "leveret purge QUEUE",
	"kafka-dump-log":             "leveret inspect FILE",
	"kafka-producer-perf-test":   "leveret bench",
	"kafka-consumer-perf-test":   "leveret bench",
	"kafka-broker-api-versions":  "leveret status",
	"kafka-cluster":              "leveret status",
	"kafka-metadata-quorum":      "leveret status",
	"kafka-log-dirs":             "leveret list queues name disk_bytes",
	"kafka-transactions":         "leveret status",
	"kafka-reassign-partitions":  "nothing: there is one node",
	"kafka-leader-election":      "nothing: there is one node",
	"kafka-features":             "leveret status",
	"kafka-replica-verification": "nothing: there is one node",
	"kafka-client-metrics":       "curl localhost:15692/metrics",
	"kafka-share-groups":         "leveret list consumers",
	"zookeeper-shell":            "leveret status",
	"zookeeper-server-start":     "nothing: there is no ZooKeeper",
	"kcat":                       "leveret publish and leveret tail",
	"rpk":                        "leveret --help",
	"rabbitmq-server":            "leveret serve",
	"rabbitmqadmin":              "leveret list, declare, delete, publish, consume",
	"rabbitmq-perf-test":         "leveret bench",
	"perf-test":                  "leveret bench",
	"lavinmq":                    "leveret serve",
	"lavinmqctl":                 "leveret rabbitmqctl, which has the same verbs",
	"lavinmqperf":                "leveret bench",
	"nats":                       "leveret --help",
	"amqp-publish":               "leveret publish QUEUE",
	"amqp-consume":               "leveret consume QUEUE",
	"amqp-get":                   "leveret consume QUEUE --count 1",
	"amqp-declare-queue":         "leveret declare queue NAME",
	"amqp-delete-queue":          "leveret delete queue NAME",
}

// speaksOurs says of tools that they work with Leveret as they are, since they speak a protocol that it serves.
func speaksOurs(tool string) string {
	switch {
	case strings.HasPrefix(tool, "kafka-") && !strings.HasPrefix(tool, "kafka-server") && tool != "kafka-storage" && tool != "kafka-run-class", tool == "kcat", tool == "rpk":
		return "; " + tool + " itself works, too, with --bootstrap-server localhost:9092 or the like"
	case strings.HasPrefix(tool, "amqp-"), tool == "rabbitmqadmin", tool == "rabbitmq-perf-test", tool == "perf-test":
		return "; " + tool + " itself works, too"
	}
	return ""
}

// words that mean a verb of ours, where it has another name.
var synonyms = map[string]string{
	"produce": "publish", "send": "publish", "put": "publish", "subscribe": "tail", "follow": "tail", "watch": "tail", "receive": "consume", "pop": "consume", "peek": "browse", "move": "redrive", "shovel": "replay", "inspect_queue": "browse",
	"start": "serve", "server": "serve", "run": "serve", "topic": "list queues", "topics": "list queues", "queues": "list queues", "exchanges": "list exchanges", "users": "list users", "connections": "list connections",
	"top": "list queues", "lag": "list groups", "perf": "bench", "overview": "status", "user": "list users", "definitions": "export", "check": "inspect",
}

// translate makes a command line of ours of what was typed: rabbitmqctl's verbs come with flags before them, and as another program.
func translate(args []string) ([]string, error) {
	if len(args) == 0 {
		return nil, nil
	}
	program := strings.TrimSuffix(filepath.Base(args[0]), ".exe")
	rest := args[1:]
	tool := ""
	switch {
	case slices.Contains(ctlTools, program):
		tool = program
	case len(rest) > 0 && slices.Contains(ctlTools, rest[0]):
		tool, rest = rest[0], rest[1:]
	}
	flags, word, behind := leading(rest)
	if tool == "" {
		if i := slices.IndexFunc(verbs, func(v verb) bool { return v.name == word }); i >= 0 && (strings.Contains(word, "_") || word == "ping" || word == "await_startup" || verbs[i].instead != "") {
			return slices.Concat([]string{ctlName, word}, flags, behind), nil
		}
		if name := strings.TrimSuffix(strings.TrimSuffix(word, ".sh"), ".bat"); tools[name] != "" {
			return nil, usagef("%s is %s here%s", word, tools[name], speaksOurs(name))
		}
		return rest, nil
	}
	if word == "" || word == "help" || slices.Contains(flags, "--help") {
		return []string{ctlName, "--help"}, nil
	}
	if tool == "rabbitmq-plugins" {
		word = "plugins_" + word
	}
	return slices.Concat([]string{ctlName, word}, flags, behind), nil
}

// ctlValues are flags of rabbitmqctl that have a value behind them, and stand before a verb.
var ctlValues = []string{"-n", "--node", "-p", "--vhost", "-t", "--timeout", "--formatter", "--http", "--user", "--password"}

// leading takes flags off that stand before the first word.
func leading(line []string) (flags []string, word string, behind []string) {
	for i := 0; i < len(line); i++ {
		switch {
		case !strings.HasPrefix(line[i], "-"):
			return line[:i], line[i], line[i+1:]
		case slices.Contains(ctlValues, line[i]):
			i++
		}
	}
	return line, "", nil
}

// unknownWord is what is said to a word that is no command.
func unknownWord(root *cobra.Command, word string) string {
	if s := synonyms[word]; s != "" {
		return fmt.Sprintf("there is no command %q: leveret %s is what comes nearest", word, s)
	}
	best, least := "", 3
	for _, v := range verbs {
		if d := distance(word, v.name); d < least && strings.Contains(v.name, "_") {
			best, least = v.name, d
		}
	}
	if list := root.SuggestionsFor(word); len(list) > 0 && (best == "" || !strings.Contains(word, "_")) {
		best = list[0]
	}
	if best != "" {
		return fmt.Sprintf("there is no command %q: did you mean %s? leveret --help lists what there is", word, best)
	}
	return fmt.Sprintf("there is no command %q: leveret --help lists what there is, and rabbitmqctl's verbs are understood", word)
}

// distance is how many letters two words differ by.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			before, row[j] = row[j], min(row[j]+1, row[j-1]+1, before+cost)
		}
	}
	return row[len(b)]
}
