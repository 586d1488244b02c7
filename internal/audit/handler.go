package audit

import (
	"context"
	"errors"
	"io"
	"log/slog"
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
	return handler{make(out), make(file)}
}

// nameLevel prints Level by its name.
func nameLevel(groups []string, a slog.Attr) slog.Attr {
	if level, ok := a.Value.Any().(slog.Level); ok && level == Level && len(groups) == 0 && a.Key == slog.LevelKey {
		a.Value = slog.StringValue(LevelText)
	}
	return a
}

// handler writes lines of audit twice.
type handler struct{ all, audit slog.Handler }

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.all.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level != Level {
		return h.all.Handle(ctx, r)
	}
	return errors.Join(h.audit.Handle(ctx, r.Clone()), h.all.Handle(ctx, r))
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.all.WithAttrs(attrs), h.audit.WithAttrs(attrs)}
}

func (h handler) WithGroup(name string) slog.Handler {
	return handler{h.all.WithGroup(name), h.audit.WithGroup(name)}
}
