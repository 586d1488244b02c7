package local

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/internal/fs"
)

// How far each log was written is noted after every append, and where it begins before
// what lies there goes, by a store into a mapped file: a kill leaves both right to the last
// append, so that what is missing of a log then is told to the message, and not only from
// the last checkpoint. After a power cut it means nothing, because the pages of the logs
// and these reached the disk in any order.
//
//	0          32        64                   65568
//	┌──────────┬─────────┬─────────┬───┬─────────┐
//	│ header   │ slot    │ slot    │ … │ slot    │    a slot: id u64 · start i64 · end i64 · zero
//	│ tag=boot │         │         │   │ 2,048th │    id 0: free; start -1: not known
//	└──────────┴─────────┴─────────┴───┴─────────┘
//
// There is a file for every 2,048 logs that were changed, named after the number of
// the first list of changes of its process. Those of the process before go when the
// first checkpoint of the next one stands.
const (
	endsSuffix    = ".ends"
	endsSlots     = 2048
	endsSlotBytes = 32
	endsFileBytes = headerBytes + endsSlots*endsSlotBytes
	// endsQuarantine is how many slots must be free before one is used again: an append
	// beside the deletion of its log may write to it for a microsecond more.
	endsQuarantine = 1024
)

// ends are the slots of one process.
type ends struct {
	c *checkpoints

	mu     sync.Mutex // guards the following
	prefix string     // of the files' names
	maps   []fs.Mapping
	next   int     // slots that were never used begin here
	free   []int64 // numbers of slots given back, oldest first
}

// endMark is where one log notes where it begins and how far it was written.
type endMark struct {
	start, end *int64 // in the mapping
	slot       int64
}

// deletedMark stands in a log that is deleted: it gets no slot any more.
var deletedMark = new(endMark)

// take gives a log a slot.
func (e *ends) take(id LogNumber, start, end int64) (*endMark, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	slot := int64(e.next)
	if len(e.free) > endsQuarantine {
		slot, e.free = e.free[0], e.free[1:]
	} else {
		if e.next == len(e.maps)*endsSlots {
			if err := e.grow(); err != nil {
				return nil, fmt.Errorf("note how far logs are written: %w", err)
			}
		}
		e.next++
	}
	at := headerBytes + slot%endsSlots*endsSlotBytes
	b := e.maps[slot/endsSlots].Bytes()[at : at+endsSlotBytes]
	m := &endMark{start: (*int64)(unsafe.Pointer(&b[8])), end: (*int64)(unsafe.Pointer(&b[16])), slot: slot}
	return m, guarded(func() {
		atomic.StoreInt64(m.start, start)
		atomic.StoreInt64(m.end, end)
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[0])), uint64(id))
	})
}

// grow makes another file. Needs mu.
func (e *ends) grow() error {
	name := fmt.Sprintf("%s/%s-%d%s", e.c.dir, e.prefix, len(e.maps), endsSuffix)
	f, err := e.c.s.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	var m fs.Mapping
	if err = f.Allocate(endsFileBytes); err == nil {
		_, err = f.WriteAt(header{Magic: magicEnds, Tag: e.c.s.boot, CreatedMs: e.c.s.now().UnixMilli()}.appendTo(nil), 0)
	}
	if err == nil {
		m, err = f.Map(endsFileBytes)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	e.maps = append(e.maps, m)
	return nil
}

// give takes a slot back from a log that is deleted.
func (e *ends) give(m *endMark) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m.slot/endsSlots >= int64(len(e.maps)) {
		return
	}
	at := headerBytes + m.slot%endsSlots*endsSlotBytes
	b := e.maps[m.slot/endsSlots].Bytes()[at:]
	if guarded(func() { atomic.StoreUint64((*uint64)(unsafe.Pointer(&b[0])), 0) }) == nil {
		e.free = append(e.free, m.slot)
	}
}

// close unmaps the files, and removes them after a clean end, when nobody needs them.
func (e *ends) close(clean bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for i, m := range e.maps {
		errs = append(errs, m.Close())
		if clean {
			errs = append(errs, e.c.s.fs.Remove(fmt.Sprintf("%s/%s-%d%s", e.c.dir, e.prefix, i, endsSuffix)))
		}
	}
	e.maps = nil
	return errors.Join(errs...)
}

// guarded touches a mapping and returns its fault.
func guarded(touch func()) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer fault.Catch(&err)
	touch()
	return nil
}

// noteEnd notes that the log was written up to an offset. It is called after every append.
func (l *Log) noteEnd(end int64) {
	m := l.end.Load()
	if m == nil || m == deletedMark {
		return
	}
	var err error
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if err != nil {
			l.end.CompareAndSwap(m, nil) // the log itself is well
		}
	}()
	defer fault.Catch(&err)
	for {
		had := atomic.LoadInt64(m.end)
		if had >= end || atomic.CompareAndSwapInt64(m.end, had, end) {
			return
		}
	}
}

// noteStart notes where the log begins from now on. It is called before what lies before goes.
func (l *Log) noteStart(start int64) {
	if !l.unsaved.Load() {
		l.touch()
	}
	if m := l.end.Load(); m != nil && m != deletedMark {
		if guarded(func() { atomic.StoreInt64(m.start, start) }) != nil {
			l.end.CompareAndSwap(m, nil)
		}
	}
}

// span is where a log began, -1 when that is not known, and how far it was written.
type span struct{ start, end int64 }

// decodeEnds reads such a file, and in which run of the machine it was written.
func decodeEnds(data []byte) (found map[LogNumber]span, boot uint64, err error) {
	h, err := decodeHeader(data, magicEnds)
	if err != nil {
		return nil, 0, fmt.Errorf("ends of logs: %w", err)
	}
	found = map[LogNumber]span{}
	for b := data[headerBytes:min(len(data), endsFileBytes)]; len(b) >= endsSlotBytes; b = b[endsSlotBytes:] {
		id, s := binary.LittleEndian.Uint64(b), span{int64(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))}
		if id != 0 && s.end > 0 && s.start <= s.end {
			found[LogNumber(id)] = s
		}
	}
	return found, h.Tag, nil
}

// takeEnds takes over how far the process before wrote its logs, if the machine ran on.
func (c *checkpoints) takeEnds(names []string, logs map[LogNumber]*rest) {
	for _, name := range names {
		if !strings.HasSuffix(name, endsSuffix) {
			continue
		}
		data, err := readFile(c.s.fs, c.dir+"/"+name)
		var found map[LogNumber]span
		var boot uint64
		if err == nil {
			found, boot, err = decodeEnds(data)
		}
		if err != nil {
			c.s.note(event{Kind: eventNotice, Name: name, Text: fmt.Sprintf("%s: %v", name, err)})
			continue
		}
		if boot != c.s.boot {
			continue
		}
		for id, s := range found {
			r := logs[id]
			if r == nil {
				r = &rest{First: -1, Last: -1, Uncertain: true}
				logs[id] = r
			}
			r.Flushed, r.End = max(r.Flushed, s.end), max(r.End, s.end)
			if s.start >= 0 {
				r.Start, r.startNoted = max(r.Start, s.start), true
			}
		}
	}
}

// removeEnds removes the files of earlier processes.
func (c *checkpoints) removeEnds(names []string) (err error) {
	for _, name := range names {
		if strings.HasSuffix(name, endsSuffix) && !strings.HasPrefix(name, c.ends.prefix+"-") {
			if e := c.s.fs.Remove(c.dir + "/" + name); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}
