package bench

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// progress tells how far a session is: a bar on a terminal, a line a row elsewhere.
type progress struct {
	w     io.Writer
	quiet bool
	pool  *mpb.Progress // nil without a terminal
	bar   *mpb.Bar
	name  atomic.Pointer[string]
}

func newProgress(w io.Writer, quiet bool, rows int) *progress {
	p := &progress{w: w, quiet: quiet}
	if quiet || !isTerminal(w) {
		return p
	}
	p.stageName("")
	p.pool = mpb.New(mpb.WithOutput(w), mpb.WithWidth(60))
	p.bar = p.pool.AddBar(int64(rows), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return fmt.Sprintf("%-32s", *p.name.Load()) })),
		mpb.AppendDecorators(decor.CountersNoUnit("%d / %d"), decor.Elapsed(decor.ET_STYLE_MMSS, decor.WC{W: 7})))
	return p
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

func (p *progress) stageName(s string) { p.name.Store(&s) }

// stage names what is going on now.
func (p *progress) stage(s string) {
	if p.bar != nil {
		p.stageName(s)
	}
}

// note prints a line.
func (p *progress) note(format string, args ...any) {
	if p.quiet {
		return
	}
	w := p.w
	if p.pool != nil {
		w = p.pool
	}
	fmt.Fprintf(w, format+"\n", args...)
}

// row reports a finished row.
func (p *progress) row(r Result) {
	switch {
	case !r.OK:
		p.note("%s: FAILED: %s", r.Row, r.Error)
	case r.Rate == 0:
		p.note("%-32s %10s ms  (%s)", r.Row, figure(r.P50), r.Latency)
	default:
		p.note("%-32s %10s msg/s  %8s µs/msg  p99 %s ms  (%s)", r.Row, count(r.Rate), figure(r.BrokerMicros), figure(r.P99), dash(r.Mode))
	}
	p.skip()
}

// skip counts a row as done.
func (p *progress) skip() {
	if p.bar != nil {
		p.bar.Increment()
	}
}

// end takes the bar away.
func (p *progress) end() {
	if p.pool == nil {
		return
	}
	if !p.bar.Completed() {
		p.bar.Abort(true)
	}
	p.pool.Wait()
}
