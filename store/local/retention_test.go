package local

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// TestRetentionRule is the table above limitsOf.
func TestRetentionRule(t *testing.T) {
	now := time.UnixMilli(10_000_000)
	const floor, hour = 500, time.Hour
	hourAgo := now.Add(-hour).UnixMilli()
	for name, c := range map[string]struct {
		r    store.Retention
		want limits
	}{
		"queue":                    {store.Retention{Consumed: true}, limits{floor, math.MaxInt64, 0}},
		"queue, bytes":             {store.Retention{Consumed: true, Bytes: 9}, limits{floor, math.MaxInt64, 9}},
		"queue, history":           {store.Retention{Consumed: true, Age: hour}, limits{floor, hourAgo, 0}},
		"queue, bounded history":   {store.Retention{Consumed: true, Age: hour, Bytes: 9}, limits{floor, hourAgo, 9}},
		"topic for ever":           {store.Retention{}, limits{math.MaxInt64, math.MinInt64, 0}},
		"topic by age":             {store.Retention{Age: hour}, limits{math.MaxInt64, hourAgo, 0}},
		"topic by bytes":           {store.Retention{Bytes: 9}, limits{math.MaxInt64, math.MinInt64, 9}},
		"topic by both":            {store.Retention{Age: hour, Bytes: 9}, limits{math.MaxInt64, hourAgo, 9}},
		"nonsense counts as unset": {store.Retention{Age: -1, Bytes: -1}, limits{math.MaxInt64, math.MinInt64, 0}},
	} {
		if got := limitsOf(c.r, floor, now); got != c.want {
			t.Errorf("%s: %+v and should be %+v", name, got, c.want)
		}
	}
	if !limitsOf(store.Retention{}, 0, now).none() || !limitsOf(store.Retention{Consumed: true}, 0, now).none() {
		t.Error("a topic for ever and a queue with nothing acked let something go")
	}
}

// at is a batch of about 4 KB written at that time.
func at(when time.Time) []byte {
	var b message.Builder
	for range 4 {
		b.Add(&message.Publish{Body: make([]byte, 1000), TimestampMs: when.UnixMilli()})
	}
	return b.Seal()
}

// TestRetentionSweep runs a day of messages under each rule, on a fake clock: one
// batch a minute, 16 a segment, acked after ten minutes.
func TestRetentionSweep(t *testing.T) {
	const day = 24 * 60
	for name, c := range map[string]struct {
		r           store.Retention
		least, most int64 // records kept: at least these many, and not many more
	}{
		"queue":          {store.Retention{Consumed: true}, 4 * 10, 4 * (10 + 32)},
		"queue, history": {store.Retention{Consumed: true, Age: 2 * time.Hour}, 4 * 120, 4 * (120 + 32)},
		"topic for ever": {store.Retention{}, 4 * day, 4 * day},
		"topic by age":   {store.Retention{Age: 3 * time.Hour}, 4 * 180, 4 * (180 + 32)},
		"topic by bytes": {store.Retention{Bytes: 400 << 10}, 4 * 60, 4 * (100 + 32)},
		"topic by both":  {store.Retention{Age: 3 * time.Hour, Bytes: 1 << 30}, 4 * 180, 4 * (180 + 32)},
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				s := openStore(t, Options{Dir: "/data", FS: fs.NewMem(1), BootID: "b", Mode: store.ModeOS, SweepInterval: time.Minute})
				l := newTestLog(t, s, store.LogOptions{Name: "q", SegmentBytes: 64 << 10, Retention: c.r})
				var bases []message.Offset
				for range day {
					bases = append(bases, mustAppend(t, l, at(time.Now())))
					if n := len(bases); n > 10 {
						l.Release(bases[n-10])
					}
					time.Sleep(time.Minute)
				}
				synctest.Wait()
				start, end := bounds(t, l)
				if n := count(t, l, start, end); n < c.least || n > c.most {
					t.Errorf("%d records are kept, should be %d to %d", n, c.least, c.most)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestSweepOpensWhatAgeMakesDue holds that a topic that nobody used since the
// start loses its old segments too.
func TestSweepOpensWhatAgeMakesDue(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		mem := fs.NewMem(1)
		o := Options{Dir: "/data", FS: mem, BootID: "b", SweepInterval: time.Minute}
		lo := store.LogOptions{Name: "t", SegmentBytes: 64 << 10, Retention: store.Retention{Age: time.Hour}}
		s := openStore(t, o)
		l := newTestLog(t, s, lo)
		for range 100 {
			mustAppend(t, l, at(time.Now()))
		}
		before := l.Figures().Bytes
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Hour)
		s = openStore(t, o)
		l = openTestLog(t, s, l.ID(), lo)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if after := l.Figures().Bytes; after > before/2 {
			t.Errorf("%d bytes of %d are left", after, before)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// TestHistoryOfAQueueCanBeReplayed holds that with an age what was acked stays readable.
func TestHistoryOfAQueueCanBeReplayed(t *testing.T) {
	s := openStore(t, Options{Dir: t.TempDir(), Mode: store.ModeOS})
	l := newTestLog(t, s, store.LogOptions{Name: "q", SegmentBytes: 64 << 10,
		Retention: store.Retention{Consumed: true, Age: time.Hour}})
	first := mustAppend(t, l, at(time.Now()))
	for range 100 {
		mustAppend(t, l, at(time.Now()))
	}
	_, end := bounds(t, l)
	l.Progress(end, end)
	l.Release(end)
	s.sweepOnce()
	if start, _ := bounds(t, l); start != first {
		t.Fatalf("start moved to %d", start)
	}
}
