package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// clientAges are franz-go as it is, with the implicit protocol of KIP-890, and as before that.
var clientAges = map[string]*kversion.Versions{"new": nil, "old": kversion.V3_0_0()}

func (r *rig) transactional(id string, age *kversion.Versions, more ...kgo.Opt) *kgo.Client {
	r.t.Helper()
	opts := append([]kgo.Opt{kgo.TransactionalID(id), kgo.TransactionTimeout(5 * time.Minute), kgo.DefaultProduceTopic("t"),
		kgo.RecordPartitioner(kgo.ManualPartitioner())}, more...)
	if age != nil {
		opts = append(opts, kgo.MaxVersions(age))
	}
	return r.client(opts...)
}

// transact sends values to partitions in turn in one transaction, and ends it.
func transact(t *testing.T, cl *kgo.Client, commit bool, values ...string) {
	t.Helper()
	ctx := testContext(t)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	sendAll(t, cl, values...)
	if err := cl.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		t.Fatal(err)
	}
}

func sendAll(t *testing.T, cl *kgo.Client, values ...string) {
	t.Helper()
	for i, v := range values {
		if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Partition: int32(i % 2), Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

// committedValues is what a consumer who reads what is committed sees of a partition.
func (r *rig) committedValues(partition int32, n int) []string {
	r.t.Helper()
	cl := r.client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {partition: kgo.NewOffset().AtStart()}}))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if n == 0 {
		ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
	}
	var out []string
	for len(out) < n || n == 0 {
		fetches := cl.PollFetches(ctx)
		fetches.EachRecord(func(rec *kgo.Record) { out = append(out, string(rec.Value)) })
		if ctx.Err() != nil {
			break
		}
	}
	return out
}

func TestOnlyWhatIsCommittedIsRead(t *testing.T) {
	for name, age := range clientAges {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("t", 2, nil)
			cl := r.transactional("tx", age)
			transact(t, cl, true, "a0", "a1")
			transact(t, cl, false, "b0", "b1")
			transact(t, cl, true, "c0", "c1", "c2")
			other := r.transactional("other", age)
			if err := other.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			sendAll(t, other, "open0")
			transact(t, cl, true, "d0", "d1")
			plain := r.client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			sendAll(t, plain, "p0", "p1")
			if got, want := r.committedValues(1, 4), []string{"a1", "c1", "d1", "p1"}; !slices.Equal(got, want) {
				t.Errorf("partition 1: %v, want %v", got, want)
			}
			if got, want := r.committedValues(0, 3), []string{"a0", "c0", "c2"}; !slices.Equal(got, want) {
				t.Errorf("partition 0 with an open transaction: %v, want %v", got, want)
			}
			r.restart()
			if got, want := r.committedValues(0, 3), []string{"a0", "c0", "c2"}; !slices.Equal(got, want) {
				t.Errorf("partition 0 with an open transaction after a restart: %v, want %v", got, want)
			}
			again := r.transactional("other", age) // aborts what the other had open
			transact(t, again, true, "e0")
			if got, want := r.committedValues(0, 6), []string{"a0", "c0", "c2", "d0", "p0", "e0"}; !slices.Equal(got, want) {
				t.Errorf("partition 0: %v, want %v", got, want)
			}
			all := r.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}))
			var uncommitted []string
			for _, rec := range consume(t, all, 8) {
				uncommitted = append(uncommitted, string(rec.Value))
			}
			if want := []string{"a0", "b0", "c0", "c2", "open0", "d0", "p0", "e0"}; !slices.Equal(uncommitted, want) {
				t.Errorf("all of partition 0: %v, want %v", uncommitted, want)
			}
		})
	}
}

func TestAZombieIsFenced(t *testing.T) {
	for name, age := range clientAges {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("t", 2, nil)
			first := r.transactional("tx", age)
			transact(t, first, true, "a0")
			if err := first.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			sendAll(t, first, "lost")
			second := r.transactional("tx", age)
			transact(t, second, true, "b0")
			err := first.ProduceSync(testContext(t), &kgo.Record{Topic: "t", Value: []byte("zombie")}).FirstErr()
			if err == nil {
				err = first.EndTransaction(testContext(t), kgo.TryCommit)
			}
			if !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerIDMapping) {
				t.Errorf("the zombie hears %v", err)
			}
			if got := r.committedValues(0, 2); !slices.Equal(got, []string{"a0", "b0"}) {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestOffsetsAreCommittedWithTheTransaction(t *testing.T) {
	for name, age := range clientAges {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("in", 1, nil)
			r.topic("t", 2, nil)
			produce(t, r.client(), "in", 0, 20)
			session := func() *kgo.GroupTransactSession {
				opts := []kgo.Opt{kgo.SeedBrokers(r.addr), kgo.TransactionalID("copy"), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"),
					kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DefaultProduceTopic("t"), kgo.FetchMaxWait(100 * time.Millisecond)}
				if age != nil {
					opts = append(opts, kgo.MaxVersions(age))
				}
				s, err := kgo.NewGroupTransactSession(opts...)
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
			copyOnce := func(s *kgo.GroupTransactSession, end kgo.TransactionEndTry) int {
				fetches := s.PollFetches(testContext(t))
				if err := s.Begin(); err != nil {
					t.Fatal(err)
				}
				n := 0
				fetches.EachRecord(func(rec *kgo.Record) {
					n++
					s.Produce(context.Background(), &kgo.Record{Value: rec.Value}, nil)
				})
				if committed, err := s.End(testContext(t), end); err != nil || committed != bool(end) {
					t.Fatal(committed, err)
				}
				return n
			}
			s := session()
			copied := copyOnce(s, kgo.TryAbort)
			if copied == 0 {
				t.Fatal("nothing was read")
			}
			s.Close()
			s = session()
			for copied = 0; copied < 20; {
				copied += copyOnce(s, kgo.TryCommit)
			}
			s.Close()
			r.restart()
			offsets, err := kadm.NewClient(r.client()).FetchOffsets(testContext(t), "g")
			if err != nil {
				t.Fatal(err)
			}
			if o, ok := offsets.Lookup("in", 0); !ok || o.At != 20 {
				t.Errorf("committed: %+v", o)
			}
			cl := r.client(kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeTopics("t"))
			seen := map[string]int{}
			for _, rec := range consume(t, cl, 20) {
				seen[string(rec.Value)]++
			}
			for i := range 20 {
				if seen[fmt.Sprint(i)] != 1 {
					t.Errorf("record %d was copied %d times", i, seen[fmt.Sprint(i)])
				}
			}
		})
	}
}

func TestATransactionThatTakesTooLongIsAborted(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 2, nil)
	cl := r.transactional("tx", nil, kgo.TransactionTimeout(200*time.Millisecond))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	sendAll(t, cl, "late")
	eventually(t, "it is aborted", func() bool {
		d, err := r.admin().DescribeTransactions(testContext(t), "tx")
		if err != nil {
			t.Fatal(err)
		}
		return d["tx"].State == "CompleteAbort"
	})
	if err := cl.EndTransaction(testContext(t), kgo.TryCommit); err == nil {
		t.Error("was committed after its time")
	}
	plain := r.client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	sendAll(t, plain, "after")
	if got := r.committedValues(0, 1); !slices.Equal(got, []string{"after"}) {
		t.Errorf("%v", got)
	}
}

func TestToolsSeeTransactions(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 2, nil)
	cl := r.transactional("tx", nil)
	transact(t, cl, true, "a0", "a1")
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	sendAll(t, cl, "b0")
	adm := r.admin()
	d, err := adm.DescribeTransactions(testContext(t), "tx", "none")
	if err != nil {
		t.Fatal(err)
	}
	tx := d["tx"]
	if tx.Err != nil || tx.State != "Ongoing" || tx.TimeoutMillis != 300_000 || tx.ProducerEpoch != 1 || len(tx.Topics["t"]) != 1 || tx.StartTimestamp <= 0 {
		t.Errorf("%+v", tx)
	}
	if !errors.Is(d["none"].Err, kerr.TransactionalIDNotFound) {
		t.Errorf("%+v", d["none"])
	}
	for _, c := range []struct {
		states []string
		ids    []int64
		n      int
	}{{nil, nil, 1}, {[]string{"Ongoing"}, nil, 1}, {[]string{"Empty"}, nil, 0}, {nil, []int64{tx.ProducerID}, 1}, {nil, []int64{tx.ProducerID + 1}, 0}} {
		list, err := adm.ListTransactions(testContext(t), c.ids, c.states)
		if err != nil || len(list) != c.n {
			t.Errorf("%+v: %+v %v", c, list, err)
		}
	}
	var set kadm.TopicsSet
	set.Add("t", 0, 1)
	producers, err := adm.DescribeProducers(testContext(t), set)
	if err != nil {
		t.Fatal(err)
	}
	parts := producers["t"].Partitions
	open := parts[0].ActiveProducers[tx.ProducerID]
	if open.CurrentTxnStartOffset != 2 || open.ProducerEpoch != 1 || open.LastSequence != 0 {
		t.Errorf("%+v", open)
	}
	if done := parts[1].ActiveProducers[tx.ProducerID]; done.CurrentTxnStartOffset != -1 {
		t.Errorf("%+v", done)
	}
	ends, err := adm.ListEndOffsets(testContext(t), "t")
	committed, err2 := adm.ListCommittedOffsets(testContext(t), "t")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if e, _ := ends.Lookup("t", 0); e.Offset != 3 {
		t.Errorf("%+v", e)
	}
	if e, _ := committed.Lookup("t", 0); e.Offset != 2 {
		t.Errorf("%+v", e)
	}
}

func TestConsumersOfWorkSeeWhatIsCommittedInOrder(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 2, nil)
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	q, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	owner := r.owner()
	cl, other := r.transactional("tx", nil), r.transactional("other", nil)
	get := func() string {
		t.Helper()
		got, err := owner.Get("t", true)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil {
			return ""
		}
		return string(got.Body)
	}
	transact(t, cl, true, "a0")
	transact(t, cl, false, "b0")
	if err := other.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	sendAll(t, other, "c0")
	transact(t, cl, true, "d0")
	if n := q.Ready(); n != 1 {
		t.Errorf("%d are ready, with a transaction open", n)
	}
	if got := get(); got != "a0" {
		t.Errorf("first is %q", got)
	}
	if got := get(); got != "" {
		t.Errorf("%q is delivered from behind an open transaction", got)
	}
	if err := other.EndTransaction(testContext(t), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if n := q.Ready(); n != 2 {
		t.Errorf("%d are ready, want 2", n)
	}
	for _, want := range []string{"c0", "d0", ""} {
		if got := get(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	r.restart()
	if v, err = r.broker.VHost("/"); err != nil {
		t.Fatal(err)
	}
	if q, err = v.Queue("t"); err != nil || q.Ready() != 0 {
		t.Errorf("%d are ready after all were acked: %v", q.Ready(), err)
	}
}

func TestWhatDoesNotFitATransactionIsRefused(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 2, nil)
	c := r.raw()
	initialize := func(id string, ms int32) kmsg.InitProducerIDResponse {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID, req.TransactionTimeoutMillis = &id, ms
		c.send(req, 5)
		var res kmsg.InitProducerIDResponse
		c.receive(&res, 5)
		return res
	}
	if res := initialize("", 1000); res.ErrorCode != 42 {
		t.Errorf("no id: %+v", res)
	}
	if res := initialize("tx", 15*60*1000+1); res.ErrorCode != 50 {
		t.Errorf("too long: %+v", res)
	}
	for _, half := range []struct {
		producer int64
		epoch    int16
	}{{5, -1}, {-1, 5}} {
		req, res := kmsg.NewPtrInitProducerIDRequest(), new(kmsg.InitProducerIDResponse)
		req.TransactionalID, req.TransactionTimeoutMillis, req.ProducerID, req.ProducerEpoch = kmsg.StringPtr("tx"), 1000, half.producer, half.epoch
		if c.ask(req, 5, res); res.ErrorCode != 42 {
			t.Errorf("half a producer: %+v", res)
		}
	}
	if res := initialize("tx", 0); res.ErrorCode != 50 {
		t.Errorf("no time: %+v", res)
	}
	tx := initialize("tx", 1000)
	end := func(id string, producer int64, epoch int16, commit bool, version int16) int16 {
		req := kmsg.NewPtrEndTxnRequest()
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = id, producer, epoch, commit
		c.send(req, version)
		var res kmsg.EndTxnResponse
		c.receive(&res, version)
		return res.ErrorCode
	}
	for _, c := range []struct {
		what     string
		id       string
		producer int64
		epoch    int16
		commit   bool
		version  int16
		want     int16
	}{
		{"a commit of nothing", "tx", tx.ProducerID, tx.ProducerEpoch, true, 4, 48},
		{"an abort of nothing", "tx", tx.ProducerID, tx.ProducerEpoch, false, 4, 48},
		{"an unknown id", "no", tx.ProducerID, tx.ProducerEpoch, true, 4, 49},
		{"another producer", "tx", tx.ProducerID + 1, tx.ProducerEpoch, true, 4, 49},
		{"a newer epoch", "tx", tx.ProducerID, tx.ProducerEpoch + 1, true, 4, 90},
		{"an older epoch, an old version", "tx", tx.ProducerID, tx.ProducerEpoch - 1, true, 1, 47},
	} {
		if got := end(c.id, c.producer, c.epoch, c.commit, c.version); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	add := kmsg.NewPtrAddPartitionsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = "tx", tx.ProducerID, tx.ProducerEpoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{0, 7}
	add.Topics = append(add.Topics, topic)
	c.send(add, 3)
	var added kmsg.AddPartitionsToTxnResponse
	c.receive(&added, 3)
	if p := added.Topics[0].Partitions; p[0].ErrorCode != 55 || p[1].ErrorCode != 3 {
		t.Errorf("a partition that there is not: %+v", p)
	}
}

// ask sends a request and reads its answer.
func (c *raw) ask(req kmsg.Request, version int16, res kmsg.Response) {
	c.send(req, version)
	c.receive(res, version)
}

func initialized(c *raw, id string) *kmsg.InitProducerIDResponse {
	req, res := kmsg.NewPtrInitProducerIDRequest(), new(kmsg.InitProducerIDResponse)
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 300_000
	c.ask(req, 5, res)
	return res
}

// inTransaction sends a batch of a transaction to partition 0 of topic t.
func inTransaction(c *raw, id string, version int16, b []byte) int16 {
	req, res := produceRequest("t", 0, -1, b), new(kmsg.ProduceResponse)
	req.TransactionID = &id
	c.ask(req, version, res)
	return res.Topics[0].Partitions[0].ErrorCode
}

func transactionalBatch(producer int64, epoch int16, seq int32, value string) []byte {
	return makeBatch(func(h *batch.Header) {
		h.Attributes, h.ProducerID, h.ProducerEpoch, h.BaseSequence = batch.Transactional, producer, epoch, seq
	}, value)
}

func TestSequencesOfATransactionBeginAtZero(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	tx := initialized(c, "tx")
	try := func(version int16, epoch int16, seq int32, want int16) {
		t.Helper()
		if got := inTransaction(c, "tx", version, transactionalBatch(tx.ProducerID, epoch, seq, "v")); got != want {
			t.Errorf("sequence %d of epoch %d: %d, want %d", seq, epoch, got, want)
		}
	}
	end := func() {
		t.Helper()
		req, res := kmsg.NewPtrEndTxnRequest(), new(kmsg.EndTxnResponse)
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tx", tx.ProducerID, tx.ProducerEpoch, true
		if c.ask(req, 5, res); res.ErrorCode != 0 || res.ProducerEpoch != tx.ProducerEpoch+1 {
			t.Fatalf("%+v", res)
		}
		tx.ProducerEpoch = res.ProducerEpoch
	}
	try(12, 0, 3, 45)
	try(12, 0, 0, 0)
	try(12, 0, 0, 0) // again
	try(12, 0, 2, 45)
	try(12, 0, 1, 0)
	end()
	try(12, 0, 2, 47)
	r.restart()
	c = r.raw()
	try(12, 1, 2, 45)
	try(12, 1, 0, 0)
	end()
	if got := inTransaction(c, "tx", 11, transactionalBatch(tx.ProducerID, 2, 0, "v")); got != 120 {
		t.Errorf("a partition that was not announced: %d", got)
	}
}

func TestATransactionIsEndedByHand(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	tx := initialized(c, "tx")
	if code := inTransaction(c, "tx", 12, transactionalBatch(tx.ProducerID, 0, 0, "lost")); code != 0 {
		t.Fatal(code)
	}
	mark := func(topic string, partition int32, producer int64, epoch int16, commit bool, version int16) int16 {
		t.Helper()
		req, res := kmsg.NewPtrWriteTxnMarkersRequest(), new(kmsg.WriteTxnMarkersResponse)
		m, to := kmsg.NewWriteTxnMarkersRequestMarker(), kmsg.NewWriteTxnMarkersRequestMarkerTopic()
		to.Topic, to.Partitions = topic, []int32{partition}
		m.ProducerID, m.ProducerEpoch, m.Committed, m.Topics = producer, epoch, commit, append(m.Topics, to)
		req.Markers = append(req.Markers, m)
		c.ask(req, version, res)
		if got := res.Markers[0]; got.ProducerID != producer || got.Topics[0].Topic != topic || got.Topics[0].Partitions[0].Partition != partition {
			t.Fatalf("%+v", res)
		}
		return res.Markers[0].Topics[0].Partitions[0].ErrorCode
	}
	ends := func(want int64) {
		t.Helper()
		for isolation, at := range map[int8]int64{0: want, 1: want} {
			offsets, err := r.admin().ListEndOffsets(testContext(t), "t")
			if isolation == 1 {
				offsets, err = r.admin().ListCommittedOffsets(testContext(t), "t")
			}
			if o, _ := offsets.Lookup("t", 0); err != nil || o.Offset != at {
				t.Errorf("isolation %d: %+v %v, want %d", isolation, o, err, at)
			}
		}
	}
	for _, bad := range []struct {
		topic     string
		partition int32
		producer  int64
		epoch     int16
		want      int16
	}{{"t", 9, tx.ProducerID, 0, 3}, {"no", 0, tx.ProducerID, 0, 3}, {"t", 0, tx.ProducerID, -1, 47}, {"t", 0, tx.ProducerID + 1, 0, 0}} {
		if got := mark(bad.topic, bad.partition, bad.producer, bad.epoch, false, 1); got != bad.want {
			t.Errorf("%+v: %d", bad, got)
		}
	}
	if got := r.committedValues(0, 0); len(got) != 0 {
		t.Errorf("committed before its end: %v", got)
	}
	if got := mark("t", 0, tx.ProducerID, 0, false, 2); got != 0 {
		t.Fatal(got)
	}
	ends(2)
	if got := mark("t", 0, tx.ProducerID, 0, true, 1); got != 0 { // there is nothing to end any more
		t.Fatal(got)
	}
	ends(2)
	if code := inTransaction(c, "tx", 12, transactionalBatch(tx.ProducerID, 0, 1, "on")); code != 0 {
		t.Fatal(code)
	}
	if got := mark("t", 0, tx.ProducerID, 0, true, 1); got != 0 {
		t.Fatal(got)
	}
	ends(4)
	r.restart()
	ends(4)
	if got := r.committedValues(0, 1); !slices.Equal(got, []string{"on"}) {
		t.Errorf("%v", got)
	}
}

func TestADeletedGroupIsNotMadeByATransaction(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	tx := initialized(c, "tx")
	commit := func(group string) int16 {
		req, res := kmsg.NewPtrTxnOffsetCommitRequest(), new(kmsg.TxnOffsetCommitResponse)
		req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Group, req.Generation = "tx", tx.ProducerID, tx.ProducerEpoch, group, -1
		topic, part := kmsg.NewTxnOffsetCommitRequestTopic(), kmsg.NewTxnOffsetCommitRequestTopicPartition()
		topic.Topic, part.Offset = "t", 1
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		c.ask(req, 5, res)
		return res.Topics[0].Partitions[0].ErrorCode
	}
	if code := commit(""); code != 24 {
		t.Errorf("no group: %d", code)
	}
	if code := commit("g"); code != 0 {
		t.Fatal(code)
	}
	d, err := r.admin().DescribeTransactions(testContext(t), "tx")
	if _, has := d["tx"].Topics["__consumer_offsets"][int32(group.OffsetPartition("g"))]; err != nil || !has {
		t.Errorf("%+v %v", d["tx"], err)
	}
	if _, err := r.admin().DeleteGroups(testContext(t), "g"); err != nil {
		t.Fatal(err)
	}
	req, res := kmsg.NewPtrEndTxnRequest(), new(kmsg.EndTxnResponse)
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tx", tx.ProducerID, tx.ProducerEpoch, true
	if c.ask(req, 5, res); res.ErrorCode != 0 {
		t.Fatal(res.ErrorCode)
	}
	offsets, err := r.admin().FetchOffsets(testContext(t), "g")
	if o, has := offsets.Lookup("t", 0); err != nil || has && o.At >= 0 {
		t.Errorf("%+v %v", o, err)
	}
}

// The topic of an exchange takes part in no transaction, and its producer learns why instead of asking for ever.
func TestAnExchangeTakesNoTransactions(t *testing.T) {
	for name, age := range clientAges {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil)
			r.topic("t", 1, nil)
			s := r.feedInto()
			cl := r.transactional("tx", age)
			if err := cl.BeginTransaction(); err != nil {
				t.Fatal(err)
			}
			sendAll(t, cl, "lost")
			if err := cl.ProduceSync(testContext(t), &kgo.Record{Topic: "ingest", Value: []byte("v")}).FirstErr(); !errors.Is(err, map[string]error{"new": kerr.TransactionAbortable, "old": kerr.InvalidTxnState}[name]) {
				t.Errorf("it hears %v", err)
			}
			if err := cl.EndTransaction(testContext(t), kgo.TryAbort); err != nil {
				t.Fatal(err)
			}
			if got, err := s.Get("q", true); err != nil || got != nil {
				t.Errorf("routed was %+v %v", got, err)
			}
			transact(t, cl, true, "kept")
			if got := r.committedValues(0, 1); !slices.Equal(got, []string{"kept"}) {
				t.Errorf("%v", got)
			}
		})
	}
}

// plainStore is one that keeps records and not what their batches say of producers, as a cluster does.
type plainStore struct{ store.Store }

func (s plainStore) Caps() store.Caps {
	c := s.Store.Caps()
	c.Transactions = false
	return c
}

func TestAStoreWithoutTransactionsRefusesThemWithTheReason(t *testing.T) {
	r := &rig{t: t, mem: fs.NewMem(1), mode: store.ModeOS, wrap: func(s store.Store) store.Store { return plainStore{s} }}
	r.start()
	t.Cleanup(r.stop)
	r.topic("t", 1, nil)
	c := r.raw()
	find, found := kmsg.NewPtrFindCoordinatorRequest(), new(kmsg.FindCoordinatorResponse)
	find.CoordinatorType, find.CoordinatorKeys = 1, []string{"tx"}
	if c.ask(find, 4, found); found.Coordinators[0].ErrorCode != 35 || !strings.Contains(deref(found.Coordinators[0].ErrorMessage), "no transactions") {
		t.Errorf("%+v", found)
	}
	if res := initialized(c, "tx"); res.ErrorCode != 35 {
		t.Errorf("%+v", res)
	}
	if code := inTransaction(c, "tx", 12, transactionalBatch(7, 0, 0, "v")); code != 35 {
		t.Errorf("produce: %d", code)
	}
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	q, err := v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.owner().Produce(q.Partitions()[0], transactionalBatch(7, 0, 0, "v")); broker.KindOf(err) != broker.Unsupported {
		t.Errorf("a batch all the same: %v", err)
	}
	if got := c.produce("t", -1, makeBatch(nil, "plain")); got.ErrorCode != 0 || got.BaseOffset != 0 {
		t.Errorf("%+v", got)
	}
}

func TestToolsSeeHowLongTransactionsAreOpenAndWhatEndedThem(t *testing.T) {
	r := newRig(t, nil)
	r.topic("t", 1, nil)
	c := r.raw()
	tx := initialized(c, "tx-a")
	initialized(c, "tx-b")
	if code := inTransaction(c, "tx-a", 12, transactionalBatch(tx.ProducerID, 0, 0, "v")); code != 0 {
		t.Fatal(code)
	}
	list := func(duration int64, pattern string, states ...string) (ids, unknown []string) {
		req, res := kmsg.NewPtrListTransactionsRequest(), new(kmsg.ListTransactionsResponse)
		req.DurationFilterMillis, req.TransactionalIDPattern, req.StateFilters = duration, &pattern, states
		c.ask(req, 2, res)
		for _, x := range res.TransactionStates {
			ids = append(ids, x.TransactionalID)
		}
		return ids, res.UnknownStateFilters
	}
	ended := func(want int32) {
		t.Helper()
		var set kadm.TopicsSet
		set.Add("t", 0)
		producers, err := r.admin().DescribeProducers(testContext(t), set)
		if p := producers["t"].Partitions[0].ActiveProducers[tx.ProducerID]; err != nil || p.CoordinatorEpoch != want {
			t.Errorf("coordinator's epoch: %+v %v, want %d", p, err, want)
		}
	}
	both := []string{"tx-a", "tx-b"}
	for _, asked := range []struct {
		duration int64
		pattern  string
		states   []string
		want     []string
	}{{-1, "", nil, both}, {0, "", nil, both[:1]}, {3_600_000, "", nil, nil}, {math.MaxInt64, "", nil, nil}, {-1, ".*-b", nil, both[1:]}, {-1, "-b", nil, nil}, {-1, "", []string{"Empty", "Dead"}, both[1:]}} {
		if got, unknown := list(asked.duration, asked.pattern, asked.states...); !slices.Equal(got, asked.want) || unknown != nil {
			t.Errorf("%+v: %v, unknown %v", asked, got, unknown)
		}
	}
	long, refused := kmsg.NewPtrListTransactionsRequest(), new(kmsg.ListTransactionsResponse)
	long.TransactionalIDPattern = kmsg.StringPtr(strings.Repeat("x?", 1<<16)) // which would take much memory
	if c.ask(long, 2, refused); refused.ErrorCode != int16(wire.InvalidRegularExpression) {
		t.Errorf("a long pattern: %d", refused.ErrorCode)
	}
	if _, unknown := list(-1, "", "Fine"); !slices.Equal(unknown, []string{"Fine"}) {
		t.Errorf("unknown: %v", unknown)
	}
	ended(-1)
	end, res := kmsg.NewPtrEndTxnRequest(), new(kmsg.EndTxnResponse)
	end.TransactionalID, end.ProducerID, end.Commit = "tx-a", tx.ProducerID, true
	if c.ask(end, 5, res); res.ErrorCode != 0 {
		t.Fatal(res.ErrorCode)
	}
	ended(0)
	if got, _ := list(0, ""); got != nil {
		t.Errorf("open is %v", got)
	}
}

// librdkafka aborts what it could add nothing to, and there has to be something.
func TestATransactionCanBeAbortedToWhichAnExchangeWasToBeAdded(t *testing.T) {
	r := newRig(t, nil)
	r.feedInto()
	c := r.raw()
	tx := initialized(c, "tx")
	add, added := kmsg.NewPtrAddPartitionsToTxnRequest(), new(kmsg.AddPartitionsToTxnResponse)
	add.TransactionalID, add.ProducerID, add.ProducerEpoch = "tx", tx.ProducerID, tx.ProducerEpoch
	topic := kmsg.NewAddPartitionsToTxnRequestTopic()
	topic.Topic, topic.Partitions = "ingest", []int32{0}
	add.Topics = append(add.Topics, topic)
	if c.ask(add, 0, added); added.Topics[0].Partitions[0].ErrorCode != 120 {
		t.Errorf("%+v", added)
	}
	end, res := kmsg.NewPtrEndTxnRequest(), new(kmsg.EndTxnResponse)
	end.TransactionalID, end.ProducerID, end.ProducerEpoch = "tx", tx.ProducerID, tx.ProducerEpoch
	if c.ask(end, 1, res); res.ErrorCode != 0 {
		t.Errorf("the abort: %d", res.ErrorCode)
	}
}
