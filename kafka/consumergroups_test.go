package kafka

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

func TestAGroupThatTheBrokerAssignsSharesPartitionsAndGoesOnAfterARestart(t *testing.T) {
	r := newRig(t, nil)
	ctx := testContext(t)
	r.topic("shared", 4, nil)
	producer := r.client(kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	produce(t, producer, "shared", 0, 400)
	member := func() *kgo.Client {
		return r.client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("shared"), kgo.DisableAutoCommit(), kgo.ServerSideBalancer(), kgo.Balancers(kgo.RangeBalancer()))
	}
	a := member()
	if n := len(consume(t, a, 400)); n != 400 {
		t.Fatalf("%d records", n)
	}
	if err := a.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	b := member()
	var d kadm.DescribedConsumerGroup
	for {
		polled, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		a.PollFetches(polled)
		b.PollFetches(polled)
		cancel()
		all, err := r.admin().DescribeConsumerGroups(ctx, "g")
		if err != nil {
			t.Fatal(err)
		}
		if d = all["g"]; d.State == "Stable" && len(d.Members) == 2 {
			break
		}
	}
	held := func(m kadm.ConsumerGroupMember) (list []int32) {
		for p := range m.Assignment["shared"] {
			list = append(list, p)
		}
		slices.Sort(list)
		return list
	}
	if d.AssignorName != "range" || len(held(d.Members[0])) != 2 || len(held(d.Members[1])) != 2 {
		t.Errorf("%+v", d)
	}
	listed, err := r.admin().ListGroupsByType(ctx, []string{"consumer"})
	if err != nil || listed["g"].State != "Stable" {
		t.Errorf("%+v, %v", listed, err)
	}
	if listed, err = r.admin().ListGroupsByType(ctx, []string{"classic"}); err != nil || len(listed) != 0 {
		t.Errorf("as classic: %+v, %v", listed, err)
	}
	produce(t, producer, "shared", 400, 40)
	producer.Close()
	r.restart()
	var got []*kgo.Record
	for _, cl := range []*kgo.Client{a, b} { // the address is another: they can't come to say so
		cl.Close()
	}
	again := r.server.groupsOf(mustVHost(t, r)).List()
	if len(again) != 1 || again[0].Members != 2 || again[0].Type != "Consumer" {
		t.Errorf("after the restart: %+v", again)
	}
	for _, m := range d.Members {
		c := r.raw()
		if res := c.consumerBeat(m.MemberID, m.MemberEpoch, nil); res.ErrorCode != 0 || res.MemberEpoch != m.MemberEpoch {
			t.Errorf("%s in epoch %d: %+v", m.MemberID, m.MemberEpoch, res)
		}
	}
	for _, m := range d.Members {
		c := r.raw()
		if res := c.consumerBeat(m.MemberID, -1, nil); res.ErrorCode != 0 {
			t.Errorf("%+v", res)
		}
	}
	if got = consume(t, member(), 40); len(got) != 40 {
		t.Errorf("%d records after the restart", len(got))
	}
	for _, rec := range got {
		if rec.Offset < 100 {
			t.Errorf("offset %d came again", rec.Offset)
		}
	}
}

// consumerBeat sends a heartbeat of a member of the group g, with all that a first one says in epoch 0.
func (c *raw) consumerBeat(member string, epoch int32, edit func(*kmsg.ConsumerGroupHeartbeatRequest)) *kmsg.ConsumerGroupHeartbeatResponse {
	c.t.Helper()
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch = "g", member, epoch
	if epoch == 0 {
		q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 300_000, []string{"t"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if edit != nil {
		edit(q)
	}
	c.send(q, 1)
	res := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	c.receive(res, 1)
	return res
}

func TestConsumerGroupHeartbeatOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 2, nil)
	c := r.raw()
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = "g", 300_000, []string{"t", "to-come"}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	c.send(q, 1)
	var res kmsg.ConsumerGroupHeartbeatResponse
	if c.receive(&res, 1); res.ErrorCode != 42 || res.ErrorMessage == nil {
		t.Errorf("version 1 without an id: %+v", res)
	}
	c.send(q, 0)
	if c.receive(&res, 0); res.ErrorCode != 0 || res.MemberID == nil || *res.MemberID == "" || res.MemberEpoch != 1 || res.HeartbeatIntervalMillis != 1000 {
		t.Fatalf("version 0 without an id: %+v", res)
	}
	id := *res.MemberID
	if a := res.Assignment; a == nil || len(a.Topics) != 1 || len(a.Topics[0].Partitions) != 2 || a.Topics[0].TopicID != queueID(t, r, "t") {
		t.Errorf("%+v", a)
	}
	r.topic("to-come", 1, nil)
	if res := c.consumerBeat(id, 1, nil); res.MemberEpoch != 2 || len(res.Assignment.Topics) != 2 {
		t.Errorf("a topic came: %+v", res)
	}
	if res := c.consumerBeat(id, 2, nil); res.ErrorCode != 0 || res.Assignment != nil {
		t.Errorf("nothing is new: %+v", res)
	}
	commit := commitOf("g", "t", 5)
	for epoch, want := range map[int32]int16{2: 0, 1: 0, 7: 113} { // it had t in epoch 1 already
		commit.MemberID, commit.Generation = id, epoch
		c.send(commit, 9)
		var committed kmsg.OffsetCommitResponse
		if c.receive(&committed, 9); committed.Topics[0].Partitions[0].ErrorCode != want {
			t.Errorf("commit in epoch %d: error %d, want %d", epoch, committed.Topics[0].Partitions[0].ErrorCode, want)
		}
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = "g"
	for _, tc := range []struct {
		member string
		epoch  int32
		want   int16
	}{{id, 2, 0}, {id, 1, 113}, {"x", 2, 25}, {"", -1, 0}} {
		g.MemberID, g.MemberEpoch = ref(tc.member), tc.epoch
		fetch.Groups = []kmsg.OffsetFetchRequestGroup{g}
		c.send(fetch, 9)
		var res kmsg.OffsetFetchResponse
		if c.receive(&res, 9); res.Groups[0].ErrorCode != tc.want || tc.want == 0 && len(res.Groups[0].Topics) != 1 {
			t.Errorf("fetch as %q in epoch %d: %+v", tc.member, tc.epoch, res.Groups)
		}
	}
	classic := kmsg.NewPtrDescribeGroupsRequest()
	classic.Groups = []string{"g"}
	for version, want := range map[int16]wire.Code{5: wire.None, 6: wire.GroupIDNotFound} {
		c.send(classic, version)
		var res kmsg.DescribeGroupsResponse
		if c.receive(&res, version); res.Groups[0].State != "Dead" || res.Groups[0].ErrorCode != int16(want) {
			t.Errorf("DescribeGroups version %d: %+v", version, res.Groups)
		}
	}
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups, describe.IncludeAuthorizedOperations = []string{"g", "none", "g"}, true
	c.send(describe, 1)
	var d kmsg.ConsumerGroupDescribeResponse
	c.receive(&d, 1)
	if len(d.Groups) != 2 || d.Groups[1].ErrorCode != 69 || d.Groups[1].ErrorMessage == nil {
		t.Fatalf("%+v", d.Groups)
	}
	if g := d.Groups[0]; g.State != "Stable" || g.Epoch != 2 || g.AssignmentEpoch != 2 || g.AssignorName != "uniform" || g.AuthorizedOperations != groupOperations ||
		len(g.Members) != 1 || g.Members[0].MemberType != 1 || g.Members[0].ClientID != "raw" || g.Members[0].ClientHost != "/127.0.0.1" || len(g.Members[0].Assignment.TopicPartitions) != 2 {
		t.Errorf("%+v", g)
	}
	if res := c.consumerBeat("m", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.SubscribedTopicNames, q.SubscribedTopicRegex = nil, kmsg.StringPtr("to-.*")
	}); res.ErrorCode != 0 || res.MemberEpoch != 3 {
		t.Errorf("%+v", res)
	}
	for regex, want := range map[string]int16{"(": 128, "to-(?=x)": 128} {
		if res := c.consumerBeat("n", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicRegex = &regex }); res.ErrorCode != want || res.ErrorMessage == nil {
			t.Errorf("%s: %+v", regex, res)
		}
	}
	deletes := kmsg.NewPtrDeleteGroupsRequest()
	deletes.Groups = []string{"g"}
	for _, want := range []int16{68, 0} {
		c.send(deletes, 2)
		var res kmsg.DeleteGroupsResponse
		if c.receive(&res, 2); res.Groups[0].ErrorCode != want {
			t.Errorf("%+v, want %d", res.Groups, want)
		}
		for _, m := range []string{id, "m"} {
			if res := c.consumerBeat(m, -1, nil); want != 0 && (res.ErrorCode != 0 || res.MemberEpoch != -1) {
				t.Errorf("%+v", res)
			}
		}
	}
}

func mustVHost(t *testing.T, r *rig) *broker.VHost {
	t.Helper()
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func queueID(t *testing.T, r *rig, name string) [16]byte {
	t.Helper()
	q, err := mustVHost(t, r).Queue(name)
	if err != nil {
		t.Fatal(err)
	}
	return q.TopicID
}

// Who loses the right to the group is out of it, and sees no topic that it may not.
func TestAConsumerGroupShowsAndAssignsWhatAMemberMaySee(t *testing.T) {
	r, have := newRightsRig(t)
	if _, err := r.owner().CreateTopic("other", 1, nil); err != nil {
		t.Fatal(err)
	}
	have.set("read group 'g'", "read queue 't'")
	c := r.raw()
	if res := c.consumerBeat("m", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.SubscribedTopicNames = []string{"t", "other"} }); res.ErrorCode != 29 {
		t.Errorf("a topic that it may not see: %+v", res)
	}
	res := c.consumerBeat("m", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) {
		q.SubscribedTopicNames, q.SubscribedTopicRegex = nil, kmsg.StringPtr(".*")
	})
	if res.ErrorCode != 0 || len(res.Assignment.Topics) != 1 || res.Assignment.Topics[0].TopicID != queueID(t, r, "t") {
		t.Fatalf("%+v", res)
	}
	describe := kmsg.NewPtrConsumerGroupDescribeRequest()
	describe.Groups = []string{"g"}
	have.set("read group 'g'")
	r.broker.PolicyChanged()
	c.send(describe, 0)
	var d kmsg.ConsumerGroupDescribeResponse
	if c.receive(&d, 0); d.Groups[0].ErrorCode != 29 || len(d.Groups[0].Members) != 0 {
		t.Errorf("%+v", d.Groups)
	}
	have.set()
	r.broker.PolicyChanged()
	groups := r.server.groupsOf(mustVHost(t, r))
	eventually(t, "it is no member any more", func() bool { return groups.List()[0].Members == 0 })
}
