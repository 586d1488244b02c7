package broker

import (
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

func TestEveryLineOfTheTableHoldsTogether(t *testing.T) {
	names := map[string]bool{}
	for _, s := range settingTable {
		for _, name := range []string{"arg " + s.Arg, "config " + s.Config, "policy " + s.Policy} {
			if !strings.HasSuffix(name, " ") && names[name] {
				t.Errorf("%s stands in two lines", name)
			}
			names[name] = true
		}
		name := s.Arg + s.Config
		switch {
		case name+s.Policy == "":
			t.Errorf("a line has no name: %+v", s)
		case s.Default != "" && s.check(s.Default) != "":
			t.Errorf("%s does not take its own default %q: %s", name, s.Default, s.check(s.Default))
		case s.Config != "" && s.Live&ByConfig == 0:
			t.Errorf("%s is a config that Kafka clients can't alter", name)
		case (s.Type == Word || s.Type == List) != (len(s.Words) > 0) && s.Type != Whole && s.Type != Flag:
			t.Errorf("%s has words %v", name, s.Words)
		case s.Arg != "" && s.of == 0:
			t.Errorf("%s is the argument of no type of queue", name)
		}
	}
	for _, kind := range []*queueType{classic, quorum, topic} {
		for name, v := range kind.defaults {
			s := TopicSetting(name)
			if s == nil {
				s = byArg(name)
			}
			if s == nil || s.check(v) != "" {
				t.Errorf("%s has the default %s=%s", kind.name, name, v)
			}
		}
	}
}

func TestTheStrongestSourceOfASettingHolds(t *testing.T) {
	s := TopicSetting("max.message.bytes")
	for name, c := range map[string]struct {
		l    layers
		want int
		from SettingSource
	}{
		"nobody says anything":     {layers{}, 1048588, FromDefault},
		"the server does":          {layers{server: layer{s: "5"}}, 5, FromServer},
		"a policy before it":       {layers{server: layer{s: "5"}, policy: layer{s: "6"}}, 6, FromPolicy},
		"the declaration before":   {layers{server: layer{s: "5"}, policy: layer{s: "6"}, declared: layer{s: "7"}}, 7, FromDeclared},
		"another setting declared": {layers{server: layer{s: "5"}, declared: layer{TopicSetting("retention.ms"): "7"}}, 5, FromServer},
	} {
		set := newSettings(topic, c.l)
		if _, from := set.Value(s); set.MaxBatchBytes != c.want || from != c.from {
			t.Errorf("%s: %d from %d, want %d from %d", name, set.MaxBatchBytes, from, c.want, c.from)
		}
	}
	if v, from := newSettings(classic, layers{server: layer{TopicSetting("retention.ms"): "7"}}).Value(TopicSetting("retention.ms")); v != "-1" || from != FromDefault {
		t.Errorf("a work queue says that it keeps its messages for %s ms", v)
	}
}

func TestQueuesThatDeclareNothingShareTheirSettings(t *testing.T) {
	r := start(t)
	a, b := r.queue("a", QueueOptions{}), r.queue("b", QueueOptions{Durable: true})
	if a.Settings() != b.Settings() {
		t.Error("each has its own")
	}
}

// TestChangedSettingsReachTheLiveLog has a topic with some segments, changes a
// setting, and looks at what the log does afterwards without anybody's help.
func TestChangedSettingsReachTheLiveLog(t *testing.T) {
	for name, c := range map[string]struct {
		created, change []string
		wait            time.Duration
		reached         func(start message.Offset, segments int) bool
	}{
		"nothing is changed":        {nil, nil, time.Hour, func(start message.Offset, _ int) bool { return start == 0 }},
		"shorter age":               {nil, []string{"retention.ms", "60000"}, time.Hour, func(start message.Offset, _ int) bool { return start > 0 }},
		"fewer bytes":               {nil, []string{"retention.bytes", "100000"}, time.Minute, func(start message.Offset, _ int) bool { return start > 0 }},
		"nothing is deleted":        {[]string{"retention.ms", "600000"}, []string{"cleanup.policy", "compact"}, time.Hour, func(start message.Offset, _ int) bool { return start == 0 }},
		"kept for ever":             {[]string{"retention.ms", "600000"}, []string{"retention.ms", "-1"}, time.Hour, func(start message.Offset, _ int) bool { return start == 0 }},
		"larger segments from then": {nil, []string{"segment.bytes", "10000000"}, time.Minute, func(_ message.Offset, segments int) bool { return segments < 16 }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				s := r.s
				q, err := s.CreateTopic("t", 1, configs(append([]string{"segment.bytes", "65536"}, c.created...)...))
				if err != nil {
					t.Fatal(err)
				}
				fill := func() {
					p := s.NewPublisher()
					for range 10 {
						if _, err := p.Publish(&Inbound{Key: []byte("t"), Properties: []byte{0, 0}, Body: make([]byte, 60_000), TimestampMs: time.Now().UnixMilli()}); err != nil {
							t.Fatal(err)
						}
						p.Store()
						p.Commit(nil)
					}
				}
				fill()
				if err := s.SetConfig(q, configs(c.change...)); err != nil {
					t.Fatal(err)
				}
				fill()
				time.Sleep(c.wait)
				l := q.Partitions()[0].log
				start, _, _ := l.Bounds()
				if segments := l.Figures().Segments; !c.reached(start, segments) {
					t.Errorf("the log starts at %d and has %d segments", start, segments)
				}
			})
		})
	}
}

func TestSettingsThatCantBeAreRefusedInKafkasWords(t *testing.T) {
	r := start(t)
	q, err := r.s.CreateTopic("t", 1, configs("retention.ms", "5000"))
	if err != nil {
		t.Fatal(err)
	}
	for change, want := range map[[2]string]string{
		{"no.such", "1"}:                                   "Unknown topic config name: no.such",
		{"", "1"}:                                          "Unknown topic config name: ",
		{"retention.ms", "soon"}:                           "Invalid value soon for configuration retention.ms: Not a number of type LONG",
		{"retention.ms", "-2"}:                             "Invalid value -2 for configuration retention.ms: Value must be at least -1",
		{"segment.bytes", "5"}:                             "Invalid value 5 for configuration segment.bytes: Value must be at least 65536",
		{"min.insync.replicas", "2"}:                       "Invalid value 2 for configuration min.insync.replicas: Value must be no more than 1: there is one broker",
		{"max.message.bytes", "many"}:                      "Invalid value many for configuration max.message.bytes: Not a number of type INT",
		{"cleanup.policy", "delete,burn"}:                  "Invalid value delete,burn for configuration cleanup.policy: String must be one of: compact, delete",
		{"message.timestamp.type", "Mine"}:                 "Invalid value Mine for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
		{"preallocate", "maybe"}:                           "Invalid value maybe for configuration preallocate: Expected value to be either true or false",
		{"flush.messages", "1"}:                            "Invalid value 1 for configuration flush.messages: Value must be at least 9223372036854775807: when messages are flushed is for the durability mode to say, and acks=all waits for it",
		{"flush.ms", "999"}:                                "Invalid value 999 for configuration flush.ms: Value must be at least 1000: everything is flushed once a second",
		{"remote.storage.enable", " True"}:                 "Invalid value  True for configuration remote.storage.enable: Value must be false: all that is kept is local",
		{"min.cleanable.dirty.ratio", "1.01"}:              "Invalid value 1.01 for configuration min.cleanable.dirty.ratio: Value must be from 0 to 1",
		{"min.cleanable.dirty.ratio", "NaN"}:               "Invalid value NaN for configuration min.cleanable.dirty.ratio: Value must be from 0 to 1",
		{"min.cleanable.dirty.ratio", "half"}:              "Invalid value half for configuration min.cleanable.dirty.ratio: Not a number of type DOUBLE",
		{"compression.gzip.level", "0"}:                    "Invalid value 0 for configuration compression.gzip.level: Value must be at least 1",
		{"min.compaction.lag.ms", "9223372036854775808"}:   "Invalid value 9223372036854775808 for configuration min.compaction.lag.ms: Not a number of type LONG",
		{"leader.replication.throttled.replicas", "0:1,2"}: "Invalid value 0:1,2 for configuration leader.replication.throttled.replicas: must be the literal '*' or a list of replicas in the format partitionId:brokerId",
		{"x-retention", "1h"}:                              "Unknown topic config name: x-retention",
		{"retention.bytes", "99999999999999999999"}:        "Invalid value 99999999999999999999 for configuration retention.bytes: Not a number of type LONG",
	} {
		both := configs(change[0], change[1], "segment.ms", "9")
		_, create := r.s.CreateTopic("other", 1, both)
		for verb, err := range map[string]error{"alter": r.s.SetConfig(q, both), "look": q.CheckConfig(both), "create": create} {
			if err == nil || err.Error() != want || KindOf(err) != BadSetting {
				t.Errorf("%s %v: %v (kind %d), want %s", verb, change, err, KindOf(err), want)
			}
		}
	}
	if _, from := q.Settings().Value(TopicSetting("segment.ms")); from != FromDefault || q.Settings().RetentionAge != 5*time.Second {
		t.Error("half of a refused change holds")
	}
}

func TestSettingsAreTakenInAnyFormThatKafkaTakes(t *testing.T) {
	r := start(t)
	for _, c := range []struct{ config, sent, kept string }{
		{"retention.ms", " 1000 ", "1000"},
		{"retention.ms", "+9223372036854775807", "9223372036854775807"},
		{"cleanup.policy", " compact ,\tdelete", "compact,delete"},
		{"preallocate", "TRUE ", "true"},
		{"unclean.leader.election.enable", "False", "false"},
		{"remote.storage.enable", "FALSE", "false"},
		{"message.timestamp.type", " LogAppendTime", "LogAppendTime"},
		{"min.cleanable.dirty.ratio", " 0.01", "0.01"},
		{"flush.ms", "1000", "1000"},
		{"flush.messages", "9223372036854775807", "9223372036854775807"},
		{"compression.gzip.level", "-1", "-1"},
		{"follower.replication.throttled.replicas", "", ""},
		{"leader.replication.throttled.replicas", "0:1, 1:0", "0:1,1:0"},
		{"local.retention.ms", "-2", "-2"},
	} {
		q, err := r.s.CreateTopic("t", 1, configs(c.config, c.sent))
		if err != nil {
			t.Errorf("%s=%q: %v", c.config, c.sent, err)
			continue
		}
		if got, from := q.Settings().Value(TopicSetting(c.config)); got != c.kept || from != FromDeclared {
			t.Errorf("%s=%q is kept as %q (%d)", c.config, c.sent, got, from)
		}
		if age := q.Settings().RetentionAge; age < 0 {
			t.Errorf("%s=%q makes an age of %v", c.config, c.sent, age)
		}
		if _, err := r.s.DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLagsOfCompactionMustAgree(t *testing.T) {
	r := start(t)
	q, err := r.s.CreateTopic("t", 1, configs("max.compaction.lag.ms", "1000"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.s.SetConfig(q, configs("min.compaction.lag.ms", "1001")); KindOf(err) != BadSetting {
		t.Errorf("a least lag above the longest: %v", err)
	}
	if err := r.s.SetConfig(q, configs("min.compaction.lag.ms", "1000")); err != nil {
		t.Error(err)
	}
}

// arguments are a table: names and AMQP values in turn, of which an int is sent as long.
func arguments(list ...any) []byte {
	var out []byte
	for i := 0; i < len(list); i += 2 {
		out = field.AppendName(out, list[i].(string))
		switch v := list[i+1].(type) {
		case string:
			out = field.AppendString(out, []byte(v))
		case int:
			out = field.AppendInt(out, int64(v))
		case bool:
			out = field.AppendBool(out, v)
		case byte:
			out = append(out, field.TagUint8, v)
		case int16:
			out = binary.BigEndian.AppendUint16(append(out, field.TagInt16), uint16(v))
		case int32:
			out = field.AppendInt32(out, v)
		case float32:
			out = binary.BigEndian.AppendUint32(append(out, field.TagFloat32), math.Float32bits(v))
		case float64:
			out = binary.BigEndian.AppendUint64(append(out, field.TagFloat64), math.Float64bits(v))
		case []byte:
			out = field.AppendByteArray(out, v)
		case nil:
			out = field.AppendVoid(out)
		}
	}
	return out
}

func TestArgumentsThatCantBeAreRefusedInRabbitMQsWords(t *testing.T) {
	r := start(t)
	for _, c := range []struct {
		args []byte
		want string
	}{
		{arguments("x-queue-type", "odd"), "invalid arg 'x-queue-type' for queue 'q' in vhost '/': \"unsupported queue type 'odd'\""},
		{arguments("x-queue-type", 5), "invalid arg 'x-queue-type' for queue 'q' in vhost '/': {unacceptable_type,long}"},
		{arguments("x-retention", "long"), `invalid arg 'x-retention' for queue 'q' in vhost '/': want a number and one of Y, M, D, h, m, s, such as "7D"`},
		{arguments("x-retention", 7), "invalid arg 'x-retention' for queue 'q' in vhost '/': {unacceptable_type,long}"},
		{arguments("x-queue-version", "2"), "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"expected integer, got longstr\""},
		{arguments("x-queue-version", 3), "invalid arg 'x-queue-version' for queue 'q' in vhost '/': \"unsupported queue version '3'\""},
		{arguments("x-queue-version", -1), "invalid arg 'x-queue-version' for queue 'q' in vhost '/': {value_negative,-1}"},
		{arguments("x-queue-mode", "idle"), "invalid arg 'x-queue-mode' for queue 'q' in vhost '/': \"unsupported queue mode 'idle'\""},
		{arguments("x-queue-leader-locator", "here"), "invalid arg 'x-queue-leader-locator' for queue 'q' in vhost '/': invalid_queue_locator_arg"},
		{arguments("x-quorum-initial-group-size", 0, "x-queue-type", "quorum"), "invalid arg 'x-quorum-initial-group-size' for queue 'q' in vhost '/': {value_zero,0}"},
		{arguments("x-delivery-limit", "few", "x-queue-type", "quorum"), "invalid arg 'x-delivery-limit' for queue 'q' in vhost '/': \"expected integer, got longstr\""},
		{arguments("x-message-ttl", 315360000001), "invalid arg 'x-message-ttl' for queue 'q' in vhost '/': {value_too_large,315360000001}"},
		{arguments("x-expires", 0), "invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"},
		{arguments("x-max-priority", 256), "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}"},
		{arguments("x-overflow", "none"), "invalid arg 'x-overflow' for queue 'q' in vhost '/': invalid_overflow"},
		{arguments("x-single-active-consumer", "yes"), "invalid arg 'x-single-active-consumer' for queue 'q' in vhost '/': {unacceptable_type,longstr}"},
		{arguments("x-max-age", "7D"), "invalid arg 'x-max-age' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{arguments("x-queue-mode", true), "invalid arg 'x-queue-mode' for queue 'q' in vhost '/': {unacceptable_type,bool}"},
		{arguments("x-queue-mode", "lazy", "x-queue-type", "quorum"), "invalid arg 'x-queue-mode' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"},
		{arguments("x-max-priority", -1), "invalid arg 'x-max-priority' for queue 'q' in vhost '/': {value_negative,-1}"},
		{arguments("x-max-priority", 5, "x-queue-type", "quorum"), "invalid arg 'x-max-priority' for queue 'q' in vhost '/' of queue type rabbit_quorum_queue"},
		{arguments("x-message-deduplication", "yes"), "invalid arg 'x-message-deduplication' for queue 'q' in vhost '/': {unacceptable_type,longstr}"},
		{arguments("x-cache-size", 0), "invalid arg 'x-cache-size' for queue 'q' in vhost '/': {value_zero,0}"},
		{arguments("x-cache-size", 100_000_001), "invalid arg 'x-cache-size' for queue 'q' in vhost '/': {value_too_large,100000001}"},
		{arguments("x-cache-ttl", -1), "invalid arg 'x-cache-ttl' for queue 'q' in vhost '/': {value_negative,-1}"},
		{arguments("x-delayed-retry-type", "some"), `invalid arg 'x-delayed-retry-type' for queue 'q' in vhost '/': "some is not a valid delayed retry type. Must be one of: all, failed, returned, disabled"`},
		{arguments("x-delayed-retry-type", 1), "invalid arg 'x-delayed-retry-type' for queue 'q' in vhost '/': {unacceptable_type,long}"},
		{arguments("x-delayed-retry-type", "all"), `invalid arg 'x-delayed-retry-type' for queue 'q' in vhost '/': "delayed-retry-min is required when delayed-retry-type is all"`},
		{arguments("x-delayed-retry-min", 0), "invalid arg 'x-delayed-retry-min' for queue 'q' in vhost '/': {value_zero,0}"},
		{arguments("x-delayed-retry-min", -1), "invalid arg 'x-delayed-retry-min' for queue 'q' in vhost '/': {value_negative,-1}"},
		{arguments("x-delayed-retry-max", "long"), "invalid arg 'x-delayed-retry-max' for queue 'q' in vhost '/': \"expected integer, got longstr\""},
		{arguments("x-delayed-retry-max", 315360000001), "invalid arg 'x-delayed-retry-max' for queue 'q' in vhost '/': {value_too_large,315360000001}"},
		{arguments("x-delayed-retry-min", 10, "x-delayed-retry-max", 9), `invalid arg 'x-delayed-retry-max' for queue 'q' in vhost '/': "delayed-retry-max (9) must not be smaller than delayed-retry-min (10)"`},
		{arguments("x-consumer-disconnected-timeout", 5), "invalid arg 'x-consumer-disconnected-timeout' for queue 'q' in vhost '/' of queue type rabbit_classic_queue"},
		{arguments("x-consumer-disconnected-timeout", -5, "x-queue-type", "quorum"), "invalid arg 'x-consumer-disconnected-timeout' for queue 'q' in vhost '/': {value_negative,-5}"},
		{[]byte{5, 'x'}, "malformed arguments for queue 'q' in vhost '/'"},
	} {
		_, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: c.args})
		if err == nil || err.Error() != c.want || KindOf(err) != Precondition {
			t.Errorf("%q: %v, want %s", c.args, err, c.want)
		}
	}
}

func TestASecondDeclarationIsHeldAgainstTheFirst(t *testing.T) {
	for name, c := range map[string]struct {
		first, second []byte
		want          string
	}{
		"the same":                       {arguments("x-retention", "1D"), arguments("x-retention", "1D"), ""},
		"the same in other words":        {arguments("x-retention", "1D"), arguments("x-retention", "24h"), ""},
		"the default, named":             {nil, arguments("x-queue-type", "classic"), ""},
		"integers of another width":      {arguments("x-queue-version", 2), arguments("x-queue-version", byte(2)), ""},
		"a time of another width":        {arguments("x-message-ttl", 5), arguments("x-message-ttl", byte(5)), ""},
		"another time":                   {arguments("x-message-ttl", 5), arguments("x-message-ttl", byte(6)), "received '6' but current is '5'"},
		"an argument that nobody checks": {nil, arguments("foo", "bar"), ""},
		"another type":                   {nil, arguments("x-queue-type", "quorum"), "received 'quorum' but current is 'classic'"},
		"another value":                  {arguments("x-retention", "1D"), arguments("x-retention", "2D"), "received '2D' but current is '1D'"},
		"one less":                       {arguments("x-retention", "1D"), nil, "received none but current is the value '1D' of type 'longstr'"},
		"another type of value":          {arguments("x-queue-master-locator", "1"), arguments("x-queue-master-locator", true), "received the value 'true' of type 'bool' but current is the value '1' of type 'longstr'"},
		"the same of another type":       {arguments("x-queue-master-locator", "1"), arguments("x-queue-master-locator", 1), "received the value '1' of type 'long' but current is the value '1' of type 'longstr'"},
		"one more":                       {nil, arguments("x-queue-version", 2), "received the value '2' of type 'long' but current is none"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.queue("q", QueueOptions{Durable: true, Args: c.first})
			_, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, Args: c.second})
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), "inequivalent arg 'x-") || !strings.HasSuffix(err.Error(), "for queue 'q' in vhost '/': "+c.want)):
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

// TestDefinitionsOfOlderVersionsOpen has a list that was kept as "none", a config and
// an argument that this version does not take.
func TestDefinitionsOfOlderVersionsOpen(t *testing.T) {
	r := startWith(t, 0)
	args := arguments("x-queue-type", "quorum", "x-queue-mode", "lazy")
	r.queue("q", QueueOptions{Durable: true})
	if _, err := r.s.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	for key, d := range map[string]queueDef{
		"q/%2F/q": {VHost: "/", Name: "q", Args: args, Logs: []store.LogID{"1"}},
		"q/%2F/t": {VHost: "/", Name: "t", Topic: true, Logs: []store.LogID{"2"}, Config: map[string]string{"cleanup.policy": "none", "gone.ms": "1", "retention.ms": "5000"}},
	} {
		if err := r.putJSON(key, d); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	q, err := r.v.Queue("q")
	if err != nil || q.Settings().kind.name != "quorum" {
		t.Fatal(err)
	}
	topic, err := r.v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := topic.Settings().Value(TopicSetting("cleanup.policy")); v != "" || topic.Settings().DeleteOld || topic.Settings().RetentionAge != 5*time.Second {
		t.Errorf("%+v", topic.Settings())
	}
}

func TestSettingsReferencePageIsCurrent(t *testing.T) {
	const page = "../docs/settings.md"
	if *update {
		if err := os.WriteFile(page, []byte(settingsReference()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != settingsReference() {
		t.Errorf("%s is not what the table says; renew it", page)
	}
}
