package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// allow lets a user do something with what begins with a name.
func (t *talk) allow(user string, kind kmsg.ACLResourceType, name string, operations ...kmsg.ACLOperation) {
	r := kmsg.NewPtrCreateACLsRequest()
	for _, op := range operations {
		r.Creations = append(r.Creations, creation1{ResourceType: kind, ResourceName: name, ResourcePatternType: kmsg.ACLResourcePatternTypePrefixed, Principal: "User:" + user, Host: "*", Operation: op, PermissionType: kmsg.ACLPermissionTypeAllow})
	}
	res := quietly[*kmsg.CreateACLsResponse](t, r, 3)
	for _, one := range res.Results {
		if one.ErrorCode != 0 {
			panic(lost{errNotAllowed(one)})
		}
	}
}

type errNotAllowed kmsg.CreateACLsResponseResult

func (e errNotAllowed) Error() string { return "can't allow: " + *e.ErrorMessage }

// denied is what those hear who may not, of the requests that the conversation logins does not have.
func denied(t *talk) {
	name, group := t.topic(t.n("t"), 1), t.n("g")
	ann := t.n("ann")
	t.user(ann, "secret")
	t.allow(ann, kmsg.ACLResourceTypeTopic, t.n("another"), kmsg.ACLOperationRead)
	t.fill(name, 0, "a")
	quietly[*kmsg.OffsetCommitResponse](t, t.commit(group, name, 0, 1)(9), 9)
	t.rest()
	t.as(1, scram.Auth{User: ann, Pass: "secret"}.AsSha256Mechanism())
	t.on(1)
	const no = "by one who may not"
	t.groupRequests(no, name, group)
	t.txnRequests(no, name, group)
	t.adminRequests(no, name, group)
}

// partly is what those hear who may do one part of what they ask for.
func partly(t *talk) {
	name, group, id := t.topic(t.n("t"), 1), t.n("g"), t.n("x")
	t.fill(name, 0, "a")
	quietly[*kmsg.OffsetCommitResponse](t, t.commit(group, name, 0, 1)(9), 9)
	const topics, groups, ids = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeTransactionalId
	type who struct {
		name string
		kind kmsg.ACLResourceType
		of   string
		may  []kmsg.ACLOperation
	}
	everybody := []who{
		{"reads", topics, name, []kmsg.ACLOperation{kmsg.ACLOperationRead}},
		{"writes", topics, name, []kmsg.ACLOperation{kmsg.ACLOperationWrite}},
		{"groups", groups, group, []kmsg.ACLOperation{kmsg.ACLOperationRead}},
	}
	for _, w := range everybody {
		t.user(t.n(w.name), "secret")
		t.allow(t.n(w.name), w.kind, w.of, w.may...)
	}
	t.rest()
	for i, w := range everybody {
		t.as(i+1, scram.Auth{User: t.n(w.name), Pass: "secret"}.AsSha256Mechanism())
		t.on(i + 1)
		title := "by one who " + w.name
		ask(t, title, func(int16) *kmsg.ProduceRequest { return t.produce(name, 0, -1, t.batch(batch{records: values("b")})) }, from(3), without("BaseOffset"))
		ask(t, title, func(int16) *kmsg.FetchRequest { return t.fetch(name, 0, 0) }, without("RecordBatches", "HighWatermark", "LastStableOffset"))
		ask(t, title, func(int16) *kmsg.MetadataRequest {
			r := kmsg.NewPtrMetadataRequest()
			r.Topics = []kmsg.MetadataRequestTopic{{Topic: ptr(name)}, {Topic: ptr(t.n("none"))}}
			return r
		})
		ask(t, title, func(int16) *kmsg.ListOffsetsRequest {
			r := kmsg.NewPtrListOffsetsRequest()
			r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -2}}}}
			return r
		})
		ask(t, title, func(int16) *kmsg.CreateTopicsRequest { return creation(newTopic(t.n("new"), 1, 1)) }, last)
		ask(t, title, func(int16) *kmsg.InitProducerIDRequest {
			r := kmsg.NewPtrInitProducerIDRequest()
			r.ProducerID, r.ProducerEpoch = -1, -1
			return r
		}, last)
		ask(t, title, func(int16) *kmsg.FindCoordinatorRequest {
			r := kmsg.NewPtrFindCoordinatorRequest()
			r.CoordinatorKey, r.CoordinatorKeys = group, []string{group}
			return r
		})
		t.groupRequests(title, name, group)
		ask(t, title, t.txnCommit(id, group, name))
	}
}

func (t *talk) txnCommit(id, group, topic string) func(int16) *kmsg.TxnOffsetCommitRequest {
	return func(int16) *kmsg.TxnOffsetCommitRequest {
		r := kmsg.NewPtrTxnOffsetCommitRequest()
		r.TransactionalID, r.Group, r.ProducerID, r.Generation = id, group, 1, -1
		r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: topic, TopicID: t.ids[topic], Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{LeaderEpoch: -1}}}}
		return r
	}
}

// groupRequests are those of groups, none of which changes anything that the next could notice.
func (t *talk) groupRequests(title, topic, group string) {
	ask(t, title, t.commit(group, topic, 0, 1))
	ask(t, title, t.committed(group, topic, 0))
	ask(t, title, t.committed(group, ""), from(2))
	ask(t, title, func(int16) *kmsg.JoinGroupRequest { return t.join(t.n("other"), "nobody") })
	ask(t, title, func(int16) *kmsg.HeartbeatRequest {
		r := kmsg.NewPtrHeartbeatRequest()
		r.Group, r.MemberID, r.Generation = group, "nobody", 1
		return r
	})
	ask(t, title, func(int16) *kmsg.LeaveGroupRequest {
		r := kmsg.NewPtrLeaveGroupRequest()
		r.Group, r.MemberID = group, "nobody"
		r.Members = []kmsg.LeaveGroupRequestMember{{MemberID: "nobody"}}
		return r
	})
	ask(t, title, func(int16) *kmsg.SyncGroupRequest {
		r := kmsg.NewPtrSyncGroupRequest()
		r.Group, r.MemberID, r.Generation, r.ProtocolType, r.Protocol = group, "nobody", 1, ptr("consumer"), ptr("range")
		return r
	})
	ask(t, title, func(int16) *kmsg.DescribeGroupsRequest {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{group}
		return r
	})
	ask(t, title, func(int16) *kmsg.ListGroupsRequest { return kmsg.NewPtrListGroupsRequest() }, mine)
	ask(t, title, func(int16) *kmsg.OffsetDeleteRequest {
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = group
		r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: topic, Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{Partition: 7}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.ConsumerGroupDescribeRequest {
		r := kmsg.NewPtrConsumerGroupDescribeRequest()
		r.Groups = []string{group}
		return r
	})
	ask(t, title, func(int16) *kmsg.ConsumerGroupHeartbeatRequest {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Group, r.MemberID, r.MemberEpoch, r.RebalanceTimeoutMillis = t.n("other"), "nobody", 9, -1
		r.SubscribedTopicNames = []string{topic}
		return r
	})
	ask(t, title, func(int16) *kmsg.ShareGroupDescribeRequest {
		r := kmsg.NewPtrShareGroupDescribeRequest()
		r.GroupIDs = []string{group}
		return r
	})
	ask(t, title, func(int16) *kmsg.ShareGroupHeartbeatRequest {
		r := kmsg.NewPtrShareGroupHeartbeatRequest()
		r.GroupID, r.MemberID, r.MemberEpoch, r.SubscribedTopicNames = t.n("other"), "nobody", 9, []string{topic}
		return r
	}, without("HeartbeatIntervalMillis"))
	s := &sharer{t: t, group: group, id: "AAAAAAAAAAAAAAAAAAAAAA", topic: topic}
	ask(t, title, func(int16) *kmsg.ShareFetchRequest { return s.fetch(7) }, without("AcquisitionLockTimeoutMillis"))
	ask(t, title, func(int16) *kmsg.ShareAcknowledgeRequest {
		r := kmsg.NewPtrShareAcknowledgeRequest()
		r.GroupID, r.MemberID, r.ShareSessionEpoch = &s.group, &s.id, 7
		return r
	}, without("AcquisitionLockTimeoutMillis"))
	ask(t, title, func(int16) *kmsg.DescribeShareGroupOffsetsRequest {
		r := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		r.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: t.n("g-none"), Topics: []kmsg.DescribeShareGroupOffsetsRequestGroupTopic{{Topic: topic, Partitions: []int32{0}}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AlterShareGroupOffsetsRequest {
		r := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		r.GroupID = group
		r.Topics = []kmsg.AlterShareGroupOffsetsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterShareGroupOffsetsRequestTopicPartition{{}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.DeleteShareGroupOffsetsRequest {
		r := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
		r.GroupID = group
		r.Topics = []kmsg.DeleteShareGroupOffsetsRequestTopic{{Topic: topic}}
		return r
	})
}

func (t *talk) txnRequests(title, topic, group string) {
	id := t.n("x")
	ask(t, title, func(int16) *kmsg.AddPartitionsToTxnRequest {
		r := kmsg.NewPtrAddPartitionsToTxnRequest()
		r.TransactionalID = id
		r.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: topic, Partitions: []int32{0}}}
		r.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{TransactionalID: id, Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: topic, Partitions: []int32{0}}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AddOffsetsToTxnRequest {
		r := kmsg.NewPtrAddOffsetsToTxnRequest()
		r.TransactionalID, r.Group = id, group
		return r
	})
	ask(t, title, func(int16) *kmsg.EndTxnRequest {
		r := kmsg.NewPtrEndTxnRequest()
		r.TransactionalID = id
		return r
	})
	ask(t, title, t.txnCommit(id, group, topic))
	ask(t, title, func(int16) *kmsg.WriteTxnMarkersRequest {
		r := kmsg.NewPtrWriteTxnMarkersRequest()
		r.Markers = []kmsg.WriteTxnMarkersRequestMarker{{ProducerID: 1, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: topic, Partitions: []int32{0}}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.DescribeTransactionsRequest {
		r := kmsg.NewPtrDescribeTransactionsRequest()
		r.TransactionalIDs = []string{id}
		return r
	})
	ask(t, title, func(int16) *kmsg.ListTransactionsRequest { return kmsg.NewPtrListTransactionsRequest() }, mine)
	ask(t, title, func(int16) *kmsg.InitProducerIDRequest {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.ProducerID, r.ProducerEpoch = -1, -1
		return r
	})
	ask(t, title, func(int16) *kmsg.ProduceRequest {
		r := t.produce(topic, 0, -1, t.batch(batch{records: values("a"), idempotent: true, producer: 4711, attributes: 1 << 4}))
		r.TransactionID = &id
		return r
	}, from(3))
}

func (t *talk) adminRequests(title, topic, group string) {
	ask(t, title, func(int16) *kmsg.AlterConfigsRequest {
		r := kmsg.NewPtrAlterConfigsRequest()
		for kind, name := range map[kmsg.ConfigResourceType]string{kmsg.ConfigResourceTypeTopic: topic, kmsg.ConfigResourceTypeBroker: "1"} {
			r.Resources = append(r.Resources, kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: name, Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("1")}}})
		}
		return r
	})
	ask(t, "of a group and a broker "+title, func(int16) *kmsg.IncrementalAlterConfigsRequest {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, one := range []struct {
			kind kmsg.ConfigResourceType
			name string
		}{{kmsg.ConfigResourceTypeGroupConfig, group}, {kmsg.ConfigResourceTypeBroker, "1"}, {16, t.n("m")}} {
			r.Resources = append(r.Resources, kmsg.IncrementalAlterConfigsRequestResource{ResourceType: one.kind, ResourceName: one.name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "share.auto.offset.reset", Value: ptr("earliest")}}})
		}
		return r
	})
	ask(t, "of a group and a broker "+title, func(int16) *kmsg.DescribeConfigsRequest {
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: group}, {ResourceType: kmsg.ConfigResourceTypeBrokerLogger, ResourceName: "1"}, {ResourceType: 16, ResourceName: t.n("m")}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AlterReplicaLogDirsRequest {
		r := kmsg.NewPtrAlterReplicaLogDirsRequest()
		r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/nowhere", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: []int32{0}}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: []int32{1}}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.CreateDelegationTokenRequest { return kmsg.NewPtrCreateDelegationTokenRequest() })
	ask(t, "for another "+title, func(int16) *kmsg.CreateDelegationTokenRequest {
		r := kmsg.NewPtrCreateDelegationTokenRequest()
		r.OwnerPrincipalType, r.OwnerPrincipalName = ptr("User"), ptr("guest")
		return r
	}, from(3))
	ask(t, title, func(int16) *kmsg.RenewDelegationTokenRequest { return kmsg.NewPtrRenewDelegationTokenRequest() })
	ask(t, title, func(int16) *kmsg.ExpireDelegationTokenRequest { return kmsg.NewPtrExpireDelegationTokenRequest() })
	ask(t, title, func(int16) *kmsg.DescribeDelegationTokenRequest { return kmsg.NewPtrDescribeDelegationTokenRequest() })
	ask(t, title, func(int16) *kmsg.DeleteACLsRequest {
		r := kmsg.NewPtrDeleteACLsRequest()
		r.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 1, ResourcePatternType: 1, Operation: 1, PermissionType: 1}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AlterClientQuotasRequest {
		r := kmsg.NewPtrAlterClientQuotasRequest()
		r.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: "user", Name: ptr("guest")}}, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: "producer_byte_rate", Value: 1}}}}
		return r
	})
	ask(t, title, func(int16) *kmsg.AlterUserSCRAMCredentialsRequest {
		r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		r.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "guest", Mechanism: 1}}
		return r
	})
	ask(t, title, func(int16) *kmsg.UpdateFeaturesRequest {
		r := kmsg.NewPtrUpdateFeaturesRequest()
		r.TimeoutMillis, r.FeatureUpdates = int32(time.Second.Milliseconds()), []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "group.version", MaxVersionLevel: 1, UpgradeType: 1}}
		return r
	})
	ask(t, title, func(int16) *kmsg.DeleteGroupsRequest {
		r := kmsg.NewPtrDeleteGroupsRequest()
		r.Groups = []string{group}
		return r
	})
	ask(t, "of ids "+title, func(int16) *kmsg.DeleteTopicsRequest {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: t.ids[topic]}, {TopicID: [16]byte{7}}}
		return r
	}, from(6))
}
