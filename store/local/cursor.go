package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

const (
	cursorName      = "cursor"
	reserveMin      = 4096                   // offsets reserved ahead at least
	reserveMax      = 1 << 20                // and at most
	reserveAhead    = 250 * time.Millisecond // how long a reservation should last
	maxMappedCursor = 4096                   // cursors mapped at a time
)

// cursor is a log's work cursor on disk. Its page is mapped while it is in use;
// the store unmaps those that rest. All fields are guarded by mu.
//
// Lock order: Log.mu before cursor.mu before the store's cursor list. A flush of
// the file holds mu only when a hand-out has to wait for its reservation.
type cursor struct {
	mu       sync.Mutex
	page     fs.Mapping
	state    slot      // what the page says
	durable  int64     // up to here hand-outs are flushed ahead of time
	reserved time.Time // when the last reservation was made
	from     int64     // handed at that moment
	exists   bool      // the file is there
	fresh    bool      // its directory entry was not flushed yet
	dirty    bool      // changed since the last flush
	used     bool      // since the store last looked for resting ones
	ahead    bool      // a reservation is on its way
	wants    bool      // the last write found no space, or no descriptor
	closed   bool
}

// Progress notes how far the work cursor is; see store.Log.
func (l *Log) Progress(floor, handed message.Offset) error {
	if _, err := l.use(); err != nil && !scarce(err) {
		return err // the log is read-only or closed and says so itself
	}
	told, err := l.progress(floor, handed)
	if scarce(err) {
		l.store.makeRoom()
		told, err = l.progress(floor, handed)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrClosed):
		return err
	case scarce(err):
		if !told {
			l.store.note(event{Kind: eventNotice, Name: l.name(), Text: fmt.Sprintf(
				"log %d (%s): no descriptor for the cursor; nothing is delivered until there is: %v", l.id, l.name(), err)})
		}
		return fmt.Errorf("log %d (%s): %w: %w", l.id, l.name(), store.ErrBusy, err)
	case errors.Is(err, store.ErrFull) && told:
		return nil
	case errors.Is(err, store.ErrFull):
		// Consuming is what makes room again, so it must go on: the next call tries again.
		l.store.note(event{Kind: eventNotice, Name: l.name(), Text: fmt.Sprintf(
			"log %d (%s): no space for the cursor; until there is, a crash redelivers messages without their flag: %v", l.id, l.name(), err)})
		return nil
	}
	return l.fail(fmt.Errorf("write the cursor: %w", err))
}

// ProgressNow is Progress when it takes no more than a store into the mapped page; see
// store.Log.
func (l *Log) ProgressNow(floor, handed message.Offset) error {
	c := l.cursor.Load()
	if c == nil || !c.mu.TryLock() {
		return store.ErrNotYet
	}
	defer c.mu.Unlock()
	handed = max(floor, handed)
	switch {
	case c.page == nil:
		return store.ErrNotYet
	case c.state.Floor == int64(floor) && c.state.Handed == int64(handed):
		return nil
	case l.durable.Load() && int64(handed) > c.durable, !l.unsaved.Load() && !l.transient():
		return store.ErrNotYet
	}
	if err := c.progress(l, int64(floor), int64(handed)); err != nil {
		return l.fail(fmt.Errorf("write the cursor: %w", err))
	}
	c.wants = false
	return nil
}

// progress is Progress once; told says that the last time failed too, for want of
// space or of descriptors.
func (l *Log) progress(floor, handed message.Offset) (told bool, err error) {
	if _, err := l.use(); err != nil {
		return false, err
	}
	c := l.madeCursor()
	c.mu.Lock()
	defer c.mu.Unlock()
	err = storeError(c.progress(l, int64(floor), int64(max(floor, handed))))
	told = c.wants
	c.wants = errors.Is(err, store.ErrFull) || scarce(err)
	return told, err
}

// progress writes the state, after a reservation when that must come first.
func (c *cursor) progress(l *Log, floor, handed int64) error {
	if c.page == nil {
		if handed == 0 && !c.exists {
			return nil // nothing to remember
		}
		if err := c.open(l); err != nil {
			return err
		}
	}
	c.used = true
	if c.state.Floor == floor && c.state.Handed == handed {
		return nil
	}
	c.state.Floor, c.state.Handed = floor, handed
	if l.durable.Load() {
		if handed > c.durable {
			return c.reserve(l)
		}
		if !c.ahead && handed > c.durable-c.chunk()/2 {
			c.ahead = true
			l.store.work.Go(func() { l.reserveAhead() })
		}
	} else if c.state.Reserved != reservedAll {
		c.state.Reserved = reservedAll
		c.durable = 0
	}
	return c.write(l)
}

// write puts the state into the slot whose turn it is.
func (c *cursor) write(l *Log) (err error) {
	if !l.unsaved.Load() {
		l.touch()
	}
	c.state.Seq++
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer fault.Catch(&err)
	storeSlot(c.page.Bytes(), cursorSlotAt(c.state.Seq), &c.state)
	if !c.dirty {
		c.dirty = true
		l.store.syncer.dirty(l)
	}
	return nil
}

// chunk is how many offsets the last reservation was for.
func (c *cursor) chunk() int64 { return max(c.durable-c.from, 0) }

// nextReservation sets the reserved value to what is likely to be handed out in
// the next reserveAhead, at the speed since the last reservation.
func (c *cursor) nextReservation(l *Log) int64 {
	now := l.store.now()
	chunk := int64(reserveMin)
	if took := now.Sub(c.reserved); !c.reserved.IsZero() {
		rate := float64(c.state.Handed-c.from) / max(took.Seconds(), 0.001)
		chunk = min(max(int64(rate*reserveAhead.Seconds()), reserveMin), reserveMax)
	}
	c.reserved, c.from = now, c.state.Handed
	c.state.Reserved = c.state.Handed + chunk
	return c.state.Reserved
}

// reserve writes the state with a new reservation and flushes it. The slot that
// is written already has the new handed: until this returns nothing was given out.
func (c *cursor) reserve(l *Log) error {
	target := c.nextReservation(l)
	if err := c.write(l); err != nil {
		return err
	}
	fresh := c.fresh
	if err := l.flushCursorFile(fresh); err != nil {
		return err
	}
	c.durable, c.fresh = target, false
	return nil
}

// reserveAhead extends the reservation before it is used up, so that Progress
// seldom waits.
func (l *Log) reserveAhead() {
	c := l.madeCursor()
	c.mu.Lock()
	var target int64
	var err error
	fresh, ready := c.fresh, c.page != nil && !c.closed
	if ready {
		target = c.nextReservation(l)
		err = c.write(l)
	}
	c.mu.Unlock()
	if ready && err == nil {
		err = l.flushCursorFile(fresh)
	}
	c.mu.Lock()
	c.ahead = false
	if ready && err == nil {
		c.durable, c.fresh = max(c.durable, target), false
	}
	c.mu.Unlock()
	if err != nil {
		_ = l.fail(fmt.Errorf("flush the cursor: %w", err))
	}
}

// flushCursorFile makes the page durable, and its name if that is new.
func (l *Log) flushCursorFile(fresh bool) error {
	return l.store.syncer.timed(func() error {
		f, err := l.store.fs.Open(l.dir()+"/"+cursorName, os.O_RDWR)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
		if fresh {
			return l.syncDirs()
		}
		return nil
	})
}

// open maps the page, making the file if there is none. Needs mu, which it lets go of
// while it makes the directory of a log that has none.
func (c *cursor) open(l *Log) error {
	if c.closed {
		return store.ErrClosed
	}
	if !c.exists {
		// The log's mutex comes before ours, and who opens the log holds it and waits for
		// ours: we must not wait for it.
		c.mu.Unlock()
		err := l.makeDir()
		c.mu.Lock()
		switch {
		case err != nil:
			return err
		case c.closed:
			return store.ErrClosed
		case c.page != nil: // somebody else was faster
			return nil
		}
	}
	f, err := l.store.fs.Open(l.dir()+"/"+cursorName, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return err
	}
	page, err := c.mapPage(l, f)
	if err = errors.Join(err, f.Close()); err != nil {
		return storeError(err)
	}
	c.page, c.used = page, true
	l.store.cursorMapped(l)
	return nil
}

// mapPage makes sure that the page is allocated and begins with a header.
func (c *cursor) mapPage(l *Log, f fs.File) (fs.Mapping, error) {
	if !c.exists {
		if err := f.Allocate(cursorPageBytes); err != nil {
			return nil, err
		}
		page := encodeCursorPage(uint64(l.id), l.store.now().UnixMilli(), nil)
		if _, err := f.WriteAt(page, 0); err != nil {
			return nil, err
		}
		c.exists, c.fresh = true, true
	}
	return f.Map(cursorPageBytes)
}

// unmap lets go of the page; the next use maps it again. Needs mu.
func (c *cursor) unmap() error {
	if c.page == nil {
		return nil
	}
	page := c.page
	c.page = nil
	return page.Close()
}

// SaveCursor keeps the consumer's data; see store.Log.
func (l *Log) SaveCursor(_ context.Context, data []byte, open int64, next message.Offset) error {
	if len(data) > cursorMaxBlob {
		return fmt.Errorf("log %d: cursor data of %d bytes: %w", l.id, len(data), store.ErrTooLarge)
	}
	if _, err := l.use(); err != nil {
		return err
	}
	l.left.Store(&left{open: open, next: int64(next)})
	c := l.madeCursor()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(data) == 0 && c.state.BlobLen == 0 {
		return nil
	}
	if c.page == nil {
		if err := c.open(l); err != nil {
			return fmt.Errorf("log %d: save the cursor: %w", l.id, err)
		}
	}
	if err := c.save(l, data); err != nil {
		return fmt.Errorf("log %d: save the cursor: %w", l.id, storeError(err))
	}
	return nil
}

// save writes the blob where the last one is not, and then a slot that points at it.
func (c *cursor) save(l *Log, data []byte) error {
	at := uint64(cursorBlobAt)
	if old := c.state; old.BlobLen > 0 && uint64(len(data)) > old.BlobAt-cursorBlobAt {
		at = (old.BlobAt + old.BlobLen + 7) &^ 7
	}
	if len(data) == 0 {
		at = 0
	} else if err := c.writeBlob(l, data, int64(at)); err != nil {
		return err
	}
	before := c.state
	c.state.BlobAt, c.state.BlobLen, c.state.BlobHash = at, uint64(len(data)), 0
	if len(data) > 0 {
		c.state.BlobHash = blobHash(data)
	}
	if err := c.write(l); err != nil {
		c.state = before
		return err
	}
	return nil
}

// writeBlob writes into the file, which is unmapped while it grows: not every
// system lets a mapped file change its length.
func (c *cursor) writeBlob(l *Log, data []byte, at int64) error {
	f, err := l.store.fs.Open(l.dir()+"/"+cursorName, os.O_RDWR)
	if err != nil {
		return err
	}
	size, err := f.Size()
	grows := err == nil && at+int64(len(data)) > size
	if grows {
		err = c.unmap()
	}
	if err == nil {
		_, err = f.WriteAt(data, at)
	}
	err = errors.Join(err, f.Close())
	if grows && c.page == nil {
		err = errors.Join(err, c.open(l))
	}
	return err
}

// truncated notes where the log begins now.
func (c *cursor) truncated(l *Log, start int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if start <= c.state.Start {
		return nil
	}
	if c.page == nil {
		if err := c.open(l); err != nil {
			return err
		}
	}
	c.state.Start = start
	c.state.Floor = max(c.state.Floor, start)
	c.state.Handed = max(c.state.Handed, c.state.Floor)
	return c.write(l)
}

// LoadCursor returns the cursor as last known; see store.Log.
func (l *Log) LoadCursor(_ context.Context) (store.CursorState, error) {
	inner, err := l.use()
	if err != nil {
		return store.CursorState{}, err
	}
	start := int64(0)
	if inner != nil {
		start, _ = inner.Bounds()
	}
	c := l.madeCursor()
	c.mu.Lock()
	defer c.mu.Unlock()
	floor := max(c.state.Floor, start)
	state := store.CursorState{
		Floor:  message.Offset(floor),
		Handed: message.Offset(max(c.state.Handed, floor)),
	}
	if c.state.BlobLen > 0 {
		state.Data, err = c.readBlob(l)
	}
	return state, err
}

// readBlob reads and checks the data of the current state.
func (c *cursor) readBlob(l *Log) ([]byte, error) {
	f, err := l.store.fs.Open(l.dir()+"/"+cursorName, os.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("log %d: read the cursor: %w", l.id, err)
	}
	data := make([]byte, c.state.BlobLen)
	n, err := f.ReadAt(data, int64(c.state.BlobAt))
	closeErr := f.Close()
	if n < len(data) {
		return nil, fmt.Errorf("log %d: read the cursor: %w", l.id, errors.Join(err, closeErr))
	}
	if blobHash(data) != c.state.BlobHash {
		return nil, fmt.Errorf("log %d: cursor data: %w", l.id, ErrCorrupt)
	}
	return data, nil
}

// read reads the cursor file of a log that is being opened; nil when there is none.
func (c *cursor) read(l *Log) ([]byte, error) {
	data, err := readFile(l.store.fs, l.dir()+"/"+cursorName)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// recover takes the content of the cursor file. It runs before the log takes
// appends, so that what is put right here is put right before anything builds on it.
func (c *cursor) recover(l *Log, data []byte, start, end int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exists = len(data) > 0
	v, err := recoverCursor(data, uint64(l.id), l.store.boot, start, end)
	if err != nil {
		return fmt.Errorf("read the cursor: %w", err)
	}
	c.state = v.state
	if v.damage != "" {
		l.store.note(event{Kind: eventDamaged, Name: l.name(), Text: fmt.Sprintf("log %d (%s): %s", l.id, l.name(), v.damage)})
	}
	if v.rewrite {
		return c.rewrite(l, v.blob)
	}
	return nil
}

// rewrite writes the whole file anew and flushes it.
func (c *cursor) rewrite(l *Log, blob []byte) error {
	if err := c.unmap(); err != nil { // a new file takes the name
		return fmt.Errorf("rewrite the cursor: %w", err)
	}
	c.state.Seq++
	c.state.Reserved = max(c.state.Reserved, c.state.Handed)
	if len(blob) > 0 {
		c.state.BlobAt, c.state.BlobLen = cursorBlobAt, uint64(len(blob))
	}
	data := encodeCursorPage(uint64(l.id), l.store.now().UnixMilli(), &c.state)
	if err := writeFile(l.store.fs, l.dir(), cursorName, append(data, blob...), true); err != nil {
		return fmt.Errorf("rewrite the cursor: %w", storeError(err))
	}
	c.exists = true
	return nil
}

// flush is the background's: what Progress and SaveCursor left in the page cache.
func (c *cursor) flush(l *Log) error {
	c.mu.Lock()
	dirty, fresh := c.dirty, c.fresh
	c.dirty = false
	c.mu.Unlock()
	if !dirty {
		return nil
	}
	err := l.flushCursorFile(fresh)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.dirty = true
		return err
	}
	c.fresh = false
	return nil
}

// close notes that nothing beyond handed was given out, flushes and unmaps.
func (c *cursor) close(l *Log) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if !c.exists {
		return nil
	}
	err := c.saveEnd(l)
	return errors.Join(err, c.unmap())
}

// saveEnd writes and flushes the state of a clean end. Needs mu.
func (c *cursor) saveEnd(l *Log) error {
	if c.state.Reserved == c.state.Handed && !c.dirty {
		return nil
	}
	if c.page == nil {
		c.closed = false
		err := c.open(l)
		c.closed = true
		if err != nil {
			return err
		}
	}
	c.state.Reserved = c.state.Handed
	if err := c.write(l); err != nil {
		return err
	}
	return l.flushCursorFile(c.fresh)
}

// drop unmaps the page without a last write.
func (c *cursor) drop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.unmap()
}

// cursorMapped lists a log whose cursor was just mapped. When there are too many
// mapped ones, the oldest of them that is not in use at this moment is unmapped.
func (s *Store) cursorMapped(l *Log) {
	s.cursorMu.Lock()
	defer s.cursorMu.Unlock()
	s.mapped = append(s.mapped, l)
	for i := 0; len(s.mapped) > maxMappedCursor && i < len(s.mapped)-1; {
		c := s.mapped[i].madeCursor()
		if !c.mu.TryLock() {
			i++
			continue
		}
		s.closeCursorPage(s.mapped[i])
		c.mu.Unlock()
		s.mapped = append(s.mapped[:i], s.mapped[i+1:]...)
	}
}

// closeCursorPage unmaps a cursor whose mu the caller holds.
func (s *Store) closeCursorPage(l *Log) {
	if err := l.madeCursor().unmap(); err != nil {
		s.note(event{Kind: eventNotice, Name: l.name(), Text: fmt.Sprintf("log %d: unmap the cursor: %v", l.id, err)})
	}
}

// restCursors unmaps the cursors that were not used since the last call.
func (s *Store) restCursors() {
	s.cursorMu.Lock()
	all := s.mapped
	s.mapped = nil
	s.cursorMu.Unlock()
	kept := all[:0]
	for _, l := range all {
		c := l.madeCursor()
		c.mu.Lock()
		if !c.used || c.closed {
			s.closeCursorPage(l)
		}
		c.used = false
		if c.page != nil {
			kept = append(kept, l)
		}
		c.mu.Unlock()
	}
	s.cursorMu.Lock()
	s.mapped = append(s.mapped, kept...)
	s.cursorMu.Unlock()
}
