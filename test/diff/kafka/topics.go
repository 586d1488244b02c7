package main

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopic is a topic to be made, with settings in pairs.
func newTopic(name string, partitions int32, replicas int16, settings ...string) kmsg.CreateTopicsRequestTopic {
	one := kmsg.NewCreateTopicsRequestTopic()
	one.Topic, one.NumPartitions, one.ReplicationFactor = name, partitions, replicas
	for i := 0; i+1 < len(settings); i += 2 {
		one.Configs = append(one.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: settings[i], Value: &settings[i+1]})
	}
	return one
}

func creation(topics ...kmsg.CreateTopicsRequestTopic) *kmsg.CreateTopicsRequest {
	r := kmsg.NewPtrCreateTopicsRequest()
	r.TimeoutMillis, r.Topics = 10_000, topics
	return r
}

// settingsOfTopics are values to try, by setting.
var settingsOfTopics = []struct {
	name   string
	values []string
}{
	{"cleanup.policy", []string{"delete", "compact", "compact,delete", "delete, compact", "", "none", "DELETE", "delete,delete", "delete,none", " compact "}},
	{"compression.type", []string{"producer", "gzip", "snappy", "lz4", "zstd", "uncompressed", "none", "GZIP", "", "brotli"}},
	{"compression.gzip.level", []string{"-1", "1", "9", "0", "10", "x"}},
	{"compression.lz4.level", []string{"1", "17", "0", "18"}},
	{"compression.zstd.level", []string{"3", "22", "-131072", "23"}},
	{"delete.retention.ms", []string{"0", "1", "-1", "9223372036854775807", "9223372036854775808", "x", ""}},
	{"file.delete.delay.ms", []string{"0", "-1", "60000"}},
	{"flush.messages", []string{"9223372036854775807", "1", "0"}},
	{"flush.ms", []string{"9223372036854775807", "1000", "0", "-1"}},
	{"follower.replication.throttled.replicas", []string{"", "*", "0:1", "x", "0:1,1:2"}},
	{"leader.replication.throttled.replicas", []string{"", "*", "none"}},
	{"index.interval.bytes", []string{"0", "4096", "-1", "2147483648"}},
	{"local.retention.bytes", []string{"-2", "-1", "0", "-3"}},
	{"local.retention.ms", []string{"-2", "-1", "0", "-3"}},
	{"max.compaction.lag.ms", []string{"1", "0", "9223372036854775807"}},
	{"max.message.bytes", []string{"0", "-1", "1", "1048588", "2147483647", "2147483648", "1.5", "1e3", " 7 "}},
	{"message.timestamp.after.max.ms", []string{"0", "-1", "3600000", "9223372036854775807"}},
	{"message.timestamp.before.max.ms", []string{"0", "-1", "9223372036854775807"}},
	{"message.timestamp.type", []string{"CreateTime", "LogAppendTime", "createtime", "none", ""}},
	{"min.cleanable.dirty.ratio", []string{"0", "1", "0.5", "1.1", "-0.1", "x", "NaN"}},
	{"min.compaction.lag.ms", []string{"0", "1", "-1", "9223372036854775807"}},
	{"min.insync.replicas", []string{"1", "2", "0", "-1"}},
	{"preallocate", []string{"true", "false", "TRUE", "yes", ""}},
	{"remote.storage.enable", []string{"false", "true", "x"}},
	{"remote.log.delete.on.disable", []string{"false", "true"}},
	{"remote.log.copy.disable", []string{"false", "true"}},
	{"retention.bytes", []string{"-1", "0", "1", "-2", "9223372036854775807"}},
	{"retention.ms", []string{"-1", "0", "1", "-2", "9223372036854775807", "1d"}},
	{"segment.bytes", []string{"14", "1048576", "1073741824", "2147483647", "2147483648", "13", "1048575"}},
	{"segment.index.bytes", []string{"4", "3", "0", "10485760"}},
	{"segment.jitter.ms", []string{"0", "-1", "1"}},
	{"segment.ms", []string{"1", "0", "-1", "604800000"}},
	{"unclean.leader.election.enable", []string{"false", "true", "x"}},
	{"message.downconversion.enable", []string{"true", "false"}},
	{"message.format.version", []string{"3.0-IV1", "2.8"}},
	{"errors.deadletterqueue.group.enable", []string{"true", "false"}},
	{"nothing.of.the.kind", []string{"1"}},
	{"", []string{"1"}},
	{"Retention.ms", []string{"1"}},
}

func createTopics(t *talk) {
	with := func(topic kmsg.CreateTopicsRequestTopic) func(int16) *kmsg.CreateTopicsRequest {
		return func(v int16) *kmsg.CreateTopicsRequest {
			topic := topic
			if strings.HasPrefix(topic.Topic, t.name) {
				topic.Topic = versionedName(topic.Topic, v)
			}
			return creation(topic)
		}
	}
	dry := func(topic kmsg.CreateTopicsRequestTopic) func(int16) *kmsg.CreateTopicsRequest {
		return func(v int16) *kmsg.CreateTopicsRequest {
			r := with(topic)(v)
			r.ValidateOnly = true
			return r
		}
	}
	short := without("Configs") // what they are is asked once
	ask(t, "to see", dry(newTopic(t.n("good"), 3, 1)), from(2))
	ask(t, "", with(newTopic(t.n("good"), 3, 1)), short)
	t.rest()
	ask(t, "which is there", with(newTopic(t.n("good"), 3, 1)), short)
	ask(t, "which is there, to see", dry(newTopic(t.n("good"), 3, 1)), short)
	ask(t, "by default", with(newTopic(t.n("default"), -1, -1)), short)
	for _, partitions := range []int32{0, -2, 20_000} {
		ask(t, "of a number of partitions that can't be", dry(newTopic(t.n("bad"), partitions, 1)), short, last)
	}
	ask(t, "of no partitions", with(newTopic(t.n("bad"), 0, 1)), short)
	ask(t, "of two replicas", with(newTopic(t.n("bad"), 1, 2)), short)
	ask(t, "of no replicas", with(newTopic(t.n("bad"), 1, 0)), short)
	ask(t, "of minus two replicas", with(newTopic(t.n("bad"), 1, -2)), short, last)
	for _, bad := range []string{"", ".", "..", "a b", "a/b", "ä", strings.Repeat("x", 250), strings.Repeat("x", 249) + "!", "__consumer_offsets", "__transaction_state", "__share_group_state"} {
		ask(t, "of a bad name", dry(newTopic(bad, 1, 1)), short, last)
	}
	ask(t, "of a bad name", with(newTopic("a b", 1, 1)), short)
	ask(t, "of a name like another's", func(int16) *kmsg.CreateTopicsRequest { return creation(newTopic("create.topics_good-v2", 1, 1)) }, short, last)
	like := t.topic("create-topics.like_this", 1)
	ask(t, "of a name with a dot like a line", func(int16) *kmsg.CreateTopicsRequest {
		return creation(newTopic(strings.ReplaceAll(like, ".", "_"), 1, 1))
	}, short, last)
	ask(t, "twice", func(v int16) *kmsg.CreateTopicsRequest {
		one := newTopic(versionedName(t.n("twice"), v), 1, 1)
		return creation(one, one, newTopic(versionedName(t.n("beside"), v), 1, 1))
	}, short)
	ask(t, "none", func(int16) *kmsg.CreateTopicsRequest { return creation() })
	assigned := func(partitions int32, replicas int16, each ...[]int32) kmsg.CreateTopicsRequestTopic {
		one := newTopic(t.n("assigned"), partitions, replicas)
		for i, r := range each {
			one.ReplicaAssignment = append(one.ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: r})
		}
		return one
	}
	ask(t, "assigned to a broker that is not there", dry(assigned(-1, -1, []int32{2})), short)
	ask(t, "assigned to none", dry(assigned(-1, -1, []int32{})), short)
	ask(t, "assigned to one twice", dry(assigned(-1, -1, []int32{1, 1})), short)
	ask(t, "assigned unevenly", dry(assigned(-1, -1, []int32{1}, []int32{1, 2})), short)
	ask(t, "assigned and counted", dry(assigned(2, -1, []int32{1}, []int32{1})), short)
	ask(t, "assigned and replicated", dry(assigned(-1, 1, []int32{1}, []int32{1})), short)
	gap := assigned(-1, -1, []int32{1}, []int32{1})
	gap.ReplicaAssignment[1].Partition = 5
	ask(t, "assigned with a gap", dry(gap), short)
	double := assigned(-1, -1, []int32{1}, []int32{1})
	double.ReplicaAssignment[1].Partition = 0
	ask(t, "assigned to one partition twice", dry(double), short)
	ask(t, "assigned", with(assigned(-1, -1, []int32{1}, []int32{1})), short)
	null := newTopic(t.n("null"), 1, 1)
	null.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	ask(t, "with a setting of null", dry(null), short)
	ask(t, "with one setting twice", dry(newTopic(t.n("set"), 1, 1, "retention.ms", "1", "retention.ms", "2")), short, last)
	ask(t, "with a local retention over all", dry(newTopic(t.n("set"), 1, 1, "retention.ms", "1", "local.retention.ms", "2")), short, last)
	ask(t, "with lags the wrong way round", dry(newTopic(t.n("set"), 1, 1, "min.compaction.lag.ms", "5", "max.compaction.lag.ms", "2")), short, last)
	for _, s := range settingsOfTopics {
		for _, value := range s.values {
			ask(t, "with "+s.name+" of '"+value+"'", dry(newTopic(t.n("set"), 1, 1, s.name, value)), short, last)
		}
	}
}

func deleteTopics(t *talk) {
	for v := range int16(7) {
		for _, n := range []string{"a", "b", "c", "d"} {
			quietly[*kmsg.CreateTopicsResponse](t, creation(newTopic(versionedName(t.n(n), v), 1, 1)), 5)
			t.ids[versionedName(t.n(n), v)] = [16]byte{}
		}
	}
	for name := range t.ids {
		t.await(name)
	}
	of := func(names ...string) func(int16) *kmsg.DeleteTopicsRequest {
		return func(v int16) *kmsg.DeleteTopicsRequest {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TimeoutMillis = 10_000
			for _, n := range names {
				if strings.HasPrefix(n, t.name) {
					n = versionedName(n, v)
				}
				r.TopicNames = append(r.TopicNames, n)
				r.Topics = append(r.Topics, kmsg.DeleteTopicsRequestTopic{Topic: ptr(n)})
			}
			return r
		}
	}
	ask(t, "one", of(t.n("a")))
	t.rest()
	ask(t, "one that is gone", of(t.n("a")))
	ask(t, "one and one that is not there", of(t.n("b"), t.n("none")))
	ask(t, "one twice", of(t.n("c"), t.n("c")))
	ask(t, "a bad name", of("a b"))
	ask(t, "an empty name", of(""))
	ask(t, "none", of())
	byID := func(id func(v int16) [16]byte, name *string) func(int16) *kmsg.DeleteTopicsRequest {
		return func(v int16) *kmsg.DeleteTopicsRequest {
			r := kmsg.NewPtrDeleteTopicsRequest()
			r.TimeoutMillis = 10_000
			r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: name, TopicID: id(v)}}
			return r
		}
	}
	d := func(v int16) [16]byte { return t.ids[versionedName(t.n("d"), v)] }
	ask(t, "an id and a name", byID(d, ptr(versionedName(t.n("d"), 6))), from(6))
	ask(t, "an id", byID(d, nil), from(6))
	t.rest()
	ask(t, "an id that is gone", byID(d, nil), from(6))
	ask(t, "neither id nor name", byID(func(int16) [16]byte { return [16]byte{} }, nil), from(6))
	c := func(v int16) [16]byte { return t.ids[versionedName(t.n("c"), v)] }
	ask(t, "an id twice", func(v int16) *kmsg.DeleteTopicsRequest {
		r := byID(c, nil)(v)
		r.Topics = append(r.Topics, r.Topics[0])
		return r
	}, from(6))
	ask(t, "an id and its name beside", func(v int16) *kmsg.DeleteTopicsRequest {
		r := byID(c, nil)(v)
		r.Topics = append(r.Topics, kmsg.DeleteTopicsRequestTopic{Topic: ptr(versionedName(t.n("c"), v))})
		return r
	}, from(6))
}

func createPartitions(t *talk) {
	name := t.topic(t.n("t"), 2)
	of := func(topic string, count int32, dry bool, each ...[]int32) func(int16) *kmsg.CreatePartitionsRequest {
		return func(v int16) *kmsg.CreatePartitionsRequest {
			r := kmsg.NewPtrCreatePartitionsRequest()
			r.TimeoutMillis, r.ValidateOnly = 10_000, dry
			one := kmsg.CreatePartitionsRequestTopic{Topic: topic, Count: count}
			for _, e := range each {
				one.Assignment = append(one.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: e})
			}
			r.Topics = append(r.Topics, one)
			return r
		}
	}
	ask(t, "to see", of(name, 3, true))
	ask(t, "as many as there are", of(name, 2, false))
	ask(t, "fewer", of(name, 1, false))
	ask(t, "none", of(name, 0, false))
	ask(t, "fewer than none", of(name, -1, false))
	ask(t, "very many", of(name, 2_000_000, true))
	ask(t, "of a topic that is not there", of(t.n("none"), 3, false))
	ask(t, "of a bad name", of("a b", 3, false))
	ask(t, "assigned to a broker that is not there", of(name, 3, true, []int32{2}))
	ask(t, "assigned too few", of(name, 4, true, []int32{1}))
	ask(t, "assigned too many", of(name, 3, true, []int32{1}, []int32{1}))
	ask(t, "assigned to none", of(name, 3, true, []int32{}))
	ask(t, "assigned to one twice", of(name, 3, true, []int32{1, 1}))
	ask(t, "assigned", of(name, 3, true, []int32{1}))
	ask(t, "one more", func(v int16) *kmsg.CreatePartitionsRequest { return of(name, 3+int32(v), false)(v) })
	t.rest()
	ask(t, "then", func(int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
		return r
	}, last)
	ask(t, "twice", func(v int16) *kmsg.CreatePartitionsRequest {
		r := of(name, 20, false)(v)
		r.Topics = append(r.Topics, r.Topics[0])
		return r
	})
	ask(t, "of no topic", func(v int16) *kmsg.CreatePartitionsRequest {
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.TimeoutMillis = 10_000
		return r
	})
}

func deleteRecords(t *talk) {
	name := t.topic(t.n("t"), 2)
	compact := t.topic(t.n("compact"), 1, "cleanup.policy", "compact")
	both := t.topic(t.n("both"), 1, "cleanup.policy", "compact,delete")
	for _, n := range []string{name, compact, both} {
		t.fill(n, 0, "a", "b", "c", "d", "e")
	}
	of := func(topic string, partition int32, offset int64) func(int16) *kmsg.DeleteRecordsRequest {
		return func(int16) *kmsg.DeleteRecordsRequest {
			r := kmsg.NewPtrDeleteRecordsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Partition: partition, Offset: offset}}}}
			return r
		}
	}
	ask(t, "none", of(name, 0, 0))
	ask(t, "two", of(name, 0, 2))
	ask(t, "what is gone", of(name, 0, 1))
	ask(t, "beyond the end", of(name, 0, 6))
	ask(t, "below minus one", of(name, 0, -2))
	ask(t, "of a partition that is not there", of(name, 2, 1))
	ask(t, "of a topic that is not there", of(t.n("none"), 0, 1))
	ask(t, "of a compacted topic", of(compact, 0, 2))
	ask(t, "of a compacted topic with retention", of(both, 0, 2))
	ask(t, "of the broker's", of("__consumer_offsets", 0, 0))
	ask(t, "fetch before the start", func(int16) *kmsg.FetchRequest { return t.fetch(name, 0, 1) }, last)
	ask(t, "fetch at the start", func(int16) *kmsg.FetchRequest { return t.fetch(name, 0, 2) }, last)
	ask(t, "all", of(name, 0, -1))
	ask(t, "twice", func(v int16) *kmsg.DeleteRecordsRequest {
		r := of(name, 0, -1)(v)
		r.Topics = append(r.Topics, r.Topics[0])
		return r
	})
	ask(t, "of no topic", func(int16) *kmsg.DeleteRecordsRequest { return kmsg.NewPtrDeleteRecordsRequest() })
}
