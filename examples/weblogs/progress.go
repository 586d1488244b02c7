package main

import (
	"context"
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

// Bar is one task's progress in lines. A nil Bar shows nothing.
type Bar struct {
	name string
	now  atomic.Uint64
	all  atomic.Uint64 // 0: not known yet
	bar  *mpb.Bar
}

func newProgress(out *os.File) *Progress {
	p := &Progress{out: out, stop: make(chan struct{})}
	if info, err := out.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		p.bars = mpb.New(mpb.WithOutput(out), mpb.WithWidth(64), mpb.WithRefreshRate(100*time.Millisecond))
		return p
	}
	p.wait.Go(p.lines)
	return p
}

func (p *Progress) bar(name string, total uint64) *Bar {
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
		return grouped(s.Current)
	}
	return grouped(s.Current) + " / " + grouped(s.Total)
}

func (b *Bar) set(n uint64) {
	if b == nil {
		return
	}
	b.now.Store(n)
	if b.bar != nil {
		b.bar.SetCurrent(int64(n))
	}
}

func (b *Bar) total(n uint64) {
	if b == nil {
		return
	}
	b.all.Store(n)
	if b.bar != nil {
		b.bar.SetTotal(int64(n), false)
	}
}

func (b *Bar) finish(n uint64) {
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
		part := b.name + " " + grouped(b.now.Load())
		if all := b.all.Load(); all > 0 {
			part += " of " + grouped(all)
		}
		parts = append(parts, part)
	}
	return "  " + strings.Join(parts, "; ")
}

// end takes the bars down; those that did not finish stay as they are.
func (p *Progress) end() {
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

// patience is how long a stage may go without being done before the program gives up.
const patience = 3 * time.Minute

// until looks every few milliseconds whether done is true.
func until(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}
