package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// busy is a rig whose logs have small segments and whose saver hurries.
func busy(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.openBusy()
	t.Cleanup(func() {
		r.Close()
		r.store.Close()
	})
	return r
}

func (r *rig) openBusy() {
	r.t.Helper()
	st, err := local.Open(local.Options{
		Dir: r.dir, Mode: store.ModeOS, SegmentBytes: 128 << 10, RecycleBytes: -1, FlushInterval: 20 * time.Millisecond,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if r.Broker, err = Open(st, Options{SaveEvery: 10 * time.Millisecond}); err != nil {
		r.t.Fatal(err)
	}
	r.store = st
	if r.v, err = r.Broker.VHost("/"); err != nil {
		r.t.Fatal(err)
	}
	r.s = r.v.NewSession(auth.Identity{Name: "guest"})
}

// diskBytes is what the files of the data directory take, but for allocated space
// behind their ends.
func diskBytes(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && d.IsDir() {
			return nil
		}
		if err != nil {
			return err
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bytes
}

// fill publishes numbered messages of 100 bytes.
func fill(t *testing.T, r *rig, queue string, n int) {
	t.Helper()
	p := r.s.NewPublisher()
	for i := range n {
		in := &Inbound{Key: []byte(queue), Body: fmt.Appendf(nil, "%0100d", i), Persistent: true, TimestampMs: 1}
		if _, err := p.Publish(in); err != nil {
			t.Fatal(err)
		}
		if i%500 == 499 {
			flush(t, p)
		}
	}
	flush(t, p)
}

// takeAll pulls n messages and returns the numbers in their bodies.
func takeAll(t *testing.T, sub *Subscription, n int, each func(i int, d *Delivery)) {
	t.Helper()
	for n > 0 {
		got, err := sub.pull(n, 1<<20, func(d *Delivery) {
			var i int
			if _, err := fmt.Sscanf(string(d.Body), "%d", &i); err != nil {
				t.Fatalf("body %q: %v", d.Body, err)
			}
			each(i, d)
		})
		sub.Release()
		if err != nil || got == 0 {
			t.Fatalf("%d left, pulled %d: %v", n, got, err)
		}
		n -= got
	}
}

func TestAStragglerPinsNothing(t *testing.T) {
	const messages = 200_000
	r := busy(t)
	q := r.queue("q", QueueOptions{Durable: true})
	fill(t, r, "q", messages)
	full := diskBytes(t, r.dir)
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var straggler Delivery
	var others []Delivery
	takeAll(t, sub, messages, func(i int, d *Delivery) {
		if i == 0 {
			straggler = *d
		} else {
			others = append(others, Delivery{Lease: d.Lease, Offset: d.Offset})
		}
	})
	if err := others[0].Lease.Ack(others[0].Offset, others[len(others)-1].Offset); err != nil {
		t.Fatal(err)
	}
	// What is left is the segment that is written to and the one that waits, both
	// allocated in full, and a few hundred bytes for each of the others.
	deadline := time.Now().Add(patience)
	for diskBytes(t, r.dir) > 500<<10 {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes are still on disk", diskBytes(t, r.dir), full)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Logf("from %d to %d bytes", full, diskBytes(t, r.dir))
	check := func(when string) {
		t.Helper()
		if ready := q.Ready(); ready != 1 {
			t.Errorf("%s: %d messages are ready", when, ready)
		}
		takeAll(t, sub, 1, func(i int, d *Delivery) {
			if straggler = *d; i != 0 || !d.Redelivered {
				t.Errorf("%s: message %d, redelivered %v", when, i, d.Redelivered)
			}
		})
	}
	if err := straggler.Lease.Requeue(straggler.Offset, straggler.Offset); err != nil {
		t.Fatal(err)
	}
	check("requeued")
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		t.Fatal(err)
	}
	r.openBusy()
	if q, err = r.v.Queue("q"); err != nil {
		t.Fatal(err)
	}
	if sub, err = r.s.Subscribe(q.Name, SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	check("after a restart")
	fill(t, r, "q", 3)
	if err := straggler.Lease.Ack(straggler.Offset, straggler.Offset); err != nil {
		t.Fatal(err)
	}
	next := 0
	takeAll(t, sub, 3, func(i int, d *Delivery) {
		if i != next || d.Offset != message.Offset(messages+i) || d.Redelivered {
			t.Errorf("message %d at %d, redelivered %v", i, d.Offset, d.Redelivered)
		}
		next++
	})
}

func TestAcksThatACrashForgotLeaveNoGhosts(t *testing.T) {
	r := busy(t)
	q := r.queue("q", QueueOptions{Durable: true})
	fill(t, r, "q", 60_000)
	sub, err := r.s.Subscribe(q.Name, SubscribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var held []Delivery
	takeAll(t, sub, 60_000, func(_ int, d *Delivery) { held = append(held, Delivery{Lease: d.Lease, Offset: d.Offset}) })
	// As if the acks of all but the first and the last had been lost with the power,
	// but not what was thinned because of them.
	part := q.Partitions()[0]
	wait := make(chan error, 1)
	r.store.Commit([]store.Log{part.log}, func(err error) { wait <- err })
	if err := <-wait; err != nil {
		t.Fatal(err)
	}
	before := part.log.Figures().Bytes
	deadline := time.Now().Add(patience)
	for size := before; size > before/2; size = part.log.Figures().Bytes {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d bytes are left", size, before)
		}
		first, last := held[0].Offset, held[len(held)-1].Offset
		if err := part.log.Thin(last, func(a, b message.Offset) bool { return a <= first || b >= last }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	sub.Close()
	if err := errors.Join(r.Close(), r.store.Close()); err != nil {
		t.Fatal(err)
	}
	r.openBusy()
	if q, err = r.v.Queue("q"); err != nil {
		t.Fatal(err)
	}
	if sub, err = r.s.Subscribe(q.Name, SubscribeOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []int
	for {
		n, err := sub.pull(100_000, 1<<20, func(d *Delivery) {
			var i int
			fmt.Sscanf(string(d.Body), "%d", &i)
			got = append(got, i)
			if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
				t.Error(err)
			}
		})
		sub.Release()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 && q.Ready() == 0 {
			break
		}
	}
	if len(got) == 0 || len(got) > 30_000 || got[0] != 0 || got[len(got)-1] != 59_999 {
		t.Errorf("%d messages came again", len(got))
	}
	if floor, handed := q.Partitions()[0].cursor.Load().Progress(); floor != handed {
		t.Errorf("the floor stands at %d of %d", floor, handed)
	}
}

// TestWhatIsThinnedIsKnownToBeAckedAfterAKill, however long ago the cursor was saved otherwise, and
// what is acked meanwhile stays on disk.
func TestWhatIsThinnedIsKnownToBeAckedAfterAKill(t *testing.T) {
	const messages = 20_000
	r := &rig{t: t, dir: t.TempDir()}
	st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS, SegmentBytes: 128 << 10, FlushInterval: 20 * time.Millisecond})
	must(t, err)
	r.Broker, err = Open(st, Options{SaveEvery: time.Hour})
	must(t, err)
	r.store = st
	t.Cleanup(func() { // by then it is another one
		r.Close()
		r.store.Close()
	})
	r.v, _ = r.Broker.VHost("/")
	r.s = r.v.NewSession(auth.Identity{Name: "guest"})
	q := r.queue("q", QueueOptions{Durable: true})
	fill(t, r, "q", messages)
	part := q.Partitions()[0]
	sub := r.subscribe("q", SubscribeOptions{})
	for i, d := range pull(t, sub, messages, 1<<30) {
		if i > 0 {
			must(t, d.Lease.Ack(d.Offset, d.Offset))
		}
	}
	c := part.cursor.Load()
	floor, handed := c.Progress()
	full := part.log.Figures().Bytes
	for until := time.Now().Add(patience); part.log.Figures().Bytes > full/2; time.Sleep(10 * time.Millisecond) { // when it is flushed
		if time.Now().After(until) {
			t.Fatalf("%d of %d bytes are left", part.log.Figures().Bytes, full)
		}
		new(thinState).thin(r.Broker, part, c, floor, handed)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) { // until those that were merged are gone: a copy must not meet them half
		files, err := filepath.Glob(filepath.Join(r.dir, "queues", "*", "*", "*.log"))
		must(t, err)
		if len(files) == part.log.Figures().Segments {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d files of %d segments", len(files), part.log.Figures().Segments)
		}
	}
	r.kill()
	if q, err = r.v.Queue("q"); err != nil {
		t.Fatal(err)
	}
	if n := q.Ready(); n != 1 {
		t.Errorf("%d messages are counted where one was not acked", n)
	}
}

// What was acked ahead of the floor is not counted as ready, though the last checkpoint did not know of it when the broker was
// killed.
func TestAcksAheadCountAfterAKillBeforeTheNextCheckpoint(t *testing.T) {
	const messages = 1000
	r := &rig{t: t, dir: t.TempDir()}
	open := func() {
		st, err := local.Open(local.Options{Dir: r.dir, Mode: store.ModeOS, FlushInterval: time.Hour})
		must(t, err)
		r.Broker, err = Open(st, Options{SaveEvery: time.Hour})
		must(t, err)
		r.store = st
		r.v, _ = r.Broker.VHost("/")
		r.s = r.v.NewSession(auth.Identity{Name: "guest"})
	}
	open()
	t.Cleanup(func() { // by then it is another one
		r.Close()
		r.store.Close()
	})
	r.queue("q", QueueOptions{Durable: true})
	fill(t, r, "q", messages)
	must(t, r.Close())
	must(t, r.store.Close()) // which writes a checkpoint
	open()
	fill(t, r, "q", 1)
	q, err := r.v.Queue("q")
	must(t, err)
	sub := r.subscribe("q", SubscribeOptions{})
	for i, d := range pull(t, sub, messages+1, 1<<30) {
		if i > 0 {
			must(t, d.Lease.Ack(d.Offset, d.Offset))
		}
	}
	must(t, q.Partitions()[0].saveCursor())
	r.kill()
	if q, err = r.v.Queue("q"); err != nil {
		t.Fatal(err)
	}
	if n := q.Ready(); n != 1 {
		t.Errorf("%d messages are counted where one was not acked", n)
	}
}
