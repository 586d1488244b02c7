package kafka

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// sharer is a member of the share group sg that reads partition 0 of a topic, without the group's own part: sessions know nothing
// of it.
type sharer struct {
	*raw
	id     string
	topic  [16]byte
	epoch  int32
	asked  bool
	values []string // of what was acquired, as far as batches hold it
}

func (r *rig) sharer(t *testing.T, id, topic string) *sharer {
	t.Helper()
	return &sharer{raw: r.raw(), id: id, topic: queueID(t, r, topic)}
}

// verdictsAt are acknowledgements: first, last and what of them.
type verdictsAt struct {
	first, last int64
	kinds       []int8
}

func (s *sharer) request(max int32, verdicts ...verdictsAt) *kmsg.ShareFetchRequest {
	q := kmsg.NewPtrShareFetchRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch, q.MaxRecords, q.MaxBytes, q.MaxWaitMillis = kmsg.StringPtr("sg"), &s.id, s.epoch, max, 1<<20, 10_000
	p := kmsg.NewShareFetchRequestTopicPartition()
	for _, v := range verdicts {
		b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
		b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = v.first, v.last, v.kinds
		p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
	}
	if !s.asked || len(verdicts) > 0 {
		t := kmsg.NewShareFetchRequestTopic()
		t.TopicID, t.Partitions = s.topic, append(t.Partitions, p)
		q.Topics = append(q.Topics, t)
	}
	s.asked = true
	return q
}

// fetch fetches up to max records, and returns the partition's part of the answer.
func (s *sharer) fetch(max int32, verdicts ...verdictsAt) kmsg.ShareFetchResponseTopicPartition {
	s.t.Helper()
	return s.do(s.request(max, verdicts...))
}

// glance is fetch where nothing is to come, for which it waits a little.
func (s *sharer) glance(max int32, verdicts ...verdictsAt) kmsg.ShareFetchResponseTopicPartition {
	s.t.Helper()
	q := s.request(max, verdicts...)
	q.MaxWaitMillis = 50
	return s.do(q)
}

func (s *sharer) do(q *kmsg.ShareFetchRequest) kmsg.ShareFetchResponseTopicPartition {
	s.t.Helper()
	s.send(q, 2)
	return s.answer()
}

func (s *sharer) answer() kmsg.ShareFetchResponseTopicPartition {
	s.t.Helper()
	var res kmsg.ShareFetchResponse
	s.receive(&res, 2)
	if res.ErrorCode != 0 {
		s.t.Fatalf("share fetch of %s: error %d", s.id, res.ErrorCode)
	}
	if res.AcquisitionLockTimeoutMillis <= 0 {
		s.t.Errorf("no time to hold: %+v", res)
	}
	s.epoch++
	if len(res.Topics) == 0 {
		return kmsg.NewShareFetchResponseTopicPartition()
	}
	p := res.Topics[0].Partitions[0]
	s.values = contentsOf(s.t, p.Records)
	return p
}

// contentsOf reads whole batches, in order, and holds them against their checksums.
func contentsOf(t testing.TB, data []byte) (values []string) {
	t.Helper()
	for len(data) > 0 {
		var b batch.Batch
		var err error
		if b, data, err = batch.Next(data); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		records, n := b.Records(), 0
		if b.Codec() != message.CodecNone {
			values = append(values, fmt.Sprintf("packed %d to %d", b.BaseOffset(), b.LastOffset()))
			continue
		}
		list := message.NewRecords(records)
		var rec message.Record
		for {
			more, err := list.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				break
			}
			n++
			values = append(values, fmt.Sprintf("%d=%s", b.BaseOffset()+int64(rec.OffsetDelta), rec.Value))
		}
		if n != int(b.Count()) {
			t.Errorf("%d records in a batch of %d", n, b.Count())
		}
	}
	return values
}

// runsOf are the acquired records as text: first-last by how often they were delivered.
func runsOf(p kmsg.ShareFetchResponseTopicPartition) (out []string) {
	for _, a := range p.AcquiredRecords {
		out = append(out, fmt.Sprintf("%d-%d:%d", a.FirstOffset, a.LastOffset, a.DeliveryCount))
	}
	return out
}

func (s *sharer) got(what string, p kmsg.ShareFetchResponseTopicPartition, runs []string, values ...string) {
	s.t.Helper()
	if p.ErrorCode != 0 || p.AcknowledgeErrorCode != 0 || !slices.Equal(runsOf(p), runs) || values != nil && !slices.Equal(s.values, values) {
		s.t.Errorf("%s: errors %d and %d, acquired %v, want %v; values %v, want %v", what, p.ErrorCode, p.AcknowledgeErrorCode, runsOf(p), runs, s.values, values)
	}
}

func (r *rig) filled(t *testing.T, topic string, n int) {
	t.Helper()
	r.topic(topic, 1, nil)
	var values []string
	for i := range n {
		values = append(values, fmt.Sprint("v", i))
	}
	c := r.raw()
	if p := c.produce(topic, -1, makeBatch(nil, values...)); p.ErrorCode != 0 {
		t.Fatal(p)
	}
	c.nc.Close()
}

func TestAShareGroupTakesTurnsAndSettles(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 10)
	a, b := r.sharer(t, "a", "t"), r.sharer(t, "b", "t")
	a.got("the first three", a.fetch(3), []string{"0-2:1"}, "0=v0", "1=v1", "2=v2")
	b.got("the next", b.fetch(2), []string{"3-4:1"}, "3=v3", "4=v4")
	a.got("one of each verdict", a.fetch(2, verdictsAt{0, 2, []int8{1, 2, 3}}), []string{"1-1:2", "5-5:1"}, "1=v1", "5=v5")
	b.got("a run of one", b.fetch(1, verdictsAt{3, 4, []int8{1}}), []string{"6-6:1"})
	for _, wrong := range []verdictsAt{{3, 3, []int8{1}}, {6, 7, []int8{1}}, {0, 0, []int8{2}}, {5, 5, []int8{1}}} {
		if p := b.fetch(0, wrong); p.AcknowledgeErrorCode != int16(wire.InvalidRecordState) {
			t.Errorf("what it does not hold, %v: %+v", wrong, p)
		}
	}
	for _, wrong := range []verdictsAt{{6, 6, []int8{5}}, {6, 6, []int8{1, 1}}, {6, 5, []int8{1}}, {-1, 6, []int8{1}}, {6, 6, nil}, {6, 6, []int8{4}}} {
		if p := b.fetch(0, wrong); p.AcknowledgeErrorCode != int16(wire.InvalidRequest) {
			t.Errorf("what is no verdict, %v: %+v", wrong, p)
		}
	}
	if p := b.fetch(0, verdictsAt{6, 6, []int8{0}}); p.AcknowledgeErrorCode != 0 {
		t.Errorf("a gap: %+v", p)
	}
	a.got("verdicts and nothing else", a.fetch(0, verdictsAt{1, 1, []int8{1}}, verdictsAt{5, 5, []int8{1}}), nil)
	a.got("the rest", a.fetch(100), []string{"7-9:1"})
	q, _ := mustVHost(t, r).Queue("t")
	if ready, unacked := q.Ready(), q.Unacked(); ready != 0 || unacked != 3 {
		t.Errorf("%d ready, %d unacked", ready, unacked)
	}
	a.nc.Close()
	for q.Ready() != 3 {
		time.Sleep(time.Millisecond)
	}
	b.got("what a client held that went", b.fetch(100), []string{"7-9:2"})
	if p := b.fetch(0, verdictsAt{7, 9, []int8{1}}); p.AcknowledgeErrorCode != 0 {
		t.Error(p)
	}
	r.restart()
	c := r.sharer(t, "c", "t")
	c.got("nothing is left after a restart", c.glance(100), nil)
}

func TestShareSessionsAreHeldByTheirEpochs(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 10)
	c := r.sharer(t, "a", "t")
	code := func(edit func(*kmsg.ShareFetchRequest)) int16 {
		q := c.request(0)
		edit(q)
		c.send(q, 2)
		var res kmsg.ShareFetchResponse
		c.receive(&res, 2)
		return res.ErrorCode
	}
	ack := func(epoch int32, verdicts ...verdictsAt) *kmsg.ShareAcknowledgeResponse {
		q := kmsg.NewPtrShareAcknowledgeRequest()
		q.GroupID, q.MemberID, q.ShareSessionEpoch, q.IsRenewAck = kmsg.StringPtr("sg"), &c.id, epoch, true
		topic := kmsg.NewShareAcknowledgeRequestTopic()
		p := kmsg.NewShareAcknowledgeRequestTopicPartition()
		for _, v := range verdicts {
			b := kmsg.NewShareAcknowledgeRequestTopicPartitionAcknowledgementBatch()
			b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = v.first, v.last, v.kinds
			p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
		}
		topic.TopicID, topic.Partitions = c.topic, append(topic.Partitions, p)
		q.Topics = append(q.Topics, topic)
		c.send(q, 2)
		res := kmsg.NewPtrShareAcknowledgeResponse()
		c.receive(res, 2)
		return res
	}
	epoch := func(n int32) func(*kmsg.ShareFetchRequest) {
		return func(q *kmsg.ShareFetchRequest) { q.ShareSessionEpoch = n }
	}
	for what, tc := range map[string]struct {
		edit func(*kmsg.ShareFetchRequest)
		want wire.Code
	}{
		"no group":      {func(q *kmsg.ShareFetchRequest) { q.GroupID = nil }, wire.InvalidRequest},
		"no member":     {func(q *kmsg.ShareFetchRequest) { q.MemberID = kmsg.StringPtr("") }, wire.InvalidRequest},
		"goes on":       {epoch(1), wire.ShareSessionNotFound},
		"ends":          {epoch(-1), wire.ShareSessionNotFound},
		"an odd epoch":  {epoch(-2), wire.ShareSessionNotFound},
		"a long member": {func(q *kmsg.ShareFetchRequest) { q.MemberID = kmsg.StringPtr(strings.Repeat("m", 37)) }, wire.InvalidRequest},
		"opens and acks": {func(q *kmsg.ShareFetchRequest) {
			*q = *(&sharer{raw: c.raw, id: "a", topic: c.topic}).request(1, verdictsAt{0, 0, []int8{1}})
		}, wire.InvalidRequest},
	} {
		c.asked = false
		if got := code(tc.edit); got != int16(tc.want) {
			t.Errorf("%s: error %d, want %d", what, got, tc.want)
		}
	}
	if res := ack(0); res.ErrorCode != int16(wire.InvalidShareSessionEpoch) {
		t.Errorf("acks open a session: %+v", res)
	}
	c.asked = false
	c.got("opened", c.fetch(4), []string{"0-3:1"})
	for _, other := range []int32{5, -2, math.MinInt32} {
		if got := code(epoch(other)); got != int16(wire.InvalidShareSessionEpoch) {
			t.Errorf("an epoch of another time, %d: %d", other, got)
		}
	}
	if res := ack(1, verdictsAt{0, 0, []int8{1}}, verdictsAt{1, 1, []int8{4}}); res.ErrorCode != 0 || res.Topics[0].Partitions[0].ErrorCode != 0 || res.AcquisitionLockTimeoutMillis != 30_000 {
		t.Errorf("%+v", res)
	}
	if res := ack(1); res.ErrorCode != int16(wire.InvalidShareSessionEpoch) {
		t.Errorf("the same epoch again: %+v", res)
	}
	c.epoch = 2
	c.got("and goes on", c.fetch(1, verdictsAt{1, 1, []int8{1}}), []string{"4-4:1"})
	// What is forgotten goes back, and comes again.
	q := c.request(0)
	f := kmsg.NewShareFetchRequestForgottenTopicsData()
	f.TopicID, f.Partitions = c.topic, []int32{0}
	q.ForgottenTopicsData = append(q.ForgottenTopicsData, f)
	c.got("forgotten", c.do(q), nil)
	c.got("nothing of what is forgotten", c.glance(100), nil)
	c.asked = false
	c.got("named again", c.fetch(2), []string{"2-3:2"})
	if res := ack(-1, verdictsAt{2, 2, []int8{1}}); res.ErrorCode != 0 {
		t.Errorf("%+v", res)
	}
	if got := code(epoch(6)); got != int16(wire.ShareSessionNotFound) {
		t.Errorf("it was closed: %d", got)
	}
	c.epoch, c.asked = 0, false
	c.got("opened anew", c.fetch(100), []string{"3-3:3", "4-4:2", "5-9:1"})
	c.epoch, c.asked = 0, false
	c.got("opened in place of the last", c.fetch(100), []string{"3-3:4", "4-4:3", "5-9:2"})
	other := &sharer{raw: r.raw(), id: "b", topic: [16]byte{9}}
	if p := other.fetch(1); p.ErrorCode != int16(wire.UnknownTopicID) {
		t.Errorf("%+v", p)
	}
}

func TestMessagesHeldForTooLongComeAgainUntilTheirLimit(t *testing.T) {
	const lock = 300 * time.Millisecond
	onAFakeClock(t, func(r *rig) { r.edit = func(o *Options) { o.ShareLock = lock } }, func(t *testing.T, r *rig) {
		r.filled(t, "t", 2)
		a, b := r.sharer(t, "a", "t"), r.sharer(t, "b", "t")
		a.got("taken and kept", a.fetch(1), []string{"0-0:1"})
		b.got("the other", b.fetch(1), []string{"1-1:1"})
		b.got("done", b.fetch(0, verdictsAt{1, 1, []int8{1}}), nil)
		for n := 2; n <= 5; n++ {
			began := time.Now()
			b.got("it comes again when the time is up", b.fetch(1), []string{fmt.Sprint("0-0:", n)})
			if took := time.Since(began); took < lock || took > lock+lock/10 {
				t.Errorf("it came after %v", took)
			}
			if n == 2 {
				if p := a.fetch(0, verdictsAt{0, 0, []int8{1}}); p.AcknowledgeErrorCode != int16(wire.InvalidRecordState) {
					t.Errorf("it is another's now: %+v", p)
				}
			}
		}
		time.Sleep(lock + lock/10)
		queue, _ := mustVHost(t, r).Queue("t")
		if queue.Ready() != 0 || queue.Unacked() != 0 {
			t.Errorf("after five deliveries it is gone: %d ready, %d unacked", queue.Ready(), queue.Unacked())
		}
		a.got("nothing is left", a.glance(1), nil)
	})
}

func TestARenewedMessageIsKept(t *testing.T) {
	const lock = 600 * time.Millisecond
	onAFakeClock(t, func(r *rig) { r.edit = func(o *Options) { o.ShareLock = lock } }, func(t *testing.T, r *rig) {
		r.filled(t, "t", 1)
		a, b := r.sharer(t, "a", "t"), r.sharer(t, "b", "t")
		began := time.Now()
		a.got("taken", a.fetch(1), []string{"0-0:1"})
		for time.Since(began) < 3*lock {
			time.Sleep(lock - time.Millisecond)
			q := a.request(0, verdictsAt{0, 0, []int8{4}})
			q.IsRenewAck, q.MaxBytes, q.MaxWaitMillis = true, 0, 0
			if p := a.do(q); p.AcknowledgeErrorCode != 0 {
				t.Fatalf("%+v", p)
			}
		}
		b.got("it is held", b.glance(1), nil)
		a.got("and settled", a.fetch(0, verdictsAt{0, 0, []int8{1}}), nil)
		b.got("for good", b.glance(1), nil)
	})
}

func TestAFetchOfAShareGroupWaitsAndEndsWithItsClient(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 1)
	a := r.sharer(t, "a", "t")
	a.got("what is there", a.fetch(1), []string{"0-0:1"})
	q := a.request(1, verdictsAt{0, 0, []int8{1}})
	q.MaxWaitMillis = forEver
	a.send(q, 2)
	queue, _ := mustVHost(t, r).Queue("t")
	for queue.Unacked() > 0 { // the verdict is carried out before it waits
		time.Sleep(time.Millisecond)
	}
	c := r.raw()
	c.produce("t", -1, makeBatch(nil, "new"))
	a.got("what came", a.answer(), []string{"1-1:1"}, "1=new")
	q = a.request(1)
	q.MaxWaitMillis = forEver
	a.send(q, 2)
	time.Sleep(20 * time.Millisecond)
	a.nc.Close()
	b := r.sharer(t, "b", "t")
	for len(runsOf(b.fetch(1))) == 0 {
		time.Sleep(time.Millisecond)
	}
}

// AMQP consumers and members of a share group take turns on one queue, and what a member rejects is a dead letter.
func TestAMQPConsumersAndAShareGroupTakeTurns(t *testing.T) {
	r := newRig(t, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	args := field.AppendString(field.AppendName(nil, "x-dead-letter-exchange"), nil)
	args = field.AppendString(field.AppendName(args, "x-dead-letter-routing-key"), []byte("dead"))
	for name, args := range map[string][]byte{"work": args, "dead": nil} {
		if _, err := s.DeclareQueue(name, broker.QueueOptions{Durable: true, Args: args}); err != nil {
			t.Fatal(err)
		}
	}
	c := r.raw()
	for i := range 20 {
		if p := c.produce("work", -1, makeBatch(nil, fmt.Sprint("v", i))); p.ErrorCode != 0 {
			t.Fatal(p)
		}
	}
	sub, err := s.Subscribe("work", broker.SubscribeOptions{Prefetch: 3, Wake: func() {}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var taken []broker.Delivery
	pull := func() (n int) {
		for end := time.Now().Add(patience); time.Now().Before(end); {
			n, err := sub.Pull(100, 1<<20, func(d *broker.Delivery) { taken = append(taken, *d) })
			if err != nil {
				t.Fatal(err)
			}
			if sub.Release(); n > 0 {
				return n
			}
			time.Sleep(time.Millisecond) // the place of the queue's cursor is made first
		}
		return 0
	}
	a := r.sharer(t, "a", "work")
	if n := pull(); n != 3 {
		t.Fatalf("%d messages", n)
	}
	a.got("what the other has no credit for", a.fetch(2), []string{"3-4:1"})
	a.got("a reject", a.fetch(0, verdictsAt{3, 4, []int8{3, 2}}), nil)
	for _, d := range taken {
		if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
			t.Error(err)
		}
	}
	taken = nil
	if n := pull(); n != 3 || taken[0].Offset != 4 || !taken[0].Redelivered {
		t.Errorf("%d messages, %+v", n, taken)
	}
	a.got("between fetches nothing is kept for it", a.fetch(100), []string{"7-19:1"})
	a.got("done", a.fetch(0, verdictsAt{7, 19, []int8{1}}), nil)
	dead, _ := mustVHost(t, r).Queue("dead")
	eventually(t, "a dead letter", func() bool { return dead.Ready() == 1 })
	d := r.sharer(t, "d", "dead")
	if d.got("the dead letter", d.fetch(5), []string{"0-0:1"}); len(d.values) != 1 || d.values[0] != "0=v3" {
		t.Errorf("%v", d.values)
	}
}

func TestBatchesOfAShareFetchHoldWhatWasAcquired(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 1, nil)
	cl := r.client(kgo.ProducerBatchCompression(kgo.GzipCompression()))
	produce(t, cl, "t", 0, 20)
	cl.Close()
	a := r.sharer(t, "a", "t")
	a.got("a part of a packed batch is unpacked", a.fetch(3), []string{"0-2:1"})
	if len(a.values) != 3 {
		t.Errorf("%v", a.values)
	}
	a.got("gone", a.fetch(0, verdictsAt{0, 2, []int8{2}}), nil)
	p := a.fetch(100)
	a.got("all of it", p, []string{"0-2:2", "3-19:1"})
	if !slices.Equal(a.values, []string{"packed 0 to 19"}) {
		t.Errorf("%v", a.values)
	}
}

func TestShareGroupsOnTheWire(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 3, nil)
	c := r.raw()
	beat := func(member string, epoch int32, names ...string) *kmsg.ShareGroupHeartbeatResponse {
		q := kmsg.NewPtrShareGroupHeartbeatRequest()
		q.GroupID, q.MemberID, q.MemberEpoch, q.SubscribedTopicNames = "sg", member, epoch, names
		c.send(q, 1)
		res := kmsg.NewPtrShareGroupHeartbeatResponse()
		c.receive(res, 1)
		return res
	}
	if res := beat("", 0, "t"); res.ErrorCode != int16(wire.InvalidRequest) {
		t.Errorf("%+v", res)
	}
	if res := beat("a", 0, "t"); res.ErrorCode != 0 || res.MemberEpoch != 1 || len(res.Assignment.TopicPartitions[0].Partitions) != 3 {
		t.Fatalf("%+v", res)
	}
	assigned := 0
	for _, m := range []string{"b", "c", "d"} { // more than there are partitions
		res := beat(m, 0, "t")
		if res.ErrorCode != 0 || res.Assignment == nil || len(res.Assignment.TopicPartitions) == 0 {
			t.Fatalf("%+v", res)
		}
		assigned += len(res.Assignment.TopicPartitions[0].Partitions)
	}
	if res := beat("a", 1); res.MemberEpoch != 4 || res.Assignment == nil || len(res.Assignment.TopicPartitions[0].Partitions) == 3 {
		t.Errorf("%+v, others have %d", res, assigned)
	}
	if res := beat("a", 2); res.ErrorCode != int16(wire.FencedMemberEpoch) {
		t.Errorf("%+v", res)
	}
	describe := kmsg.NewPtrShareGroupDescribeRequest()
	describe.GroupIDs, describe.IncludeAuthorizedOperations = []string{"sg", "none"}, true
	c.send(describe, 1)
	var d kmsg.ShareGroupDescribeResponse
	c.receive(&d, 1)
	if g := d.Groups[0]; g.ErrorCode != 0 || g.GroupState != "Stable" || g.Assignor != "simple" || len(g.Members) != 4 || g.Members[0].Assignment.TopicPartitions[0].Topic != "t" || g.AuthorizedOperations != groupOperations {
		t.Errorf("%+v", g)
	}
	if d.Groups[1].ErrorCode != int16(wire.GroupIDNotFound) {
		t.Errorf("%+v", d.Groups[1])
	}
	if res := c.consumerBeat("m", 0, func(q *kmsg.ConsumerGroupHeartbeatRequest) { q.Group = "sg" }); res.ErrorCode != int16(wire.GroupIDNotFound) {
		t.Errorf("a consumer in a share group: %+v", res)
	}
	commit := commitOf("sg", "t", 1)
	c.send(commit, 9)
	var committed kmsg.OffsetCommitResponse
	if c.receive(&committed, 9); committed.Topics[0].Partitions[0].ErrorCode != int16(wire.GroupIDNotFound) {
		t.Errorf("it has no offsets: %+v", committed)
	}
	r.restart()
	c = r.raw()
	if res := beat("a", 4); res.ErrorCode != 0 || res.MemberEpoch != 4 {
		t.Errorf("after a restart: %+v", res)
	}
	for _, m := range []string{"a", "b", "c", "d"} {
		if res := beat(m, -1); res.ErrorCode != 0 || res.MemberEpoch != -1 {
			t.Errorf("%+v", res)
		}
	}
	if l := r.server.groupsOf(mustVHost(t, r)).List(); len(l) != 1 || l[0].State != "Empty" || l[0].ProtocolType != "share" {
		t.Errorf("%+v", l)
	}
}

func TestAStreamIsNobodysToShare(t *testing.T) {
	r := newRig(t, nil)
	s := mustVHost(t, r).NewSession(auth.Identity{})
	defer s.Close()
	if _, err := s.DeclareQueue("stream", broker.QueueOptions{Durable: true, Args: field.AppendString(field.AppendName(nil, "x-queue-type"), []byte("stream"))}); err != nil {
		t.Fatal(err)
	}
	a := r.sharer(t, "a", "stream")
	if p := a.fetch(1); p.ErrorCode != int16(wire.InvalidRequest) || p.ErrorMessage == nil {
		t.Errorf("%+v", p)
	}
}

func TestSettingsOfGroupsAreTakenWhereTheyHold(t *testing.T) {
	r := newRig(t, nil)
	c := r.raw()
	for _, tc := range []struct {
		name, value string
		want        wire.Code
	}{{"share.auto.offset.reset", "earliest", wire.None}, {"share.auto.offset.reset", "latest", wire.None},
		{"share.auto.offset.reset", "by_duration:PT1H", wire.None}, {"share.auto.offset.reset", "by_duration:1h", wire.InvalidConfig}, {"share.auto.offset.reset", "by_duration:-PT1S", wire.InvalidConfig},
		{"none", "1", wire.InvalidConfig}, {"share.isolation.level", "read_uncommitted", wire.InvalidConfig}, {"share.isolation.level", "read_committed", wire.None},
		{"share.record.lock.duration.ms", " 15000 ", wire.None}, {"share.record.lock.duration.ms", "14999", wire.InvalidConfig}, {"share.record.lock.duration.ms", "60001", wire.InvalidConfig},
		{"share.delivery.count.limit", "2", wire.None}, {"share.delivery.count.limit", "x", wire.InvalidConfig}, {"errors.deadletterqueue.topic.name", "dead", wire.InvalidConfig},
		{"consumer.heartbeat.interval.ms", "7000", wire.None}, {"share.renew.acknowledge.enable", "maybe", wire.InvalidConfig}} {
		q := kmsg.NewPtrIncrementalAlterConfigsRequest()
		x := kmsg.NewIncrementalAlterConfigsRequestResource()
		one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		one.Name, one.Value = tc.name, &tc.value
		x.ResourceType, x.ResourceName, x.Configs = kmsg.ConfigResourceTypeGroupConfig, "g", append(x.Configs, one)
		q.Resources = append(q.Resources, x)
		c.send(q, 1)
		var res kmsg.IncrementalAlterConfigsResponse
		if c.receive(&res, 1); res.Resources[0].ErrorCode != int16(tc.want) {
			t.Errorf("%s=%s: %+v", tc.name, tc.value, res.Resources)
		}
	}
	q := kmsg.NewPtrDescribeConfigsRequest()
	x := kmsg.NewDescribeConfigsRequestResource()
	x.ResourceType, x.ResourceName = kmsg.ConfigResourceTypeGroupConfig, "g"
	q.Resources = append(q.Resources, x)
	c.send(q, 4)
	var res kmsg.DescribeConfigsResponse
	c.receive(&res, 4)
	told := map[string]string{}
	for _, one := range res.Resources[0].Configs {
		told[one.Name] = fmt.Sprint(*one.Value, " ", one.Source, " ", one.ConfigType)
	}
	for name, want := range map[string]string{
		"share.auto.offset.reset": "by_duration:PT1H GROUP_CONFIG STRING", "share.record.lock.duration.ms": "15000 GROUP_CONFIG INT", "share.delivery.count.limit": "2 GROUP_CONFIG INT",
		"consumer.heartbeat.interval.ms": "7000 GROUP_CONFIG INT", "consumer.session.timeout.ms": "45000 DEFAULT_CONFIG INT", "share.renew.acknowledge.enable": "true DEFAULT_CONFIG BOOLEAN",
	} {
		if told[name] != want {
			t.Errorf("%s is told as %q, not %q", name, told[name], want)
		}
	}
}

// kafka-configs asks for the groups that have settings, and takes what is in neither list for a group that nobody knows.
func TestGroupsWithSettingsAreListedWithoutMembers(t *testing.T) {
	c := newRig(t, nil).raw()
	list := func() (names []string) {
		q := kmsg.NewPtrListConfigResourcesRequest()
		q.ResourceTypes = []int8{int8(kmsg.ConfigResourceTypeGroupConfig)}
		c.send(q, 1)
		var res kmsg.ListConfigResourcesResponse
		c.receive(&res, 1)
		for _, one := range res.ConfigResources {
			names = append(names, fmt.Sprint(one.Name, " ", one.Type))
		}
		return names
	}
	if got := list(); len(got) != 0 {
		t.Errorf("before any has a setting: %q", got)
	}
	c.alterGroup("b", "share.auto.offset.reset", "earliest")
	c.alterGroup("a", "share.auto.offset.reset", "earliest")
	if got := list(); !slices.Equal(got, []string{"a 32", "b 32"}) {
		t.Errorf("groups with settings: %q", got)
	}
	c.alterGroup("b", "share.auto.offset.reset", "")
	if got := list(); !slices.Equal(got, []string{"a 32"}) {
		t.Errorf("after one went back to the defaults: %q", got)
	}
}

// alterGroup sets a group's setting, or removes it where value is "".
func (c *raw) alterGroup(name, key, value string) {
	c.t.Helper()
	q := kmsg.NewPtrIncrementalAlterConfigsRequest()
	x := kmsg.NewIncrementalAlterConfigsRequestResource()
	one := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	if one.Name, one.Value = key, &value; value == "" {
		one.Op = kmsg.IncrementalAlterConfigOpDelete
	}
	x.ResourceType, x.ResourceName, x.Configs = kmsg.ConfigResourceTypeGroupConfig, name, append(x.Configs, one)
	q.Resources = append(q.Resources, x)
	c.send(q, 1)
	var res kmsg.IncrementalAlterConfigsResponse
	if c.receive(&res, 1); res.Resources[0].ErrorCode != 0 {
		c.t.Fatalf("%s=%s: %s", key, value, *res.Resources[0].ErrorMessage)
	}
}

func TestEveryAcquiredRecordIsInTheBatches(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.topic("t", 1, nil)
	cl := r.client(kgo.ProducerBatchCompression(kgo.SnappyCompression()))
	produce(t, cl, "t", 0, 500)
	cl.Close()
	a := r.sharer(t, "a", "t")
	next := int64(0)
	for next < 500 {
		p := a.fetch(37)
		if len(p.AcquiredRecords) != 1 || p.AcquiredRecords[0].FirstOffset != next {
			t.Fatalf("at %d: %v", next, runsOf(p))
		}
		last := p.AcquiredRecords[0].LastOffset
		if n := int64(len(a.values)); n != last-next+1 {
			t.Errorf("%d to %d acquired, and %d records", next, last, n)
		}
		for i, v := range a.values {
			if want := fmt.Sprintf("%d=", next+int64(i)); len(v) < len(want) || v[:len(want)] != want {
				t.Fatalf("record %d is %s", next+int64(i), v)
			}
		}
		next = last + 1
	}
}

// Members that fetch at a time deal to each other; each gets what it acquired in the order of offsets, as clients want it.
func TestWhatIsAcquiredStandsInOrder(t *testing.T) {
	r := newRigMode(t, store.ModeOS, nil)
	r.filled(t, "t", 4000)
	a, b := r.sharer(t, "a", "t"), r.sharer(t, "b", "t")
	got := 0
	for range 100 {
		for _, s := range []*sharer{a, b} {
			q := s.request(700)
			q.MaxWaitMillis = 100 // the other may have the last
			s.send(q, 2)
		}
		for _, s := range []*sharer{a, b} {
			s.values = nil
			p := s.answer()
			want, last := 0, int64(-1)
			for _, run := range p.AcquiredRecords {
				if run.FirstOffset <= last {
					t.Fatalf("%v", runsOf(p))
				}
				last = run.LastOffset
				want += int(run.LastOffset-run.FirstOffset) + 1
			}
			if len(s.values) != want {
				t.Fatalf("%d records for %v", len(s.values), runsOf(p))
			}
			got += want
		}
		if got == 4000 {
			return
		}
	}
	t.Errorf("%d records", got)
}

// A session has so many partitions and no more, and gives their memory back with them.
func TestAShareSessionIsBounded(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 3)
	before := r.server.members.Held()
	c := r.sharer(t, "a", "t")
	fetch := func(id [16]byte, partitions int, forget bool) int16 {
		q := c.request(0)
		topic := kmsg.NewShareFetchRequestTopic()
		topic.TopicID = id
		f := kmsg.NewShareFetchRequestForgottenTopicsData()
		f.TopicID = id
		for n := range partitions {
			p := kmsg.NewShareFetchRequestTopicPartition()
			p.Partition = int32(n)
			topic.Partitions = append(topic.Partitions, p)
			f.Partitions = append(f.Partitions, p.Partition)
		}
		if q.Topics = append(q.Topics, topic); forget {
			q.Topics, q.ForgottenTopicsData = nil, append(q.ForgottenTopicsData, f)
		}
		c.send(q, 2)
		var res kmsg.ShareFetchResponse
		c.receive(&res, 2)
		if wire.Code(res.ErrorCode) != wire.InvalidRequest { // else it was no request of the session's
			c.epoch++
		}
		return res.ErrorCode
	}
	if code := fetch([16]byte{1}, maxShareParts, false); code != int16(wire.InvalidRequest) { // with that of t
		t.Errorf("more than there may be in one request: %d", code)
	}
	c.asked = true
	for _, step := range []struct {
		id     [16]byte
		n      int
		forget bool
		want   wire.Code
	}{{[16]byte{1}, maxShareParts - 1, false, wire.None}, {[16]byte{2}, 2, false, wire.ShareSessionLimitReached}, {[16]byte{1}, 10, true, wire.None}, {[16]byte{2}, 2, false, wire.None}} {
		if code := fetch(step.id, step.n, step.forget); code != int16(step.want) {
			t.Errorf("%+v: %d", step, code)
		}
	}
	if n := r.server.members.Held() - before; n != (maxShareParts-9)*sharePartBytes {
		t.Errorf("%d bytes are counted", n)
	}
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	x := r.server.shares.find(shareName{v, "sg", "a"})
	x.close()
	if n := r.server.members.Held(); n != before {
		t.Errorf("%d bytes are left", n-before)
	}
	if code := x.begin(); code != wire.ShareSessionNotFound {
		t.Errorf("a fetch begins in a session that was closed: %d", code)
	}
}

// What a request both names and forgets is not in its session, whether it was before or not.
func TestWhatIsNamedAndForgottenIsForgotten(t *testing.T) {
	r := newRig(t, nil)
	r.filled(t, "t", 4)
	a := r.sharer(t, "a", "t")
	before := r.server.members.Held()
	forget := func(partitions ...int32) *kmsg.ShareFetchRequest {
		q := a.request(1)
		q.MaxWaitMillis = 50
		f := kmsg.NewShareFetchRequestForgottenTopicsData()
		f.TopicID, f.Partitions = a.topic, partitions
		q.ForgottenTopicsData = append(q.ForgottenTopicsData, f, f)
		return q
	}
	a.got("named first", a.do(forget(0, 0)), nil)
	a.asked = false
	a.got("named", a.fetch(1), []string{"0-0:1"})
	a.asked = false
	a.got("named again", a.do(forget(1, 0)), nil)
	a.got("nothing of it", a.glance(1), nil)
	if n := r.server.members.Held(); n != before {
		t.Errorf("%d bytes are counted", n-before)
	}
	b := r.sharer(t, "b", "t")
	b.got("it went back", b.fetch(4), []string{"0-0:2", "1-3:1"})
}

// A group's time that is made shorter holds for what is handed out from then on.
func TestALockIsNoLongerThanTheGroupSays(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		groups := group.New(group.Options{ShareLock: time.Minute})
		defer groups.Close()
		x := &shareSession{name: shareName{group: "g"}, groups: groups, memory: budget.New(budget.Options{}).Open()}
		p := &sharePart{}
		x.parts = append(x.parts, p)
		x.hold(p, []broker.Acquired{{First: 1, Last: 1}})
		short := "15000"
		if err := groups.AlterSettings("g", map[string]*string{"share.record.lock.duration.ms": &short}, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		x.hold(p, []broker.Acquired{{First: 2, Last: 2}})
		x.mu.Lock()
		p.held = heldRuns{} // whose leases are none
		x.mu.Unlock()
		time.Sleep(15*time.Second + time.Millisecond)
		synctest.Wait()
		if x.timer != nil {
			t.Errorf("nobody looks before %v", x.due)
		}
	})
}

// A connection that opens one session after the other keeps those that are there.
func TestAConnectionForgetsShareSessionsThatAreOver(t *testing.T) {
	var s sharing
	var last *shareSession
	for range 5 {
		last.close()
		last = &shareSession{wake: make(chan struct{}, 1), ended: make(chan struct{})}
		s.opens(last)
	}
	if _, there := s.opened[last]; len(s.opened) != 1 || !there {
		t.Errorf("it knows of %d sessions", len(s.opened))
	}
}

// A queue that is to end with its last consumer ends with a share group's too, however that goes.
func TestAnAutoDeleteQueueEndsWithItsLastShareSession(t *testing.T) {
	for how, end := range map[string]func(c *sharer){
		"a last request": func(c *sharer) {
			q := c.request(0)
			q.ShareSessionEpoch = -1
			c.do(q)
		},
		"forgotten": func(c *sharer) {
			q := c.request(0)
			f := kmsg.NewShareFetchRequestForgottenTopicsData()
			f.TopicID, f.Partitions = c.topic, []int32{0}
			q.ForgottenTopicsData = append(q.ForgottenTopicsData, f)
			c.do(q)
		},
		"gone": func(c *sharer) { c.nc.Close() },
	} {
		t.Run(how, func(t *testing.T) {
			r := newRig(t, nil)
			v := mustVHost(t, r)
			s := v.NewSession(auth.Identity{Name: "guest"})
			defer s.Close()
			if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true, AutoDelete: true}); err != nil {
				t.Fatal(err)
			}
			c := r.sharer(t, "a", "q")
			c.glance(1)
			if q, err := v.Queue("q"); err != nil || q.Deleted() {
				t.Fatal("it is gone before", err)
			}
			end(c)
			eventually(t, "it is gone", func() bool {
				_, err := v.Queue("q")
				return err != nil
			})
		})
	}
}
