package kafka

import (
	"errors"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// setting is one line of a description.
type setting struct {
	name, value string
	source      kmsg.ConfigSource // of value
	typ         kmsg.ConfigType
	readOnly    bool
	broker      string // its name among a broker's settings; "" if it has no value there
	set         string // what that is set to, "" if it is not
	setBy       kmsg.ConfigSource
	standard    string // its default there, "" if it has none
	doc         string
}

// describeSettings lists a topic's settings, those that are not set with their defaults.
func describeSettings(set *broker.Settings) []setting {
	var out []setting
	for _, t := range broker.TopicSettings() {
		s := setting{name: t.Config, typ: configType(t), broker: t.Broker, doc: t.Doc, standard: t.Default}
		value, from := set.Value(t)
		s.value, s.source = value, configSource(t, from)
		value, from = set.Default(t)
		if from == broker.FromServer || t.ClusterWide {
			s.set, s.setBy = value, configSource(t, from)
		} else {
			s.standard = value
		}
		if t.Unset {
			s.standard = ""
		}
		out = append(out, s)
	}
	return out
}

func configType(t *broker.Setting) kmsg.ConfigType {
	switch t.Type {
	case broker.Flag:
		return kmsg.ConfigTypeBoolean
	case broker.List, broker.Places:
		return kmsg.ConfigTypeList
	case broker.Share:
		return kmsg.ConfigTypeDouble
	case broker.Whole:
		if t.Max <= math.MaxInt32 {
			return kmsg.ConfigTypeInt
		}
		return kmsg.ConfigTypeLong
	}
	return kmsg.ConfigTypeString
}

func configSource(t *broker.Setting, from broker.SettingSource) kmsg.ConfigSource {
	switch {
	case from == broker.FromDeclared:
		return kmsg.ConfigSourceDynamicTopicConfig
	case t.ClusterWide:
		return kmsg.ConfigSourceDynamicDefaultBrokerConfig
	case from == broker.FromServer:
		return kmsg.ConfigSourceStaticBrokerConfig
	}
	return kmsg.ConfigSourceDefaultConfig
}

// nodeSettings are what tools ask of a broker. They are set where the server is
// started and can't be changed from here.
func (c *conn) nodeSettings() []setting {
	fixed := func(name, value, standard string, typ kmsg.ConfigType) setting {
		s := setting{name: name, broker: name, value: value, standard: standard, source: kmsg.ConfigSourceDefaultConfig, typ: typ, readOnly: true}
		if value != standard {
			s.set, s.setBy, s.source = value, kmsg.ConfigSourceStaticBrokerConfig, kmsg.ConfigSourceStaticBrokerConfig
		}
		return s
	}
	defaults := c.s.broker.TopicDefaults()
	of := func(config string) (value, standard string) {
		t := broker.TopicSetting(config)
		value, _ = defaults.Value(t)
		return value, t.Default
	}
	retention, usual := of("retention.ms")
	segment, usualSegment := of("segment.bytes")
	disk, _ := c.s.opts.Disk() // whose directory is known
	host, port := c.address()
	hours := func(ms string) string {
		n, _ := strconv.ParseInt(ms, 10, 64)
		return strconv.FormatInt(n/time.Hour.Milliseconds(), 10)
	}
	return []setting{
		fixed("advertised.listeners", "PLAINTEXT://"+net.JoinHostPort(host, strconv.Itoa(int(port))), "", kmsg.ConfigTypeList),
		fixed("auto.create.topics.enable", strconv.FormatBool(!c.s.made.Load().NoAutoCreate), "true", kmsg.ConfigTypeBoolean),
		fixed("broker.id", strconv.Itoa(NodeID), "-1", kmsg.ConfigTypeInt),
		fixed("compression.type", "producer", "producer", kmsg.ConfigTypeString),
		fixed("default.replication.factor", "1", "1", kmsg.ConfigTypeInt),
		fixed("delete.topic.enable", "true", "true", kmsg.ConfigTypeBoolean),
		fixed("group.consumer.assignors", strings.Join(group.AssignorNames(), ","), "uniform,range", kmsg.ConfigTypeList),
		fixed("group.consumer.migration.policy", "bidirectional", "bidirectional", kmsg.ConfigTypeString),
		fixed("group.initial.rebalance.delay.ms", strconv.FormatInt(c.s.opts.InitialRebalanceDelay.Milliseconds(), 10), "3000", kmsg.ConfigTypeInt),
		fixed("log.cleanup.policy", "delete", "delete", kmsg.ConfigTypeList),
		fixed("log.dirs", disk.Dir, "", kmsg.ConfigTypeList),
		fixed("log.retention.hours", hours(retention), hours(usual), kmsg.ConfigTypeInt),
		fixed("log.retention.ms", retention, usual, kmsg.ConfigTypeLong),
		fixed("log.segment.bytes", segment, usualSegment, kmsg.ConfigTypeInt),
		fixed("message.max.bytes", strconv.Itoa(defaults.MaxBatchBytes), "1048588", kmsg.ConfigTypeInt),
		{name: "min.insync.replicas", broker: "min.insync.replicas", value: "1", set: "1", standard: "1", source: kmsg.ConfigSourceDynamicDefaultBrokerConfig, setBy: kmsg.ConfigSourceDynamicDefaultBrokerConfig, typ: kmsg.ConfigTypeInt},
		fixed("num.partitions", strconv.Itoa(c.s.made.Load().Partitions), "1", kmsg.ConfigTypeInt),
		fixed("offsets.topic.replication.factor", "1", "3", kmsg.ConfigTypeShort),
		fixed("transaction.max.timeout.ms", milliseconds(c.s.opts.MaxTransactionTimeout), "900000", kmsg.ConfigTypeInt),
		fixed("transaction.state.log.replication.factor", "1", "3", kmsg.ConfigTypeShort),
		fixed("transaction.two.phase.commit.enable", "false", "false", kmsg.ConfigTypeBoolean),
		fixed("transactional.id.expiration.ms", milliseconds(c.s.opts.TransactionalIDExpiration), "604800000", kmsg.ConfigTypeInt),
	}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// groupSettings are those of a group, whether it is there or not.
func (c *conn) groupSettings(name string) []setting {
	set := c.groups.Settings(name)
	out := make([]setting, len(group.GroupSettings))
	for i := range out {
		t := &group.GroupSettings[i]
		s := setting{name: t.Name, value: t.Default, standard: t.Default, source: kmsg.ConfigSourceDefaultConfig, typ: kmsg.ConfigTypeString}
		if s.doc, s.broker = t.Doc, t.Name; t.Max > 0 { // those of which a broker has its own setting
			s.broker = "group." + t.Name
		}
		switch {
		case t.Name == "share.record.lock.duration.ms":
			s.standard = milliseconds(c.s.opts.ShareLock)
			s.value, s.typ = s.standard, kmsg.ConfigTypeInt
		case t.Max > 0:
			s.typ = kmsg.ConfigTypeInt
		case t.Default == "true" || t.Default == "false":
			s.typ = kmsg.ConfigTypeBoolean
		}
		if v, own := set.Values[t.Name]; own {
			s.value, s.source = v, kmsg.ConfigSourceGroupConfig
		}
		out[i] = s
	}
	return out
}

// mayConfigure asks whether the client may do that with the settings of a group.
func (c *conn) mayConfigure(verb broker.Verb, name string) error {
	switch {
	case name == "":
		return faultf(wire.InvalidRequest, "a group has a name")
	case len(name) > maxGroupBytes:
		return faultf(wire.InvalidGroupID, "a group's name has %d bytes at most", maxGroupBytes)
	}
	return c.session.May(verb, broker.OnGroup, name)
}

// alterGroup changes settings of a group.
func (c *conn) alterGroup(name string, change map[string]*string, validateOnly bool) error {
	if err := c.mayConfigure(broker.Consume, name); err != nil {
		return err
	}
	err := c.groups.AlterSettings(name, change, validateOnly)
	var wrong group.SettingError
	switch {
	case errors.As(err, &wrong):
		return faultf(wire.InvalidConfig, "%s", wire.Text(err.Error()))
	case err != nil:
		return faultf(wire.CoordinatorNotAvailable, "%s", err)
	}
	return nil
}

// resource is what has settings.
type resource struct {
	kind kmsg.ConfigResourceType
	name string
}

// errTwice refuses what a request asks for in two ways.
var errTwice = faultf(wire.InvalidRequest, "it is named twice in the request")

// Key 32, DescribeConfigs, versions 0 to 4: topics, this broker, and groups.
func (c *conn) describeConfigs(r *kmsg.DescribeConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeConfigsResponse()
	for _, asked := range onlyOnce(r.Resources, func(a *kmsg.DescribeConfigsRequestResource) resource { return resource{a.ResourceType, a.ResourceName} }) {
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		list, err := c.settingsOf(asked.ResourceType, asked.ResourceName)
		if err == nil {
			err = c.charge(configBytes * len(list))
		}
		if err != nil {
			list = nil
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		for _, s := range list {
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, s.name) {
				out.Configs = append(out.Configs, s.describe(r.IncludeSynonyms, r.IncludeDocumentation))
			}
		}
		res.Resources = append(res.Resources, out)
	}
	return res
}

// clientMetrics is a resource that kmsg has no name for.
const clientMetrics kmsg.ConfigResourceType = 16

func (c *conn) settingsOf(kind kmsg.ConfigResourceType, name string) ([]setting, error) {
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		t, err := c.lookup(broker.Look, name)
		if err != nil {
			return nil, orIllegal(err, name)
		}
		if t.queue == nil {
			return describeSettings(c.s.broker.TopicDefaults()), nil
		}
		return describeSettings(t.queue.Settings()), nil
	case kmsg.ConfigResourceTypeBroker:
		if err := thisNode(name); err != nil {
			return nil, err
		}
		if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
			return nil, err
		}
		all := c.nodeSettings()
		if name == "" { // what is set for all brokers
			all = slices.DeleteFunc(all, func(s setting) bool { return s.source != kmsg.ConfigSourceDynamicDefaultBrokerConfig })
		}
		return all, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if err := c.mayConfigure(broker.Look, name); err != nil {
			return nil, err
		}
		return c.groupSettings(name), nil
	case kmsg.ConfigResourceTypeBrokerLogger, clientMetrics:
		if err := c.session.May(broker.Look, broker.OnCluster, ""); err != nil {
			return nil, err
		}
	}
	return nil, faultf(wire.InvalidRequest, "resources of type %d have no settings", kind)
}

func (s *setting) describe(synonyms, documentation bool) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value, out.ReadOnly = s.name, kmsg.StringPtr(s.value), s.readOnly
	out.Source, out.ConfigType = s.source, s.typ
	out.IsDefault = s.source == kmsg.ConfigSourceDefaultConfig
	if synonyms {
		out.ConfigSynonyms = s.synonyms()
	}
	if documentation && s.doc != "" {
		out.Documentation = &s.doc
	}
	return out
}

// synonyms are who says what of a setting, the strongest first: the topic itself by its own name, and the broker by the
// name that it has there.
func (s *setting) synonyms() (out []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym) {
	say := func(name, value string, source kmsg.ConfigSource) {
		one := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		one.Name, one.Value, one.Source = name, kmsg.StringPtr(value), source
		out = append(out, one)
	}
	if s.source == kmsg.ConfigSourceDynamicTopicConfig {
		say(s.name, s.value, s.source)
	}
	if s.broker != "" && s.set != "" {
		say(s.broker, s.set, s.setBy)
	}
	if s.broker != "" && s.standard != "" {
		say(s.broker, s.standard, kmsg.ConfigSourceDefaultConfig)
	}
	return out
}

// Key 44, IncrementalAlterConfigs, versions 0 and 1: settings of topics. Append
// and subtract work on lists, of which cleanup.policy is the only one.
func (c *conn) incrementalAlterConfigs(r *kmsg.IncrementalAlterConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrIncrementalAlterConfigsResponse()
	name := func(a *kmsg.IncrementalAlterConfigsRequestResource) resource {
		return resource{a.ResourceType, a.ResourceName}
	}
	named := timesNamed(r.Resources, name)
	for i := range r.Resources {
		asked := &r.Resources[i]
		out := kmsg.NewIncrementalAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		err := error(errTwice)
		if named[name(asked)] == 1 {
			err = c.alterConfigs(asked, r.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		res.Resources = append(res.Resources, out)
	}
	return res
}

func (c *conn) alterConfigs(asked *kmsg.IncrementalAlterConfigsRequestResource, validateOnly bool) error {
	seen := map[string]bool{}
	for _, kv := range asked.Configs {
		switch {
		case seen[kv.Name]:
			return faultf(wire.InvalidRequest, "'%s' is named twice in the request", kv.Name)
		case kv.Value == nil && kv.Op != kmsg.IncrementalAlterConfigOpDelete:
			return faultf(wire.InvalidRequest, "no value for '%s'", kv.Name)
		}
		seen[kv.Name] = true
	}
	if asked.ResourceType == kmsg.ConfigResourceTypeGroupConfig {
		change := map[string]*string{}
		for _, kv := range asked.Configs {
			switch kv.Op {
			case kmsg.IncrementalAlterConfigOpSet:
				change[kv.Name] = kv.Value
			case kmsg.IncrementalAlterConfigOpDelete:
				change[kv.Name] = nil
			default:
				return faultf(wire.InvalidConfig, "'%s' is not a list that could be added to or taken from", kv.Name)
			}
		}
		return c.alterGroup(asked.ResourceName, change, validateOnly)
	}
	if asked.ResourceType == kmsg.ConfigResourceTypeBroker {
		return c.alterNode(asked)
	}
	q, err := c.alterable(asked.ResourceType, asked.ResourceName)
	if err != nil {
		return err
	}
	change := map[string]*string{}
	for _, kv := range asked.Configs {
		if kv.Op == kmsg.IncrementalAlterConfigOpDelete && broker.TopicSetting(kv.Name) == nil {
			continue // it is not there
		}
		if change[kv.Name], err = alterOne(q.Settings(), change, kv.Name, kv.Op, kv.Value); err != nil {
			return err
		}
	}
	return c.applyConfig(q, change, validateOnly)
}

// alterNode changes settings of the broker, of which there are none that can be while it
// runs. To take away one is no fault: kafka-reassign-partitions does it with its throttles
// each time, whether somebody set them or not.
func (c *conn) alterNode(asked *kmsg.IncrementalAlterConfigsRequestResource) error {
	if err := c.session.May(broker.Alter, broker.OnCluster, ""); err != nil {
		return err
	}
	if err := thisNode(asked.ResourceName); err != nil {
		return err
	}
	for _, kv := range asked.Configs {
		if kv.Op != kmsg.IncrementalAlterConfigOpDelete {
			return faultf(wire.InvalidRequest, "'%s' can't be set while the broker runs; its settings are given to it at its start", kv.Name)
		}
	}
	return nil
}

// thisNode is a fault when a resource of type broker is neither this one nor the defaults of all.
func thisNode(name string) error {
	if name != "" && name != strconv.Itoa(NodeID) {
		return faultf(wire.InvalidRequest, "there is one broker, number %d", NodeID)
	}
	return nil
}

// alterable finds the topic whose settings are to be changed.
func (c *conn) alterable(kind kmsg.ConfigResourceType, name string) (*broker.Queue, error) {
	if kind != kmsg.ConfigResourceTypeTopic {
		if err := c.session.May(broker.Alter, broker.OnCluster, ""); err != nil {
			return nil, err
		}
		return nil, faultf(wire.InvalidRequest, "only settings of topics and of groups can be changed here, groups' with IncrementalAlterConfigs")
	}
	if name == "" {
		return nil, faultf(wire.InvalidRequest, "a topic has a name")
	}
	q, err := c.queueFor(broker.Alter, name)
	switch {
	case err != nil:
		return nil, orIllegal(err, name)
	case !q.OfKafka():
		return nil, faultf(wire.InvalidConfig, "'%s' is a queue; its settings are arguments of its declaration", name)
	}
	return q, nil
}

// Key 33, AlterConfigs, versions 0 to 2: replaces all settings of a topic. Old
// clients, kafkajs and kafka-go among them, have nothing else.
func (c *conn) alterAllConfigs(r *kmsg.AlterConfigsRequest) kmsg.Response {
	res := kmsg.NewPtrAlterConfigsResponse()
	name := func(a *kmsg.AlterConfigsRequestResource) resource { return resource{a.ResourceType, a.ResourceName} }
	named := timesNamed(r.Resources, name)
	for i := range r.Resources {
		asked := &r.Resources[i]
		out := kmsg.NewAlterConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		err := error(errTwice)
		if named[name(asked)] == 1 {
			err = c.replaceConfigs(asked, r.ValidateOnly)
		}
		out.ErrorCode, out.ErrorMessage = outcome(err)
		res.Resources = append(res.Resources, out)
	}
	return res
}

func (c *conn) replaceConfigs(asked *kmsg.AlterConfigsRequestResource, validateOnly bool) error {
	q, err := c.alterable(asked.ResourceType, asked.ResourceName)
	if err != nil {
		return err
	}
	change := map[string]*string{}
	for _, t := range broker.TopicSettings() {
		if _, from := q.Settings().Value(t); from == broker.FromDeclared {
			change[t.Config] = nil // what is not named goes back to its default
		}
	}
	seen := map[string]bool{}
	for _, kv := range asked.Configs {
		switch {
		case seen[kv.Name]:
			return faultf(wire.InvalidRequest, "'%s' is named twice in the request", kv.Name)
		case kv.Value == nil:
			return faultf(wire.InvalidRequest, "no value for '%s'", kv.Name)
		}
		seen[kv.Name] = true
		change[kv.Name] = kv.Value
	}
	return c.applyConfig(q, change, validateOnly)
}

// alterOne is what a setting is to become; change is what the same request did before.
func alterOne(set *broker.Settings, change map[string]*string, name string, op kmsg.IncrementalAlterConfigOp, value *string) (*string, error) {
	switch op {
	case kmsg.IncrementalAlterConfigOpSet:
		return value, nil
	case kmsg.IncrementalAlterConfigOpDelete:
		return nil, nil
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
	default:
		return nil, faultf(wire.InvalidRequest, "there is no operation %d", op)
	}
	t := broker.TopicSetting(name)
	if t == nil || t.Type != broker.List && t.Type != broker.Places {
		return nil, faultf(wire.InvalidConfig, "'%s' is not a list that could be added to or taken from", name)
	}
	now, _ := set.Value(t)
	if v, changed := change[name]; changed && v != nil {
		now = *v
	} else if changed {
		now, _ = set.Default(t)
	}
	list := slices.DeleteFunc(strings.Split(now, ","), func(have string) bool { return have == "" })
	for _, v := range strings.Split(deref(value), ",") {
		v = strings.TrimSpace(v)
		list = slices.DeleteFunc(list, func(have string) bool { return have == v })
		if op == kmsg.IncrementalAlterConfigOpAppend {
			list = append(list, v)
		}
	}
	joined := strings.Join(list, ",")
	return &joined, nil
}

// applyConfig has the broker change the topic, or only look whether it would.
func (c *conn) applyConfig(q *broker.Queue, change map[string]*string, validateOnly bool) error {
	if validateOnly {
		return q.CheckConfig(change)
	}
	return c.session.SetConfig(q, change)
}
