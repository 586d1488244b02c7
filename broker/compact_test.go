package broker

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// TestACompactedTopicRefusesMessagesWithoutARoutingKey and takes those beside them, which other queues get too.
func TestACompactedTopicRefusesMessagesWithoutARoutingKey(t *testing.T) {
	r := start(t)
	if _, err := r.s.CreateTopic("c", 1, configs("cleanup.policy", "compact")); err != nil {
		t.Fatal(err)
	}
	q := r.queue("q", QueueOptions{Durable: true})
	r.exchange("x", "fanout")
	r.bind("x", "c", "")
	r.bind("x", "q", "")
	p := r.s.NewPublisher()
	refused := r.offerEach(p, "x", "", []string{"a", "", "b", ""}, func(in *Inbound) { in.Key = slices.Clone(in.Body) })
	if strings.Join(refused, ",") != "," {
		t.Errorf("refused %q, want the two without a key", refused)
	}
	topic, _ := r.v.Queue("c")
	if n, all := topic.Ready(), q.Ready(); n != 2 || all != 4 {
		t.Errorf("%d in the topic, want 2; %d in the queue, want 4", n, all)
	}
	if err := r.s.SetConfig(topic, configs("cleanup.policy", "delete")); err != nil {
		t.Fatal(err)
	}
	if refused = r.offer(p, "x", "", "c"); len(refused) != 0 || topic.Ready() != 3 {
		t.Errorf("not compacted any more: refused %q, %d are there", refused, topic.Ready())
	}
}

// keyedRecord is what the tests put into a compacted topic, and find there.
type keyedRecord struct {
	offset message.Offset
	key    string
	value  string // "" ends the key
	ms     int64
}

// keyedBatch is a batch of a producer.
func keyedBatch(t *testing.T, codec int, h batch.Header, list ...keyedRecord) batch.Batch {
	t.Helper()
	var b message.Builder
	for _, one := range list {
		rec := message.Record{Key: []byte(one.key), Value: []byte(one.value)}
		if one.value == "" {
			rec.Value = nil
		}
		b.AddRecord(&rec, one.ms)
	}
	data, err := b.SealPacked(nil, codec)
	if err != nil {
		t.Fatal(err)
	}
	out := batch.Batch(data)
	h.Attributes |= int16(codec)
	h.LastOffsetDelta, h.Count = int32(len(list)-1), int32(len(list))
	h.BaseTimestamp, h.MaxTimestamp = out.BaseTimestamp(), out.MaxTimestamp()
	out.Seal(h)
	return out
}

var nobody = batch.Header{ProducerID: batch.NoProducer, ProducerEpoch: batch.NoProducerEpoch, BaseSequence: batch.NoSequence}

// compacting is a rig with a compacted topic of one partition, whose clock is the test's.
type compacting struct {
	*rig
	now atomic.Int64 // ms
}

func newCompacting(t *testing.T, config ...string) *compacting {
	t.Helper()
	c := &compacting{}
	c.now.Store(1_700_000_000_000)
	c.rig = &rig{t: t, dir: t.TempDir(), edit: func(o *Options) {
		o.CompactEvery = 24 * time.Hour // it is asked for
		o.Now = func() time.Time { return time.UnixMilli(c.now.Load()) }
	}}
	c.open()
	t.Cleanup(func() {
		c.Close()
		c.store.Close()
	})
	all := append([]string{"cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "segment.ms", "10", "delete.retention.ms", "1000"}, config...)
	if _, err := c.s.CreateTopic("c", 1, configs(all...)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *compacting) part() *Partition {
	q, err := c.v.Queue("c")
	if err != nil {
		c.t.Fatal(err)
	}
	return q.Partitions()[0]
}

// put has a batch of records stored, and returns where they are.
func (c *compacting) put(codec int, h batch.Header, list ...keyedRecord) []keyedRecord {
	c.t.Helper()
	for i := range list {
		list[i].ms = c.now.Load()
	}
	at, err := c.s.Produce(c.part(), keyedBatch(c.t, codec, h, list...))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range list {
		list[i].offset = at.Base + message.Offset(i)
	}
	return list
}

// puts stores a record each of "key=value".
func (c *compacting) puts(list ...string) {
	c.t.Helper()
	for _, kv := range list {
		key, value, _ := strings.Cut(kv, "=")
		c.put(0, nobody, keyedRecord{key: key, value: value})
	}
}

// compact lets time pass and has everything compacted that is due.
func (c *compacting) compact(after time.Duration) {
	c.now.Add(after.Milliseconds())
	c.compactor.round()
}

// records are what a reader of what is committed sees, who does as Kafka's consumers do.
func (c *compacting) records() (out []keyedRecord) {
	c.t.Helper()
	start, _, err := c.part().log.Bounds()
	if err != nil {
		c.t.Fatal(err)
	}
	for from := start; ; {
		got, pieces, err := c.s.Fetch(c.part(), Fetch{From: from, MaxBytes: 4000, Whole: true, Committed: true}, nil)
		if err != nil {
			c.t.Fatal(err)
		}
		if len(pieces) == 0 {
			return out
		}
		aborted, next := map[int64]bool{}, 0
		for _, piece := range pieces {
			err := piece.Use(func(data []byte) error {
				for len(data) > 0 {
					b, rest, err := batch.Next(data)
					if err != nil {
						return err
					}
					if err := b.Check(); err != nil {
						return err
					}
					data, from = rest, message.Offset(b.LastOffset())+1
					for ; next < len(got.Aborted) && got.Aborted[next].First <= message.Offset(b.LastOffset()); next++ {
						aborted[got.Aborted[next].Producer] = true
					}
					if b.IsControl() {
						if commit, err := message.ParseMarker(b); err != nil || !commit {
							delete(aborted, b.ProducerID())
						}
						continue
					}
					if !b.IsTransactional() || !aborted[b.ProducerID()] {
						out = append(out, recordsOf(c.t, b)...)
					}
				}
				return nil
			})
			if err != nil {
				c.t.Fatal(err)
			}
			piece.Release()
		}
	}
}

func recordsOf(t *testing.T, b batch.Batch) (out []keyedRecord) {
	t.Helper()
	raw := b.Records()
	if b.Codec() != 0 {
		var err error
		if raw, err = message.Unpack(nil, b.Codec(), raw, message.MaxUnpackedBytes); err != nil {
			t.Fatal(err)
		}
	}
	records := message.NewRecords(raw)
	var rec message.Record
	for {
		more, err := records.Next(&rec)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return out
		}
		out = append(out, keyedRecord{message.Offset(b.BaseOffset()) + message.Offset(rec.OffsetDelta), string(rec.Key), string(rec.Value), b.BaseTimestamp() + rec.TimestampDelta})
	}
}

func (c *compacting) want(what string, list ...string) {
	c.t.Helper()
	got := []string{}
	for _, one := range c.records() {
		got = append(got, fmt.Sprintf("%d:%s=%s", one.offset, one.key, one.value))
	}
	if !slices.Equal(got, list) {
		c.t.Errorf("%s: %q, want %q", what, got, list)
	}
}

func TestTheLastRecordOfEachKeyStays(t *testing.T) {
	c := newCompacting(t)
	c.puts("a=1", "b=1", "a=2", "c=1", "c=")
	c.compact(0)
	c.want("what is being written is left alone", "0:a=1", "1:b=1", "2:a=2", "3:c=1", "4:c=")
	c.compact(time.Second)
	c.want("compacted", "1:b=1", "2:a=2", "4:c=")
	c.compact(999 * time.Millisecond)
	c.want("the end of a key is kept for a while", "1:b=1", "2:a=2", "4:c=")
	c.compact(time.Millisecond)
	c.want("and then goes", "1:b=1", "2:a=2")
	if start, end, err := c.part().log.Bounds(); start != 0 || end != 5 || err != nil {
		t.Errorf("it begins at %d and ends at %d: %v", start, end, err)
	}
	c.restart()
	c.puts("b=2", "a=")
	c.compact(time.Second)
	c.want("again", "5:b=2", "6:a=")
	for _, one := range c.records() {
		if one.ms != c.now.Load()-1000 {
			t.Errorf("the time of %+v changed", one)
		}
	}
}

func TestWhatIsDueToBeCompacted(t *testing.T) {
	for name, test := range map[string]func(t *testing.T){
		"too little is dirty": func(t *testing.T) {
			c := newCompacting(t, "min.cleanable.dirty.ratio", "0.5")
			c.puts("a=1", "a=2", "b=1", "c=1", "d=1")
			c.compact(time.Second)
			c.want("all of it", "1:a=2", "2:b=1", "3:c=1", "4:d=1")
			c.puts("a=3")
			c.compact(time.Second)
			c.want("little of it", "1:a=2", "2:b=1", "3:c=1", "4:d=1", "5:a=3")
			c.puts("b=2", "c=2", "d=2", "a=4", "a=5", "a=6")
			c.compact(time.Second)
			c.want("most of it", "6:b=2", "7:c=2", "8:d=2", "11:a=6")
		},
		"too young": func(t *testing.T) {
			c := newCompacting(t, "min.compaction.lag.ms", "60000")
			c.puts("a=1", "a=2")
			c.compact(50 * time.Second)
			c.puts("a=3", "a=4")
			c.want("young", "0:a=1", "1:a=2", "2:a=3", "3:a=4")
			c.compact(20 * time.Second)
			c.want("the first are old", "1:a=2", "2:a=3", "3:a=4")
			c.compact(50 * time.Second)
			c.want("all are", "3:a=4")
		},
		"old": func(t *testing.T) {
			c := newCompacting(t, "min.cleanable.dirty.ratio", "1", "segment.ms", "1000000", "max.compaction.lag.ms", "60000")
			c.puts("a=1", "a=2")
			c.compact(50 * time.Second)
			c.want("not yet", "0:a=1", "1:a=2")
			c.compact(20 * time.Second)
			c.want("now", "1:a=2")
		},
		"not compacted any more": func(t *testing.T) {
			c := newCompacting(t)
			c.puts("a=1", "a=2")
			if err := c.s.SetConfig(c.part().q, configs("cleanup.policy", "delete")); err != nil {
				t.Fatal(err)
			}
			c.compact(time.Second)
			c.want("left alone", "0:a=1", "1:a=2")
			if err := c.s.SetConfig(c.part().q, configs("cleanup.policy", "delete,compact")); err != nil {
				t.Fatal(err)
			}
			c.compact(time.Second)
			c.want("both", "1:a=2")
		},
	} {
		t.Run(name, test)
	}
}

// TestAWorkQueueOverACompactedTopicForgetsWhatWent, whether it was counted, looked up, or had come back.
func TestAWorkQueueOverACompactedTopicForgetsWhatWent(t *testing.T) {
	c := newCompacting(t)
	p := c.s.NewPublisher()
	for _, key := range []string{"a", "b", "c", "a", "b", "a"} {
		publish(t, p, "", "c="+key)
	}
	_ = p
	q := c.part().q
	if q.Ready() != 6 {
		t.Fatalf("%d are ready", q.Ready())
	}
	c.compact(time.Second) // their key is the routing key, which is the topic's name
	if n := q.Ready(); n != 1 {
		t.Errorf("%d are ready, want the last one", n)
	}
	c.put(0, nobody, keyedRecord{key: "x", value: "1"}, keyedRecord{key: "y", value: "1"}, keyedRecord{key: "x", value: "2"}, keyedRecord{key: "z", value: "1"})
	first, err := c.s.Get("c", false)
	if err != nil || string(first.Body) != "a" {
		t.Fatalf("%v %v", first, err)
	}
	second, _ := c.s.Get("c", false)
	if err := second.Lease.Requeue(second.Offset, second.Offset); err != nil {
		t.Fatal(err)
	}
	before := c.leftBy()[Compacted]
	c.compact(time.Second)
	var got []string
	for {
		one, err := c.s.Get("c", true)
		if err != nil {
			t.Fatal(err)
		}
		if one == nil {
			break
		}
		got = append(got, string(one.Key)+string(one.Body))
	}
	if fmt.Sprint(got) != "[y1 x2 z1]" {
		t.Errorf("got %v", got)
	}
	if n := c.leftBy()[Compacted] - before; n != 1 {
		t.Errorf("%d are told to have gone with their key's next, want 1", n)
	}
	if err := first.Lease.Ack(first.Offset, first.Offset); err != nil || q.Ready() != 0 {
		t.Errorf("what is held can be acked: %v; %d are ready", err, q.Ready())
	}
}

// TestKeysThatDoNotFitMemoryTakeSeveralPasses and come to the same.
func TestKeysThatDoNotFitMemoryTakeSeveralPasses(t *testing.T) {
	c := newCompacting(t)
	c.opts.CompactMemory = 13 * keyBlockBytes // 78 keys
	want := map[string]message.Offset{}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var list []keyedRecord
		for range 1 + rng.IntN(20) {
			list = append(list, keyedRecord{key: fmt.Sprint("k", rng.IntN(400)), value: "v"})
		}
		for _, one := range c.put(rng.IntN(5), nobody, list...) {
			want[one.key] = one.offset
		}
		if rng.IntN(10) == 0 {
			c.now.Add(20)
			if err := c.part().log.EndSegment(time.UnixMilli(c.now.Load())); err != nil {
				t.Fatal(err)
			}
		}
	}
	runs := c.counters.Compactions.Load()
	c.compact(time.Second)
	if n := c.counters.Compactions.Load() - runs; n != 1 {
		t.Errorf("%d compactions", n)
	}
	for _, one := range c.records() {
		if want[one.key] != one.offset {
			t.Errorf("%s at %d is left, want that at %d", one.key, one.offset, want[one.key])
		}
		delete(want, one.key)
	}
	if len(want) != 0 {
		t.Errorf("lost: %v", want)
	}
}

func TestAKeyMapKnowsTheLastPlaceOfEachKey(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	const first = 1 << 40
	m := newKeyMap(first, make([]byte, 1000/8*keyBlockBytes))
	want := map[message.KeyDigest]message.Offset{}
	digests := make([]message.KeyDigest, 900)
	for i := range digests {
		for j := range digests[i] {
			digests[i][j] = byte(rng.Uint32())
		}
		if i%3 == 0 { // as many as may be look for one place
			copy(digests[i][:4], []byte{0xff, 0xff, 0xff, 0xff})
		}
	}
	for o := message.Offset(first); o < first+5000; o++ {
		d := digests[rng.IntN(len(digests))]
		_, known := want[d]
		if ok := m.put(&d, o); ok != (known || len(want) < 750) {
			t.Fatalf("%d keys: put says %v", len(want), ok)
		} else if ok {
			want[d] = o
		}
	}
	for _, d := range digests {
		at, known := want[d]
		if !known {
			at = first + 10_000 // behind nothing
		}
		if m.behind(&d, at) || known && !m.behind(&d, at-1) {
			t.Errorf("a key at %d, known %v", at, known)
		}
	}
	if m.put(&digests[0], first+math.MaxUint32) {
		t.Error("an offset that is too far away has a place")
	}
}

func TestStateOfCompactionIsAsReleased(t *testing.T) {
	st := &compacted{clean: 1 << 40, horizon: 1_700_000_000_123}
	data := st.appendState(nil)
	got := hex.Dump(data)
	path := filepath.Join("testdata", "compaction-v1.hex")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%v; the format changed: raise its version and add a golden file\n%s", err, got)
	}
	if back, err := decodeCompacted(data); err != nil || *back != *st {
		t.Errorf("it comes back as %+v, %v", back, err)
	}
	for name, bad := range map[string][]byte{
		"cut": data[:23], "longer": append(bytes.Clone(data), 0), "another version": append([]byte("LVCP\x02"), data[5:]...),
		"of something else": append([]byte("LVPS"), data[4:]...), "negative": append(bytes.Clone(data[:16]), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if _, err := decodeCompacted(bad); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// What is dirty begins where records were cut off, be it in the middle of a segment or of a batch.
func TestALogThatWasCutInTheMiddleOfASegmentIsCompacted(t *testing.T) {
	for cut, want := range map[message.Offset][]string{1: {"3:b=2", "4:c=1", "5:a=3"}, 2: {"3:b=2", "4:c=1", "5:a=3"}, 4: {"4:c=1", "5:a=3"}} {
		c := newCompacting(t, "cleanup.policy", "compact,delete")
		c.puts("a=1")
		c.put(message.CodecNone, nobody, keyedRecord{key: "b", value: "1"}, keyedRecord{key: "a", value: "2"}, keyedRecord{key: "b", value: "2"})
		c.puts("c=1")
		if _, err := c.s.Truncate(c.part(), cut); err != nil {
			t.Fatal(err)
		}
		c.puts("a=3")
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.compact(time.Second)
		}()
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("cut at %d: it goes round and round", cut)
		}
		c.want(fmt.Sprintf("cut at %d", cut), want...)
		if st := c.compactor.parts[c.part()]; st == nil || st.clean != 6 {
			t.Errorf("cut at %d: clean is %+v", cut, st)
		}
	}
}

// What a reader has borrowed stays as it was while the topic is compacted, and what is stored behind that comes to lie elsewhere.
func TestWhatIsBorrowedOutlivesACompaction(t *testing.T) {
	c := newCompacting(t)
	for i := range 300 {
		c.puts(fmt.Sprintf("k%d=%d", i%3, i))
	}
	got, pieces, err := c.s.Fetch(c.part(), Fetch{MaxBytes: 1 << 20, Whole: true}, nil)
	if err != nil || got.Records < 100 || got.More != (got.Records < 300) {
		t.Fatalf("%+v, %v", got, err)
	}
	var before [][]byte
	for i := range pieces {
		before = append(before, slices.Clone(pieces[i].Raw()))
	}
	c.compact(time.Hour)
	c.compact(time.Hour)
	if n := len(c.records()); n >= 300 {
		t.Fatalf("%d records are left of 300: nothing was compacted", n)
	}
	for i := range 300 {
		c.puts(fmt.Sprintf("k%d=other %d", i%3, i))
	}
	for i := range pieces {
		if !slices.Equal(before[i], pieces[i].Raw()) {
			t.Errorf("run %d of %d is not what it was", i, len(pieces))
		}
		pieces[i].Release()
	}
}
