package audit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of what is kept.
const (
	maxLines = 500 // of each ring
	maxText  = 512 // bytes of a message and of each value
	maxAttrs = 16
)

// Line is one line. It is not changed any more.
type Line struct {
	Time    time.Time
	Level   slog.Level
	Message string
	Attrs   []Attr
}

// Attr is a name and a value of a line, as text.
type Attr struct{ Name, Value string }

// Recent keeps the last lines of a log in memory, for who looks at the broker from elsewhere. It stands before the handler that writes the
// lines. How much it keeps is bounded by number and by bytes; lines of audit have a ring of their own, so that a noisy log does not push
// them out. All methods may be called from any goroutine.
type Recent struct {
	mu    sync.Mutex // guards both
	lines ring
	audit ring
}

// ring is the last lines; next is where the next one goes once it is full.
type ring struct {
	lines []Line
	next  int
}

func (r *ring) add(l Line) {
	if len(r.lines) < maxLines {
		r.lines = append(r.lines, l)
		return
	}
	r.lines[r.next] = l
	r.next = (r.next + 1) % maxLines
}

// all are the lines, the newest first.
func (r *ring) all() []Line {
	out := slices.Concat(r.lines[r.next:], r.lines[:r.next])
	slices.Reverse(out)
	return out
}

// Lines are those of the log that are kept, without those of audit, the newest first.
func (l *Recent) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.all()
}

// Audit are the lines of audit that are kept, the newest first.
func (l *Recent) Audit() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.audit.all()
}

// Handler is next, with what passes through it kept.
func (l *Recent) Handler(next slog.Handler) slog.Handler { return &keeping{log: l, next: next} }

type keeping struct {
	log    *Recent
	next   slog.Handler
	attrs  []Attr // those that came with the logger
	prefix string // of its groups
}

// Enabled implements slog.Handler.
func (h *keeping) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *keeping) Handle(ctx context.Context, r slog.Record) error {
	line := Line{Time: r.Time, Level: r.Level, Message: short(r.Message), Attrs: slices.Clip(h.attrs)}
	r.Attrs(func(a slog.Attr) bool {
		line.Attrs = appendAttr(line.Attrs, h.prefix, a)
		return len(line.Attrs) < maxAttrs
	})
	h.log.mu.Lock()
	if r.Level == Level {
		h.log.audit.add(line)
	} else {
		h.log.lines.add(line)
	}
	h.log.mu.Unlock()
	return h.next.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *keeping) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.next, with.attrs = h.next.WithAttrs(attrs), slices.Clone(h.attrs)
	for _, a := range attrs {
		with.attrs = appendAttr(with.attrs, h.prefix, a)
	}
	return &with
}

// WithGroup implements slog.Handler.
func (h *keeping) WithGroup(name string) slog.Handler {
	with := *h
	if with.next = h.next.WithGroup(name); name != "" {
		with.prefix += name + "."
	}
	return &with
}

// appendAttr adds an attribute, and of a group what is in it.
func appendAttr(list []Attr, prefix string, a slog.Attr) []Attr {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range value.Group() {
			list = appendAttr(list, prefix, inner)
		}
		return list
	}
	if a.Key == "" || len(list) >= maxAttrs {
		return list
	}
	return append(list, Attr{short(prefix + a.Key), short(plain(value))})
}

func plain(v slog.Value) string {
	if v.Kind() == slog.KindTime {
		return v.Time().UTC().Format(time.RFC3339)
	}
	if err, ok := v.Any().(error); ok && v.Kind() == slog.KindAny {
		return err.Error()
	}
	return fmt.Sprint(v.Any())
}

// short is a text of bounded length that keeps nothing larger alive.
func short(s string) string {
	if len(s) > maxText {
		return strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return strings.Clone(s)
}
