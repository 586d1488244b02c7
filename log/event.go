package log

import "fmt"

// EventKind says what an Event is about.
type EventKind uint8

// Kinds of events.
const (
	Scanned     EventKind = iota + 1 // a segment was read because no checkpoint covered it
	TornTail                         // bytes behind the last good batch were cut off; with records, a batch was
	Damaged                          // a range in the middle is skipped; its records are lost
	Missing                          // records between two segments are lost
	BadHeader                        // a segment's header is damaged, its batches are used
	BadIndex                         // an index file is of no use and is rebuilt
	SetAside                         // a file is not of this log and was renamed
	Emptied                          // a file has no batch; the next segment takes its place
	IndexFailed                      // an index file could not be written
	Failed                           // the log is read-only from here on
)

func (k EventKind) String() string {
	names := [...]string{"", "scanned", "torn tail cut", "damaged range isolated", "records missing", "damaged header",
		"index rebuilt", "file set aside", "segment without a batch", "index not written", "read-only"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// Event is one thing that recovery did, or that went wrong later.
type Event struct {
	Kind     EventKind
	Dir      string // the log
	Segment  string // the file, if it is about one
	Position int64  // where in the file
	Bytes    int64  // how much of it
	From, To int64  // offsets of the records that it is about: [From, To)
	Err      error
}

func (e Event) String() string {
	s := e.Kind.String()
	if e.Segment != "" {
		s += " " + e.Segment
	} else {
		s += " " + e.Dir
	}
	if e.Bytes > 0 {
		s += fmt.Sprintf(": %d bytes at position %d", e.Bytes, e.Position)
	}
	if e.To > e.From {
		s += fmt.Sprintf(", records %d to %d", e.From, e.To-1)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (l *Log) report(e Event) {
	if l.o.Report != nil {
		e.Dir = l.o.Dir
		l.o.Report(e)
	}
}
