package broker

import (
	"cmp"
	"encoding/binary"
	"maps"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// Settings are what one queue or topic obeys at a moment: one value that never
// changes. A change makes another and stores it in the queue, so a reader takes the
// pointer once and has settings that belong together.
type Settings struct {
	History         time.Duration // how long a work queue keeps what was acked; 0: not at all
	RetentionAge    time.Duration // of a topic; 0: for ever
	RetentionBytes  int64         // of each log of a topic; 0: no limit
	DeleteOld       bool          // false: a topic keeps what is older too
	Compact         bool          // a topic keeps the last record of each key: see compact.go
	TombstoneAge    time.Duration // of a compacted topic, how long it keeps a record that ends its key
	LeastDirtyAge   time.Duration // younger records are not compacted,
	MostDirtyAge    time.Duration // and older ones are, however few they are
	DirtyShare      float64       // how much of the log must not be compacted yet for that to be done
	SegmentAge      time.Duration // from which on what is being written becomes a segment that can be compacted
	SegmentBytes    int64         // largest segment; 0 is the store's own
	MaxBatchBytes   int           // largest batch of a Kafka producer
	MaxRecordBytes  int           // largest record of one that is compressed, unpacked; 0: any
	LogAppendTime   bool          // records bear the time of their arrival
	DeliveryLimit   int           // returns of a message that the queue bears; negative: any number
	MessageTTL      int64         // ms that a message stays in the queue; negative: for ever
	Expires         time.Duration // without use, after which the queue is deleted; 0: never
	ConsumerTimeout time.Duration // how long a consumer may hold a message; 0: for ever
	MaxPriority     int           // highest priority that is told from the others; 0: none is
	SingleActive    bool          // one consumer at a time gets messages
	TimeBeforeMs    int64         // how much older than now a Kafka record may be
	TimeAfterMs     int64         // how much newer
	MaxLength       int64         // messages that may be ready; noLimit: any number
	MaxLengthBytes  int64         // of their bodies
	Overflow        Overflow      // what happens beyond that
	// DeadLetterExchange gets what expires, is rejected or goes for a limit; nil is none, ""
	// the default exchange. DeadLetterKey is its routing key there, nil its own.
	DeadLetterExchange []byte
	DeadLetterKey      []byte
	// KeepDeadLetters says that a message for which there is no place stays in the queue.
	KeepDeadLetters bool

	// What is returned because it failed, or without that, waits before it is ready again:
	// RetryMinMs for each return, at most RetryMaxMs. See retryAfter.
	RetryFailed, RetryReturned bool
	RetryMinMs, RetryMaxMs     int64

	// Distinct queues take no message of a name that they have. They remember at most CacheSize
	// names, and none for more than CacheTTL ms; negative: for as long as the message is there.
	Distinct  bool
	CacheSize int
	CacheTTL  int64

	kind   *queueType
	layers layers
}

// layer is what one source says, by setting. It is not changed any more once it
// belongs to Settings.
type layer map[*Setting]string

// layers are the sources, the strongest first; of declaration and policy each setting
// says itself which is, in Setting.merge.
type layers struct {
	declared layer   // arguments of the declaration, or configs of the topic
	policy   layer   // of the virtual host's policies
	server   layer   // what the server was started with
	under    matched // the policies that policy is of
}

// SettingSource says where a value comes from.
type SettingSource uint8

// The sources, the weakest first.
const (
	FromDefault  SettingSource = iota // the table, or the type of the queue
	FromServer                        // how the server was started
	FromPolicy                        // a policy
	FromDeclared                      // the declaration, or a change of the topic's configs
)

// newSettings computes what holds for a queue of that type.
func newSettings(kind *queueType, l layers) *Settings {
	s := &Settings{kind: kind, layers: l, MessageTTL: -1, CacheTTL: -1}
	for _, t := range settingTable {
		if t.obey == nil {
			continue
		}
		t.obey(s, s.value(t))
	}
	if kind == quorum && s.Overflow == RejectToDead {
		s.Overflow = DropHead // which RabbitMQ's quorum queues do not know
	}
	if _, from := s.Value(TopicSetting("segment.bytes")); from == FromDefault {
		s.SegmentBytes = 0
	}
	return s
}

func (s *Settings) value(t *Setting) string {
	v, _ := s.Value(t)
	return v
}

// Value is what holds for one setting, and who says so.
func (s *Settings) Value(t *Setting) (string, SettingSource) {
	v, from := s.said(t)
	if s.kind.kept && t.Config != "" {
		arg := settingNamed(t.Config, func(t *Setting) string { return t.as })
		if said, who := s.said(arg); who != FromDefault {
			v, from = either(arg.merging(s.kind), v, from, t.within(said), who)
		}
	}
	if from != FromDefault {
		return v, from
	}
	if s.MessageTTL >= 0 && t.Config == timestampType {
		return "LogAppendTime", FromDeclared // a time to live counts from the arrival
	}
	return s.Default(t)
}

// said is what the declaration or a policy says of a setting, FromDefault if neither says
// something. t may be nil.
func (s *Settings) said(t *Setting) (string, SettingSource) {
	if t == nil {
		return "", FromDefault
	}
	declared, policy := FromDefault, FromDefault
	mine, ok := s.layers.declared[t]
	if ok {
		declared = FromDeclared
	}
	theirs, ok := s.layers.policy[t]
	if ok {
		policy = FromPolicy
	}
	return either(t.merging(s.kind), mine, declared, theirs, policy)
}

// Default is what would hold for a setting if nothing were declared for this queue.
func (s *Settings) Default(t *Setting) (string, SettingSource) {
	if v, ok := s.kind.defaults[cmp.Or(t.Config, t.Arg)]; ok {
		return v, FromDefault
	}
	if v, ok := s.layers.server[t]; ok {
		return v, FromServer
	}
	return t.Default, FromDefault
}

// countsDeliveries says whether a message that came back says how often it did.
func (s *Settings) countsDeliveries() bool { return s.kind.counts || s.DeliveryLimit >= 0 }

// configs are the declared settings as a definition keeps them, under Kafka's names.
func (s *Settings) configs() map[string]string {
	out := map[string]string{}
	for t, v := range s.layers.declared {
		if t.Config != "" {
			out[t.Config] = v
		}
	}
	return out
}

// logOptions is how the logs of a queue with these settings are kept.
func (s *Settings) logOptions(transient bool) store.LogOptions {
	o := store.LogOptions{Transient: transient, SegmentBytes: s.SegmentBytes}
	switch {
	case !s.kind.kept:
		o.Retention = store.Retention{Consumed: true, Age: s.History}
	case s.DeleteOld:
		o.Retention = store.Retention{Age: s.RetentionAge, Bytes: s.RetentionBytes}
	}
	return o
}

// serverLayer is what the broker's options say, where they say something else than the table.
func serverLayer(o *Options) layer {
	l := layer{}
	set := func(config, value string) {
		if t := TopicSetting(config); t.Default != value {
			l[t] = value
		}
	}
	set("max.message.bytes", strconv.Itoa(o.MaxBatchBytes))
	retention := "-1"
	if o.TopicRetention > 0 {
		retention = strconv.FormatInt(o.TopicRetention.Milliseconds(), 10)
	}
	set("retention.ms", retention)
	return l
}

// plain are the settings of a queue that declared none: one value for all of them.
func (b *Broker) plain(kind *queueType) *Settings { return b.plainSettings[kind] }

func (b *Broker) makePlain() {
	b.server = serverLayer(&b.opts)
	b.plainSettings = map[*queueType]*Settings{}
	for _, kind := range allQueueTypes {
		b.plainSettings[kind] = newSettings(kind, layers{server: b.server})
	}
}

// settingsOf computes the settings of a queue with that declaration, to which these policies apply.
func (b *Broker) settingsOf(kind *queueType, declared layer, under matched) *Settings {
	if len(declared) == 0 && under == (matched{}) {
		return b.plain(kind)
	}
	compute := func() *Settings {
		return newSettings(kind, layers{declared: declared, policy: under.layer(kind), server: b.server, under: under})
	}
	key := under.key() + declared.key(kind)
	if len(key) > maxAlikeBytes {
		return compute()
	}
	return b.sharedSettings.Of(key, compute)
}

// key is the same for all who declare the same.
func (l layer) key(kind *queueType) string {
	key := []byte(kind.name)
	for i, t := range settingTable {
		if v, ok := l[t]; ok {
			key = binary.AppendUvarint(append(key, 0), uint64(i))
			key = append(binary.AppendUvarint(key, uint64(len(v))), v...)
		}
	}
	return string(key)
}

// TopicDefaults are the settings of a topic for which nothing was set.
func (b *Broker) TopicDefaults() *Settings { return b.plain(topic) }

// TopicConfig checks the configs of a topic and computes what they come to, without
// making one. A nil value is the default.
func (b *Broker) TopicConfig(configs map[string]*string) (*Settings, error) {
	declared, err := b.plain(topic).with(configs)
	if err != nil {
		return nil, err
	}
	return b.settingsOf(topic, declared, matched{}), nil
}

// agree holds configs against each other that each for itself are taken.
func (k *queueType) agree(declared layer) error {
	lag := func(config string) int64 {
		t := TopicSetting(config)
		if v, ok := declared[t]; ok {
			return whole(v)
		}
		return whole(t.Default)
	}
	if least, most := lag("min.compaction.lag.ms"), lag("max.compaction.lag.ms"); k == topic && least > most {
		return fail(BadSetting, "conflict topic config setting min.compaction.lag.ms (%d) > max.compaction.lag.ms (%d)", least, most)
	}
	return nil
}

// with is the declared layer after a change, in which nil stands for the default.
func (s *Settings) with(change map[string]*string) (layer, error) {
	out := maps.Clone(s.layers.declared)
	if out == nil {
		out = layer{}
	}
	for name, v := range change {
		t := TopicSetting(name)
		switch {
		case t == nil:
			return nil, fail(BadSetting, "Unknown topic config name: %s", name)
		case t.Live&ByConfig == 0:
			return nil, fail(BadSetting, "%s can't be changed", name)
		case v == nil:
			delete(out, t)
			continue
		}
		value := t.config(*v)
		if wrong := t.refuse(value); wrong != "" {
			return nil, fail(BadSetting, "Invalid value %s for configuration %s: %s", *v, name, wrong)
		}
		out[t] = value
	}
	return out, s.kind.agree(out)
}
