package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Run is everything a run found out.
type Run struct {
	To       []Recipient
	Start    *Start
	Rate     float64
	Senders  int
	First    *Planned // the planner that was cut off
	Planned  *Planned
	DryRun   Redriven
	Redriven int
	Took     time.Duration
	Sink     *Sink
	Ledger   *Ledger
}

// Faults lists what is not as it must be.
// The mail server must be closed.
func (r *Run) Faults() []string {
	var out []string
	fault := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	o := r.Ledger.outcome()
	if o.All() != len(r.To) {
		fault("sent + expired + dead is %s, want %s", demo.Grouped(o.All()), demo.Grouped(len(r.To)))
	}
	known := map[string]*Recipient{}
	for i := range r.To {
		known[r.To[i].Address] = &r.To[i]
	}
	for to, n := range r.Sink.Accepted {
		if n != 1 || r.Ledger.Sent[to] == nil || known[to] == nil {
			fault("%s got %d mails; the log says sent: %v", to, n, r.Ledger.Sent[to] != nil)
		}
	}
	if len(r.Sink.Accepted) != o.Sent {
		fault("mail servers took %s mails, the log says %s", demo.Grouped(len(r.Sink.Accepted)), demo.Grouped(o.Sent))
	}
	// Who has been let through may be a moment behind: one mail a sender.
	if most := r.Sink.busiest(); float64(most) > r.Rate+float64(r.Senders)+1 {
		fault("%s mails were tried within a second, the limit is %.0f", demo.Grouped(most), r.Rate)
	}
	for _, bad := range r.Sink.Bad {
		fault("a mail is wrong: %s", bad)
	}
	if r.Ledger.Twice > 0 {
		fault("%d mails are on the record twice", r.Ledger.Twice)
	}
	for to, reason := range r.Ledger.Died {
		switch who := known[to]; {
		case who == nil:
			fault("a dead letter to %s, whom nobody wrote", to)
		case reason == reasonExpired && who.Segment != segmentFlash:
			fault("the mail to %s expired, which had no end", to)
		case reason == reasonRejected && !strings.HasSuffix(to, "@"+domainGone), reason == reasonTooOften && !strings.HasSuffix(to, "@"+domainDown):
			fault("the mail to %s died: %s", to, reason)
		}
	}
	for to, sent := range r.Ledger.Sent {
		if due := r.due(sent.Segment); sent.At.Before(due) {
			fault("%s got its mail %s too early", to, due.Sub(sent.At))
		}
	}
	if tooOften := r.Ledger.Deaths[reasonTooOften]; r.Redriven != tooOften || r.DryRun.Matched != tooOften {
		fault("%s mails were redriven and %s announced, %s had been given up", demo.Grouped(r.Redriven), demo.Grouped(r.DryRun.Matched), demo.Grouped(tooOften))
	}
	return out
}

// due is when a segment's mails may leave, in the milliseconds of the broker's delays.
func (r *Run) due(segment string) time.Time {
	at := r.Start.At
	switch segment {
	case segmentFlash:
		at = at.Add(r.Start.Schedule.Flash)
	case segmentLater:
		at = at.Add(r.Start.Schedule.Later)
	}
	return at.Truncate(time.Millisecond).Add(-time.Millisecond)
}

func (r *Run) write(w io.Writer) {
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	o, l := r.Ledger.outcome(), r.Ledger
	p("")
	p("THE PLAN")
	p("  one template became %s mails; the first planner was cut off after %s of them, the second began anew (redelivered: %v):",
		demo.Grouped(r.Planned.Published), demo.Grouped(r.First.Published), r.Planned.Redelivered)
	p("  what it published a second time went nowhere")
	p("")
	p("THE MAILS  (read by a Kafka group from the logs of what was sent and of what died)")
	p("  %-10s %7s   %s", "sent", demo.Grouped(o.Sent), "at attempt "+attempts(l.Attempts))
	p("  %-10s %7s   the offer was over before it was their turn", "expired", demo.Grouped(o.Expired))
	p("  %-10s %7s   their mail server said never (550)", "dead", demo.Grouped(o.Dead))
	p("  %-10s %7s   of %s", "together", demo.Grouped(o.All()), demo.Grouped(len(r.To)))
	p("")
	p("  redriven   %7s   given up after %d attempts while their mail server was down; it was repaired, and %s of them were sent", demo.Grouped(r.Redriven), returns+1, demo.Grouped(o.Revived))
	p("                       (a dry run had found %s among %s dead letters)", demo.Grouped(r.DryRun.Matched), demo.Grouped(r.DryRun.LookedAt))
	for _, s := range []string{segmentNow, segmentFlash, segmentLater} {
		n, first, last := r.times(s)
		if n == 0 {
			p("  %-10s       0   sent; due after %.1f s", s, r.due(s).Sub(r.Start.At).Seconds())
			continue
		}
		p("  %-10s %7s   sent; due after %.1f s, the first after %.2f s, the last after %.2f s", s, demo.Grouped(n),
			max(0, r.due(s).Add(time.Millisecond).Sub(r.Start.At).Seconds()), first.Sub(r.Start.At).Seconds(), last.Sub(r.Start.At).Seconds())
	}
	var refused []string
	for _, code := range slices.Sorted(maps.Keys(r.Sink.Refused)) {
		refused = append(refused, fmt.Sprintf("%d: %s", code, demo.Grouped(r.Sink.Refused[code])))
	}
	p("")
	p("THE MAIL SERVER")
	p("  took %s mails and refused %s; busiest second %s attempts (limit %.0f)", demo.Grouped(len(r.Sink.Accepted)), strings.Join(refused, ", "), demo.Grouped(r.Sink.busiest()), r.Rate)
	p("  all of it in %.1f s", r.Took.Seconds())
	p("")
	faults := r.Faults()
	for i, f := range faults {
		if i == 20 {
			p("  … and %d more", len(faults)-i)
			break
		}
		p("  WRONG: %s", f)
	}
	if len(faults) == 0 {
		p("Nobody got two mails and nobody was forgotten: %s sent + %s expired + %s dead = %s.", demo.Grouped(o.Sent), demo.Grouped(o.Expired), demo.Grouped(o.Dead), demo.Grouped(len(r.To)))
	}
}

// times is when the mails of a segment were sent.
func (r *Run) times(segment string) (n int, first, last time.Time) {
	for _, s := range r.Ledger.Sent {
		if s.Segment != segment {
			continue
		}
		if n++; n == 1 || s.At.Before(first) {
			first = s.At
		}
		if s.At.After(last) {
			last = s.At
		}
	}
	return n, first, last
}

func attempts(by map[int]int) string {
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%d: %s", n, demo.Grouped(by[n])))
	}
	return strings.Join(parts, "  ")
}
