package audit

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/slogtest"
)

func TestTheLastLinesAreKeptNewestFirst(t *testing.T) {
	l := &Recent{}
	out := &strings.Builder{}
	logger := slog.New(l.Handler(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelInfo})))
	for i := range maxLines + 20 {
		logger.With("n", i).WithGroup("g").Warn("line", "error", errors.New("why"))
	}
	logger.Debug("hidden")
	lines := l.Lines()
	if len(lines) != maxLines || fmt.Sprint(lines[0].Attrs) != fmt.Sprintf("[{n %d} {g.error why}]", maxLines+19) || lines[maxLines-1].Attrs[0].Value != "20" {
		t.Fatalf("%d lines, the first %v, the last %v", len(lines), lines[0], lines[len(lines)-1])
	}
	if n := strings.Count(out.String(), "\n"); n != maxLines+20 {
		t.Errorf("%d lines were written", n)
	}
}

func TestALineOfAuditIsNotPushedOutByOthers(t *testing.T) {
	l := &Recent{}
	logger := slog.New(l.Handler(slog.DiscardHandler))
	Acted(slog.New(l.Handler(slog.NewTextHandler(&strings.Builder{}, nil))), Process("test"), PutUser, "user 'x'", "", nil)
	for range 2 * maxLines {
		logger.Info("noise")
	}
	if list := l.Audit(); len(list) != 1 || list[0].Attrs[1].Value != "user 'x'" {
		t.Fatalf("%v", list)
	}
}

func TestWhatIsKeptIsBounded(t *testing.T) {
	l := &Recent{}
	logger := slog.New(l.Handler(slog.NewTextHandler(&strings.Builder{}, nil)))
	var args []any
	for i := range 100 {
		args = append(args, fmt.Sprint("k", i), strings.Repeat("é", 10_000))
	}
	logger.Info(strings.Repeat("x", 10_000), args...)
	line := l.Lines()[0]
	if len(line.Attrs) > maxAttrs || len(line.Message) > maxText+3 || len(line.Attrs[0].Value) > maxText+3 || !strings.HasSuffix(line.Attrs[0].Value, "é…") {
		t.Errorf("%d attributes, %d and %d bytes", len(line.Attrs), len(line.Message), len(line.Attrs[0].Value))
	}
}

func TestItIsAHandlerAsSlogWantsIt(t *testing.T) {
	l := &Recent{}
	err := slogtest.TestHandler(l.Handler(slog.NewTextHandler(&strings.Builder{}, nil)), func() (out []map[string]any) {
		lines := l.Lines()
		for i := len(lines) - 1; i >= 0; i-- {
			m := map[string]any{slog.LevelKey: lines[i].Level, slog.MessageKey: lines[i].Message}
			if !lines[i].Time.IsZero() {
				m[slog.TimeKey] = lines[i].Time
			}
			for _, a := range lines[i].Attrs {
				at, path := m, strings.Split(a.Name, ".")
				for _, p := range path[:len(path)-1] {
					if at[p] == nil {
						at[p] = map[string]any{}
					}
					at = at[p].(map[string]any)
				}
				at[path[len(path)-1]] = a.Value
			}
			out = append(out, m)
		}
		return out
	})
	if err != nil {
		t.Error(err)
	}
}
