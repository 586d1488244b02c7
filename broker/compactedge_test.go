package broker

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/logged"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// set changes the topic's configuration.
func (c *compacting) set(config ...string) {
	c.t.Helper()
	if err := c.s.SetConfig(c.part().q, configs(config...)); err != nil {
		c.t.Fatal(err)
	}
}

func TestABatchWithMoreKeysThanThereIsMemoryForIsCompacted(t *testing.T) {
	for codec := range 5 {
		c := newCompacting(t)
		c.opts.CompactMemory = 13 * keyBlockBytes // 78 keys
		var list, want []keyedRecord
		for i := range 300 {
			one := keyedRecord{key: fmt.Sprint("k", i), value: "v"}
			c.put(codec, nobody, one)
			list = append(list, one, keyedRecord{key: "again", value: fmt.Sprint(i)})
		}
		list = c.put(codec, nobody, list...)
		for i, one := range list {
			if i%2 == 0 || i == len(list)-1 {
				want = append(want, one)
			}
		}
		c.puts("k7=later")
		c.compact(time.Second)
		want = append(slices.DeleteFunc(want, func(r keyedRecord) bool { return r.key == "k7" }), keyedRecord{offset: 900, key: "k7", value: "later", ms: c.now.Load() - 1000})
		if got := c.records(); !slices.Equal(got, want) {
			t.Errorf("codec %d: %d records are left, want %d", codec, len(got), len(want))
		}
		if st := c.compactor.parts[c.part()]; st.clean != 901 {
			t.Errorf("codec %d: clean up to %d", codec, st.clean)
		}
	}
}

// behindAGap is a log of which all before a batch was lost.
type behindAGap struct {
	store.Log
	b batch.Batch
}

func (l behindAGap) Read(message.Offset, int) (store.View, error) {
	return store.NewView(l.b, nil, nil), nil
}

func TestCompactionGetsOverAGapOfMoreOffsetsThanAKeyMapReaches(t *testing.T) {
	c := newCompacting(t)
	const base = 1 << 33
	b := keyedBatch(t, message.CodecNone, nobody, keyedRecord{key: "a", value: "1"})
	b.SetBaseOffset(base)
	c.part().log = behindAGap{c.part().log, b}
	w := &cleaning{c: &c.compactor, p: c.part(), to: base + 1, keys: newKeyMap(0, make([]byte, 2*keyBlockBytes))}
	if err := w.collect(); err != nil || w.end != base {
		t.Fatalf("the first pass ends at %d, %v; want %d", w.end, err, base)
	}
	w.from = w.end
	w.keys.reset(w.from)
	if err := w.collect(); err != nil || w.end != w.to {
		t.Errorf("the next pass ends at %d, %v; want %d", w.end, err, w.to)
	}
}

// TestACompactionEndsWhenTheTopicIsNotCompactedAnyMore: who takes the policy away keeps what is there.
func TestACompactionEndsWhenTheTopicIsNotCompactedAnyMore(t *testing.T) {
	c := newCompacting(t)
	var want []keyedRecord
	for i := range 50 {
		want = append(want, c.put(message.CodecNone, nobody, keyedRecord{key: "a", value: fmt.Sprint(i)})...)
	}
	c.now.Add(20)
	if err := c.part().log.EndSegment(time.UnixMilli(c.now.Load())); err != nil {
		t.Fatal(err)
	}
	c.puts("b=1")
	want = append(want, keyedRecord{offset: 50, key: "b", value: "1", ms: c.now.Load()})
	_, w := c.compactor.look(c.part())
	if w == nil {
		t.Fatal("nothing is due")
	}
	c.set("cleanup.policy", "delete")
	if err := w.run(); err != nil {
		t.Error(err)
	}
	c.compactor.giveBack()
	if got := c.records(); !slices.Equal(got, want) {
		t.Errorf("%d records are left, want %d", len(got), len(want))
	}
	c.set("cleanup.policy", "compact")
	c.now.Add(time.Minute.Milliseconds()) // it rests
	c.compact(time.Second)
	if got := c.records(); len(got) != 2 {
		t.Errorf("compacted again: %d records are left, want 2", len(got))
	}
}

// TestABatchOfWhichALaterBlockNeedsMoreMemoryIsCompacted: what was seen before of its records counts once.
func TestABatchOfWhichALaterBlockNeedsMoreMemoryIsCompacted(t *testing.T) {
	c := newCompacting(t)
	long := strings.Repeat("v", 3<<20)
	plain := keyedBatch(t, 0, nobody, keyedRecord{key: "a", value: "1"}, keyedRecord{key: "b", value: "1"}, keyedRecord{key: "c", value: long})
	raw := plain.Records()
	packed := append([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}, 0, 0, 0, 1, 0, 0, 0, 1)
	for _, block := range [][]byte{raw[:len(raw)-len(long)-20], raw[len(raw)-len(long)-20:]} {
		one := snappy.Encode(nil, block)
		packed = append(binary.BigEndian.AppendUint32(packed, uint32(len(one))), one...)
	}
	b := batch.Batch(append(make([]byte, batch.HeaderBytes), packed...))
	h := headerOf(plain)
	h.Attributes |= message.CodecSnappy
	b.Seal(h)
	if _, err := c.s.Produce(c.part(), b); err != nil {
		t.Fatal(err)
	}
	c.puts("a=2")
	c.compact(time.Second)
	c.want("compacted", "1:b=1", "2:c="+long, "3:a=2")
}

func TestABatchDoesNotGrowBeyondWhatAnybodyUnpacks(t *testing.T) {
	for codec := range 5 {
		c := newCompacting(t, "delete.retention.ms", "0")
		one := keyedBatch(t, 0, nobody, keyedRecord{key: "a"}, keyedRecord{key: "b"}, keyedRecord{key: "c", value: "1"})
		c.compactor.mostUnpacked = len(one.Records()) // the times take more when they count from later
		c.put(codec, nobody, keyedRecord{key: "a"}, keyedRecord{key: "b"}, keyedRecord{key: "c", value: "1"})
		c.compact(time.Second)
		runs := c.counters.Compactions.Load()
		c.want("all of it", "0:a=", "1:b=", "2:c=1")
		for range 3 {
			c.compact(time.Second)
		}
		c.want("and again", "0:a=", "1:b=", "2:c=1")
		if n := c.counters.Compactions.Load() - runs; n > 0 {
			t.Errorf("codec %d: compacted %d times more, for nothing", codec, n)
		}
		c.compactor.mostUnpacked = 10
		c.puts("c=2", "a=3")
		c.compact(time.Second)
		c.want("some went", "1:b=", "3:c=2", "4:a=3")
		c.compactor.mostUnpacked = message.MaxUnpackedBytes
		c.puts("d=1")
		c.compact(time.Second)
		c.compact(time.Second)
		c.want("with room", "3:c=2", "4:a=3", "5:d=1")
	}
}

// TestManyTopicsAreLookedAtAFewTimesEach however many of them are dirty, and the dirtiest comes first.
func TestManyTopicsAreLookedAtAFewTimesEach(t *testing.T) {
	c := newCompacting(t, "min.cleanable.dirty.ratio", "0.3")
	const topics = 20
	for i := range topics {
		name := fmt.Sprint("t", i)
		q, err := c.s.CreateTopic(name, 1, configs("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "segment.ms", "10"))
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range []string{"1", "2"} {
			if _, err := c.s.Produce(q.Partitions()[0], keyedBatch(t, 0, nobody, keyedRecord{key: "a", value: v, ms: c.now.Load()})); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := c.compactor.looks
	c.compact(time.Second)
	if n := c.counters.Compactions.Load(); n != topics {
		t.Errorf("%d were compacted", n)
	}
	if n := c.compactor.looks - before; n > 2*(topics+1) {
		t.Errorf("%d looks at %d topics", n, topics+1)
	}
}

// TestWhatHadNoKeyGoesWhenATopicIsCompactedFromNowOn: there is nothing by which it could be known again.
func TestWhatHadNoKeyGoesWhenATopicIsCompactedFromNowOn(t *testing.T) {
	c := newCompacting(t, "cleanup.policy", "delete")
	var b message.Builder
	b.AddRecord(&message.Record{Value: []byte("none")}, c.now.Load())
	b.AddRecord(&message.Record{Key: []byte("a"), Value: []byte("1")}, c.now.Load())
	data, err := b.SealPacked(nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.s.Produce(c.part(), data); err != nil {
		t.Fatal(err)
	}
	c.puts("a=2", "b=1")
	c.compact(time.Second)
	c.want("as policy delete has it", "0:=none", "1:a=1", "2:a=2", "3:b=1")
	c.set("cleanup.policy", "compact")
	c.compact(time.Second)
	c.want("compacted", "2:a=2", "3:b=1")
	c.set("cleanup.policy", "delete")
	c.puts("a=3", "a=4")
	c.compact(time.Second)
	c.want("not any more", "2:a=2", "3:b=1", "4:a=3", "5:a=4")
	c.set("cleanup.policy", "compact,delete", "retention.ms", "600000")
	c.compact(time.Second)
	c.want("both", "3:b=1", "5:a=4")
}

// TestASlowReaderLearnsOfEachEndOfAKeyThatIsYoungerThanItsRetention, and of ends of transactions too.
func TestASlowReaderLearnsOfEachEndOfAKeyThatIsYoungerThanItsRetention(t *testing.T) {
	c := newCompacting(t, "delete.retention.ms", "60000")
	c.puts("a=1", "b=1", "a=", "c=1")
	c.compact(time.Second)
	seen := map[string]string{"a": "1", "b": "1"} // as far as the reader came, before
	c.puts("b=")
	for range 5 {
		c.compact(10 * time.Second)
	}
	for _, one := range c.records() {
		if seen[one.key] = one.value; one.value == "" {
			delete(seen, one.key)
		}
	}
	if len(seen) != 1 || seen["c"] != "1" {
		t.Errorf("it believes in %v", seen)
	}
	for range 3 {
		c.compact(30 * time.Second)
	}
	c.want("nobody needs them", "3:c=1")
}

func TestEndsOfKeysGoInTheTimeThatIsSetNow(t *testing.T) {
	c := newCompacting(t, "delete.retention.ms", "86400000")
	c.puts("a=1", "a=")
	c.set("delete.retention.ms", "1000")
	c.compact(time.Second)
	c.want("its time begins", "1:a=")
	c.compact(time.Second)
	c.want("and is over")
}

func TestWorkOfAShareGroupPassesOverHoles(t *testing.T) {
	c := newCompacting(t)
	c.put(0, nobody, keyedRecord{key: "a", value: "1"}, keyedRecord{key: "b", value: "1"}, keyedRecord{key: "c", value: "1"}, keyedRecord{key: "a", value: "2"}, keyedRecord{key: "d", value: "1"})
	c.puts("e=1", "e=2", "e=3", "d=2")
	c.compact(time.Second)
	c.want("holes", "1:b=1", "2:c=1", "3:a=2", "7:e=3", "8:d=2")
	share, err := c.s.SubscribePartition(c.part(), func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	var got []string
	for deadline := time.Now().Add(patience); len(got) < 5 && time.Now().Before(deadline); {
		var into Acquisition
		n, err := share.Acquire(100, 1<<20, &into)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			time.Sleep(time.Millisecond)
		}
		for _, run := range into.Runs {
			got = append(got, fmt.Sprintf("%d-%d", run.First, run.Last))
			n -= int(run.Last-run.First) + 1
		}
		if n != 0 {
			t.Errorf("%d records are not in %v", n, into.Runs)
		}
		if n := c.part().q.Ready(); len(got) > 0 && n != 0 {
			t.Errorf("%d are ready behind all of them", n)
		}
		if len(got) > 0 {
			break
		}
	}
	if fmt.Sprint(got) != "[1-3 7-8]" && fmt.Sprint(got) != "[1-3 7-7 8-8]" {
		t.Errorf("acquired %v", got)
	}
}

// TestDamageStopsThatTopicAlone, which is compacted up to there, and takes records as ever.
func TestDamageStopsThatTopicAlone(t *testing.T) {
	c := newCompacting(t, "segment.bytes", "65536")
	filler := strings.Repeat("x", 3000)
	for i := range 100 {
		c.puts("a=" + fmt.Sprint(i) + filler)
	}
	c.other()
	files, err := filepath.Glob(filepath.Join(c.dir, "queues", "*", "*", "*.log"))
	if err != nil || len(files) < 5 {
		t.Fatalf("%v %v", files, err)
	}
	slices.Sort(files)
	c.restart() // what this life has not written is checked when it is read
	c.puts("a=last")
	f, err := os.OpenFile(files[2], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(bytes.Repeat([]byte{0xff}, 4000), 10_000); err != nil {
		t.Fatal(err)
	}
	c.compact(time.Second)
	if n := c.counters.Compactions.Load(); n != 1 {
		t.Errorf("%d compactions, want that of the other topic", n)
	}
	c.compact(time.Minute)
	if n := c.counters.Compactions.Load(); n != 2 {
		t.Errorf("%d compactions, want one of what is before the damage", n)
	}
	list := c.records()
	damaged, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(files[2]), ".log"))
	if err != nil {
		t.Fatal(err)
	}
	before := slices.IndexFunc(list, func(r keyedRecord) bool { return int(r.offset) >= damaged })
	if before != 0 || len(list) < 50 || list[len(list)-1].value != "last" { // the last one is behind the damage
		t.Errorf("%d records, %d before the damaged segment", len(list), before)
	}
	if c.puts("b=1"); c.records()[len(list)].key != "b" {
		t.Error("it takes no records any more")
	}
}

// other makes another topic with something to be compacted.
func (c *compacting) other() {
	c.t.Helper()
	other, err := c.s.CreateTopic("other", 1, configs("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "segment.ms", "10"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, v := range []string{"1", "2"} {
		if _, err := c.s.Produce(other.Partitions()[0], keyedBatch(c.t, 0, nobody, keyedRecord{key: "a", value: v, ms: c.now.Load()})); err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestATopicThatCantBeCompactedIsToldOfOnceAMinute(t *testing.T) {
	lines := &logged.Lines{}
	c := newCompacting(t)
	c.opts.Log = lines.Logger()
	broken := keyedBatch(t, 0, nobody, keyedRecord{key: "a", value: "1"})
	broken[batch.HeaderBytes] = 0x7f // the record's length
	h := headerOf(broken)
	broken.Seal(h)
	if _, err := c.s.Produce(c.part(), broken); err != nil {
		t.Fatal(err)
	}
	c.other()
	told := func(want int) {
		t.Helper()
		got := lines.Take()
		if strings.Count(got, "can't be compacted") != want || want > 0 && (!strings.Contains(got, "topic=c ") || !strings.Contains(got, "partition=0") || !strings.Contains(got, "batch 0")) {
			t.Errorf("logged %q", got)
		}
	}
	c.compact(time.Second)
	told(1)
	if n, failed := c.counters.Compactions.Load(), c.counters.CompactionsFailed.Load(); n != 1 || failed != 1 {
		t.Errorf("%d compactions, %d failed", n, failed)
	}
	c.compact(59 * time.Second)
	told(0)
	c.compact(time.Second)
	told(1)
	if n := c.counters.CompactionsFailed.Load(); n != 2 {
		t.Errorf("%d failed", n)
	}
}

// TestWhatIsReadyIsCountedAnewBehindACompaction, also where it was counted and a run of it was looked up before.
func TestWhatIsReadyIsCountedAnewBehindACompaction(t *testing.T) {
	c := newCompacting(t)
	c.put(0, nobody, keyedRecord{key: "first", value: "1"}, keyedRecord{key: "a", value: "1"}, keyedRecord{key: "a", value: "2"}, keyedRecord{key: "b", value: "1"}, keyedRecord{key: "a", value: "3"})
	if one, err := c.s.Get("c", true); err != nil || string(one.Key) != "first" {
		t.Fatalf("%v %v", one, err)
	}
	q := c.part().q
	if n := q.Ready(); n != 4 {
		t.Fatalf("%d are ready", n)
	}
	c.puts("b=2", "c=1")
	c.compact(time.Second)
	if n := q.Ready(); n != 3 {
		t.Errorf("%d are ready, want a, b and c", n)
	}
	for _, want := range []string{"a3", "b2", "c1"} {
		one, err := c.s.Get("c", true)
		if err != nil || one == nil || string(one.Key)+string(one.Body) != want {
			t.Fatalf("%v %v, want %s", one, err, want)
		}
	}
	if n := q.Ready(); n != 0 {
		t.Errorf("%d are ready behind all of them", n)
	}
}

// TestKeysOfOneTopicAreNothingToTheNext, which is compacted in the same memory; it goes back behind the round.
func TestKeysOfOneTopicAreNothingToTheNext(t *testing.T) {
	c := newCompacting(t)
	made, held := 0, 0
	c.opts.Pages = func(bytes int) ([]byte, func()) {
		made++
		held += bytes
		return make([]byte, bytes), func() { held -= bytes }
	}
	c.puts("x=1", "a=1") // is compacted before, and so less of it is dirty the next time
	c.compact(time.Second)
	for i := range 50 {
		c.puts(fmt.Sprint("a=", i))
	}
	dirtier, err := c.s.CreateTopic("dirtier", 1, configs("cleanup.policy", "compact", "min.cleanable.dirty.ratio", "0", "segment.ms", "10"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := c.s.Produce(dirtier.Partitions()[0], keyedBatch(t, 0, nobody, keyedRecord{key: "x", value: fmt.Sprint(i), ms: c.now.Load()})); err != nil {
			t.Fatal(err)
		}
	}
	made = 0
	c.compact(time.Second)
	c.want("its own", "0:x=1", "51:a=49")
	if made != 1 || held != 0 {
		t.Errorf("memory was made %d times, want once; %d bytes are held", made, held)
	}
}
