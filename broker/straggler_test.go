package broker

import (
	"errors"
	"math"
	"runtime"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

// TestAMessageThatIsHeldForADayPinsLittle: while others pass, their queue's disk takes no more at its
// end than twice what it did in the beginning, and there are no more segments and no more memory is
// in use; the message is still held.
func TestAMessageThatIsHeldForADayPinsLittle(t *testing.T) {
	const (
		segment = 64 << 10
		step    = 15 * time.Minute
		perStep = 2000 // of 100 bytes, some segments
		most    = 24   // segments: what is thinned at a time, and eight of each size that are not merged yet
		noise   = 64 << 10
	)
	fakeclock.Test(t, func(t *testing.T) {
		r := &rig{t: t, dir: "data", files: fs.NewMem(1)}
		st, err := local.Open(local.Options{Dir: r.dir, FS: r.files, Mode: store.ModeOS, SegmentBytes: segment, FlushInterval: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if r.Broker, err = Open(st, Options{SaveEvery: 10 * time.Second}); err != nil {
			t.Fatal(err)
		}
		r.v, _ = r.VHost("/")
		r.s = r.v.NewSession(auth.Identity{Name: "guest"})
		defer func() { must(t, errors.Join(r.Close(), st.Close())) }()
		q := r.queue("q", QueueOptions{Durable: true})
		log := q.Partitions()[0].log
		fill(t, r, "q", 1)
		held := r.hold("q")
		sub := r.subscribe("q", SubscribeOptions{})
		var bytes int64
		heap := func() int64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		// The least of some hours: the files are in memory, too, and now and then a segment more of them.
		before, after := int64(math.MaxInt64), int64(math.MaxInt64)
		begun := 0 // segments
		for past := step; past <= 24*time.Hour; past += step {
			fill(t, r, "q", perStep)
			for _, d := range pull(t, sub, perStep, 1<<30) {
				must(t, d.Lease.Ack(d.Offset, d.Offset))
			}
			time.Sleep(step)
			f := log.Figures()
			switch {
			case past <= 2*time.Hour:
				bytes, begun = max(bytes, f.Bytes), f.Segments
				before = min(before, heap())
			case f.Bytes > 2*bytes:
				t.Fatalf("after %v the log has %d bytes, in the beginning %d", past, f.Bytes, bytes)
			case past > 22*time.Hour:
				after = min(after, heap())
			}
		}
		if more := after - before; more > noise {
			t.Errorf("the day took %d bytes of memory", more)
		}
		if n := log.Figures().Segments; begun > most || n > most {
			t.Errorf("%d segments in the beginning, %d at the end of the day", begun, n)
		}
		if n := q.Unacked(); n != 1 {
			t.Errorf("%d are held", n)
		}
		must(t, held.Lease.Ack(held.Offset, held.Offset))
		time.Sleep(time.Minute)
		if f := log.Figures(); f.Bytes > 2*segment {
			t.Errorf("%d bytes are left when it is acked", f.Bytes)
		}
	})
}
