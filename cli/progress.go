package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progress shows on a terminal how far something is; elsewhere nothing is shown.
type progress struct {
	out   io.Writer
	what  string
	total int64 // 0: not known
	begun time.Time

	mu   sync.Mutex
	done int64 // guarded by mu
	note string
	last time.Time
	open bool
}

// newProgress begins; what is done is told in bytes, of total.
func newProgress(out io.Writer, what string, total int64) *progress {
	p := &progress{what: what, total: total, begun: time.Now()}
	if isTerminal(out) {
		p.out = out
	}
	return p
}

// bar is how wide one is.
const barWidth = 24

// add tells that so much more is done.
func (p *progress) add(n int64) {
	p.mu.Lock()
	p.done += n
	p.mu.Unlock()
	p.draw(false)
}

// set tells how far it is, of how much, and what more there is to say.
func (p *progress) set(done, total int64, note string) {
	p.mu.Lock()
	p.done, p.total, p.note = done, total, note
	p.mu.Unlock()
	p.draw(false)
}

func (p *progress) draw(end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.out == nil || !end && now.Sub(p.last) < 100*time.Millisecond || end && !p.open {
		return
	}
	p.last, p.open = now, true
	fmt.Fprintf(p.out, "\r\x1b[K%s", p.line(now))
	if end {
		fmt.Fprintln(p.out)
	}
}

// line is what is shown.
func (p *progress) line(now time.Time) string {
	took := now.Sub(p.begun)
	if p.total <= 0 {
		return strings.TrimSpace(fmt.Sprintf("%s %s %s", p.what, took.Round(time.Second), p.note))
	}
	share := min(1, float64(p.done)/float64(p.total))
	full := int(share * barWidth)
	text := fmt.Sprintf("%s [%s%s] %3.0f %%", p.what, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*share)
	if left := time.Duration(float64(took) * (1 - share) / max(share, 1e-9)); took > time.Second && share < 1 && left < 100*time.Hour {
		text += fmt.Sprintf(", %s left", left.Round(time.Second))
	}
	if p.note != "" {
		text += ", " + p.note
	}
	return text
}

// close ends the line.
func (p *progress) close() { p.draw(true) }

// reader counts what is read of another.
func (p *progress) reader(r io.Reader) io.Reader { return &countingReader{r, p} }

type countingReader struct {
	io.Reader
	p *progress
}

func (r *countingReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.p.add(int64(n))
	return n, err
}
