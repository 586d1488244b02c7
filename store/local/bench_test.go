package local

import (
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// batchOf is one record batch with n records of size bytes.
func batchOf(n, size int) []byte {
	var b message.Builder
	body := make([]byte, size)
	for range n {
		b.Add(&message.Publish{Body: body, TimestampMs: 1})
	}
	return b.Seal()
}

func benchStore(b *testing.B, o Options) (*Store, *Log) {
	o.Dir, o.Logger = b.TempDir(), quiet
	s, err := Open(o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s, benchLog(b, s)
}

func benchLog(b *testing.B, s *Store) *Log {
	l, err := s.OpenLog(newID(b, s), store.LogOptions{Name: "bench", Retention: store.Retention{Consumed: true}})
	if err != nil {
		b.Fatal(err)
	}
	return l.(*Log)
}

// BenchmarkAppendRelease is a work queue that keeps up: segments are recycled.
func BenchmarkAppendRelease(b *testing.B) {
	for _, c := range []struct{ n, size int }{{256, 12}, {64, 100}, {64, 1024}} {
		b.Run(fmt.Sprintf("%dx%dB", c.n, c.size), func(b *testing.B) {
			_, l := benchStore(b, Options{Mode: store.ModeOS, SegmentBytes: 4 << 20})
			data := batchOf(c.n, c.size)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				l.Release(mustAppend(b, l, data))
			}
		})
	}
}

// BenchmarkSyncPublisher is one publisher that waits for each confirm.
func BenchmarkSyncPublisher(b *testing.B) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup, store.ModeAlways} {
		b.Run(mode.String(), func(b *testing.B) {
			s, l := benchStore(b, Options{Mode: mode, SegmentBytes: 1 << 20})
			data := batchOf(1, 100)
			done := make(chan error, 1)
			logs := []store.Log{l}
			b.ReportAllocs()
			for b.Loop() {
				base := mustAppend(b, l, data)
				s.Commit(logs, func(err error) { done <- err })
				if err := <-done; err != nil {
					b.Fatal(err)
				}
				l.Release(base)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "confirms/s")
		})
	}
}

// BenchmarkProgress is the cursor's part of a turn of a delivery.
func BenchmarkProgress(b *testing.B) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup} {
		b.Run(mode.String(), func(b *testing.B) {
			_, l := benchStore(b, Options{Mode: mode})
			if _, err := l.Append(batchOf(1, 10)); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			at := message.Offset(0)
			for b.Loop() {
				at++
				l.Progress(at, at+1)
			}
		})
	}
}

// BenchmarkTablePut is one writer of group offsets.
func BenchmarkTablePut(b *testing.B) {
	for _, mode := range []store.Mode{store.ModeOS, store.ModeGroup} {
		b.Run(mode.String(), func(b *testing.B) {
			s, _ := benchStore(b, Options{Mode: mode})
			table, err := s.Table(ctx, "groups")
			if err != nil {
				b.Fatal(err)
			}
			value := make([]byte, 32)
			keys := make([]string, 1000)
			for i := range keys {
				keys[i] = fmt.Sprintf("group/topic/%d", i)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				if err := table.Put(ctx, store.Entry{Key: keys[i%len(keys)], Value: value}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenIdle is the start with many queues that are defined but unused.
func BenchmarkOpenIdle(b *testing.B) {
	s, _ := benchStore(b, Options{Mode: store.ModeOS})
	b.ReportAllocs()
	id := LogNumber(1000)
	for b.Loop() {
		id++
		l, err := s.OpenLog(id.ID(), store.LogOptions{Name: "idle"})
		if err != nil {
			b.Fatal(err)
		}
		bounds(b, l)
	}
}

// BenchmarkFirstAppend is the first message of a queue, which makes its files.
func BenchmarkFirstAppend(b *testing.B) {
	s, _ := benchStore(b, Options{Mode: store.ModeOS})
	data := batchOf(1, 12)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := benchLog(b, s).Append(data); err != nil {
			b.Fatal(err)
		}
	}
}
