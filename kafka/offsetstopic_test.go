package kafka

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// committedIn reads commits off __consumer_offsets until there are n, and the members of groups that it came by.
func committedIn(t *testing.T, cl *kgo.Client, n int) (commits map[string]int64, members map[string]int) {
	t.Helper()
	commits, members = map[string]int64{}, map[string]int{}
	for got := 0; got < n; {
		fetches := cl.PollFetches(testContext(t))
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			switch r.Key[1] {
			case 1:
				key, value := kmsg.NewOffsetCommitKey(), kmsg.NewOffsetCommitValue()
				if err := key.ReadFrom(r.Key); err != nil {
					t.Fatal(err)
				}
				if int(r.Partition) != group.OffsetPartition(key.Group) {
					t.Errorf("group %s in partition %d", key.Group, r.Partition)
				}
				got++
				if r.Value == nil {
					delete(commits, key.Group+"/"+key.Topic)
					return
				}
				if err := value.ReadFrom(r.Value); err != nil {
					t.Fatal(err)
				}
				if at := time.UnixMilli(value.CommitTimestamp); time.Since(at) > time.Minute || !r.Timestamp.Equal(at) || value.LeaderEpoch != -1 || value.Metadata != "m" {
					t.Errorf("%+v at %v", value, r.Timestamp)
				}
				commits[key.Group+"/"+key.Topic] = value.Offset
			case 2:
				key, value := kmsg.NewGroupMetadataKey(), kmsg.NewGroupMetadataValue()
				if err := key.ReadFrom(r.Key); err != nil {
					t.Fatal(err)
				}
				if r.Value == nil {
					delete(members, key.Group)
					return
				}
				if err := value.ReadFrom(r.Value); err != nil {
					t.Fatal(err)
				}
				members[key.Group] = len(value.Members)
			}
		})
	}
	return commits, members
}

func TestWhatGroupsCommitIsReadFromKafkasTopic(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	ctx := testContext(t)
	admin := r.admin()
	commit := func(name string, offset int64) {
		t.Helper()
		o := kadm.Offsets{}
		o.Add(kadm.Offset{Topic: "t", At: offset, LeaderEpoch: -1, Metadata: "m"})
		if err := admin.CommitAllOffsets(ctx, name, o); err != nil {
			t.Fatal(err)
		}
	}
	commit("before", 5) // nobody reads yet
	reader := func() *kgo.Client {
		return r.client(kgo.ConsumeTopics(offsetsTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(200*time.Millisecond))
	}
	cl := reader()
	if commits, _ := committedIn(t, cl, 1); commits["before/t"] != 5 {
		t.Fatalf("%v", commits)
	}
	member := r.client(kgo.ConsumerGroup("classic"), kgo.ConsumeTopics("t"), kgo.HeartbeatInterval(50*time.Millisecond))
	for {
		if d, _ := admin.DescribeGroups(ctx, "classic"); d["classic"].State == "Stable" {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	commit("before", 6)
	commit("after", 7)
	commits, members := committedIn(t, cl, 2)
	if commits["before/t"] != 6 || commits["after/t"] != 7 || members["classic"] != 1 {
		t.Errorf("%v, members %v", commits, members)
	}
	member.Close()
	for i := range 500 { // of which the newest counts
		commit("often", int64(i))
	}
	if _, err := admin.DeleteGroups(ctx, "after"); err != nil {
		t.Fatal(err)
	}
	commits, _ = committedIn(t, cl, 2)
	for commits["often/t"] != 499 {
		more, _ := committedIn(t, cl, 1)
		for k, v := range more {
			commits[k] = v
		}
	}
	late := reader()
	commits, _ = committedIn(t, late, 2)
	for commits["often/t"] != 499 {
		more, _ := committedIn(t, late, 1)
		for k, v := range more {
			commits[k] = v
		}
	}
	if _, there := commits["after/t"]; there {
		t.Errorf("it was deleted: %v", commits)
	}

	c := r.raw()
	bounds := func(index int32) (start, end int64) {
		at := func(ms int64) int64 {
			q := kmsg.NewPtrListOffsetsRequest()
			x := kmsg.NewListOffsetsRequestTopic()
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Partition, p.Timestamp = index, ms
			x.Topic, x.Partitions = offsetsTopic, append(x.Partitions, p)
			q.Topics = append(q.Topics, x)
			c.send(q, 7)
			var res kmsg.ListOffsetsResponse
			c.receive(&res, 7)
			if code := res.Topics[0].Partitions[0].ErrorCode; (code != 0) != (index >= group.OffsetPartitions) {
				t.Errorf("partition %d: error %d", index, code)
			}
			return res.Topics[0].Partitions[0].Offset
		}
		return at(-2), at(-1)
	}
	bounds(group.OffsetPartitions)
	start, end := bounds(int32(group.OffsetPartition("often")))
	if end-start != 500 {
		t.Errorf("records %d to %d", start, end)
	}
	all := kmsg.NewPtrMetadataRequest()
	c.send(all, 9)
	var md kmsg.MetadataResponse
	if c.receive(&md, 9); len(md.Topics) != 1 {
		t.Errorf("it is among all topics: %+v", md.Topics)
	}
	cl.Close()
	late.Close()
	admin.Close()
	r.restart()
	c = r.raw()
	if again, _ := bounds(int32(group.OffsetPartition("often"))); again < end {
		t.Errorf("offsets begin anew at %d, and were at %d", again, end)
	}
	cl = reader()
	if commits, _ := committedIn(t, cl, 2); commits["before/t"] != 6 || commits["often/t"] != 499 {
		t.Errorf("after a restart: %v", commits)
	}
}

func TestJavasHashOfAGroup(t *testing.T) {
	for name, want := range map[string]int{"": 0, "a": 97 % 50, "group": 98629247 % 50, "console-consumer-12345": 6, "żółw\U0001F407": 48} {
		if got := group.OffsetPartition(name); got != want {
			t.Errorf("%q: partition %d, want %d", name, got, want)
		}
	}
}

func TestNobodyWritesToKafkasTopicOfOffsets(t *testing.T) {
	r, have := newRightsRig(t)
	have.set("read", "write", "configure")
	c := r.raw()
	if p := c.produce(offsetsTopic, -1, makeBatch(nil, "x")); p.ErrorCode != int16(wire.InvalidTopic) {
		t.Errorf("%+v", p)
	}
	have.set("read queue 't'")
	r.broker.PolicyChanged()
	c.send(fetchOf(offsetsTopic, 0), 11)
	var res kmsg.FetchResponse
	if c.receive(&res, 11); res.Topics[0].Partitions[0].ErrorCode != int16(wire.TopicAuthorizationFailed) {
		t.Errorf("%+v", res)
	}
}

// TestAFetchOfOffsetsIsAsLongAsItsReaderTakes, or one record, and never longer than an answer that is not counted.
func TestAFetchOfOffsetsIsAsLongAsItsReaderTakes(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 200, nil)
	ctx := testContext(t)
	const metadataBytes = 4000
	o := kadm.Offsets{}
	for p := range int32(200) {
		o.Add(kadm.Offset{Topic: "t", Partition: p, At: 1, LeaderEpoch: -1, Metadata: strings.Repeat("m", metadataBytes)})
	}
	if err := r.admin().CommitAllOffsets(ctx, "g", o); err != nil {
		t.Fatal(err)
	}
	c := r.raw()
	index := int32(group.OffsetPartition("g"))
	starts, err := r.admin().ListStartOffsets(ctx, offsetsTopic)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := starts.Lookup(offsetsTopic, index)
	at := first.Offset
	fetch := func(from int64, request, partition int32) (records int, bytes int, next int64) {
		t.Helper()
		q := fetchOf(offsetsTopic, 0)
		q.MaxBytes = request
		p := &q.Topics[0].Partitions[0]
		p.Partition, p.FetchOffset, p.PartitionMaxBytes = index, from, partition
		c.send(q, 11)
		var res kmsg.FetchResponse
		c.receive(&res, 11)
		got := res.Topics[0].Partitions[0]
		if got.ErrorCode != 0 {
			t.Fatalf("error %d", got.ErrorCode)
		}
		next = from
		for data := got.RecordBatches; len(data) > 0; {
			b, rest, err := batch.Next(data)
			if err != nil {
				t.Fatal(err)
			}
			data, next = rest, b.LastOffset()+1
			records += int(b.Count())
		}
		return records, len(got.RecordBatches), next
	}
	for _, x := range []struct{ request, partition, least, most int32 }{
		{1 << 30, 1, 1, 1}, {1, 1 << 30, 1, 1}, {1 << 30, 10 * metadataBytes, 9, 11}, {10 * metadataBytes, 1 << 30, 9, 11}, {1 << 30, 1 << 30, 60, smallFetchBytes/metadataBytes + 1},
	} {
		n, bytes, _ := fetch(at, x.request, x.partition)
		if int32(n) < x.least || int32(n) > x.most || bytes > smallFetchBytes+metadataBytes+200 {
			t.Errorf("at most %d and %d bytes: %d records of %d bytes, want %d to %d", x.request, x.partition, n, bytes, x.least, x.most)
		}
	}
	all := 0
	for n := 1; n > 0; all += n {
		n, _, at = fetch(at, 1<<30, 1<<30)
	}
	if all < 200 {
		t.Errorf("%d records in all, want 200", all)
	}
}
