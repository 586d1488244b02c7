package broker

import (
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// settingTable is every setting there is. To add one, add its line here, a field to
// Settings if code has to look at it, and the code that obeys it: declarations, Kafka
// configs, their descriptions and their errors all read this table.
//
// Some are taken although nothing is done for them, because what they ask for is
// never visible in what is read: batches stay in the producer's codec whatever
// compression.type says; sizes of indexes, delays of deletions and, but for what compaction
// waits for, when a segment is full are the store's; there is one node to place a queue on, and none that a consumer could be on and be cut off
// from, that could lead without being in sync, or whose copying could be throttled; all that is
// kept is local. What would break a promise is refused and says why: a second
// replica in min.insync.replicas, a place far away in remote.storage.enable, and flushes more often than
// once a second, which is what each durability mode does without being asked.
var settingTable = []*Setting{
	// Of a queue.
	{Arg: argType, Type: Word, Words: []string{"classic", "quorum", "stream"}, Default: "classic", of: everyType},
	{Arg: argRetention, age: true, Max: math.MaxInt64 / 1_000_000, Default: "0", of: workTypes,
		wrong: `want a number and one of Y, M, D, h, m, s, such as "7D"`,
		obey:  func(s *Settings, v string) { s.History = milliseconds(v) }},
	{Arg: argDeliveryLimit, Policy: "delivery-limit", Min: math.MinInt64, Max: math.MaxInt64, Default: "-1", Live: ByPolicy, of: takenTypes,
		merge: lesserFirst, operator: true, bars: classic.set | streamType, word: "delivery limit",
		obey: func(s *Settings, v string) { s.DeliveryLimit = int(min(whole(v), 1<<30)) }},
	{Arg: "x-message-ttl", Policy: "message-ttl", Max: MaxTimeMs, Live: ByPolicy, of: workTypes,
		merge: lesserFirst, operator: true, bars: keptTypes, word: "message TTL",
		obey: func(s *Settings, v string) {
			if v != "" {
				s.MessageTTL = whole(v)
			}
		}},
	{Arg: "x-expires", Policy: "expires", Min: 1, Max: MaxTimeMs, Live: ByPolicy, of: workTypes,
		merge: lesserFirst, operator: true, bars: keptTypes, word: "queue expiry",
		obey: func(s *Settings, v string) { s.Expires = milliseconds(v) }},
	{Arg: argConsumerTimeout, Policy: "consumer-timeout", Type: Text, Live: ByPolicy, of: everyType,
		merge: lesserFirst, word: "consumer timeout",
		obey: func(s *Settings, v string) {
			if len(v) > 1 && v[0] == field.TagInt64 && s.kind != stream { // where nothing goes back
				s.ConsumerTimeout = consumerTimeout(whole(v[1:]))
			}
		}},
	{Arg: "x-max-priority", Max: 255, wrong: "{max_value_exceeded,VALUE}", of: classic.set,
		obey: func(s *Settings, v string) {
			if v != "" {
				s.MaxPriority = max(1, int(whole(v))) // 0 is as 1, on RabbitMQ too
			}
		}},
	{Arg: "x-single-active-consumer", Type: Flag, Default: "false", of: workTypes,
		obey: func(s *Settings, v string) { s.SingleActive = v == "true" }},
	{Arg: "x-max-length", Policy: "max-length", Max: math.MaxInt64, Live: ByPolicy, of: workTypes,
		merge: lesserFirst, operator: true, bars: keptTypes, word: "maximum length",
		obey: func(s *Settings, v string) { s.MaxLength = limit(v) }},
	{Arg: "x-max-length-bytes", Policy: "max-length-bytes", Max: math.MaxInt64, Live: ByPolicy, of: workTypes | streamType, as: "retention.bytes",
		merge: lesserFirst, operator: true, word: "maximum length in bytes",
		obey: func(s *Settings, v string) {
			if s.MaxLengthBytes = limit(v); s.kind.kept {
				s.MaxLengthBytes = noLimit // it goes by segments
			}
		}},
	{Arg: argOverflow, Policy: "overflow", Type: Word, Words: []string{"drop-head", "reject-publish", "reject-publish-dlx"},
		Default: "drop-head", wrong: "invalid_overflow", Live: ByPolicy, of: workTypes,
		operator: true, bars: keptTypes, word: "overflow value",
		obey: func(s *Settings, v string) { s.Overflow = overflows[v] }},
	{Arg: argDeadLetterExchange, Policy: "dead-letter-exchange", Type: Name, Live: ByPolicy, of: takenTypes,
		bars: streamType, word: "dead letter exchange name",
		obey: func(s *Settings, v string) { s.DeadLetterExchange = name(v) }},
	{Arg: argDeadLetterKey, Policy: "dead-letter-routing-key", Type: Name, Live: ByPolicy, of: takenTypes,
		bars: streamType, word: "dead letter routing key",
		obey: func(s *Settings, v string) { s.DeadLetterKey = name(v) }},
	{Arg: "x-dead-letter-strategy", Policy: "dead-letter-strategy", Type: Word, Words: []string{"at-most-once", "at-least-once"},
		Default: "at-most-once", wrong: "invalid_dlx_strategy", Live: ByPolicy, of: quorum.set,
		bars: classic.set | keptTypes, word: "dead letter strategy",
		obey: func(s *Settings, v string) { s.KeepDeadLetters = v == "at-least-once" && s.Overflow == RejectPublish }},
	{Arg: argRetryType, Policy: "delayed-retry-type", Type: Word, Words: []string{"disabled", "all", "failed", "returned"}, Default: "disabled",
		wrong: `"VALUE is not a valid delayed retry type. Must be one of: all, failed, returned, disabled"`, Live: ByPolicy, of: takenTypes,
		merge: policyFirst, operator: true,
		obey: func(s *Settings, v string) {
			s.RetryFailed, s.RetryReturned = v == "all" || v == "failed", v == "all" || v == "returned"
		}},
	{Arg: argRetryMin, Policy: "delayed-retry-min", Min: 1, Max: MaxTimeMs, Live: ByPolicy, of: takenTypes,
		merge: lesserFirst, operator: true,
		obey: func(s *Settings, v string) { s.RetryMinMs = whole(v) }},
	{Arg: argRetryMax, Policy: "delayed-retry-max", Min: 1, Max: MaxTimeMs, Live: ByPolicy, of: takenTypes,
		merge: lesserFirst, operator: true,
		obey: func(s *Settings, v string) { s.RetryMaxMs = whole(v) }},
	{Arg: argDistinct, Policy: "x-message-deduplication", Type: Flag, Default: "false", of: workTypes,
		obey: func(s *Settings, v string) { s.Distinct = v == "true" }},
	{Arg: argCacheSize, Min: 1, Max: maxCacheSize, Default: strconv.Itoa(defaultCacheSize), of: workTypes,
		obey: func(s *Settings, v string) { s.CacheSize = int(whole(v)) }},
	{Arg: argCacheTTL, Min: 1, Max: MaxTimeMs, of: workTypes,
		obey: func(s *Settings, v string) {
			if v != "" {
				s.CacheTTL = whole(v)
			}
		}},
	{Arg: "x-queue-mode", Policy: "queue-mode", Type: Word, Words: []string{"default", "lazy"}, Default: "default", of: classic.set,
		wrong: `"unsupported queue mode 'VALUE'"`, bars: quorum.set | keptTypes, word: "queue-mode value"},
	{Arg: "x-queue-version", Policy: "queue-version", Min: 1, Max: 2, Default: "2", of: classic.set,
		wrong: `"unsupported queue version 'VALUE'"`, operator: true, word: "queue-version value"},
	{Arg: "x-queue-master-locator", Policy: "queue-master-locator", Type: Text, of: classic.set, operator: true, bars: quorum.set | keptTypes},
	{Arg: "x-queue-leader-locator", Policy: "queue-leader-locator", Type: Word, Words: []string{"client-local", "balanced", "random", "least-leaders"},
		Default: "client-local", wrong: "invalid_queue_locator_arg", of: workTypes | streamType,
		merge: policyFirst, word: "queue leader locator value"},
	{Arg: "x-consumer-disconnected-timeout", Policy: "consumer-disconnected-timeout", Max: math.MaxInt64, Default: "60000", of: quorum.set,
		merge: lesserFirst, word: "consumer disconnected timeout"},
	{Arg: "x-quorum-initial-group-size", Min: 1, Max: math.MaxInt64, Default: "1", of: quorum.set},
	{Arg: "x-max-in-memory-length", Policy: "max-in-memory-length", Max: math.MaxInt64, of: quorum.set,
		merge: lesserFirst, operator: true, bars: classic.set | keptTypes, word: "maximum memory in bytes"},
	{Arg: "x-max-in-memory-bytes", Policy: "max-in-memory-bytes", Max: math.MaxInt64, of: quorum.set,
		merge: lesserFirst, operator: true, bars: classic.set | keptTypes, word: "maximum memory in bytes"},
	{Policy: "target-group-size", Min: 1, Max: math.MaxInt64, operator: true, bars: classic.set | keptTypes},

	{Arg: "x-max-age", Policy: "max-age", age: true, least: time.Second, Live: ByPolicy, wrong: "invalid_max_age", of: streamType, as: "retention.ms",
		bars: workTypes, word: "max age"},
	{Arg: argSegmentBytes, Policy: "stream-max-segment-size-bytes", Max: math.MaxInt64, Live: ByPolicy, of: streamType, as: "segment.bytes",
		bars: workTypes, word: "segment size"},
	{Policy: "stream-filter-size-bytes", Min: 16, Max: 255, word: "filter size. Valid range is 16-255"},
	{Arg: "x-initial-cluster-size", Policy: "initial-cluster-size", Min: 1, Max: math.MaxInt64, of: streamType, bars: workTypes, word: "cluster size"},

	// Of a topic. For Kafka clients every queue is one.
	{Config: "cleanup.policy", Broker: "log.cleanup.policy", Doc: "What becomes of old records: delete has them go after retention.ms or beyond retention.bytes, compact keeps the last record of each key, and both do both. Empty keeps everything.",
		Type: List, Words: []string{"compact", "delete"}, Default: "delete", Live: ByConfig,
		obey: func(s *Settings, v string) {
			words := splitList(v)
			s.DeleteOld, s.Compact = slices.Contains(words, "delete"), slices.Contains(words, "compact")
		}},
	{Config: "compression.gzip.level", Broker: "compression.gzip.level", Doc: "Level of gzip where compression.type is gzip. Taken and told; batches stay as producers packed them.",
		Min: 1, Max: 9, Words: []string{"-1"}, Default: "-1", Live: ByConfig},
	{Config: "compression.lz4.level", Broker: "compression.lz4.level", Doc: "Level of LZ4 where compression.type is lz4. Taken and told; batches stay as producers packed them.",
		Min: 1, Max: 17, Default: "9", Live: ByConfig},
	{Config: "compression.type", Broker: "compression.type", Doc: "Codec of the topic. Taken and told; batches stay as producers packed them, which consumers read alike.",
		Type: Word, Words: []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}, Default: "producer", Live: ByConfig},
	{Config: "compression.zstd.level", Broker: "compression.zstd.level", Doc: "Level of zstd where compression.type is zstd. Taken and told; batches stay as producers packed them.",
		Min: -131072, Max: 22, Default: "3", Live: ByConfig},
	{Config: "delete.retention.ms", Broker: "log.cleaner.delete.retention.ms", Doc: "How long a compacted topic keeps a record without a value, which ends its key, for consumers that come later, in ms from when it was compacted first.",
		Max: math.MaxInt64, Default: "86400000", Live: ByConfig, only: ofCompacted,
		obey: func(s *Settings, v string) { s.TombstoneAge = milliseconds(v) }},
	{Config: "errors.deadletterqueue.group.enable", Doc: "Whether share groups may write what they can't work off to this topic. Here it goes to the dead-letter exchange of the topic they read, by a policy.",
		Type: Flag, Words: []string{"false"}, Default: "false", Live: ByConfig, why: "what share groups can't work off goes where the queue's x-dead-letter-exchange says"},
	{Config: "file.delete.delay.ms", Broker: "log.segment.delete.delay.ms", Doc: "How long a file that is deleted stays on disk, in ms. Taken and told; a file goes with its last reader.",
		Max: math.MaxInt64, Default: "60000", Live: ByConfig},
	{Config: "flush.messages", Broker: "log.flush.interval.messages", Doc: "Number of records after which they are flushed to disk. When that is done is for the durability mode of the broker to say.",
		Min: math.MaxInt64, Max: math.MaxInt64, Default: "9223372036854775807", Live: ByConfig,
		why: "when messages are flushed is for the durability mode to say, and acks=all waits for it"},
	{Config: "flush.ms", Doc: "Time after which records are flushed to disk, in ms. Everything is flushed once a second, and before acks=all is answered as the durability mode of the broker says.",
		Min: 1000, Max: math.MaxInt64, Default: "9223372036854775807", Live: ByConfig,
		why: "everything is flushed once a second"},
	{Config: "follower.replication.throttled.replicas", Doc: "Replicas whose copying from their leader is throttled, as partition:broker pairs or *. Taken and told; there is one broker.",
		Type: Places, Live: ByConfig},
	{Config: "index.interval.bytes", Broker: "log.index.interval.bytes", Doc: "Bytes between two entries of a segment's index. Taken and told; the index is the store's own.",
		Max: math.MaxInt32, Default: "4096", Live: ByConfig},
	{Config: "leader.replication.throttled.replicas", Doc: "Replicas whose copying by their leader is throttled, as partition:broker pairs or *. Taken and told; there is one broker.",
		Type: Places, Live: ByConfig},
	{Config: "local.retention.bytes", Broker: "log.local.retention.bytes", Doc: "Bytes of a partition that stay local with tiered storage; -2 is retention.bytes. Taken and told; all that is kept is local.",
		Min: -2, Max: math.MaxInt64, Default: "-2", Live: ByConfig},
	{Config: "local.retention.ms", Broker: "log.local.retention.ms", Doc: "How long records stay local with tiered storage, in ms; -2 is retention.ms. Taken and told; all that is kept is local.",
		Min: -2, Max: math.MaxInt64, Default: "-2", Live: ByConfig},
	{Config: "max.compaction.lag.ms", Broker: "log.cleaner.max.compaction.lag.ms", Doc: "The longest that a record of a compacted topic stays as it is before it is compacted, in ms.",
		Min: 1, Max: math.MaxInt64, Default: "9223372036854775807", Live: ByConfig, only: ofCompacted,
		obey: func(s *Settings, v string) { s.MostDirtyAge = milliseconds(v) }},
	{Config: "max.decompressed.message.bytes", Broker: "max.decompressed.message.bytes", Doc: "Largest record of a compressed batch, in bytes when it is unpacked. A batch with a larger one is refused with INVALID_RECORD.",
		Min: 1, Max: math.MaxInt32 - 8, Default: "2147483639", Live: ByConfig,
		obey: func(s *Settings, v string) {
			if n := whole(v); n < math.MaxInt32-8 {
				s.MaxRecordBytes = int(n)
			}
		}},
	{Config: "max.message.bytes", Broker: "message.max.bytes", Doc: "Largest batch that is taken from a producer, as it comes over the wire, in bytes. A larger one is refused with MESSAGE_TOO_LARGE.",
		Max: math.MaxInt32, Default: "1048588", Live: ByConfig,
		obey: func(s *Settings, v string) { s.MaxBatchBytes = int(whole(v)) }},
	{Config: "message.timestamp.after.max.ms", Broker: "log.message.timestamp.after.max.ms", Doc: "How far ahead of the broker's clock a record's time may be, in ms, unless the topic has the broker's own times.",
		Max: math.MaxInt64, Default: "3600000", Live: ByConfig,
		obey: func(s *Settings, v string) { s.TimeAfterMs = whole(v) }},
	{Config: "message.timestamp.before.max.ms", Broker: "log.message.timestamp.before.max.ms", Doc: "How far behind the broker's clock a record's time may be, in ms, unless the topic has the broker's own times.",
		Max: math.MaxInt64, Default: "9223372036854775807", Live: ByConfig,
		obey: func(s *Settings, v string) { s.TimeBeforeMs = whole(v) }},
	{Config: timestampType, Broker: "log.message.timestamp.type", Doc: "Whose time a record bears: CreateTime is its producer's, LogAppendTime that of its arrival.",
		Type: Word, Words: []string{"CreateTime", "LogAppendTime"}, Default: "CreateTime", Live: ByConfig,
		obey: func(s *Settings, v string) { s.LogAppendTime = v == "LogAppendTime" }},
	{Config: "min.cleanable.dirty.ratio", Broker: "log.cleaner.min.cleanable.ratio", Doc: "How much of a log of a compacted topic must not have been compacted yet for that to be done, from 0 to 1.",
		Type: Share, Default: "0.5", Live: ByConfig, only: ofCompacted,
		obey: func(s *Settings, v string) { s.DirtyShare, _ = strconv.ParseFloat(v, 64) }},
	{Config: "min.compaction.lag.ms", Broker: "log.cleaner.min.compaction.lag.ms", Doc: "How long a record of a compacted topic stays as it is at least, in ms.",
		Max: math.MaxInt64, Default: "0", Live: ByConfig, only: ofCompacted,
		obey: func(s *Settings, v string) { s.LeastDirtyAge = milliseconds(v) }},
	{Config: "min.insync.replicas", Broker: "min.insync.replicas", Doc: "Number of replicas that must have a record before acks=all is answered. There is one broker.",
		Min: 1, Max: 1, Default: "1", Live: ByConfig, ClusterWide: true, why: "there is one broker"},
	{Config: "preallocate", Broker: "log.preallocate", Doc: "Whether the space of a segment is taken on disk when it is begun. Taken and told; it always is.",
		Type: Flag, Default: "false", Live: ByConfig},
	{Config: "remote.copy.lag.bytes", Broker: "log.remote.copy.lag.bytes", Doc: "How much newer data there must be before a segment is copied to remote storage, in bytes. Taken and told; all that is kept is local.",
		Min: -1, Max: math.MaxInt64, Default: "-1", Live: ByConfig},
	{Config: "remote.copy.lag.ms", Broker: "log.remote.copy.lag.ms", Doc: "How old a segment must be before it is copied to remote storage, in ms. Taken and told; all that is kept is local.",
		Min: -1, Max: math.MaxInt64, Default: "0", Live: ByConfig},
	{Config: "remote.log.copy.disable", Doc: "Whether nothing more is copied to remote storage. Taken and told; all that is kept is local.",
		Type: Flag, Default: "false", Live: ByConfig},
	{Config: "remote.log.delete.on.disable", Doc: "Whether what is remote goes when tiered storage is switched off. Taken and told; all that is kept is local.",
		Type: Flag, Default: "false", Live: ByConfig},
	{Config: "remote.storage.enable", Doc: "Whether old segments go to remote storage. All that is kept is local.",
		Type: Flag, Words: []string{"false"}, Default: "false", Live: ByConfig, why: "all that is kept is local"},
	{Config: "retention.bytes", Broker: "log.retention.bytes", Doc: "Bytes of a partition beyond which its oldest segments go, where cleanup.policy has delete; negative is no limit.",
		Min: math.MinInt64, Max: math.MaxInt64, Default: "-1", Live: ByConfig,
		obey: func(s *Settings, v string) { s.RetentionBytes = max(0, whole(v)) }},
	{Config: "retention.ms", Broker: "log.retention.ms", Unset: true, Doc: "How long records stay, in ms, where cleanup.policy has delete; -1 is for ever.",
		Min: -1, Max: math.MaxInt64, Default: "604800000", Live: ByConfig,
		obey: func(s *Settings, v string) { s.RetentionAge = max(0, milliseconds(v)) }},
	{Config: "segment.bytes", Broker: "log.segment.bytes", Doc: "Size of a full segment in bytes. What is deleted for its age or for the size of its partition goes by segments.",
		Min: 64 << 10, Max: math.MaxInt32, Default: "67108864", Live: ByConfig,
		obey: func(s *Settings, v string) { s.SegmentBytes = whole(v) }},
	{Config: "segment.index.bytes", Broker: "log.index.size.max.bytes", Doc: "Largest index of a segment in bytes. Taken and told; the index is the store's own.",
		Min: 4, Max: math.MaxInt32, Default: "10485760", Live: ByConfig},
	{Config: "segment.jitter.ms", Doc: "How much the times of segment.ms vary, in ms. Taken and told.",
		Max: math.MaxInt64, Default: "0", Live: ByConfig},
	{Config: "segment.ms", Doc: "How long a segment of a compacted topic is written to before it can be compacted, in ms.",
		Min: 1, Max: math.MaxInt64, Default: "604800000", Live: ByConfig, only: ofCompacted,
		obey: func(s *Settings, v string) { s.SegmentAge = milliseconds(v) }},
	{Config: "unclean.leader.election.enable", Broker: "unclean.leader.election.enable", Doc: "Whether a replica that is not in sync may lead, at the price of records. Taken and told; there is one broker.",
		Type: Flag, Default: "false", Live: ByConfig},
}

// Arguments that other code has to name.
const (
	argType      = "x-queue-type"
	argRetention = "x-retention"

	argDeliveryLimit = "x-delivery-limit"
	argOverflow      = "x-overflow"

	argConsumerTimeout    = "x-consumer-timeout"
	argDeadLetterExchange = "x-dead-letter-exchange"
	argDeadLetterKey      = "x-dead-letter-routing-key"
	argSegmentBytes       = "x-stream-max-segment-size-bytes"

	argRetryType = "x-delayed-retry-type"
	argRetryMin  = "x-delayed-retry-min"
	argRetryMax  = "x-delayed-retry-max"

	timestampType = "message.timestamp.type"
)

// ofCompacted is which topics settings of compaction are for.
const ofCompacted = "of compacted topics"

// maxStreamSegmentBytes is what RabbitMQ takes for a stream; our segments are smaller.
const maxStreamSegmentBytes = 3_000_000_000

// MaxTimeMs is the longest time that RabbitMQ takes: ten years. The ladders of delays that
// clients declare go to 2²⁷ seconds.
const MaxTimeMs = 10 * 365 * 24 * 3600 * 1000

// whole is a value that was checked.
func whole(v string) int64 {
	n, _ := strconv.ParseInt(v, 10, 64)
	return n
}

// consumerTimeout is that many ms, of which none or fewer are no limit.
func consumerTimeout(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), math.MaxInt64/1_000_000)) * time.Millisecond
}

// limit is a length, without a limit if nobody said one.
func limit(v string) int64 {
	if v == "" {
		return noLimit
	}
	return whole(v)
}

// name is what a Name says, nil if nobody said anything.
func name(v string) []byte {
	if v == "" {
		return nil
	}
	return []byte(v[1:])
}

// milliseconds is a time; what is longer than the longest, 292 years, is as long as that.
func milliseconds(v string) time.Duration {
	return time.Duration(min(whole(v), math.MaxInt64/1_000_000)) * time.Millisecond
}
