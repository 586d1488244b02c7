package management

import (
	"strings"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
)

// logRows are the last lines that the broker wrote.
var logRows = []row{
	{path: "log", method: get, who: monitoring, paged: true, do: func(c *call) error { return c.lines(c.s.opts.Recent.Lines()) }, about: "The last lines of the broker's log, the newest first"},
	{path: "audit", method: get, who: administrator, paged: true, do: func(c *call) error { return c.lines(c.s.opts.Recent.Audit()) }, about: "The last acts of users and administrators, and what was refused, the newest first"},
}

// lines answers with lines; ?name= looks for a text in any part of them.
func (c *call) lines(list []audit.Line) error { return c.listOf(lineList(list)) }

// lineList is a listing of lines.
type lineList []audit.Line

func (l lineList) length() int { return len(l) }

func (l lineList) name(i int) string {
	var b strings.Builder
	b.WriteString(l[i].Message)
	for _, a := range l[i].Attrs {
		b.WriteString(" " + a.Name + "=" + a.Value)
	}
	return b.String()
}

func (l lineList) value(i int, path []string) any { return lookup(l.object(i, nil), path) }

func (l lineList) object(i int, _ *wanted) object {
	level := strings.ToLower(l[i].Level.String())
	if l[i].Level == audit.Level {
		level = "audit"
	}
	fields := object{}
	for _, a := range l[i].Attrs {
		fields = append(fields, pair{a.Name, a.Value})
	}
	return object{{"time", l[i].Time.UTC().Format(time.RFC3339Nano)}, {"timestamp", l[i].Time.UnixMilli()}, {"level", level}, {"message", l[i].Message}, {"fields", fields}}
}
