package broker

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

// What others dealt to a consumer comes before what came back when it takes: what it acquires stands in the order of offsets all
// the same, and each record in it once.
func TestWhatIsAcquiredStandsInTheOrderOfOffsets(t *testing.T) { bubble(t, acquiredInOrder) }

func acquiredInOrder(t *testing.T, r *rig) {
	q := r.queue("q", QueueOptions{Durable: true})
	a := r.subscribe("q", SubscribeOptions{Prefetch: 40})
	share, err := r.s.SubscribePartition(q.Partitions()[0], func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer share.Close()
	var into Acquisition
	acquire := func(max int) int {
		into.Reset()
		for range 10 { // until there is nothing more to be waited for
			n, err := share.Acquire(max, 1<<20, &into)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				return n
			}
			synctest.Wait()
		}
		return 0
	}
	if n := acquire(10); n != 0 {
		t.Fatalf("%d messages in an empty queue", n)
	}
	var bodies []string
	for i := range 100 {
		bodies = append(bodies, fmt.Sprint("v", i))
	}
	r.fill("q", bodies...)
	held := pull(t, a, 20, 1<<20) // and the other is dealt its share
	first, last := held[0].Offset, held[0].Offset
	for _, d := range held {
		if d.Offset == last+1 {
			last = d.Offset
		}
	}
	if err := held[0].Lease.Requeue(first, last); err != nil {
		t.Fatal(err)
	}
	a.Close()
	n := acquire(100)
	seen, at := 0, message.Offset(-1)
	for _, run := range into.Runs {
		if run.First <= at {
			t.Fatalf("%v", into.Runs)
		}
		at = run.Last
		seen += int(run.Last-run.First) + 1
		if again := run.First == first; (run.Deliveries == 2) != again {
			t.Errorf("%d to %d were delivered %d times", run.First, run.Last, run.Deliveries)
		}
	}
	records := 0
	for data := acquiredBytes(&into); len(data) > 0; {
		var b batch.Batch
		if b, data, err = batch.Next(data); err != nil {
			t.Fatal(err)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		records += int(b.Count())
	}
	if n != seen || n != records || n != 100-len(held)+int(last-first)+1 {
		t.Errorf("%d acquired, %d in runs, %d in batches, of %d", n, seen, records, 100)
	}
	share.Pause()
	for _, run := range into.Runs {
		if err := run.Lease.Release(run.First, run.Last, 2); err != nil {
			t.Fatal(err)
		}
	}
	if n := q.Ready(); n != int64(seen)-int64(last-first)-1 {
		t.Errorf("%d are ready: those that were delivered twice are gone", n)
	}
}

// acquiredBytes are all batches, in order.
func acquiredBytes(a *Acquisition) (all []byte) {
	for i := range a.Pieces() {
		all = append(all, a.Piece(i)...)
	}
	return all
}

// numbered produces batches of so many records each to a topic of one partition, and returns that.
func (r *rig) numbered(topic string, sizes ...int) *Partition {
	r.t.Helper()
	q, err := r.s.CreateTopic(topic, 1, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for _, size := range sizes {
		var b message.Builder
		for range size {
			b.AddRecord(&message.Record{Value: fmt.Append(nil, "v", n)}, time.Now().UnixMilli())
			n++
		}
		if _, err := r.s.Produce(q.Partitions()[0], slices.Clone(b.Seal())); err != nil {
			r.t.Fatal(err)
		}
	}
	return q.Partitions()[0]
}

// sharing is a consumer of a partition that acquires.
func (r *rig) sharing(p *Partition) (acquire func(max, maxBytes int) *Acquisition) {
	r.t.Helper()
	sub, err := r.s.SubscribePartition(p, func() {}, func() {})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(sub.Close)
	var into Acquisition
	return func(max, maxBytes int) *Acquisition {
		into.Reset()
		for range 10 {
			n, err := sub.Acquire(max, maxBytes, &into)
			if err != nil {
				r.t.Fatal(err)
			}
			if n > 0 {
				break
			}
			synctest.Wait()
		}
		sub.Pause()
		return &into
	}
}

// valuesIn are the offsets and values of all batches, held against their checksums.
func valuesIn(t *testing.T, data []byte) (list []string) {
	t.Helper()
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil || b.Check() != nil {
			t.Fatal(err, b.Check())
		}
		records, n := message.NewRecords(b.Records()), int32(0)
		var rec message.Record
		for ok, err := records.Next(&rec); ok; ok, err = records.Next(&rec) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%d=%s", b.BaseOffset()+int64(rec.OffsetDelta), rec.Value))
			n++
		}
		if n != b.Count() {
			t.Errorf("%d records in a batch of %d", n, b.Count())
		}
		data = rest
	}
	return list
}

func (a *Acquisition) borrowed() (n int) {
	for _, p := range a.pieces {
		if p.view >= 0 {
			n += p.to - p.from
		}
	}
	return n
}

func runsIn(a *Acquisition) (out []string) {
	for _, run := range a.Runs {
		out = append(out, fmt.Sprintf("%d-%d:%d", run.First, run.Last, run.Deliveries))
	}
	return out
}

// Batches that a consumer gets all of are borrowed from the log; others are made of the records that it gets.
func TestWholeBatchesAreAcquiredAsTheyAreStored(t *testing.T) { bubble(t, acquiredWhole) }

func acquiredWhole(t *testing.T, r *rig) {
	p := r.numbered("t", 3, 4, 1, 5)
	acquire := r.sharing(p)
	next := 0
	got := func(what string, a *Acquisition, runs []string, n int, borrowed bool) {
		t.Helper()
		data := acquiredBytes(a)
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf("%d=v%d", next+i, next+i))
		}
		next += n
		if !slices.Equal(runsIn(a), runs) || !slices.Equal(valuesIn(t, data), want) || a.Bytes() != len(data) {
			t.Errorf("%s: %v, %v, %d bytes", what, runsIn(a), valuesIn(t, data), a.Bytes())
		}
		if is := a.borrowed(); (is == len(data)) != borrowed || !borrowed && is != 0 {
			t.Errorf("%s: %d of %d bytes are borrowed", what, is, len(data))
		}
	}
	got("two of the first batch", acquire(2, 1<<20), []string{"0-1:1"}, 2, false)
	a := acquire(6, 1<<20) // one of the first batch, and the second; the third would be whole, too, but for the limit
	next = 2
	if !slices.Equal(valuesIn(t, acquiredBytes(a)), []string{"2=v2", "3=v3", "4=v4", "5=v5", "6=v6", "7=v7"}) || a.borrowed() == 0 || a.borrowed() == a.Bytes() {
		t.Errorf("%v, %d of %d bytes are borrowed", runsIn(a), a.borrowed(), a.Bytes())
	}
	for _, run := range a.Runs {
		if err := run.Lease.Requeue(run.First, run.Last); err != nil {
			t.Fatal(err)
		}
	}
	got("its rest", acquire(1, 1<<20), []string{"2-2:2"}, 1, false)
	got("what does not fit whole behind others is left", acquire(7, 1<<20), []string{"3-7:2"}, 5, true)
	a = acquire(5, 1)
	got("the first is cut where it does not fit", a, []string{"8-8:1"}, 1, false)
	got("all that is left", acquire(100, 1<<20), []string{"9-12:1"}, 4, false)
	two := r.numbered("two", 2, 3)
	both, err := r.s.SubscribePartition(two, func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	a.Reset()
	for n := 0; n < 5; synctest.Wait() { // into one, one after the other, as from several partitions
		got, err := both.Acquire(3, 1<<20, a)
		if err != nil || a.Bytes() > 1<<10 {
			t.Fatal(err, a.Bytes())
		}
		if n += got; got > 0 {
			both.Pause()
		}
	}
	if want := []string{"0=v0", "1=v1", "2=v2", "3=v3", "4=v4"}; a.borrowed() != a.Bytes() || !slices.Equal(valuesIn(t, acquiredBytes(a)), want) {
		t.Errorf("%v, %d of %d bytes are borrowed", valuesIn(t, acquiredBytes(a)), a.borrowed(), a.Bytes())
	}
	if n := p.q.Ready(); n != 0 {
		t.Errorf("%d are ready", n)
	}
}

// Where a time to live decides, each record is looked at.
func TestWhatMayExpireIsNotAcquiredUnseen(t *testing.T) { bubble(t, acquiredAlive) }

func acquiredAlive(t *testing.T, r *rig) {
	for _, name := range []string{"known", "forgotten"} {
		topic, err := r.s.CreateTopic(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := topic.Partitions()[0]
		pub := r.s.NewPublisher()
		for i, ms := range []string{"", "10", ""} { // one batch, of which the second expires
			in := &Inbound{Key: []byte(name), Body: fmt.Append(nil, i), Persistent: true, TimestampMs: time.Now().UnixMilli()}
			if ms != "" {
				in.Properties = expiring(ms)
			}
			if routed, err := pub.Publish(in); err != nil || !routed {
				t.Fatal(routed, err)
			}
		}
		flush(t, pub)
		time.Sleep(1234 * time.Millisecond) // nobody looks for what expired just then
		acquire := r.sharing(p)
		e := p.expiry.Load()
		if name == "forgotten" { // as it may be after a kill
			p.expiry.Store(nil)
		}
		a := acquire(100, 1<<20)
		p.expiry.Store(e) // before anybody looks again
		if got := runsIn(a); !slices.Equal(got, []string{"0-0:1", "2-2:1"}) || a.borrowed() != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Producers of other protocols do not say when a message expires; their queue may.
	p := r.numbered("numbered", 2, 2)
	p.expiring()
	if a := r.sharing(p)(100, 1<<20); a.borrowed() != 0 || len(valuesIn(t, acquiredBytes(a))) != 4 {
		t.Errorf("%v, %d bytes borrowed", runsIn(a), a.borrowed())
	}
}

// What has expired is nothing that what is behind it would have to fit beside.
func TestBehindWhatHasExpiredTheFirstBatchIsCut(t *testing.T) { bubble(t, acquiredBehindExpired) }

func acquiredBehindExpired(t *testing.T, r *rig) {
	p := r.numbered("t")
	in := &Inbound{Key: []byte("t"), Body: []byte("late"), Properties: expiring("10"), Persistent: true, TimestampMs: time.Now().UnixMilli()}
	pub := r.s.NewPublisher()
	if routed, err := pub.Publish(in); err != nil || !routed {
		t.Fatal(routed, err)
	}
	flush(t, pub)
	if _, err := r.s.Produce(p, produced(-1, -1, -1, "a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1234 * time.Millisecond) // nobody looks for what expired just then
	woken := 0
	sub, err := r.s.SubscribePartition(p, func() { woken++ }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	e := p.expiry.Swap(nil) // as it may be after a kill
	defer p.expiry.Store(e)
	var into Acquisition
	for before := 0; ; before = woken {
		n, err := sub.Acquire(100, 2, &into)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			break
		}
		if synctest.Wait(); woken == before {
			t.Fatal("nothing was acquired, and nobody is woken")
		}
	}
	if got := runsIn(&into); !slices.Equal(got, []string{"1-2:1"}) {
		t.Errorf("%v", got)
	}
}

// What it costs to acquire does not depend on how many records there are.
func TestAcquiringWholeBatchesAllocatesNothingPerRecord(t *testing.T) { bubble(t, acquiredCheaply) }

func acquiredCheaply(t *testing.T, r *rig) {
	p := r.numbered("t", 500, 500, 500)
	acquire := r.sharing(p)
	cost := func() {
		a := acquire(10_000, 1<<20)
		if len(a.Runs) != 1 || a.Runs[0].Last != 1499 || a.Pieces() != 1 {
			t.Fatalf("%v in %d pieces", runsIn(a), a.Pieces())
		}
		if err := a.Runs[0].Lease.Requeue(0, 1499); err != nil {
			t.Fatal(err)
		}
	}
	cost()
	if n := alloc.Least(20, 20, cost); n > 20 {
		t.Errorf("%.0f allocations for three batches", n)
	}
}

// What is borrowed stays as it is until Reset, whatever becomes of the messages.
func TestWhatWasAcquiredIsReadableUntilReset(t *testing.T) { bubble(t, acquiredKept) }

func acquiredKept(t *testing.T, r *rig) {
	p := r.numbered("t", 10, 10)
	sub, err := r.s.SubscribePartition(p, func() {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	var a Acquisition
	for n := 0; n == 0; synctest.Wait() {
		if n, err = sub.Acquire(100, 1<<20, &a); err != nil {
			t.Fatal(err)
		}
	}
	before := bytes.Clone(acquiredBytes(&a))
	if err := a.Runs[0].Lease.Ack(0, 19); err != nil {
		t.Fatal(err)
	}
	sub.Close()
	if _, err := r.s.DeleteQueue("t", false, false); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	if err := a.Check(); err != nil || !bytes.Equal(before, acquiredBytes(&a)) || len(valuesIn(t, before)) != 20 {
		t.Errorf("%v, %d values", err, len(valuesIn(t, before)))
	}
	if a.Reset(); a.Pieces() != 0 || a.Bytes() != 0 {
		t.Errorf("%d pieces are left", a.Pieces())
	}
}
