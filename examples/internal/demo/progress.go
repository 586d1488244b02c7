package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// Progress shows bars in a terminal, and a line every few seconds elsewhere.
type Progress struct {
	bars *mpb.Progress // nil without a terminal
	out  io.Writer

	mu   sync.Mutex // guards list
	list []*Bar
	stop chan struct{}
	wait sync.WaitGroup
}

// Bar is one task's progress. A nil Bar shows nothing.
type Bar struct {
	name string
	now  atomic.Uint64
	all  atomic.Uint64 // 0: not known yet
	bar  *mpb.Bar
}

// NewProgress shows bars on out if that is a terminal, else lines.
func NewProgress(out *os.File) *Progress {
	p := &Progress{out: out, stop: make(chan struct{})}
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(64), mpb.WithRefreshRate(100*time.Millisecond))
		return p
	}
	p.wait.Go(p.lines)
	return p
}

// Bar adds a task; total is 0 while it is not known.
func (p *Progress) Bar(name string, total uint64) *Bar {
	b := &Bar{name: name}
	b.all.Store(total)
	if p.bars != nil {
		// A bar that knows no total yet must not complete by itself.
		b.bar = p.bars.AddBar(int64(total),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Any(counts, decor.WCSyncSpace), decor.Elapsed(decor.ET_STYLE_MMSS, decor.WCSyncSpace)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, b)
	return b
}

// counts writes how far a bar is, and of how many when that is known.
func counts(s decor.Statistics) string {
	if s.Total <= 0 {
		return Grouped(s.Current)
	}
	return Grouped(s.Current) + " / " + Grouped(s.Total)
}

// Terminal tells that there are bars.
func (p *Progress) Terminal() bool { return p.bars != nil }

// Note writes a line beside the bars.
func (p *Progress) Note(format string, args ...any) {
	out := p.out
	if p.bars != nil {
		out = p.bars // above them
	}
	fmt.Fprintf(out, "  "+format+"\n", args...)
}

// Set tells how far the task is.
func (b *Bar) Set(n uint64) {
	if b == nil {
		return
	}
	b.now.Store(n)
	if b.bar != nil {
		b.bar.SetCurrent(int64(n))
	}
}

// Total tells how much there is to do.
func (b *Bar) Total(n uint64) {
	if b == nil {
		return
	}
	b.all.Store(n)
	if b.bar != nil {
		b.bar.SetTotal(int64(n), false)
	}
}

// Finish completes the bar at n.
func (b *Bar) Finish(n uint64) {
	if b == nil {
		return
	}
	b.now.Store(n)
	b.all.Store(n)
	if b.bar != nil {
		b.bar.SetCurrent(int64(n))
		b.bar.SetTotal(int64(n), true)
	}
}

func (p *Progress) lines() {
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-p.stop:
			// What was begun to be told is told to its end.
			if line := p.line(); last != "" && line != last {
				fmt.Fprintln(p.out, line)
			}
			return
		case <-tick.C:
			last = p.line()
			fmt.Fprintln(p.out, last)
		}
	}
}

func (p *Progress) line() string {
	var parts []string
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.list {
		part := b.name + " " + Grouped(b.now.Load())
		if all := b.all.Load(); all > 0 {
			part += " of " + Grouped(all)
		}
		parts = append(parts, part)
	}
	return "  " + strings.Join(parts, "; ")
}

// End takes the bars down; those that did not finish stay as they are.
func (p *Progress) End() {
	close(p.stop)
	p.wait.Wait()
	if p.bars == nil {
		return
	}
	p.mu.Lock()
	for _, b := range p.list {
		b.bar.Abort(false)
	}
	p.mu.Unlock()
	p.bars.Wait()
}
