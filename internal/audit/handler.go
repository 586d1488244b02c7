package audit

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
)

// NewHandler makes the handler of a process's log: lines of that format (text or
// json) and of the least level or above to out, and those of audit to file as well,
// unless that is nil.
func NewHandler(format string, least slog.Leveler, out, file io.Writer) slog.Handler {
	options := slog.HandlerOptions{Level: least, ReplaceAttr: nameLevel}
	make := func(to io.Writer) slog.Handler {
		if format == "json" {
			return slog.NewJSONHandler(to, &options)
		}
		return slog.NewTextHandler(to, &options)
	}
	if file == nil {
		return make(out)
	}
	return handler{make(out), make(file), new(atomic.Bool)}
}

// nameLevel prints Level by its name.
func nameLevel(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && level == Level && len(groups) == 0 && a.Key == slog.LevelKey {
		a.Value = slog.StringValue(LevelText)
	}
	return a
}

// handler writes lines of audit twice.
type handler struct {
	all, audit slog.Handler
	failing    *atomic.Bool // the file of audit, since it was said
}

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.all.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != Level {
		return h.all.Handle(ctx, r)
	}
	err := h.audit.Handle(ctx, r.Clone())
	if failing := err != nil; h.failing.Swap(failing) != failing && failing {
		lost := slog.NewRecord(r.Time, slog.LevelError, "lines of audit can't be written to their file; they stand here only until they can", 0)
		lost.AddAttrs(slog.Any("error", err))
		_ = h.all.Handle(ctx, lost)
	}
	return h.all.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.all.WithAttrs(attrs), h.audit.WithAttrs(attrs), h.failing}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.all.WithGroup(name), h.audit.WithGroup(name), h.failing}
}
