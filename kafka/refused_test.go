package kafka

import (
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// refusedRequest is how a request is made that has the broker do something, and
// the one code that may stand in its answer. Code 0 is an answer that shows nothing.
type refusedRequest struct {
	code wire.Code
	make func() kmsg.Request
}

// refusedRequests is every key but harmlessKeys. A key that is missing in both fails
// the test.
var refusedRequests = map[wire.Key]refusedRequest{
	wire.Produce: {29, func() kmsg.Request {
		q := produceRequest("t", 0, -1, makeBatch(nil, "lost"))
		for _, name := range []string{"feed", "none"} {
			q.Topics = append(q.Topics, produceRequest(name, 0, -1, makeBatch(nil, "lost")).Topics...)
		}
		return q
	}},
	wire.Fetch: {29, func() kmsg.Request {
		q := kmsg.NewPtrFetchRequest()
		q.MaxWaitMillis, q.MinBytes, q.SessionEpoch = 10_000, 1, -1
		for _, name := range []string{"t", "none"} {
			t := kmsg.NewFetchRequestTopic()
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
			t.Topic, t.Partitions = name, append(t.Partitions, p)
			q.Topics = append(q.Topics, t)
		}
		return q
	}},
	wire.ListOffsets: {29, func() kmsg.Request {
		q := kmsg.NewPtrListOffsetsRequest()
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewListOffsetsRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.OffsetForLeaderEpoch: {29, func() kmsg.Request {
		q := kmsg.NewPtrOffsetForLeaderEpochRequest()
		t := kmsg.NewOffsetForLeaderEpochRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewOffsetForLeaderEpochRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.Metadata: {29, func() kmsg.Request {
		q := kmsg.NewPtrMetadataRequest()
		q.AllowAutoTopicCreation = true
		for _, name := range []string{"t", "feed", "new"} {
			t := kmsg.NewMetadataRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			q.Topics = append(q.Topics, t)
		}
		return q
	}},
	wire.OffsetCommit: {30, func() kmsg.Request {
		q := kmsg.NewPtrOffsetCommitRequest()
		q.Group, q.Generation = "g", -1
		t := kmsg.NewOffsetCommitRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewOffsetCommitRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.OffsetFetch: {30, func() kmsg.Request {
		q := kmsg.NewPtrOffsetFetchRequest()
		q.Group = "g"
		t := kmsg.NewOffsetFetchRequestTopic()
		t.Topic, t.Partitions = "t", []int32{0}
		q.Topics = append(q.Topics, t)
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = "g"
		q.Groups = append(q.Groups, g)
		return q
	}},
	wire.FindCoordinator: {30, func() kmsg.Request {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorKey, q.CoordinatorKeys = "g", []string{"g"}
		return q
	}},
	wire.JoinGroup: {30, func() kmsg.Request {
		q := kmsg.NewPtrJoinGroupRequest()
		q.Group, q.ProtocolType, q.SessionTimeoutMillis = "g", "consumer", 10_000
		return q
	}},
	wire.Heartbeat: {30, func() kmsg.Request { q := kmsg.NewPtrHeartbeatRequest(); q.Group = "g"; return q }},
	wire.LeaveGroup: {30, func() kmsg.Request {
		q := kmsg.NewPtrLeaveGroupRequest()
		q.Group, q.MemberID = "g", "m"
		q.Members = append(q.Members, kmsg.NewLeaveGroupRequestMember())
		return q
	}},
	wire.SyncGroup:      {30, func() kmsg.Request { q := kmsg.NewPtrSyncGroupRequest(); q.Group = "g"; return q }},
	wire.DescribeGroups: {30, func() kmsg.Request { q := kmsg.NewPtrDescribeGroupsRequest(); q.Groups = []string{"g"}; return q }},
	wire.ListGroups:     {0, func() kmsg.Request { return kmsg.NewPtrListGroupsRequest() }},
	wire.CreateTopics: {29, func() kmsg.Request {
		q := kmsg.NewPtrCreateTopicsRequest()
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = "new", 1, 1
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DeleteTopics: {29, func() kmsg.Request {
		q := kmsg.NewPtrDeleteTopicsRequest()
		for _, name := range []string{"t", "none"} {
			t := kmsg.NewDeleteTopicsRequestTopic()
			t.Topic = kmsg.StringPtr(name)
			q.Topics, q.TopicNames = append(q.Topics, t), append(q.TopicNames, name)
		}
		return q
	}},
	wire.DeleteRecords: {29, func() kmsg.Request {
		q := kmsg.NewPtrDeleteRecordsRequest()
		t := kmsg.NewDeleteRecordsRequestTopic()
		p := kmsg.NewDeleteRecordsRequestTopicPartition()
		p.Offset = -1
		t.Topic, t.Partitions = "t", append(t.Partitions, p)
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.InitProducerID: {31, func() kmsg.Request { return kmsg.NewPtrInitProducerIDRequest() }},
	wire.UpdateFeatures: {31, func() kmsg.Request {
		q := kmsg.NewPtrUpdateFeaturesRequest()
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel = "group.version", 1
		q.FeatureUpdates = append(q.FeatureUpdates, f)
		return q
	}},
	wire.AddPartitionsToTxn: {53, func() kmsg.Request {
		q := kmsg.NewPtrAddPartitionsToTxnRequest()
		t := kmsg.NewAddPartitionsToTxnRequestTopic()
		t.Topic, t.Partitions = "t", []int32{0}
		x := kmsg.NewAddPartitionsToTxnRequestTransaction()
		of := kmsg.NewAddPartitionsToTxnRequestTransactionTopic()
		of.Topic, of.Partitions = "t", []int32{0}
		x.TransactionalID, x.Topics = "tx", append(x.Topics, of)
		q.TransactionalID, q.Topics, q.Transactions = "tx", append(q.Topics, t), append(q.Transactions, x)
		return q
	}},
	wire.AddOffsetsToTxn: {53, func() kmsg.Request {
		q := kmsg.NewPtrAddOffsetsToTxnRequest()
		q.TransactionalID, q.Group = "tx", "g"
		return q
	}},
	wire.EndTxn: {53, func() kmsg.Request {
		q := kmsg.NewPtrEndTxnRequest()
		q.TransactionalID = "tx"
		return q
	}},
	wire.WriteTxnMarkers: {31, func() kmsg.Request {
		q := kmsg.NewPtrWriteTxnMarkersRequest()
		m := kmsg.NewWriteTxnMarkersRequestMarker()
		t := kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		t.Topic, t.Partitions = "t", []int32{0}
		m.Topics = append(m.Topics, t)
		q.Markers = append(q.Markers, m)
		return q
	}},
	wire.TxnOffsetCommit: {53, func() kmsg.Request {
		q := kmsg.NewPtrTxnOffsetCommitRequest()
		q.TransactionalID, q.Group, q.Generation = "tx", "g", -1
		t := kmsg.NewTxnOffsetCommitRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewTxnOffsetCommitRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DescribeProducers: {29, func() kmsg.Request {
		q := kmsg.NewPtrDescribeProducersRequest()
		t := kmsg.NewDescribeProducersRequestTopic()
		t.Topic, t.Partitions = "t", []int32{0}
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DescribeTransactions: {53, func() kmsg.Request {
		q := kmsg.NewPtrDescribeTransactionsRequest()
		q.TransactionalIDs = []string{"tx"}
		return q
	}},
	wire.ListTransactions: {0, func() kmsg.Request { return kmsg.NewPtrListTransactionsRequest() }},
	wire.DescribeConfigs: {29, func() kmsg.Request {
		q := kmsg.NewPtrDescribeConfigsRequest()
		t := kmsg.NewDescribeConfigsRequestResource()
		t.ResourceType, t.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		q.Resources = append(q.Resources, t)
		return q
	}},
	wire.AlterConfigs: {29, func() kmsg.Request {
		q := kmsg.NewPtrAlterConfigsRequest()
		t := kmsg.NewAlterConfigsRequestResource()
		t.ResourceType, t.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		q.Resources = append(q.Resources, t)
		return q
	}},
	wire.CreatePartitions: {29, func() kmsg.Request {
		q := kmsg.NewPtrCreatePartitionsRequest()
		t := kmsg.NewCreatePartitionsRequestTopic()
		t.Topic, t.Count = "t", 5
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DeleteGroups: {30, func() kmsg.Request { q := kmsg.NewPtrDeleteGroupsRequest(); q.Groups = []string{"g"}; return q }},
	wire.IncrementalAlterConfigs: {29, func() kmsg.Request {
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		t := kmsg.NewIncrementalAlterConfigsRequestResource()
		t.ResourceType, t.ResourceName = kmsg.ConfigResourceTypeTopic, "t"
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Value = "retention.ms", kmsg.StringPtr("1")
		t.Configs = append(t.Configs, one)
		q.Resources = append(q.Resources, t)
		return q
	}},
	wire.DescribeACLs: {31, func() kmsg.Request {
		q := kmsg.NewPtrDescribeACLsRequest()
		q.ResourceType, q.ResourcePatternType, q.Operation, q.PermissionType = 1, 1, 1, 1
		return q
	}},
	wire.CreateACLs: {31, func() kmsg.Request {
		q := kmsg.NewPtrCreateACLsRequest()
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.Principal, one.Host, one.Operation, one.PermissionType = 2, "t", "User:nobody", "*", 2, 3
		q.Creations = append(q.Creations, one)
		return q
	}},
	wire.DeleteACLs: {31, func() kmsg.Request {
		q := kmsg.NewPtrDeleteACLsRequest()
		one := kmsg.NewDeleteACLsRequestFilter()
		one.ResourceType, one.ResourcePatternType, one.Operation, one.PermissionType = 1, 1, 1, 1
		q.Filters = append(q.Filters, one)
		return q
	}},
	wire.DescribeLogDirs: {31, func() kmsg.Request {
		q := kmsg.NewPtrDescribeLogDirsRequest()
		q.Version = 4
		return q
	}},
	wire.ConsumerGroupHeartbeat: {30, func() kmsg.Request {
		q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		q.Group, q.MemberID, q.RebalanceTimeoutMillis, q.SubscribedTopicNames = "g", "m", 1000, []string{"t"}
		q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		return q
	}},
	wire.ConsumerGroupDescribe: {30, func() kmsg.Request {
		q := kmsg.NewPtrConsumerGroupDescribeRequest()
		q.Groups = []string{"g"}
		return q
	}},
	wire.ShareGroupHeartbeat: {30, func() kmsg.Request {
		q := kmsg.NewPtrShareGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.SubscribedTopicNames = "shared", "m", []string{"t"}
		return q
	}},
	wire.ShareGroupDescribe: {30, func() kmsg.Request {
		q := kmsg.NewPtrShareGroupDescribeRequest()
		q.GroupIDs = []string{"shared"}
		return q
	}},
	wire.DescribeShareGroupOffsets: {30, func() kmsg.Request {
		q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
		g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
		g.GroupID = "shared"
		q.Groups = append(q.Groups, g)
		return q
	}},
	wire.AlterShareGroupOffsets: {30, func() kmsg.Request {
		q := kmsg.NewPtrAlterShareGroupOffsetsRequest()
		q.GroupID = "shared"
		t := kmsg.NewAlterShareGroupOffsetsRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewAlterShareGroupOffsetsRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DeleteShareGroupOffsets: {30, func() kmsg.Request {
		q := kmsg.NewPtrDeleteShareGroupOffsetsRequest()
		q.GroupID = "shared"
		t := kmsg.NewDeleteShareGroupOffsetsRequestTopic()
		t.Topic = "t"
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.ShareFetch: {30, func() kmsg.Request {
		q := kmsg.NewPtrShareFetchRequest()
		q.GroupID, q.MemberID, q.MaxRecords = kmsg.StringPtr("shared"), kmsg.StringPtr("m"), 1
		p := kmsg.NewShareFetchRequestTopic()
		p.Partitions = append(p.Partitions, kmsg.NewShareFetchRequestTopicPartition())
		q.Topics = append(q.Topics, p)
		return q
	}},
	wire.ShareAcknowledge: {30, func() kmsg.Request {
		q := kmsg.NewPtrShareAcknowledgeRequest()
		q.GroupID, q.MemberID, q.ShareSessionEpoch = kmsg.StringPtr("shared"), kmsg.StringPtr("m"), 1
		return q
	}},
	wire.OffsetDelete: {30, func() kmsg.Request {
		q := kmsg.NewPtrOffsetDeleteRequest()
		q.Group = "g"
		t := kmsg.NewOffsetDeleteRequestTopic()
		t.Topic, t.Partitions = "t", append(t.Partitions, kmsg.NewOffsetDeleteRequestTopicPartition())
		q.Topics = append(q.Topics, t)
		return q
	}},
	wire.DescribeClientQuotas: {31, func() kmsg.Request { return kmsg.NewPtrDescribeClientQuotasRequest() }},
	wire.AlterClientQuotas: {31, func() kmsg.Request {
		q := kmsg.NewPtrAlterClientQuotasRequest()
		q.Entries = append(q.Entries, quotaOf("guest", "producer_byte_rate", 5))
		return q
	}},
	wire.AlterReplicaLogDirs: {31, func() kmsg.Request {
		q := kmsg.NewPtrAlterReplicaLogDirsRequest()
		q.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: []int32{0}}}}}
		return q
	}},
	wire.ElectLeaders: {31, func() kmsg.Request {
		q := kmsg.NewPtrElectLeadersRequest()
		q.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		return q
	}},
	wire.AlterReassignments: {31, func() kmsg.Request { return kmsg.NewPtrAlterPartitionAssignmentsRequest() }},
	wire.ListReassignments:  {31, func() kmsg.Request { return kmsg.NewPtrListPartitionReassignmentsRequest() }},
	wire.DescribeQuorum:     {31, func() kmsg.Request { return kmsg.NewPtrDescribeQuorumRequest() }},
	wire.ListConfigResources: {31, func() kmsg.Request {
		q := kmsg.NewPtrListConfigResourcesRequest()
		q.Version = 1
		return q
	}},
	wire.DescribeTopicPartitions: {29, func() kmsg.Request {
		q := kmsg.NewPtrDescribeTopicPartitionsRequest()
		q.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}
		return q
	}},
	wire.DescribeUserSCRAM: {31, func() kmsg.Request { return kmsg.NewPtrDescribeUserSCRAMCredentialsRequest() }},
	wire.AlterUserSCRAM: {31, func() kmsg.Request {
		q := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		q.Deletions = append(q.Deletions, kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: "guest", Mechanism: 1})
		return q
	}},
}

// harmlessKeys say who is asked and what can be asked; Kafka answers them to everybody.
var harmlessKeys = []wire.Key{wire.APIVersions, wire.SASLHandshake, wire.SASLAuthenticate, wire.DescribeCluster,
	wire.CreateToken, wire.RenewToken, wire.ExpireToken, wire.DescribeTokens}

// codesIn collects every error code of an answer.
func codesIn(v reflect.Value, into map[wire.Code]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			codesIn(v.Elem(), into)
		}
	case reflect.Slice:
		for i := range v.Len() {
			codesIn(v.Index(i), into)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				into[wire.Code(v.Field(i).Int())] = true
			} else {
				codesIn(v.Field(i), into)
			}
		}
	}
}

// newRefusingRig has a topic t with a record, an exchange with the topic feed and a
// group g with an offset, and lets nobody but their owner do anything.
func newRefusingRig(t *testing.T, logger *slog.Logger) (*rig, *broker.VHost, *broker.Session) {
	t.Helper()
	r := &rig{t: t, mem: fs.NewMem(1), mode: store.ModeOS, edit: func(o *Options) { o.Logger = logger }, policy: func(q broker.Request) error {
		if q.User == "owner" || q.Verb == broker.Enter {
			return nil
		}
		return errors.New("says the test")
	}}
	r.start()
	t.Cleanup(r.stop)
	v, _ := r.broker.VHost("/")
	owner := v.NewSession(auth.Identity{Name: "owner"})
	q, err := owner.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Produce(q.Partitions()[0], makeBatch(nil, "kept")); err != nil {
		t.Fatal(err)
	}
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("feed"))
	if _, err := owner.DeclareExchange("x", broker.ExchangeOptions{Type: "fanout", Args: args}); err != nil {
		t.Fatal(err)
	}
	if err := owner.CommitOffsets("g", []broker.GroupOffset{{Topic: "t", Offset: 1, Committed: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	r.restart() // the group is known now
	if v, err = r.broker.VHost("/"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.NewSession(auth.Identity{Name: "owner"}).DeclareExchange("x", broker.ExchangeOptions{Type: "fanout", Args: args}); err != nil {
		t.Fatal(err)
	}
	return r, v, v.NewSession(auth.Identity{Name: "owner"})
}

func TestASessionThatMayNothingDoesNothing(t *testing.T) {
	half := len(wire.Supported) / 2 // the log tells so many causes of a client apart, and no more
	for _, keys := range [][]wire.Support{wire.Supported[:half], wire.Supported[half:]} {
		nothingIsDone(t, keys)
	}
}

func nothingIsDone(t *testing.T, keys []wire.Support) {
	t.Helper()
	log := &logged.Lines{}
	r, v, owner := newRefusingRig(t, slog.New(audit.NewHandler("text", slog.LevelError, log, nil)))
	c := r.raw()
	var acts []string
	for _, s := range keys {
		q, listed := refusedRequests[s.Key]
		if listed && q.code != 0 {
			acts = append(acts, "level=AUDIT msg=audit act="+s.Name+" ")
		}
		if !listed && !slices.Contains(harmlessKeys, s.Key) {
			t.Errorf("%s stands in no list of this test: what does it do for one who may nothing?", s.Name)
		}
		for version := s.Min; listed && version <= s.Max; version++ {
			req := r.withIDs(q.make())
			if req.MaxVersion() < version {
				continue
			}
			c.send(req, version)
			res := req.ResponseKind()
			c.receive(res, version)
			if s.Key == wire.AddPartitionsToTxn && version >= 4 {
				q.code = wire.ClusterAuthorizationFailed // it is for administrators then
			}
			codes := map[wire.Code]bool{}
			codesIn(reflect.ValueOf(res), codes)
			delete(codes, wire.None)
			if codes[q.code] {
				delete(codes, wire.UnknownTopicID) // what there is not has no id that could be refused
			}
			if s.Key == wire.DescribeLogDirs && version < 3 {
				// There is no place for a code: Kafka's clients take an empty answer for 31.
				if dirs := res.(*kmsg.DescribeLogDirsResponse).Dirs; len(dirs) != 0 {
					t.Errorf("%s version %d: %+v", s.Name, version, dirs)
				}
				continue
			}
			if len(codes) > 1 || (len(codes) == 1) != (q.code != 0) || q.code != 0 && !codes[q.code] {
				t.Errorf("%s version %d: codes %v, want %d", s.Name, version, codes, q.code)
			}
			switch res := res.(type) {
			case *kmsg.ListGroupsResponse:
				if len(res.Groups) != 0 {
					t.Errorf("groups are listed: %+v", res.Groups)
				}
			}
		}
	}
	untouched(t, r, v, owner)
	for _, act := range acts {
		if !strings.Contains(log.String(), act) {
			t.Errorf("no line of audit begins %s:\n%s", act, log)
		}
	}
}

// untouched looks for what a refused request may have done.
func untouched(t *testing.T, r *rig, v *broker.VHost, owner *broker.Session) {
	t.Helper()
	q, err := v.Queue("t")
	if err != nil || len(v.Queues()) != 1 || len(q.Partitions()) != 1 || q.Settings().RetentionAge != 7*24*time.Hour {
		t.Fatalf("topics were changed: %v, %d queues", err, len(v.Queues()))
	}
	if start, end, err := owner.Bounds(q.Partitions()[0]); start != 0 || end != 1 || err != nil {
		t.Errorf("records %d to %d, %v", start, end, err)
	}
	offsets := 0
	if err := r.broker.GroupOffsets(func(*broker.VHost, broker.GroupOffset) { offsets++ }); offsets != 1 || err != nil {
		t.Errorf("%d offsets are committed, %v", offsets, err)
	}
	if groups := r.server.groupsOf(v).List(); len(groups) != 1 {
		t.Errorf("groups: %v", groups)
	}
}

// What may be seen is what is shown: lists leave out what a client may not look at,
// and ids tell nothing.
func TestListsShowWhatASessionMaySee(t *testing.T) {
	r, v, _ := newRefusingRig(t, quiet())
	c := r.raw()
	all := kmsg.NewPtrMetadataRequest()
	all.IncludeTopicAuthorizedOperations, all.IncludeClusterAuthorizedOperations = true, true
	c.send(all, 10)
	var res kmsg.MetadataResponse
	if c.receive(&res, 10); len(res.Topics) != 0 || res.AuthorizedOperations != 0 {
		t.Errorf("%+v", res)
	}
	q, _ := v.Queue("t")
	byID := kmsg.NewPtrDeleteTopicsRequest()
	one := kmsg.NewDeleteTopicsRequestTopic()
	one.TopicID = q.TopicID
	byID.Topics = append(byID.Topics, one)
	c.send(byID, 6)
	var deleted kmsg.DeleteTopicsResponse
	if c.receive(&deleted, 6); deleted.Topics[0].ErrorCode != int16(wire.UnknownTopicID) {
		t.Errorf("%+v", deleted)
	}
	configs := kmsg.NewPtrDescribeConfigsRequest()
	for kind, name := range map[kmsg.ConfigResourceType]string{kmsg.ConfigResourceTypeBroker: "1", kmsg.ConfigResourceTypeGroupConfig: "g"} {
		x := kmsg.NewDescribeConfigsRequestResource()
		x.ResourceType, x.ResourceName = kind, name
		configs.Resources = append(configs.Resources, x)
	}
	c.send(configs, 4)
	var described kmsg.DescribeConfigsResponse
	c.receive(&described, 4)
	for _, x := range described.Resources {
		want := wire.ClusterAuthorizationFailed
		if x.ResourceType == kmsg.ConfigResourceTypeGroupConfig {
			want = wire.GroupAuthorizationFailed
		}
		if x.ErrorCode != int16(want) || len(x.Configs) != 0 {
			t.Errorf("%+v", x)
		}
	}
}
