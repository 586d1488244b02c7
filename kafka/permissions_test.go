package kafka

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// rights are what the users of a test may do: "write queue 't'", or "write" of everything.
type rights struct {
	mu   sync.Mutex
	have []string
}

func (r *rights) set(have ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.have = slices.Clone(have)
}

// policy lets owner do everything.
func (r *rights) policy(q broker.Request) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	right, of := q.Verb.Right().String(), fmt.Sprintf("%s '%s'", q.On.Kind, q.On.Name)
	allows := func(have string) bool {
		given, on, named := strings.Cut(have, " ")
		return (right == "" || given == right) && (!named || on == of)
	}
	if q.User == "owner" || q.Verb == broker.Enter && !slices.Contains(r.have, "no vhost") || slices.ContainsFunc(r.have, allows) {
		return nil
	}
	return broker.ErrDenied
}

// newRightsRig has a topic t with a record, an exchange x with the topic feed, and a group g with an offset.
func newRightsRig(t *testing.T) (*rig, *rights) {
	t.Helper()
	have := &rights{}
	r := &rig{t: t, mem: fs.NewMem(1), mode: store.ModeOS, policy: have.policy}
	r.start()
	t.Cleanup(r.stop)
	r.furnish()
	if err := r.owner().CommitOffsets("g", []broker.GroupOffset{{Topic: "t", Offset: 1, Committed: time.Now()}}); err != nil {
		t.Fatal(err)
	}
	r.restart() // the group is known now
	r.furnish()
	return r, have
}

func (r *rig) owner() *broker.Session {
	v, _ := r.broker.VHost("/")
	return v.NewSession(auth.Identity{Name: "owner"})
}

// furnish makes what a request may have deleted.
func (r *rig) furnish() {
	r.t.Helper()
	owner := r.owner()
	v, _ := r.broker.VHost("/")
	owner.DeleteQueue("new", false, false)
	if _, err := v.Queue("t"); err != nil {
		q, err := owner.CreateTopic("t", 1, nil)
		if err != nil {
			r.t.Fatal(err)
		}
		if _, err := owner.Produce(q.Partitions()[0], makeBatch(nil, "kept")); err != nil {
			r.t.Fatal(err)
		}
	}
	args := field.AppendString(field.AppendName(nil, "x-kafka-topic"), []byte("feed"))
	if _, err := owner.DeclareExchange("x", broker.ExchangeOptions{Type: "topic", Args: args}); err != nil {
		r.t.Fatal(err)
	}
}

// need is a right that a request takes, and the code that says that it is missing.
type need struct {
	right string // "any" is any of the three
	code  wire.Code
}

// needed is what each key takes. The request is that of refusedRequests unless there is another.
var needed = []struct {
	name  string
	key   wire.Key
	make  func() kmsg.Request
	needs []need
}{
	{"Produce", wire.Produce, func() kmsg.Request { return produceRequest("t", 0, -1, makeBatch(nil, "v")) }, []need{{"write queue 't'", 29}}},
	{"Produce to an exchange", wire.Produce, func() kmsg.Request { return produceRequest("feed", 0, -1, makeBatch(nil, "v")) }, []need{{"write exchange 'x'", 29}}},
	{"Fetch", wire.Fetch, func() kmsg.Request { return fetchOf("t", 0) }, []need{{"read queue 't'", 29}}},
	{"ListOffsets", wire.ListOffsets, nil, []need{{"any queue 't'", 29}}},
	{"OffsetForLeaderEpoch", wire.OffsetForLeaderEpoch, nil, []need{{"any queue 't'", 29}}},
	{"Metadata", wire.Metadata, func() kmsg.Request { return metadataOf("t", "feed") }, []need{{"any queue 't'", 29}, {"any exchange 'x'", 29}}},
	{"Metadata that creates", wire.Metadata, func() kmsg.Request { return metadataOf("new") }, []need{{"configure queue 'new'", 29}}},
	{"OffsetCommit", wire.OffsetCommit, nil, []need{{"read group 'g'", 30}, {"read queue 't'", 29}}},
	{"OffsetFetch", wire.OffsetFetch, func() kmsg.Request {
		q := kmsg.NewPtrOffsetFetchRequest()
		g := kmsg.NewOffsetFetchRequestGroup()
		t := kmsg.NewOffsetFetchRequestGroupTopic()
		t.Topic, t.Partitions = "t", []int32{0}
		g.Group, g.Topics = "g", append(g.Topics, t)
		q.Groups = append(q.Groups, g)
		return q
	}, []need{{"any group 'g'", 30}, {"any queue 't'", 29}}},
	{"FindCoordinator", wire.FindCoordinator, nil, []need{{"any group 'g'", 30}}},
	{"JoinGroup", wire.JoinGroup, nil, []need{{"read group 'g'", 30}}},
	{"Heartbeat", wire.Heartbeat, nil, []need{{"read group 'g'", 30}}},
	{"LeaveGroup", wire.LeaveGroup, nil, []need{{"read group 'g'", 30}}},
	{"SyncGroup", wire.SyncGroup, nil, []need{{"read group 'g'", 30}}},
	{"DescribeGroups", wire.DescribeGroups, nil, []need{{"any group 'g'", 30}}},
	{"ListGroups", wire.ListGroups, nil, nil},
	{"ConsumerGroupDescribe", wire.ConsumerGroupDescribe, nil, []need{{"any group 'g'", 30}}},
	{"CreateTopics", wire.CreateTopics, nil, []need{{"configure queue 'new'", 29}}},
	{"CreateTopics to validate", wire.CreateTopics, func() kmsg.Request {
		q := refusedRequests[wire.CreateTopics].make().(*kmsg.CreateTopicsRequest)
		q.ValidateOnly = true
		return q
	}, []need{{"configure queue 'new'", 29}}},
	{"DeleteTopics", wire.DeleteTopics, func() kmsg.Request {
		q := kmsg.NewPtrDeleteTopicsRequest()
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = kmsg.StringPtr("t")
		q.Topics, q.TopicNames = append(q.Topics, t), []string{"t"}
		return q
	}, []need{{"configure queue 't'", 29}}},
	{"DeleteRecords", wire.DeleteRecords, nil, []need{{"configure queue 't'", 29}}},
	{"InitProducerID", wire.InitProducerID, nil, []need{{"write cluster ''", 31}}},
	{"InitProducerID with a transactional id", wire.InitProducerID, func() kmsg.Request {
		q := kmsg.NewPtrInitProducerIDRequest()
		q.TransactionalID, q.TransactionTimeoutMillis = kmsg.StringPtr("tx"), 1000
		return q
	}, []need{{"write transactional-id 'tx'", 53}}},
	{"FindCoordinator of a transactional id", wire.FindCoordinator, func() kmsg.Request {
		q := kmsg.NewPtrFindCoordinatorRequest()
		q.CoordinatorType, q.CoordinatorKeys = 1, []string{"tx"}
		return q
	}, []need{{"any transactional-id 'tx'", 53}}},
	{"AddPartitionsToTxn", wire.AddPartitionsToTxn, nil, []need{{"write transactional-id 'tx'", 53}, {"write queue 't'", 29}}},
	{"AddOffsetsToTxn", wire.AddOffsetsToTxn, nil, []need{{"write transactional-id 'tx'", 53}, {"read group 'g'", 30}}},
	{"TxnOffsetCommit", wire.TxnOffsetCommit, nil, []need{{"write transactional-id 'tx'", 53}, {"read group 'g'", 30}, {"read queue 't'", 29}}},
	{"EndTxn", wire.EndTxn, nil, []need{{"write transactional-id 'tx'", 53}}},
	{"WriteTxnMarkers", wire.WriteTxnMarkers, nil, []need{{"configure cluster ''", 31}}},
	{"DescribeTransactions", wire.DescribeTransactions, nil, []need{{"any transactional-id 'tx'", 53}}},
	{"ListTransactions", wire.ListTransactions, nil, nil},
	{"DescribeProducers", wire.DescribeProducers, nil, []need{{"read queue 't'", 29}}},
	{"DescribeConfigs", wire.DescribeConfigs, nil, []need{{"any queue 't'", 29}}},
	{"DescribeConfigs of the broker", wire.DescribeConfigs, func() kmsg.Request { return describeConfigsOf(kmsg.ConfigResourceTypeBroker, "") }, []need{{"any cluster ''", 31}}},
	{"DescribeConfigs of a group", wire.DescribeConfigs, func() kmsg.Request { return describeConfigsOf(kmsg.ConfigResourceTypeGroupConfig, "g") }, []need{{"any group 'g'", 30}}},
	{"AlterConfigs", wire.AlterConfigs, nil, []need{{"configure queue 't'", 29}}},
	{"IncrementalAlterConfigs", wire.IncrementalAlterConfigs, nil, []need{{"configure queue 't'", 29}}},
	{"IncrementalAlterConfigs of the broker", wire.IncrementalAlterConfigs, func() kmsg.Request {
		return alterNodeOf("1", kmsg.IncrementalAlterConfigOpDelete)
	}, []need{{"configure cluster ''", 31}}},
	{"CreatePartitions", wire.CreatePartitions, nil, []need{{"configure queue 't'", 29}}},
	{"DeleteGroups", wire.DeleteGroups, nil, []need{{"configure group 'g'", 30}}},
	{"DescribeLogDirs", wire.DescribeLogDirs, nil, []need{{"any cluster ''", 31}}},
	{"AlterReplicaLogDirs", wire.AlterReplicaLogDirs, nil, []need{{"configure cluster ''", 31}}},
	{"UpdateFeatures", wire.UpdateFeatures, nil, []need{{"configure cluster ''", 31}}},
	{"ElectLeaders", wire.ElectLeaders, nil, []need{{"configure cluster ''", 31}}},
	{"AlterPartitionReassignments", wire.AlterReassignments, nil, []need{{"configure cluster ''", 31}}},
	{"ListPartitionReassignments", wire.ListReassignments, nil, []need{{"any cluster ''", 31}}},
	{"DescribeQuorum", wire.DescribeQuorum, nil, []need{{"any cluster ''", 31}}},
	{"ListConfigResources", wire.ListConfigResources, nil, []need{{"any cluster ''", 31}}},
	{"DescribeTopicPartitions", wire.DescribeTopicPartitions, nil, []need{{"any queue 't'", 29}}},
	{"DescribeAcls", wire.DescribeACLs, nil, []need{{"any cluster ''", 31}}},
	{"CreateAcls", wire.CreateACLs, nil, []need{{"configure cluster ''", 31}}},
	{"DeleteAcls", wire.DeleteACLs, nil, []need{{"configure cluster ''", 31}}},
	{"OffsetDelete", wire.OffsetDelete, nil, []need{{"configure group 'g'", 30}, {"read queue 't'", 29}}},
	{"DescribeClientQuotas", wire.DescribeClientQuotas, nil, []need{{"any cluster ''", 31}}},
	{"AlterClientQuotas", wire.AlterClientQuotas, nil, []need{{"configure cluster ''", 31}}},
	{"DescribeUserScramCredentials", wire.DescribeUserSCRAM, nil, []need{{"any cluster ''", 31}}},
	{"AlterUserScramCredentials", wire.AlterUserSCRAM, nil, []need{{"configure cluster ''", 31}}},
	{"ShareFetch", wire.ShareFetch, nil, []need{{"read group 'shared'", 30}, {"read queue 't'", 29}}},
	{"ShareAcknowledge", wire.ShareAcknowledge, nil, []need{{"read group 'shared'", 30}}},
	{"DescribeShareGroupOffsets", wire.DescribeShareGroupOffsets, nil, []need{{"any group 'shared'", 30}}},
	{"DeleteShareGroupOffsets", wire.DeleteShareGroupOffsets, nil, []need{{"configure group 'shared'", 30}}},
	{"AlterShareGroupOffsets", wire.AlterShareGroupOffsets, nil, []need{{"read group 'shared'", 30}, {"read queue 't'", 29}}},
	{"ShareGroupDescribe", wire.ShareGroupDescribe, nil, []need{{"any group 'shared'", 30}}},
	{"ShareGroupHeartbeat", wire.ShareGroupHeartbeat, nil, []need{{"read group 'shared'", 30}, {"any queue 't'", 29}}},
	{"ConsumerGroupHeartbeat", wire.ConsumerGroupHeartbeat, nil, []need{{"read group 'g'", 30}, {"any queue 't'", 29}}},
}

func fetchOf(topic string, wait int32) *kmsg.FetchRequest {
	q := kmsg.NewPtrFetchRequest()
	q.MaxWaitMillis, q.MinBytes, q.SessionEpoch, q.MaxBytes = wait, 1, -1, 1<<20
	t := kmsg.NewFetchRequestTopic()
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes, p.CurrentLeaderEpoch = 1<<20, -1
	t.Topic, t.Partitions = topic, append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	return q
}

func metadataOf(names ...string) *kmsg.MetadataRequest {
	q := kmsg.NewPtrMetadataRequest()
	q.AllowAutoTopicCreation = true
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		q.Topics = append(q.Topics, t)
	}
	return q
}

func describeConfigsOf(kind kmsg.ConfigResourceType, name string) *kmsg.DescribeConfigsRequest {
	q := kmsg.NewPtrDescribeConfigsRequest()
	x := kmsg.NewDescribeConfigsRequestResource()
	x.ResourceType, x.ResourceName = kind, name
	q.Resources = append(q.Resources, x)
	return q
}

// refusals are the codes of an answer that say that a right is missing.
func refusals(res kmsg.Response) []wire.Code {
	codes := map[wire.Code]bool{}
	codesIn(reflect.ValueOf(res), codes)
	var out []wire.Code
	for code := range codes {
		if code == wire.TopicAuthorizationFailed || code == wire.GroupAuthorizationFailed || code == wire.ClusterAuthorizationFailed || code == wire.TransactionalIDAuthFailed {
			out = append(out, code)
		}
	}
	slices.Sort(out)
	return out
}

// withIDs has the topics of a request, which it names, be named by their ids too.
func (r *rig) withIDs(req kmsg.Request) kmsg.Request {
	v, _ := r.broker.VHost("/")
	id := func(name string) [16]byte {
		if q, err := v.Queue(name); err == nil {
			return q.TopicID
		}
		return feedID(name)
	}
	switch q := req.(type) {
	case *kmsg.ProduceRequest:
		for i := range q.Topics {
			q.Topics[i].TopicID = id(q.Topics[i].Topic)
		}
	case *kmsg.FetchRequest:
		for i := range q.Topics {
			q.Topics[i].TopicID = id(q.Topics[i].Topic)
		}
	case *kmsg.ShareFetchRequest:
		for i := range q.Topics {
			q.Topics[i].TopicID = id("t")
		}
	case *kmsg.OffsetCommitRequest:
		for i := range q.Topics {
			q.Topics[i].TopicID = id(q.Topics[i].Topic)
		}
	case *kmsg.TxnOffsetCommitRequest:
		for i := range q.Topics {
			q.Topics[i].TopicID = id(q.Topics[i].Topic)
		}
	case *kmsg.OffsetFetchRequest:
		for _, g := range q.Groups {
			for i := range g.Topics {
				g.Topics[i].TopicID = id(g.Topics[i].Topic)
			}
		}
	}
	return req
}

// Every key does what it does with exactly the rights that docs/security.md lists, and answers with
// Kafka's code for the one that is missing.
func TestAKeyTakesItsRights(t *testing.T) {
	r, have := newRightsRig(t)
	for _, n := range needed {
		made := n.make
		if made == nil {
			made = refusedRequests[n.key].make
		}
		version := int16(0)
		for _, s := range wire.Supported {
			if s.Key == n.key {
				version = min(s.Max, made().MaxVersion())
				if n.key == wire.AddPartitionsToTxn {
					version = 3 // later ones are for administrators
				}
			}
		}
		try := func(given ...string) []wire.Code {
			t.Helper()
			r.furnish()
			have.set("read")
			r.broker.PolicyChanged()
			commits := r.raw() // the group is there too
			commits.send(refusedRequests[wire.OffsetCommit].make(), 7)
			var committed kmsg.OffsetCommitResponse
			if commits.receive(&committed, 7); len(refusals(&committed)) != 0 {
				t.Fatal(committed)
			}
			commits.nc.Close()
			have.set(given...)
			r.broker.PolicyChanged()
			c := r.raw()
			defer c.nc.Close()
			req := r.withIDs(made())
			c.send(req, version)
			res := req.ResponseKind()
			c.receive(res, version)
			return refusals(res)
		}
		var all []string
		for _, need := range n.needs {
			all = append(all, strings.Replace(need.right, "any ", "write ", 1))
		}
		if got := try(all...); len(got) != 0 {
			t.Errorf("%s with all that it needs: %v", n.name, got)
		}
		for i, need := range n.needs {
			given := slices.Delete(slices.Clone(all), i, i+1)
			if got := try(append(given, "configure queue 'other'")...); !slices.Equal(got, []wire.Code{need.code}) {
				t.Errorf("%s without %s: %v", n.name, need.right, got)
			}
			for _, other := range []string{"configure", "write", "read"} { // of the right thing the wrong right
				right, of, _ := strings.Cut(need.right, " ")
				if got := try(append(given, other+" "+of)...); (len(got) == 0) != (right == "any" || right == other) {
					t.Errorf("%s with %s in place of %s: %v", n.name, other, need.right, got)
				}
			}
		}
		for bits := range 8 {
			var given []string
			for bit, right := range []string{"configure", "write", "read"} {
				if bits>>bit&1 == 1 {
					given = append(given, right)
				}
			}
			covered := !slices.ContainsFunc(n.needs, func(n need) bool {
				right, _, _ := strings.Cut(n.right, " ")
				return right == "any" && len(given) == 0 || right != "any" && !slices.Contains(given, right)
			})
			if got := try(given...); (len(got) == 0) != covered {
				t.Errorf("%s with %v: %v", n.name, given, got)
			}
		}
	}
	for key := range refusedRequests {
		if !slices.ContainsFunc(needed, func(n struct {
			name  string
			key   wire.Key
			make  func() kmsg.Request
			needs []need
		}) bool {
			return n.key == key
		}) {
			t.Errorf("key %v is not in the table of what keys need", key)
		}
	}
}

// What may be done to a topic or group is what its authorized operations say.
func TestAuthorizedOperationsFollowRights(t *testing.T) {
	r, have := newRightsRig(t)
	ask := func() (topics map[string]int32, cluster, group int32) {
		r.broker.PolicyChanged()
		c := r.raw()
		defer c.nc.Close()
		q := metadataOf("t", "feed")
		q.IncludeClusterAuthorizedOperations, q.IncludeTopicAuthorizedOperations = true, true
		c.send(q, 10)
		var res kmsg.MetadataResponse
		c.receive(&res, 10)
		topics = map[string]int32{}
		for _, t := range res.Topics {
			topics[*t.Topic] = t.AuthorizedOperations
		}
		g := kmsg.NewPtrDescribeGroupsRequest()
		g.Groups, g.IncludeAuthorizedOperations = []string{"g"}, true
		c.send(g, 5)
		var groups kmsg.DescribeGroupsResponse
		c.receive(&groups, 5)
		return topics, res.AuthorizedOperations, groups.Groups[0].AuthorizedOperations
	}
	const read, write, create, remove, alter, describe, describeConfigs, alterConfigs, idempotentWrite = 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 10, 1 << 11, 1 << 12
	for _, c := range []struct {
		have                    []string
		t, feed, cluster, group int32
	}{
		{nil, notAsked, notAsked, 0, notAsked},
		{[]string{"read"}, read | describe | describeConfigs, read | describe | describeConfigs, describe | describeConfigs, read | describe | describeConfigs},
		{[]string{"write queue 't'", "configure exchange 'x'", "configure group 'g'", "write cluster ''"}, write | describe | describeConfigs,
			create | remove | alter | alterConfigs | describe | describeConfigs, idempotentWrite | describe | describeConfigs, remove | alterConfigs | describe | describeConfigs},
	} {
		have.set(c.have...)
		topics, cluster, group := ask()
		if topics["t"] != c.t || topics["feed"] != c.feed || cluster != c.cluster || group != c.group {
			t.Errorf("with %v: t %b, feed %b, cluster %b, group %b", c.have, topics["t"], topics["feed"], cluster, group)
		}
	}
}

// A list of groups holds those that the client may see, and all for who may see the broker.
func TestGroupsAreListedForWhoMaySeeThem(t *testing.T) {
	r, have := newRightsRig(t)
	for _, c := range []struct {
		have string
		want int
	}{{"write queue 'g'", 0}, {"write group 'g'", 1}, {"read cluster ''", 1}, {"read", 1}} {
		have.set(c.have)
		r.broker.PolicyChanged()
		k := r.raw()
		k.send(kmsg.NewPtrListGroupsRequest(), 4)
		var res kmsg.ListGroupsResponse
		if k.receive(&res, 4); len(res.Groups) != c.want {
			t.Errorf("with %s: %+v", c.have, res.Groups)
		}
		k.nc.Close()
	}
}

// A fetch that waits, and a producer and a consumer that are at work, lose a topic when their right is.
func TestAConnectionLosesWhatItMayNotAnyMore(t *testing.T) {
	r, have := newRightsRig(t)
	have.set("read", "write")
	waiting, working := r.raw(), r.raw()
	produce := func() []wire.Code {
		req := produceRequest("t", 0, -1, makeBatch(nil, "v"))
		working.send(req, 9)
		var res kmsg.ProduceResponse
		working.receive(&res, 9)
		return refusals(&res)
	}
	if got := produce(); len(got) != 0 {
		t.Fatal(got)
	}
	q := fetchOf("t", forEver)
	q.Topics[0].Partitions[0].FetchOffset = 2 // the end
	waiting.send(q, 12)
	time.Sleep(50 * time.Millisecond) // it waits by now, mostly; it must end either way
	have.set("configure")
	r.broker.PolicyChanged()
	var res kmsg.FetchResponse
	if waiting.receive(&res, 12); !slices.Equal(refusals(&res), []wire.Code{29}) {
		t.Errorf("%+v", res)
	}
	if got := produce(); !slices.Equal(got, []wire.Code{29}) {
		t.Errorf("produced: %v", got)
	}
}

// A member whose right goes while its join, or its sync, waits for others gets neither members nor an assignment.
func TestAMemberThatWaitsLosesItsGroup(t *testing.T) {
	r, have := newRightsRig(t)
	have.set("read")
	leader := group.JoinRequest{Group: "w", ClientID: "leader", ProtocolType: "consumer", SessionTimeout: 5 * time.Minute, RebalanceTimeout: 5 * time.Minute,
		Protocols: []group.Protocol{{Name: "range", Metadata: []byte("m")}}}
	join := func() chan group.JoinReply {
		answer := make(chan group.JoinReply, 1)
		r.groups().Join(leader, func(reply group.JoinReply) { answer <- reply })
		return answer
	}
	got := <-join()
	if got.Err != wire.None {
		t.Fatal(got)
	}
	leader.MemberID = got.MemberID
	waiting := r.raw()
	waits := func(n int) {
		t.Helper()
		waiting.send(joinOf("w", ""), 3)
		eventually(t, "the join", func() bool { return len(r.groups().Describe("w").Members) == n })
	}
	waits(2)
	have.set("write")
	r.broker.PolicyChanged()
	var in kmsg.JoinGroupResponse
	if waiting.receive(&in, 3); in.ErrorCode != int16(wire.GroupAuthorizationFailed) || in.Generation != -1 || len(in.Members) != 0 {
		t.Errorf("%+v", in)
	}

	have.set("read")
	r.broker.PolicyChanged()
	waits(2)
	got = <-join()
	if waiting.receive(&in, 3); in.ErrorCode != 0 || got.Leader != leader.MemberID {
		t.Fatalf("%+v, %+v", in, got)
	}
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = "w", in.MemberID, in.Generation
	waiting.send(sync, 2)
	time.Sleep(50 * time.Millisecond) // it waits by now, mostly; it must be refused either way
	have.set("write")
	r.broker.PolicyChanged()
	var out kmsg.SyncGroupResponse
	if waiting.receive(&out, 2); out.ErrorCode != int16(wire.GroupAuthorizationFailed) || len(out.MemberAssignment) != 0 {
		t.Errorf("%+v", out)
	}
}

// The place of a member goes with its right, for the others to have what it had; so does that of a member whose
// connection is ended, and who goes on over another connection has its place by the heartbeats there.
func TestAMembersPlaceGoesWithItsRight(t *testing.T) {
	for name, c := range map[string]struct {
		left  []string
		again bool // over another connection
		code  wire.Code
	}{
		"of the group":        {[]string{"read queue 't'"}, false, wire.GroupAuthorizationFailed},
		"of the group, later": {[]string{"read queue 't'"}, true, wire.GroupAuthorizationFailed},
		"of the virtual host": {[]string{"no vhost"}, false, 0},
		"of something else":   {[]string{"read group 'w'"}, false, wire.None},
		"of nothing, in vain": {[]string{"read"}, true, wire.None},
	} {
		t.Run(name, func(t *testing.T) {
			r, have := newRightsRig(t)
			have.set("read")
			r.broker.PolicyChanged()
			k := r.raw()
			k.send(joinOf("w", ""), 3)
			var in kmsg.JoinGroupResponse
			if k.receive(&in, 3); in.ErrorCode != 0 {
				t.Fatalf("%+v", in)
			}
			sync := kmsg.NewPtrSyncGroupRequest()
			sync.Group, sync.MemberID, sync.Generation = "w", in.MemberID, in.Generation
			k.send(sync, 2)
			var out kmsg.SyncGroupResponse
			if k.receive(&out, 2); out.ErrorCode != 0 {
				t.Fatalf("%+v", out)
			}
			heartbeat := func() wire.Code {
				q := kmsg.NewPtrHeartbeatRequest()
				q.Group, q.MemberID, q.Generation = "w", in.MemberID, in.Generation
				k.send(q, 3)
				var res kmsg.HeartbeatResponse
				k.receive(&res, 3)
				return wire.Code(res.ErrorCode)
			}
			if c.again {
				k.nc.Close()
				k = r.raw()
			}
			if code := heartbeat(); code != wire.None {
				t.Fatal(code)
			}
			have.set(c.left...)
			r.broker.PolicyChanged()
			members := 0
			if c.left[0] == "read" || c.left[0] == "read group 'w'" {
				members = 1
			}
			if got := len(r.groups().Describe("w").Members); got != members {
				t.Errorf("%d members, want %d", got, members)
			}
			if c.left[0] == "no vhost" {
				return // its connection is ended
			}
			if code := heartbeat(); code != c.code {
				t.Errorf("heartbeat: %v, want %v", code, c.code)
			}
		})
	}
}

// Who is not let in takes no place of those who are, however many they are.
func TestWhoIsNotLetInIsNotCounted(t *testing.T) {
	r, have := newRightsRig(t)
	if err := r.broker.SetVHostLimit(audit.Process("test"), "/", broker.MaxConnections, 1); err != nil {
		t.Fatal(err)
	}
	have.set("no vhost")
	r.broker.PolicyChanged()
	for range 3 {
		c := r.server.newConn(sink{})
		c.entry = r.server.clients.Connect(c.nc, c)
		defer c.entry.Close()
		if err := c.enter(); broker.KindOf(err) != broker.Refused || c.in {
			t.Fatalf("in, without a permission in the virtual host: %v", err)
		}
	}
	have.set()
	r.broker.PolicyChanged()
	c := r.direct(t)
	if !c.in {
		t.Error("not in: the others are counted")
	}
	if err := c.admit(auth.Identity{Name: "ann"}, "/"); err != nil { // who logs in after all
		t.Errorf("not in a second time: the first is counted: %v", err)
	}
}

// What a client calls itself now is what its topic permissions are filled in with.
func TestASessionKnowsWhatItsClientCallsItself(t *testing.T) {
	r, _ := newRightsRig(t)
	c := r.direct(t)
	for _, id := range []string{"one", "two"} {
		if c.introduce(id); c.session.ClientID() != id {
			t.Errorf("%q, want %q", c.session.ClientID(), id)
		}
	}
}
