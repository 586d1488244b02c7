package cli_test

import (
	"encoding/json"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/cli"
)

// What people type for RabbitMQ is done.
func TestVerbsOfRabbitmqctl(t *testing.T) {
	r := start(t)
	conn, err := amqp.Dial(r.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.QueueDeclare("jobs", true, false, false, false, amqp.Table{"x-max-length": 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("jobs", "me", false, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "definitions.json")
	name := conn.LocalAddr().String() + " -> " + r.Addr("amqp")
	port := r.Addr("amqp")[strings.LastIndex(r.Addr("amqp"), ":")+1:]
	asked := map[string]bool{}
	for _, c := range []struct {
		line string
		in   string
		ends int
		want string // of all that is said; a regular expression
	}{
		{"list_queues", "", 0, "^Listing queues for vhost / ...\nname\tmessages\njobs\t0\n$"},
		{"list_queues -q name consumers durable arguments type pid", "", 0, `^name	consumers	durable	arguments	type	pid\njobs	1	true	{"x-max-length":10,"x-queue-type":"classic"}	classic	\n$`},
		{"list_queues -s name", "", 0, "^jobs\n$"},
		{"list_queues --no-table-headers --quiet name", "", 0, "^jobs\n$"},
		{"-n rabbit@x -q list_queues --vhost / name messages --formatter json", "", 0, `^\[{"name":"jobs","messages":0}\]\n$`},
		{"list_queues -p / --formatter=csv name arguments", "", 0, `^name,arguments\njobs,"{""x-max-length"":10,""x-queue-type"":""classic""}"\n$`},
		{"list_queues -q --formatter pretty_table name messages", "", 0, "^name  messages\njobs  0\n$"},
		{"list_queues --formatter erlang", "", 2, "none of table"},
		{"list_queues colour", "", 2, `there is no column "colour"; there are arguments auto_delete`},
		{"list_queues -p nowhere", "", 1, "there is no virtual host nowhere"},
		{"list_queues -t soon", "", 2, "no number of seconds"},
		{"list_queues -t infinity -q", "", 0, "jobs"},
		{"rabbitmqctl --node x list_queues -q", "", 0, "jobs"},
		{"list_exchanges -q", "", 0, "amq.topic\ttopic"},
		{"list_bindings -q", "", 0, "source_name\tsource_kind.*\n\texchange\tjobs\tqueue\tjobs\t{}"},
		{"list_connections", "", 0, "Listing connections ...\nuser\tpeer_host\tpeer_port\tstate\nguest\t127.0.0.1\t[0-9]+\trunning"},
		{"list_connections -s pid", "", 0, "^" + regexp.QuoteMeta(name) + "\n$"},
		{"list_channels -q", "", 0, "guest\t1\t0"},
		{"list_channels -q name connection number", "", 0, "1\n"},
		{"list_consumers -q", "", 0, "jobs\t.*\tme\ttrue"},
		{"list_unresponsive_queues", "", 0, "^Listing unresponsive queues"},
		{"add_user ann s3cret", "", 0, `Adding user "ann" ...\nDone.`},
		{"add_user ann other", "", 1, "is there already"},
		{"add_user bob", "pass\n", 0, "Adding"},
		{"add_user carl", "", 2, "the password is empty"},
		{"authenticate_user bob pass", "", 0, "Success"},
		{"authenticate_user bob wrong", "", 1, "does not know user bob"},
		{"set_user_tags ann administrator monitoring", "", 0, `Setting tags for user "ann" to \[administrator, monitoring\] ...`},
		{"set_user_tags nobody", "", 1, "there is no user nobody"},
		{"authenticate_user ann s3cret", "", 0, "Success"},
		{"change_password ann other", "", 0, "Changing password"},
		{"change_password nobody x", "", 1, "there is no user nobody"},
		{"authenticate_user ann other", "", 0, "Success"},
		{"list_users -q", "", 0, `^user	tags\nann	\[administrator, monitoring\]\nbob	\[\]\nguest	\[administrator\]\n$`},
		{"clear_password ann", "", 0, "Clearing"},
		{"authenticate_user ann other", "", 1, "does not know"},
		{"hash_password s3cret", "", 0, `^[A-Za-z0-9+/=$,]{30,}`},
		{`set_user_limits ann {"max-connections":5}`, "", 0, "Setting user limits"},
		{"set_user_limits ann x", "", 2, "should be a JSON object"},
		{"list_user_limits -q", "", 0, "ann\tmax-connections\t5"},
		{"clear_user_limits ann all", "", 0, "Clearing"},
		{"add_vhost shop --description orders --default-queue-type quorum", "", 0, `Adding vhost "shop"`},
		{"update_vhost_metadata shop --description stock", "", 0, "Updating"},
		{"set_vhost_tags shop a b", "", 0, `\[a, b\]`},
		{"list_vhosts -q name description tags", "", 0, `shop	stock	\[a, b\]`},
		{`set_vhost_limits -p shop {"max-queues":5}`, "", 0, "Setting vhost limits"},
		{"list_vhost_limits -p shop -q", "", 0, "shop\tmax-queues\t5"},
		{"clear_vhost_limits -p shop", "", 0, "Clearing"},
		{"list_vhost_limits -p shop -q", "", 0, "^$"},
		{"set_permissions -p shop ann ^a .* .*", "", 0, `Setting permissions for user "ann" in vhost "shop" ...`},
		{"set_permissions ann", "", 2, "is written: set_permissions USER CONFIGURE WRITE READ"},
		{"set_permissions -p nowhere ann . . .", "", 1, ""},
		{"set_permissions_globally bob .* .* .*", "", 0, "all virtual hosts"},
		{"list_permissions -p shop -q", "", 0, `ann	\^a	\.\*	\.\*\nbob`},
		{"list_user_permissions ann -q", "", 0, `shop	\^a`},
		{"list_user_permissions nobody", "", 1, "there is no user nobody"},
		{"set_topic_permissions -p shop ann amq.topic ^a .*", "", 0, "Setting topic permissions"},
		{"list_topic_permissions -p shop -q", "", 0, `ann	amq.topic	\^a`},
		{"list_user_topic_permissions ann -q", "", 0, `shop	amq.topic`},
		{"clear_topic_permissions -p shop ann amq.topic", "", 0, "Clearing"},
		{"clear_permissions -p shop ann", "", 0, "Clearing"},
		{`set_policy --priority 3 --apply-to queues short ^tmp {"max-length":5}`, "", 0, `Setting policy "short" for pattern "\^tmp"`},
		{"set_policy short ^tmp x", "", 2, "should be a JSON object"},
		{"set_policy --priority high short ^tmp {}", "", 2, "no number"},
		{`set_operator_policy cap . {"max-length":5}`, "", 0, "Setting"},
		{"list_policies -q", "", 0, `/	short	\^tmp	queues	{"max-length":5}	3`},
		{"list_operator_policies -q", "", 0, "cap"},
		{"clear_policy short", "", 0, "Clearing"},
		{"clear_policy short", "", 1, "there is no policy short"},
		{"clear_operator_policy cap", "", 0, "Clearing"},
		{`set_parameter vhost-limits limits {"max-queues":7}`, "", 0, "Setting runtime parameter"},
		{"set_parameter a b nojson", "", 2, "should be JSON"},
		{"list_parameters -q", "", 0, `vhost-limits	limits	{"max-queues":7}`},
		{"clear_parameter vhost-limits limits", "", 0, "Clearing"},
		{`set_global_parameter g {"a":1}`, "", 0, "Setting global"},
		{"set_global_parameter g nojson", "", 2, "should be JSON"},
		{"list_global_parameters -q", "", 0, `g	{"a":1}`},
		{"clear_global_parameter g", "", 0, "Clearing"},
		{"set_cluster_name hare", "", 0, "hare"},
		{"cluster_name", "", 0, "^hare\n$"},
		{"list_feature_flags -q", "", 0, "enabled"},
		{"enable_feature_flag all", "", 0, "all that there are"},
		{"list_deprecated_features -q", "", 0, "name"},
		{"purge_queue jobs", "", 0, "^Purging queue 'jobs' in vhost '/' ...\n$"},
		{"-q purge_queue jobs", "", 0, "^$"},
		{"purge_queue nowhere", "", 1, "there is no queue nowhere"},
		{"delete_queue jobs --if-unused", "", 1, "in use"},
		{"delete_queue --dry-run jobs", "", 0, "Deleting"},
		{"export_definitions " + file, "", 0, "Exporting"},
		{"export_definitions -", "", 0, `"queues"`},
		{"export_definitions --format erlang -", "", 2, "only json"},
		{"import_definitions " + file, "", 0, "Importing"},
		{"import_definitions", `{"queues":[{"vhost":"/","name":"imported"}]}`, 0, "Importing definitions in JSON from standard input"},
		{"import_definitions nowhere", "", 1, "no such file"},
		{"list_queues -s name", "", 0, "^imported\njobs\n$"},
		{"status", "", 0, "up for"}, // ours, which means the same
		{"rabbitmqctl status --formatter json", "", 0, `"messages": 0`},
		{"cluster_status", "", 0, "Cluster name: hare"},
		{"cluster_status --formatter json", "", 0, `"cluster_name": "hare"`},
		{"server_version", "", 0, "^test\n$"},
		{"rabbitmqctl version", "", 0, ""},
		{"ping", "", 0, "Ping succeeded"},
		{"ping --user nobody --password x", "", 0, "Ping succeeded"},
		{"await_startup", "", 0, "Waiting"},
		{"await_online_nodes 1", "", 0, "Waiting"},
		{"rabbitmqctl wait --pid 1 --timeout 60", "", 0, "Waiting"},
		{"rabbitmqctl wait /var/run/pid", "", 0, "Waiting"},
		{"check_running", "", 0, "serves clients"},
		{"is_running", "", 0, ""},
		{"is_booting", "", 0, ""},
		{"check_local_alarms -q", "", 0, "^$"},
		{"check_alarms", "", 0, "no alarm"},
		{"rabbitmqctl alarms", "", 0, "none"},
		{"rabbitmqctl alarms --formatter json", "", 0, `"alarms": \[\]`},
		{"check_virtual_hosts", "", 0, ""},
		{"check_port_connectivity", "", 0, ""},
		{"check_port_listener " + port, "", 0, port},
		{"check_port_listener 1", "", 1, "No active listener"},
		{"check_protocol_listener amqp", "", 0, "amqp is served"},
		{"check_certificate_expiration --within 1 --unit days", "", 0, "no certificate expires"},
		{"check_certificate_expiration --within 1 --unit moons", "", 1, "days, weeks"},
		{"check_if_node_is_quorum_critical", "", 0, ""},
		{"rabbitmq-diagnostics listeners -q", "", 0, "127.0.0.1\t" + port + "\tamqp"},
		{"memory_breakdown", "", 0, "binary\t[0-9]+"},
		{"rebalance all", "", 0, ""},
		{"rabbitmqctl rebalance queues", "", 0, "one node"},
		{"rabbitmq-plugins enable rabbitmq_management rabbitmq_stomp", "", 0, "Nothing to enable"},
		{"rabbitmq-plugins disable rabbitmq_stomp", "", 0, "--stomp-addr off"},
		{"rabbitmq-plugins set rabbitmq_stomp", "", 0, ""},
		{"rabbitmq-plugins list -m -e", "", 0, "^rabbitmq_[a-z_]+\n"},
		{"rabbitmq-plugins list stomp", "", 0, `\[E\*\] rabbitmq_stomp`},
		{"rabbitmq-plugins is_enabled rabbitmq_management", "", 0, "in the program"},
		{"rabbitmq-plugins is_enabled rabbitmq_federation", "", 1, "nothing like it"},
		{"enable_vhost_deletion_protection shop", "", 0, ""},
		{"delete_vhost shop", "", 1, ""},
		{"disable_vhost_deletion_protection shop", "", 0, ""},
		{"delete_vhost shop", "", 0, "Deleting"},
		{"delete_vhost shop", "", 1, "there is no virtual host shop"},
		{"delete_user ann", "", 0, "Deleting"},
		{"delete_user ann", "", 1, "there is no user ann"},
		{"close_all_user_connections nobody why", "", 0, ""},
		{"close_all_connections -p nowhere why", "", 1, "nowhere"},
		{"close_connection nothing why", "", 1, "there is no connection nothing"},
		{"close_all_connections --limit 1 --global enough", "", 0, "Closing 1 connections"},
		{"delete_queue imported -e", "", 0, "Deleting"},
		{"rabbitmqctl", "", 0, "list_queues"},
		{"rabbitmqctl help", "", 0, "list_queues"},
		{"rabbitmqctl list_queus", "", 2, "list_queues"},
		{"list_queues --help", "", 0, "rabbitmqctl list_queues"},
	} {
		words := strings.Fields(c.line)
		if c.line == "rebalance all" {
			words = []string{"rabbitmqctl", "rebalance", "all"}
		}
		s := run(t, c.in, words...)
		if s.status != c.ends || !regexp.MustCompile(c.want).MatchString(s.out+s.err) {
			t.Errorf("%s: status %d, want %d and %s\n%s%s", c.line, s.status, c.ends, c.want, s.out, s.err)
		}
		for i, w := range words {
			if words[max(0, i-1)] == "rabbitmq-plugins" {
				w = "plugins_" + w
			}
			asked[w] = true
		}
	}
	for _, name := range cli.CtlVerbs() {
		if !asked[name] && name != "version" && name != "close_connection" {
			t.Errorf("no line asks for %s", name)
		}
	}
}

// A connection is closed by what list_connections says of it.
func TestRabbitmqctlClosesConnections(t *testing.T) {
	r := start(t)
	conn, err := amqp.Dial(r.AMQPURL())
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	name := strings.TrimSpace(do(t, "list_connections -s pid").ok().out)
	run(t, "", "close_connection", name, "go home").ok()
	if why := <-closed; why == nil || !strings.Contains(why.Reason, "go home") {
		t.Errorf("it was told %v", why)
	}
}

// A verb that is none of ours is answered with what to do, and so are the words of other tools.
func TestForeignWordsAreAnsweredWithTheNearest(t *testing.T) {
	alone(t)
	for line, want := range map[string]string{
		"stop_app":                                "systemctl stop leveret",
		"-n rabbit@x stop_app":                    "systemctl stop leveret",
		"rabbitmqctl reset":                       "data directory",
		"eval rabbit:status().":                   "there is no Erlang in it",
		"join_cluster rabbit@a":                   "one node",
		"set_vm_memory_high_watermark 0.6":        "memory-high-watermark",
		"set_log_level debug":                     "log-level in leveret.toml",
		"rotate_logs":                             "SIGHUP",
		"rabbitmqctl environment":                 "leveret config",
		"rabbitmqctl report":                      "leveret status",
		"kafka-topics --list":                     "leveret list queues",
		"kafka-topics.sh --create --topic t":      "leveret declare queue NAME",
		"kafka-console-consumer.sh --topic t":     "leveret tail QUEUE --first",
		"kafka-consumer-groups.sh --describe":     "--bootstrap-server",
		"kafka-server-start.sh server.properties": "leveret serve",
		"rabbitmqadmin list queues":               "leveret list",
		"rabbitmq-server -detached":               "leveret serve",
		"lavinmqctl list_queues":                  "leveret rabbitmqctl",
		"produce":                                 "leveret publish is what comes nearest",
		"queues":                                  "leveret list queues is what comes nearest",
		"list_queue":                              "did you mean list_queues?",
		"ad_user":                                 "did you mean add_user?",
		"publsh":                                  "did you mean publish?",
		"xyzzy":                                   "leveret --help lists what there is",
	} {
		do(t, line).ends(cli.Usage, want)
	}
}

// A link called rabbitmqctl is rabbitmqctl.
func TestALinkIsTheToolThatItIsCalled(t *testing.T) {
	start(t)
	for _, args := range [][]string{{"/usr/bin/rabbitmqctl", "-q", "list_vhosts"}, {"rabbitmq-diagnostics", "-q", "ping"}, {"rabbitmqctl.exe", "status"}, {"rabbitmq-plugins", "enable", "x"}, {"rabbitmqctl", "--help"}} {
		var out strings.Builder
		root := newRoot()
		root.SetOut(&out)
		root.SetErr(&out)
		if status := cli.Execute(root, args, &out); status != 0 {
			t.Errorf("%v: %d %s", args, status, &out)
		}
	}
}

func TestAwaitStartupWaitsForABroker(t *testing.T) {
	r := start(t)
	r.Stop()
	do(t, "await_startup --timeout 0.3").ends(cli.Unavailable, "no broker answers")
	l := begin(t, "await_startup", "-q")
	time.Sleep(300 * time.Millisecond)
	r.Restart()
	l.wait().ok()
	do(t, "await_startup --user nobody --password x").ok() // it is there, whoever may enter
}

func TestListsOfRabbitmqctlAreJSON(t *testing.T) {
	start(t)
	for _, line := range []string{"list_queues", "list_exchanges", "list_bindings", "list_connections", "list_channels", "list_consumers", "list_users", "list_vhosts", "list_permissions", "list_policies", "list_parameters", "list_global_parameters", "list_vhost_limits", "list_user_limits"} {
		var list []map[string]any
		if s := do(t, line+" --formatter json").ok(); json.Unmarshal([]byte(s.out), &list) != nil || list == nil {
			t.Errorf("%s: %s", line, s.out)
		}
	}
	if !slices.Contains(cli.CtlVerbs(), "list_queues") {
		t.Error("the table is empty")
	}
}
