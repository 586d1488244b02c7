package kafka

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// topicConfigs is what DescribeConfigs says of a topic.
func (c *raw) topicConfigs(topic string, edit func(*kmsg.DescribeConfigsRequest)) []kmsg.DescribeConfigsResponseResourceConfig {
	c.t.Helper()
	q := kmsg.NewPtrDescribeConfigsRequest()
	one := kmsg.NewDescribeConfigsRequestResource()
	one.ResourceType, one.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	q.Resources = append(q.Resources, one)
	edit(q)
	c.send(q, 4)
	var res kmsg.DescribeConfigsResponse
	c.receive(&res, 4)
	if res.Resources[0].ErrorCode != 0 {
		c.t.Fatalf("%+v", res)
	}
	return res.Resources[0].Configs
}

// testdata/topic-configs.txt is what Kafka said.
func TestATopicsSettingsAreDescribedAsByKafka(t *testing.T) {
	meant := map[string]string{
		"segment.bytes 3 \"67108864\" 5 log.segment.bytes=67108864/5": "segments are smaller here",
	}
	text, err := os.ReadFile("testdata/topic-configs.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(text)), "\n"), func(line string) bool { return line[0] == '#' })
	r := newRigWith(t, store.ModeOS, func(r *rig) { r.under = func(o *broker.Options) { o.TopicRetention = 7 * 24 * time.Hour } })
	r.topic("t", 1, nil)
	got := map[string]string{}
	c := r.raw()
	for _, s := range c.topicConfigs("t", func(q *kmsg.DescribeConfigsRequest) { q.IncludeSynonyms, q.IncludeDocumentation = true, true }) {
		line := fmt.Sprintf("%s %d %q %d", s.Name, s.ConfigType, *s.Value, s.Source)
		for _, one := range s.ConfigSynonyms {
			line += fmt.Sprintf(" %s=%s/%d", one.Name, *one.Value, one.Source)
		}
		got[s.Name] = line
		if s.Documentation == nil || len(*s.Documentation) < 20 {
			t.Errorf("%s is not explained", s.Name)
		}
		if s.ReadOnly || s.IsSensitive {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	for _, line := range want {
		name, _, _ := strings.Cut(line, " ")
		if got[name] != line && meant[got[name]] == "" {
			t.Errorf("got  %s\nwant %s", got[name], line)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("Kafka does not have %v", got)
	}
	for _, s := range c.topicConfigs("t", func(q *kmsg.DescribeConfigsRequest) {
		q.Resources[0].ConfigNames = []string{"retention.ms", "no.such"}
	}) {
		if s.Name != "retention.ms" || s.ConfigSynonyms != nil || s.Documentation != nil {
			t.Errorf("asked for one alone: %+v", s)
		}
	}
}

func TestASettingOfATopicShowsWhoSaysIt(t *testing.T) {
	r := newRigWith(t, store.ModeOS, func(r *rig) {
		r.under = func(o *broker.Options) { o.MaxBatchBytes, o.TopicRetention = 2<<20, time.Hour }
	})
	r.topic("t", 1, map[string]string{"max.message.bytes": "5000", "segment.ms": "1"})
	r.topic("plain", 1, nil)
	c := r.raw()
	said := func(topic, config string) (out []string) {
		for _, s := range c.topicConfigs(topic, func(q *kmsg.DescribeConfigsRequest) {
			q.IncludeSynonyms, q.Resources[0].ConfigNames = true, []string{config}
		}) {
			out = append(out, fmt.Sprintf("%s/%d", *s.Value, s.Source))
			for _, one := range s.ConfigSynonyms {
				out = append(out, fmt.Sprintf("%s=%s/%d", one.Name, *one.Value, one.Source))
			}
		}
		return out
	}
	for _, tc := range []struct{ topic, config, want string }{
		{"t", "max.message.bytes", "[5000/1 max.message.bytes=5000/1 message.max.bytes=2097152/4 message.max.bytes=1048588/5]"},
		{"t", "segment.ms", "[1/1 segment.ms=1/1]"},
		{"plain", "max.message.bytes", "[2097152/4 message.max.bytes=2097152/4 message.max.bytes=1048588/5]"},
		{"plain", "retention.ms", "[3600000/4 log.retention.ms=3600000/4]"},
	} {
		if got := fmt.Sprint(said(tc.topic, tc.config)); got != tc.want {
			t.Errorf("%s of %s: %s, want %s", tc.config, tc.topic, got, tc.want)
		}
	}
}

func TestASettingWithoutAValueIsRefused(t *testing.T) {
	r := newRig(t, nil)
	c := r.raw()
	for value, code := range map[string]wire.Code{"": wire.InvalidConfig, "delete,": wire.InvalidConfig, "compact,,delete": wire.InvalidConfig, "compact, delete": wire.None} {
		q := kmsg.NewPtrCreateTopicsRequest()
		one := kmsg.NewCreateTopicsRequestTopic()
		one.Topic, one.NumPartitions, one.ReplicationFactor = "t", 1, 1
		kv := kmsg.NewCreateTopicsRequestTopicConfig()
		kv.Name = "cleanup.policy"
		if value != "" {
			kv.Value = &value
		}
		one.Configs, q.ValidateOnly = append(one.Configs, kv), true
		q.Topics = append(q.Topics, one)
		c.send(q, 7)
		var res kmsg.CreateTopicsResponse
		if c.receive(&res, 7); wire.Code(res.Topics[0].ErrorCode) != code {
			t.Errorf("%q: %+v, want %v", value, res.Topics[0], code)
		}
	}
}

func TestARecordThatUnpacksToMoreThanItsTopicTakesIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, map[string]string{"max.decompressed.message.bytes": "100000"})
	long, short := strings.Repeat("x", 99_950), "y"
	for _, tc := range []struct {
		name    string
		codec   int
		records []string
		want    wire.Code
	}{
		{"none is too large", message.CodecGzip, []string{short, long}, wire.None},
		{"one is", message.CodecGzip, []string{short, long + long}, wire.InvalidRecord},
		{"one is that comes in pieces", message.CodecZstd, []string{short, strings.Repeat(long, 20)}, wire.InvalidRecord},
		{"together they are more", message.CodecLZ4, []string{long, long, long}, wire.None},
		{"what is not packed has another limit", message.CodecNone, []string{short, long + long}, wire.None},
	} {
		got := r.raw().produce("t", -1, packBatch(tc.codec, nil, tc.records...))
		if wire.Code(got.ErrorCode) != tc.want {
			t.Errorf("%s: %+v", tc.name, got)
		}
		if tc.want != wire.None && !strings.Contains(*got.ErrorMessage, "max.decompressed.message.bytes") {
			t.Errorf("%s: it does not say why: %s", tc.name, *got.ErrorMessage)
		}
	}
}
