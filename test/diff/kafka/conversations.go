package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// conversations are all of them, by name.
func conversations() []conversation {
	return []conversation{
		{"api-versions", apiVersions},
		{"not-served", notServed},
		{"frames", frames},
		{"metadata", metadata},
		{"cluster", cluster},
		{"produce", produce},
		{"sequences", sequences},
		{"fetch", fetch},
		{"sessions", sessions},
		{"list-offsets", listOffsets},
		{"leader-epochs", leaderEpochs},
		{"create-topics", createTopics},
		{"delete-topics", deleteTopics},
		{"create-partitions", createPartitions},
		{"delete-records", deleteRecords},
		{"replicas", replicas},
		{"tokens", tokens},
		{"resources", resources},
		{"configs", configs},
		{"alter-configs", alterConfigs},
		{"acls", acls},
		{"quotas", quotas},
		{"credentials", credentials},
		{"logins", logins},
		{"denied", denied},
		{"partly", partly},
		{"offsets", offsets},
		{"classic", classic},
		{"consumer", consumer},
		{"shared", shared},
		{"acquiring", acquiring},
		{"transactions", transactions},
		{"implicit", implicit},
		{"batched", batched},
		{"odd", odd},
	}
}

func apiVersions(t *talk) {
	hello := func(int16) *kmsg.ApiVersionsRequest {
		r := kmsg.NewPtrApiVersionsRequest()
		r.ClientSoftwareName, r.ClientSoftwareVersion = "diff", "1.0"
		return r
	}
	ask(t, "of a client", hello)
	ask(t, "with a name of blanks", func(v int16) *kmsg.ApiVersionsRequest {
		r := hello(v)
		r.ClientSoftwareName = " a "
		return r
	}, from(3))
	ask(t, "without a version", func(v int16) *kmsg.ApiVersionsRequest {
		r := hello(v)
		r.ClientSoftwareVersion = ""
		return r
	}, from(3))
	ask(t, "for another cluster", func(v int16) *kmsg.ApiVersionsRequest {
		r := hello(v)
		r.ClusterID, r.NodeID = ptr("another"), 1
		return r
	}, from(5))
	ask(t, "for a node without a cluster", func(v int16) *kmsg.ApiVersionsRequest {
		r := hello(v)
		r.NodeID = 1
		return r
	}, from(5))
	t.raw("of a version to come", 18, 99, true, []byte{0, 0, 0})
	t.raw("of a version below zero", 18, -1, false, nil)
	t.raw("of a body that is cut", 18, 3, true, []byte{5, 'a'})
}

// notServed asks for what nobody serves.
func notServed(t *talk) {
	for _, key := range slices.Sorted(maps.Keys(offered)) {
		if key != 18 { // see the conversation api-versions
			t.raw("of a version to come", key, offered[key][1]+1, true, make([]byte, 16))
		}
	}
	t.raw("of a version below zero", 3, -1, false, make([]byte, 16))
	for _, key := range []int16{4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70, 71, 72, 73, 82, 95, 1000, -1} {
		t.raw("which is no client's", key, 0, false, make([]byte, 16))
	}
	t.raw("a body that is cut", 3, 1, false, []byte{0, 0, 0, 1, 0, 9, 'a'})
	t.raw("more in a body than there should be", 12, 0, false, append([]byte{0, 1, 'g', 0, 0, 0, 1, 0, 1, 'm'}, make([]byte, 8)...))
	t.raw("a list of more than there is", 3, 1, false, []byte{0x7f, 0xff, 0xff, 0xff})
}

func metadata(t *talk) {
	name := t.topic(t.n("t"), 3)
	of := func(topics ...string) func(int16) *kmsg.MetadataRequest {
		return func(v int16) *kmsg.MetadataRequest {
			r := kmsg.NewPtrMetadataRequest()
			r.Topics = []kmsg.MetadataRequestTopic{}
			for _, n := range topics {
				r.Topics = append(r.Topics, kmsg.MetadataRequestTopic{Topic: ptr(n)})
			}
			return r
		}
	}
	ask(t, "of a topic", of(name), without("ClusterID"))
	ask(t, "of all topics", func(v int16) *kmsg.MetadataRequest { return kmsg.NewPtrMetadataRequest() }, from(1), mine)
	ask(t, "of no topic", of(), from(1))
	ask(t, "of a topic twice", of(name, name))
	ask(t, "of one that is not there", of(t.n("none")), from(4))
	for _, bad := range []string{"", ".", "..", "a b", "a/b", "ä", strings.Repeat("x", 250)} {
		ask(t, "of a bad name", of(bad), from(4))
	}
	ask(t, "with rights", func(v int16) *kmsg.MetadataRequest {
		r := of(name)(v)
		r.IncludeTopicAuthorizedOperations, r.IncludeClusterAuthorizedOperations = true, true
		return r
	}, from(8))
	ask(t, "of an id", func(v int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{TopicID: t.ids[name]}}
		return r
	}, from(10))
	ask(t, "of an id and a name", func(v int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{TopicID: t.ids[name], Topic: ptr(name)}}
		return r
	}, from(10))
	ask(t, "of an id that is not there", func(v int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{TopicID: [16]byte{9}}}
		return r
	}, from(10))
	ask(t, "of neither id nor name", func(v int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{}}
		return r
	}, from(10))
	ask(t, "that makes a topic", func(v int16) *kmsg.MetadataRequest {
		r := of(versionedName(t.n("made"), v))(v)
		r.AllowAutoTopicCreation = true
		return r
	})
	ask(t, "of one with dots like one with lines", func(v int16) *kmsg.MetadataRequest {
		r := of("metadata.t")(v)
		r.AllowAutoTopicCreation = true
		return r
	}, last)
	ask(t, "of topics that are there and not", of(t.n("none"), name, t.n("nothing")), from(4))
	describe := func(cursor *kmsg.DescribeTopicPartitionsRequestCursor, limit int32, topics ...string) func(int16) *kmsg.DescribeTopicPartitionsRequest {
		return func(int16) *kmsg.DescribeTopicPartitionsRequest {
			r := kmsg.NewPtrDescribeTopicPartitionsRequest()
			r.ResponsePartitionLimit, r.Cursor = limit, cursor
			for _, n := range topics {
				r.Topics = append(r.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: n})
			}
			return r
		}
	}
	other := t.topic(t.n("u"), 2)
	ask(t, "of two", describe(nil, 2000, name, other))
	ask(t, "of one twice", describe(nil, 2000, name, name))
	ask(t, "of all", describe(nil, 2000), mine)
	ask(t, "of one that is not there", describe(nil, 2000, t.n("none")))
	ask(t, "of a bad name", describe(nil, 2000, "a b"))
	ask(t, "of four at most", describe(nil, 4, name, other))
	ask(t, "of three at most", describe(nil, 3, name, other))
	ask(t, "of none at most", describe(nil, 0, name, other))
	ask(t, "from a place on", describe(&kmsg.DescribeTopicPartitionsRequestCursor{Topic: name, Partition: 2}, 4, name, other))
	ask(t, "from another topic on", describe(&kmsg.DescribeTopicPartitionsRequestCursor{Topic: other, Partition: 0}, 4, name, other))
	ask(t, "from a place that is not there", describe(&kmsg.DescribeTopicPartitionsRequestCursor{Topic: other, Partition: 9}, 4, name, other))
	ask(t, "from below a place", describe(&kmsg.DescribeTopicPartitionsRequestCursor{Topic: other, Partition: -1}, 4, name, other))
	ask(t, "from a topic that is not there", describe(&kmsg.DescribeTopicPartitionsRequestCursor{Topic: t.n("none"), Partition: 0}, 4, name, other))
}

func cluster(t *talk) {
	ask(t, "as it is", func(int16) *kmsg.DescribeClusterRequest { return kmsg.NewPtrDescribeClusterRequest() })
	ask(t, "with rights", func(int16) *kmsg.DescribeClusterRequest {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.IncludeClusterAuthorizedOperations = true
		return r
	})
	for _, kind := range []int8{0, 2, 3} {
		ask(t, "of another kind of ends", func(int16) *kmsg.DescribeClusterRequest {
			r := kmsg.NewPtrDescribeClusterRequest()
			r.EndpointType = kind
			return r
		}, from(1))
	}
	ask(t, "with fenced brokers", func(int16) *kmsg.DescribeClusterRequest {
		r := kmsg.NewPtrDescribeClusterRequest()
		r.IncludeFencedBrokers = true
		return r
	}, from(2))
	quorum := func(topic string, partitions ...int32) func(int16) *kmsg.DescribeQuorumRequest {
		return func(int16) *kmsg.DescribeQuorumRequest {
			r := kmsg.NewPtrDescribeQuorumRequest()
			one := kmsg.DescribeQuorumRequestTopic{Topic: topic}
			for _, p := range partitions {
				one.Partitions = append(one.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: p})
			}
			r.Topics = append(r.Topics, one)
			return r
		}
	}
	random := without("LeaderEpoch", "HighWatermark", "LogEndOffset", "LastFetchTimestamp", "LastCaughtUpTimestamp", "ReplicaDirectoryID")
	ask(t, "of the brokers", quorum("__cluster_metadata", 0), random)
	ask(t, "of another partition", quorum("__cluster_metadata", 1), random)
	ask(t, "of another topic", quorum("cluster-t", 0), random)
	ask(t, "of none", func(int16) *kmsg.DescribeQuorumRequest { return kmsg.NewPtrDescribeQuorumRequest() }, random)
}

func listOffsets(t *talk) {
	name := t.topic(t.n("t"), 2)
	t.fill(name, 0, "a", "b", "c")
	t.fill(name, 0, "d")
	of := func(topic string, partition int32, at int64, change ...func(*kmsg.ListOffsetsRequest)) func(int16) *kmsg.ListOffsetsRequest {
		return func(int16) *kmsg.ListOffsetsRequest {
			r := kmsg.NewPtrListOffsetsRequest()
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp, p.CurrentLeaderEpoch = partition, at, -1
			r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
			r.ReplicaID = -1
			for _, f := range change {
				f(r)
			}
			return r
		}
	}
	for _, q := range []struct {
		title string
		at    int64
	}{{"at the end", -1}, {"at the start", -2}, {"of the latest time", -3}, {"at the local start", -4}, {"elsewhere", -5}, {"on its way", -6}, {"of another question", -7}, {"of time 0", 0},
		{"of the first time", t.base}, {"of a time within", t.base + 1}, {"of the last time", t.base + 2}, {"of a time to come", t.base + 3}} {
		ask(t, q.title, of(name, 0, q.at))
		ask(t, q.title+", of nothing", of(name, 1, q.at), last)
		ask(t, q.title+", committed", of(name, 0, q.at, func(r *kmsg.ListOffsetsRequest) { r.IsolationLevel = 1 }), last)
	}
	ask(t, "of a partition that is not there", of(name, 2, -1))
	ask(t, "of a partition below zero", of(name, -1, -1))
	ask(t, "of a topic that is not there", of(t.n("none"), 0, -1))
	ask(t, "of a bad name", of("a b", 0, -1))
	ask(t, "in an epoch to come", of(name, 0, -1, func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 5 }), from(4))
	ask(t, "in this epoch", of(name, 0, -1, func(r *kmsg.ListOffsetsRequest) { r.Topics[0].Partitions[0].CurrentLeaderEpoch = 0 }), from(4))
	ask(t, "twice", of(name, 0, -1, func(r *kmsg.ListOffsetsRequest) { r.Topics = append(r.Topics, r.Topics[0]) }))
	ask(t, "as a replica", of(name, 0, -1, func(r *kmsg.ListOffsetsRequest) { r.ReplicaID = 5 }))
	ask(t, "as another isolation", of(name, 0, -1, func(r *kmsg.ListOffsetsRequest) { r.IsolationLevel = 7 }), from(2))
	ask(t, "of no topic", func(int16) *kmsg.ListOffsetsRequest { return kmsg.NewPtrListOffsetsRequest() })
}

func leaderEpochs(t *talk) {
	name := t.topic(t.n("t"), 1)
	t.fill(name, 0, "a", "b")
	of := func(topic string, partition, epoch, current int32) func(int16) *kmsg.OffsetForLeaderEpochRequest {
		return func(int16) *kmsg.OffsetForLeaderEpochRequest {
			r := kmsg.NewPtrOffsetForLeaderEpochRequest()
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.LeaderEpoch, p.CurrentLeaderEpoch = partition, epoch, current
			r.ReplicaID = -1
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{p}}}
			return r
		}
	}
	ask(t, "now", of(name, 0, 0, -1))
	ask(t, "now, for sure", of(name, 0, 0, 0))
	ask(t, "to come", of(name, 0, 1, -1))
	ask(t, "below zero", of(name, 0, -1, -1))
	ask(t, "below that", of(name, 0, -2, -1))
	ask(t, "of who knows a later one", of(name, 0, 0, 1))
	ask(t, "of a partition that is not there", of(name, 7, 0, -1))
	ask(t, "of a topic that is not there", of(t.n("none"), 0, 0, -1))
	ask(t, "of none", func(int16) *kmsg.OffsetForLeaderEpochRequest { return kmsg.NewPtrOffsetForLeaderEpochRequest() })
}
