package kafka

import (
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// configKind is how a topic setting's value is checked.
type configKind uint8

const (
	wholeNumber configKind = iota // between min and max
	oneOf                         // one of the words
	listOf                        // any of the words, with commas between, or none
)

// topicConfig is one setting of a topic.
type topicConfig struct {
	name     string
	standard string // default; of retention.ms and max.message.bytes the server's
	kind     configKind
	min, max int64
	words    []string
	typ      kmsg.ConfigType
	// clusterWide marks what Kafka 4 reports as the cluster's own choice and
	// not as the built-in default.
	clusterWide bool
}

// topicConfigs are the settings that can be made, in order of their names.
//
// Some are taken although nothing is done for them, because what they ask for is
// never visible in what is read: batches stay in the producer's codec whatever
// compression.type says; a compacted topic keeps the older records of a key too
// (and, without "delete" in its policy, everything for ever), so its timing has
// nothing to steer; sizes of indexes and delays of deletions are the store's.
// What would break a promise is refused: a second replica in
// min.insync.replicas, and flush.messages, which the durability mode decides.
var topicConfigs = []topicConfig{
	{name: "cleanup.policy", standard: "delete", kind: listOf, words: []string{"delete", "compact"}, typ: kmsg.ConfigTypeList},
	{name: "compression.type", standard: "producer", kind: oneOf, words: []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}, typ: kmsg.ConfigTypeString},
	{name: "delete.retention.ms", standard: "86400000", max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "file.delete.delay.ms", standard: "60000", max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "index.interval.bytes", standard: "4096", max: math.MaxInt32, typ: kmsg.ConfigTypeInt},
	{name: "max.compaction.lag.ms", standard: "9223372036854775807", min: 1, max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "max.message.bytes", standard: "1048588", min: 0, max: math.MaxInt32, typ: kmsg.ConfigTypeInt},
	{name: "message.timestamp.type", standard: "CreateTime", kind: oneOf, words: []string{"CreateTime", "LogAppendTime"}, typ: kmsg.ConfigTypeString},
	{name: "min.compaction.lag.ms", standard: "0", max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "min.insync.replicas", standard: "1", min: 1, max: 1, typ: kmsg.ConfigTypeInt, clusterWide: true},
	{name: "preallocate", standard: "true", kind: oneOf, words: []string{"true", "false"}, typ: kmsg.ConfigTypeBoolean},
	{name: "retention.bytes", standard: "-1", min: -1, max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "retention.ms", standard: "604800000", min: -1, max: math.MaxInt64 / 1_000_000, typ: kmsg.ConfigTypeLong},
	{name: "segment.bytes", standard: "67108864", min: 64 << 10, max: math.MaxInt32, typ: kmsg.ConfigTypeInt},
	{name: "segment.index.bytes", standard: "10485760", min: 4, max: math.MaxInt32, typ: kmsg.ConfigTypeInt},
	{name: "segment.jitter.ms", standard: "0", max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
	{name: "segment.ms", standard: "604800000", min: 1, max: math.MaxInt64, typ: kmsg.ConfigTypeLong},
}

func configNamed(name string) *topicConfig {
	for i := range topicConfigs {
		if topicConfigs[i].name == name {
			return &topicConfigs[i]
		}
	}
	return nil
}

func (t *topicConfig) check(value string) error {
	switch {
	case t.kind == listOf && value == "":
		return nil
	case t.kind == listOf:
		for _, v := range strings.Split(value, ",") {
			if !slices.Contains(t.words, v) {
				return faultf(wire.InvalidConfig, "%s=%s is not supported (%s)", t.name, value, strings.Join(t.words, ", "))
			}
		}
		return nil
	case t.kind == oneOf:
		if !slices.Contains(t.words, value) {
			return faultf(wire.InvalidConfig, "%s=%s is not supported (%s)", t.name, value, strings.Join(t.words, ", "))
		}
		return nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n < t.min || n > t.max {
		return faultf(wire.InvalidConfig, "%s=%s is not a number from %d to %d", t.name, value, t.min, t.max)
	}
	return nil
}

// setConfig checks a setting and puts it into config; nil is the default.
func setConfig(config map[string]string, name string, value *string) error {
	t := configNamed(name)
	if t == nil {
		return faultf(wire.InvalidConfig, "unknown or unsupported topic setting '%s'", name)
	}
	if value == nil {
		delete(config, name)
		return nil
	}
	if err := t.check(*value); err != nil {
		return err
	}
	config[name] = *value
	return nil
}

// noWords is how an empty list is stored: the broker takes an empty value for
// one that is not set.
const noWords = "none"

// configOf is a topic's settings as clients see them.
func configOf(q *broker.Queue) map[string]string {
	out := map[string]string{}
	for name, v := range q.Config() {
		if v == noWords && configNamed(name) != nil && configNamed(name).kind == listOf {
			v = ""
		}
		out[name] = v
	}
	return out
}

// stored is a client's settings as the broker keeps them.
func stored(config map[string]string) map[string]string {
	out := map[string]string{}
	for name, v := range config {
		if v == "" {
			v = noWords
		}
		out[name] = v
	}
	return out
}

// setting is one line of a description.
type setting struct {
	name, value, standard string
	source                kmsg.ConfigSource
	typ                   kmsg.ConfigType
	readOnly              bool
}

// settings lists a topic's settings, those that are not set with their defaults.
func (c *conn) settings(config map[string]string) []setting {
	out := make([]setting, 0, len(topicConfigs))
	for _, t := range topicConfigs {
		s := setting{name: t.name, standard: c.standard(&t), source: kmsg.ConfigSourceDefaultConfig, typ: t.typ}
		s.value = s.standard
		if t.clusterWide {
			s.source = kmsg.ConfigSourceDynamicDefaultBrokerConfig
		}
		if v, ok := config[t.name]; ok {
			s.value, s.source = v, kmsg.ConfigSourceDynamicTopicConfig
		}
		out = append(out, s)
	}
	return out
}

// standard is a setting's default as this server has it.
func (c *conn) standard(t *topicConfig) string {
	switch t.name {
	case "retention.ms":
		if ms := c.s.broker.TopicRetentionMs(); ms > 0 {
			return strconv.FormatInt(ms, 10)
		}
		return "-1"
	case "max.message.bytes":
		return strconv.Itoa(c.s.broker.MaxBatchBytes())
	}
	return t.standard
}

// nodeSettings are what tools ask of a broker. They are set where the server is
// started and can't be changed from here.
func (c *conn) nodeSettings() []setting {
	fixed := func(name, value string, typ kmsg.ConfigType) setting {
		return setting{name: name, value: value, standard: value, source: kmsg.ConfigSourceStaticBrokerConfig, typ: typ, readOnly: true}
	}
	retention := c.standard(configNamed("retention.ms"))
	host, port := c.s.address(c.nc.LocalAddr())
	return []setting{
		fixed("advertised.listeners", "PLAINTEXT://"+net.JoinHostPort(host, strconv.Itoa(int(port))), kmsg.ConfigTypeString),
		fixed("auto.create.topics.enable", strconv.FormatBool(!c.s.opts.NoAutoCreate), kmsg.ConfigTypeBoolean),
		fixed("broker.id", strconv.Itoa(NodeID), kmsg.ConfigTypeInt),
		fixed("compression.type", "producer", kmsg.ConfigTypeString),
		fixed("default.replication.factor", "1", kmsg.ConfigTypeInt),
		fixed("log.cleanup.policy", "delete", kmsg.ConfigTypeList),
		fixed("log.retention.ms", retention, kmsg.ConfigTypeLong),
		fixed("message.max.bytes", strconv.Itoa(c.s.broker.MaxBatchBytes()), kmsg.ConfigTypeInt),
		fixed("min.insync.replicas", "1", kmsg.ConfigTypeInt),
		fixed("num.partitions", strconv.Itoa(c.s.opts.Partitions), kmsg.ConfigTypeInt),
		fixed("offsets.topic.replication.factor", "1", kmsg.ConfigTypeShort),
	}
}

// Key 32, DescribeConfigs, versions 1 to 4: topics, this broker, and groups,
// which have no settings yet.
func (c *conn) describeConfigs(r *kmsg.DescribeConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeConfigsResponse()
	for _, asked := range r.Resources {
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		list, err := c.settingsOf(asked.ResourceType, asked.ResourceName)
		out.ErrorCode, out.ErrorMessage = outcome(err)
		for _, s := range list {
			if asked.ConfigNames == nil || slices.Contains(asked.ConfigNames, s.name) {
				out.Configs = append(out.Configs, s.describe(r.IncludeSynonyms))
			}
		}
		res.Resources = append(res.Resources, out)
	}
	return res
}

func (c *conn) settingsOf(kind kmsg.ConfigResourceType, name string) ([]setting, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := c.lookup(broker.Look, name)
		if err != nil {
			return nil, err
		}
		if t.queue == nil || !t.queue.Topic {
			list := c.settings(map[string]string{"retention.ms": "-1"}) // kept until it is acked
			return list, nil
		}
		return c.settings(configOf(t.queue)), nil
	case kmsg.ConfigResourceTypeBroker:
		if name != "" && name != strconv.Itoa(NodeID) {
			return nil, faultf(wire.InvalidRequest, "there is one broker, number %d", NodeID)
		}
		if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
			return nil, err
		}
		return c.nodeSettings(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		return nil, c.session.May(broker.Look, broker.OnGroup, name)
	}
	return nil, faultf(wire.InvalidRequest, "resources of type %d have no settings", kind)
}

func (s *setting) describe(synonyms bool) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly = s.name, kmsg.StringPtr(s.value), s.readOnly
	out.Source, out.ConfigType = s.source, s.typ
	out.IsDefault = s.source == kmsg.ConfigSourceDefaultConfig
	if synonyms {
		for _, at := range []struct {
			value  string
			source kmsg.ConfigSource
		}{{s.value, s.source}, {s.standard, kmsg.ConfigSourceDefaultConfig}} {
			if len(out.ConfigSynonyms) > 0 && at.source == s.source {
				continue
			}
			one := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			one.Name, one.Value, one.Source = s.name, kmsg.StringPtr(at.value), at.source
			out.ConfigSynonyms = append(out.ConfigSynonyms, one)
		}
	}
	return out
}

// Key 44, IncrementalAlterConfigs, versions 0 and 1: settings of topics. Append
// and subtract work on lists, of which cleanup.policy is the only one.
func (c *conn) incrementalAlterConfigs(r *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range r.Resources {
		asked := &r.Resources[i]
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		out.ErrorCode, out.ErrorMessage = outcome(c.alterConfigs(asked, r.ValidateOnly))
		res.Resources = append(res.Resources, out)
	}
	return res
}

func (c *conn) alterConfigs(asked *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	q, err := c.alterable(asked.ResourceType, asked.ResourceName)
	if err != nil {
		return err
	}
	after := configOf(q)
	for _, kv := range asked.Configs {
		if err := c.alterOne(after, kv.Name, kv.Op, kv.Value); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	return c.applyConfig(q, after)
}

// alterable finds the topic whose settings are to be changed.
func (c *conn) alterable(kind kmsg.ConfigResourceType, name string) (*broker.Queue, error) {
	if kind != kmsg.ConfigResourceTypeTopic {
		return nil, faultf(wire.InvalidRequest, "only topics have settings that can be changed here")
	}
	q, err := c.queueFor(broker.Alter, name)
	switch {
	case err != nil:
		return nil, err
	case !q.Topic:
		return nil, faultf(wire.InvalidConfig, "'%s' is a queue; its settings are arguments of its declaration", name)
	}
	return q, nil
}

// Key 33, AlterConfigs, versions 0 to 2: replaces all settings of a topic. Old
// clients, kafkajs and kafka-go among them, have nothing else.
func (c *conn) alterAllConfigs(r *kmsg.AlterConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrAlterConfigsResponse()
	for i := range r.Resources {
		asked := &r.Resources[i]
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		out.ErrorCode, out.ErrorMessage = outcome(c.replaceConfigs(asked, r.ValidateOnly))
		res.Resources = append(res.Resources, out)
	}
	return res
}

func (c *conn) replaceConfigs(asked *kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	q, err := c.alterable(asked.ResourceType, asked.ResourceName)
	if err != nil {
		return err
	}
	after := map[string]string{}
	for _, kv := range asked.Configs {
		if err := setConfig(after, kv.Name, kv.Value); err != nil {
			return err
		}
	}
	if validateOnly {
		return nil
	}
	return c.applyConfig(q, after)
}

func (c *conn) alterOne(config map[string]string, name string, op kmsg.IncrementalAlterConfigOp, value *string) error {
	switch op {
	case kmsg.IncrementalAlterConfigOpSet:
		if value == nil {
			return faultf(wire.InvalidConfig, "no value for '%s'", name)
		}
		return setConfig(config, name, value)
	case kmsg.IncrementalAlterConfigOpDelete:
		return setConfig(config, name, nil)
	}
	t := configNamed(name)
	if t == nil || t.typ != kmsg.ConfigTypeList {
		return faultf(wire.InvalidConfig, "'%s' is not a list that could be added to or taken from", name)
	}
	now, ok := config[name]
	if !ok {
		now = c.standard(t)
	}
	list := slices.DeleteFunc(strings.Split(now, ","), func(have string) bool { return have == "" })
	for _, v := range strings.Split(deref(value), ",") {
		list = slices.DeleteFunc(list, func(have string) bool { return have == v })
		if op == kmsg.IncrementalAlterConfigOpAppend {
			list = append(list, v)
		}
	}
	joined := strings.Join(list, ",")
	return setConfig(config, name, &joined)
}

// applyConfig has the broker change what differs.
func (c *conn) applyConfig(q *broker.Queue, config map[string]string) error {
	before, after := q.Config(), stored(config)
	change := map[string]string{}
	for name, v := range after {
		if before[name] != v {
			change[name] = v
		}
	}
	for name := range before {
		if _, kept := after[name]; !kept {
			change[name] = ""
		}
	}
	if len(change) == 0 {
		return nil
	}
	return c.session.SetConfig(q, change)
}
