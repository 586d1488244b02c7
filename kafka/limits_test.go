package kafka

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// times is a list of n times the same.
func times[T any](n int, one T) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = one
	}
	return list
}

// crowded is a rig with a topic "t" of 500 partitions and a group "g" whose 20 members
// say 20 KB each and which has committed 4 KB of text for each partition.
func crowded(t *testing.T, edit func(*Options)) *rig {
	r := newRig(t, func(o *Options) {
		o.InitialRebalanceDelay = 300 * time.Millisecond
		if edit != nil {
			edit(o)
		}
	})
	r.topic("t", 500, nil)
	client := r.raw()
	for first := int32(0); first < 500; first += 10 {
		topic := kmsg.NewOffsetCommitRequestTopic()
		topic.Topic = "t"
		for p := range int32(10) {
			one := kmsg.NewOffsetCommitRequestTopicPartition()
			one.Partition, one.Offset, one.Metadata = first+p, 7, kmsg.StringPtr(strings.Repeat("x", 4096))
			topic.Partitions = append(topic.Partitions, one)
		}
		commit := kmsg.NewPtrOffsetCommitRequest()
		commit.Group, commit.Generation, commit.Topics = "g", -1, append(commit.Topics, topic)
		client.send(commit, 5)
		var res kmsg.OffsetCommitResponse
		if client.receive(&res, 5); res.Topics[0].Partitions[9].ErrorCode != 0 {
			t.Fatalf("error %d", res.Topics[0].Partitions[9].ErrorCode)
		}
	}
	r.form("g", 20, 20<<10)
	return r
}

// form makes a stable group of n members who say so many bytes each.
func (r *rig) form(name string, n, bytes int) {
	r.t.Helper()
	c := r.groups()
	joined := make(chan group.JoinReply, n)
	for range n {
		c.Join(group.JoinRequest{Group: name, ClientID: "c", ProtocolType: "consumer", SessionTimeout: time.Minute, RebalanceTimeout: time.Minute,
			Protocols: []group.Protocol{{Name: "range", Metadata: make([]byte, bytes)}}}, func(reply group.JoinReply) { joined <- reply })
	}
	for range n {
		in := <-joined
		if in.Err != wire.None {
			r.t.Fatal(in.Err)
		}
		c.Sync(group.SyncRequest{Group: name, MemberID: in.MemberID, Generation: in.Generation}, func(group.SyncReply) {})
	}
	if d := c.Describe(name); d.State != group.Stable || len(d.Members) != n {
		r.t.Fatalf("%s with %d members", d.State, len(d.Members))
	}
}

// greedy are requests that name one thing ten thousand times, or ask for all there is.
func greedy(r *rig) map[string]struct {
	req     kmsg.Request
	version int16
	answers func(kmsg.Response) int // how many things it says something about
	want    int
} {
	const n = 10_000
	type entry = struct {
		req     kmsg.Request
		version int16
		answers func(kmsg.Response) int
		want    int
	}
	byName, byID := kmsg.NewPtrMetadataRequest(), kmsg.NewPtrMetadataRequest()
	named, withID := kmsg.NewMetadataRequestTopic(), kmsg.NewMetadataRequestTopic()
	named.Topic = kmsg.StringPtr("t")
	v, _ := r.broker.VHost("/")
	q, _ := v.Queue("t")
	withID.TopicID = q.TopicID
	byName.Topics, byID.Topics = times(n, named), times(n, withID)
	topics := func(res kmsg.Response) int { return len(res.(*kmsg.MetadataResponse).Topics) }

	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = times(n, "g")
	drop := kmsg.NewPtrDeleteGroupsRequest()
	drop.Groups = times(n, "g")
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = times(n, "g")

	offsets := kmsg.NewPtrOffsetFetchRequest()
	offsets.Group = "g"
	offsets.Topics = append(offsets.Topics, kmsg.OffsetFetchRequestTopic{Topic: "t", Partitions: make([]int32, n)})
	groups, lists := kmsg.NewPtrOffsetFetchRequest(), kmsg.NewPtrOffsetFetchRequest()
	groups.Groups = times(n, kmsg.OffsetFetchRequestGroup{Group: "g"})
	lists.Groups = times(n, kmsg.OffsetFetchRequestGroup{Group: "g", Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", Partitions: []int32{1}}}})
	committed := func(res kmsg.Response) (found int) {
		for _, g := range res.(*kmsg.OffsetFetchResponse).Groups {
			for _, t := range g.Topics {
				found += len(t.Partitions)
			}
		}
		return found
	}

	configs := kmsg.NewPtrDescribeConfigsRequest()
	configs.Resources = times(n, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"})
	configs.IncludeSynonyms = true
	times2 := kmsg.NewPtrListOffsetsRequest()
	when := kmsg.NewListOffsetsRequestTopic()
	when.Topic = "t"
	when.Partitions = times(n, kmsg.ListOffsetsRequestTopicPartition{Timestamp: 5})
	times2.Topics = append(times2.Topics, when)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.Topics = times(n, kmsg.CreateTopicsRequestTopic{Topic: "new", NumPartitions: 1, ReplicationFactor: 1})
	widen := kmsg.NewPtrCreatePartitionsRequest()
	widen.Topics = times(n, kmsg.CreatePartitionsRequestTopic{Topic: "t", Count: 501})
	ids := kmsg.NewPtrDeleteTopicsRequest()
	ids.Topics = times(n, kmsg.DeleteTopicsRequestTopic{TopicID: [16]byte{1}})

	return map[string]entry{
		"Metadata by name":      {byName, 8, topics, 1},
		"Metadata by id":        {byID, 12, topics, 1},
		"DescribeGroups":        {describe, 4, func(r kmsg.Response) int { return len(r.(*kmsg.DescribeGroupsResponse).Groups) }, 1},
		"DeleteGroups":          {drop, 1, func(r kmsg.Response) int { return len(r.(*kmsg.DeleteGroupsResponse).Groups) }, 1},
		"FindCoordinator":       {find, 4, func(r kmsg.Response) int { return len(r.(*kmsg.FindCoordinatorResponse).Coordinators) }, 1},
		"OffsetFetch":           {offsets, 5, func(r kmsg.Response) int { return len(r.(*kmsg.OffsetFetchResponse).Topics[0].Partitions) }, 1},
		"OffsetFetch of groups": {groups, 8, committed, 500},
		"OffsetFetch of lists":  {lists, 8, committed, 1},
		"DescribeConfigs":       {configs, 4, func(r kmsg.Response) int { return len(r.(*kmsg.DescribeConfigsResponse).Resources) }, 1},
		"ListOffsets":           {times2, 5, func(r kmsg.Response) int { return len(r.(*kmsg.ListOffsetsResponse).Topics[0].Partitions) }, 1},
		"CreateTopics":          {create, 5, func(r kmsg.Response) int { return len(r.(*kmsg.CreateTopicsResponse).Topics) }, 1},
		"CreatePartitions":      {widen, 1, func(r kmsg.Response) int { return len(r.(*kmsg.CreatePartitionsResponse).Topics) }, 1},
		"DeleteTopics by id":    {ids, 6, func(r kmsg.Response) int { return len(r.(*kmsg.DeleteTopicsResponse).Topics) }, 1},
	}
}

func TestWhatIsNamedAgainAndAgainTakesLittle(t *testing.T) {
	const most = 24 << 20 // of bytes allocated in all, which is more than are held at a time
	r := crowded(t, nil)
	for name, c := range greedy(r) {
		t.Run(name, func(t *testing.T) {
			client := r.raw()
			res := c.req.ResponseKind()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			client.send(c.req, c.version)
			client.receive(res, c.version)
			runtime.ReadMemStats(&after)
			if took := after.TotalAlloc - before.TotalAlloc; took > most {
				t.Errorf("%d bytes were allocated", took)
			}
			if n := c.answers(res); n != c.want {
				t.Errorf("%d things are answered, want %d", n, c.want)
			}
		})
	}
}

func TestAnAnswerThatDoesNotFitIsAnError(t *testing.T) {
	r := crowded(t, func(o *Options) { o.Budget = budget.New(budget.Options{Bytes: 16 << 20, Share: 300 << 10}) })
	ask := func(req kmsg.Request, version int16) kmsg.Response {
		client := r.raw()
		client.send(req, version)
		res := req.ResponseKind()
		client.receive(res, version)
		return res
	}
	for range 3 { // and it is given back
		meta := kmsg.NewPtrMetadataRequest()
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr("t")
		meta.Topics = append(meta.Topics, topic)
		if res := ask(meta, 8).(*kmsg.MetadataResponse); len(res.Topics[0].Partitions) != 500 {
			t.Errorf("a topic that fits has error %d", res.Topics[0].ErrorCode)
		}
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"g", "other"}
	if res := ask(describe, 4).(*kmsg.DescribeGroupsResponse); res.Groups[0].ErrorCode != int16(wire.InvalidRequest) || res.Groups[1].ErrorCode != 0 {
		t.Errorf("DescribeGroups: %+v", res.Groups)
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g"}, {Group: "other"}}
	if res := ask(fetch, 8).(*kmsg.OffsetFetchResponse); res.Groups[0].ErrorCode != int16(wire.InvalidRequest) || res.Groups[1].ErrorCode != 0 {
		t.Errorf("OffsetFetch: %+v", res.Groups)
	}
	old := kmsg.NewPtrOffsetFetchRequest()
	old.Group = "g"
	if res := ask(old, 5).(*kmsg.OffsetFetchResponse); res.ErrorCode != int16(wire.InvalidRequest) {
		t.Errorf("OffsetFetch of one group: %+v", res)
	}
	if s := r.server.opts.Budget.Stats(); s.Used > 500<<10 {
		t.Errorf("%d bytes are taken while nobody asks", s.Used)
	}
}

func TestOthersAreAnsweredWhileOneHoldsTheMemory(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 1 << 20, Patience: 50 * time.Millisecond})
	r := newRig(t, func(o *Options) { o.Budget = b })
	r.topic("t", 500, nil)
	hog := b.Open()
	for hog.Try(1<<10) == nil {
	}
	other := b.Open()
	for other.Try(1<<10) == nil {
	}
	client := r.raw()
	meta := kmsg.NewPtrMetadataRequest()
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = kmsg.StringPtr("t")
	meta.Topics = append(meta.Topics, topic)
	client.send(meta, 8)
	var res kmsg.MetadataResponse
	if client.receive(&res, 8); res.Topics[0].ErrorCode != int16(wire.RequestTimedOut) {
		t.Errorf("a large answer has error %d", res.Topics[0].ErrorCode)
	}
	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKey = "g"
	client.send(find, 2)
	var found kmsg.FindCoordinatorResponse
	if client.receive(&found, 2); found.ErrorCode != 0 {
		t.Errorf("a small one has error %d", found.ErrorCode)
	}
}

func TestManyNamesAreAnswered(t *testing.T) {
	r := newRig(t, func(o *Options) { o.NoAutoCreate = true })
	req := kmsg.NewPtrMetadataRequest()
	for i := range 60_000 { // more than 1 MiB
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(fmt.Sprintf("a-topic-of-some-name-%d", i))
		req.Topics = append(req.Topics, topic)
	}
	client := r.raw()
	client.send(req, 4)
	var res kmsg.MetadataResponse
	if client.receive(&res, 4); len(res.Topics) != 60_000 {
		t.Errorf("%d topics", len(res.Topics))
	}
}

func TestMembersWithAbsurdlyManyProtocolsAreRefused(t *testing.T) {
	client := newRig(t, nil).raw()
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = "g", "consumer", 10000, 10000
	for i := range maxProtocols + 1 {
		p := kmsg.NewJoinGroupRequestProtocol()
		p.Name = fmt.Sprint("p", i)
		req.Protocols = append(req.Protocols, p)
	}
	client.send(req, 2)
	res := kmsg.NewPtrJoinGroupResponse()
	if client.receive(res, 2); res.ErrorCode != int16(wire.InconsistentGroupProtocol) {
		t.Errorf("error %d", res.ErrorCode)
	}
}

func TestAFetchIsSmallWhileOthersHoldTheMemory(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 8 << 20, Share: 4 << 20})
	r := newRig(t, func(o *Options) { o.Budget = b })
	r.topic("t", 1, nil)
	cl := r.client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 20 {
		if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: make([]byte, 100<<10)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	fetched := func() int {
		req := longFetch("t", 0)
		req.MaxBytes, req.Topics[0].Partitions[0].PartitionMaxBytes = 64<<20, 64<<20
		client := r.raw()
		client.send(req, 11)
		var res kmsg.FetchResponse
		client.receive(&res, 11)
		return len(res.Topics[0].Partitions[0].RecordBatches)
	}
	if n := fetched(); n < 1<<20 {
		t.Errorf("%d bytes, want at least 1 MiB", n)
	}
	eventually(t, "what it took is given back", func() bool { return b.Stats().Used == 0 })
	for range 3 {
		for hog := b.Open(); hog.Try(64<<10) == nil; {
		}
	}
	if n := fetched(); n < 100<<10 || n > smallFetchBytes {
		t.Errorf("%d bytes while others hold the memory", n)
	}
}

func TestRequestsOfManyPartitionsLeaveNothingBehind(t *testing.T) {
	b := budget.New(budget.Options{})
	r := newRig(t, func(o *Options) { o.Budget = b })
	r.topic("t", 1, nil)
	const n = 20_000
	here, there := net.Pipe()
	c := r.server.newConn(here)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.live()
	}()
	client := &raw{t: t, nc: there}

	fetch := longFetch("t", 0)
	fetch.Topics[0].Partitions = times(n, fetch.Topics[0].Partitions[0])
	fetch.Topics[0].Partitions[7].Partition = 1 // is not there, so that nothing waits
	client.send(fetch, 11)
	var fetched kmsg.FetchResponse
	if client.receive(&fetched, 11); len(fetched.Topics[0].Partitions) != n {
		t.Errorf("%d partitions", len(fetched.Topics[0].Partitions))
	}
	produce := produceRequest("t", 0, -1, makeBatch(nil, "some value"))
	produce.Topics[0].Partitions = times(n, produce.Topics[0].Partitions[0])
	for i := range produce.Topics[0].Partitions {
		produce.Topics[0].Partitions[i].Partition = int32(i % 2 * 5)
	}
	client.send(produce, 9)
	var produced kmsg.ProduceResponse
	if client.receive(&produced, 9); len(produced.Topics[0].Partitions) != n || produced.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Errorf("%d partitions, the first has error %d", len(produced.Topics[0].Partitions), produced.Topics[0].Partitions[0].ErrorCode)
	}
	if b.Stats().Peak < n*fetchedBytes {
		t.Errorf("at most %d bytes were counted", b.Stats().Peak)
	}
	eventually(t, "all of it is given back", func() bool { return b.Stats().Used == 0 })
	there.Close()
	<-ended
	if kept := cap(c.produce.Partitions) + cap(c.fetch.req.Partitions) + cap(c.fetch.found); kept > 0 {
		t.Errorf("memory for %d partitions stays with the connection", kept)
	}
}

func TestOneRequestMakesTenThousandPartitionsAtMost(t *testing.T) {
	client := newRig(t, nil).raw()
	for _, c := range []struct {
		partitions []int32
		tooMany    bool
	}{
		{[]int32{5000, 4999, 1}, false}, {[]int32{5000, 5000, 1}, true}, {slices.Repeat([]int32{-1}, maxPartitions), false}, {slices.Repeat([]int32{-1}, maxPartitions+1), true},
	} {
		req := kmsg.NewPtrCreateTopicsRequest()
		req.ValidateOnly = true
		for i, n := range c.partitions {
			req.Topics = append(req.Topics, kmsg.CreateTopicsRequestTopic{Topic: fmt.Sprint("t", i), NumPartitions: n, ReplicationFactor: 1})
		}
		client.send(req, 5)
		var res kmsg.CreateTopicsResponse
		client.receive(&res, 5)
		if len(res.Topics) != len(c.partitions) {
			t.Fatalf("%d topics are answered, want %d", len(res.Topics), len(c.partitions))
		}
		for _, got := range res.Topics {
			if (got.ErrorCode == int16(wire.PolicyViolation)) != c.tooMany { // for an answer of so many topics there may be no memory here
				t.Fatalf("%d topics, %s: error %d", len(c.partitions), got.Topic, got.ErrorCode)
			}
		}
	}
}

// A name of 32,767 bytes is as long as older versions can say; a sentence about it
// would be longer.
func TestASentenceAboutALongNameIsShort(t *testing.T) {
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = strings.Repeat("ü", 16_383), 1, 1
	req.Topics = append(req.Topics, topic)
	client := newRig(t, nil).raw()
	client.send(req, 3)
	var res kmsg.CreateTopicsResponse
	client.receive(&res, 3)
	got := res.Topics[0]
	if got.Topic != topic.Topic || got.ErrorCode != int16(wire.InvalidTopic) || len(*got.ErrorMessage) > wire.MaxTextBytes || !utf8.ValidString(*got.ErrorMessage) {
		t.Errorf("error %d, %d bytes of text", got.ErrorCode, len(*got.ErrorMessage))
	}
}
