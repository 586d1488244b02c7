package measure

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxMicros is the largest latency told apart from larger ones: two minutes, above the
// time limit of any row.
const maxMicros = 120_000_000

// Latencies collects latencies in microseconds with three significant figures. It is
// owned by one goroutine; several are merged when their load has ended.
//
// Messages that were written together carry the same stamp and are mostly read together,
// so equal latencies in a row are counted up and recorded once.
type Latencies struct {
	hist  *hdrhistogram.Histogram
	value uint32
	run   int64
}

// NewLatencies makes an empty collection (some 200 KiB).
func NewLatencies() *Latencies {
	return &Latencies{hist: hdrhistogram.New(1, maxMicros, 3)}
}

// Add takes one message that was stamped at stamp and read at now, both in microseconds
// of the same epoch, which may have wrapped in between.
func (l *Latencies) Add(now, stamp uint32) {
	v := now - stamp
	if int32(v) < 0 { // stamped after the clock was read for this buffer
		v = 0
	}
	if v == l.value {
		l.run++
		return
	}
	l.flush()
	l.value, l.run = v, 1
}

// AddDuration takes one latency measured directly.
func (l *Latencies) AddDuration(d time.Duration) {
	l.flush()
	l.value, l.run = uint32(min(max(d/time.Microsecond, 0), maxMicros)), 1
}

func (l *Latencies) flush() {
	if l.run > 0 {
		// Out of range is impossible after the clamp, so there is no error to handle.
		_ = l.hist.RecordValues(int64(min(max(l.value, 1), maxMicros)), l.run)
		l.run = 0
	}
}

// Merge adds all of other.
func (l *Latencies) Merge(other *Latencies) {
	l.flush()
	other.flush()
	l.hist.Merge(other.hist)
}

// Reset forgets everything, such as a load's first part while it warms up.
func (l *Latencies) Reset() {
	l.run = 0
	l.hist.Reset()
}

// Count is how many latencies were taken.
func (l *Latencies) Count() int64 {
	l.flush()
	return l.hist.TotalCount()
}

// Quantile is the latency that a share q (0 to 1) of all messages did not exceed.
func (l *Latencies) Quantile(q float64) time.Duration {
	l.flush()
	return time.Duration(l.hist.ValueAtQuantile(q*100)) * time.Microsecond
}

// Max is the largest latency.
func (l *Latencies) Max() time.Duration {
	l.flush()
	return time.Duration(l.hist.Max()) * time.Microsecond
}
