package local

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

const (
	checkpointDir     = "checkpoint"
	cleanSuffix       = ".clean"        // of one that nothing was written behind
	changedSuffix     = ".changed"      // of a list of logs that changed since
	checkpointShare   = 50              // writing them takes no more than this part of the time
	checkpointEvery   = 5 * time.Second // where only messages came and went
	keptCheckpoints   = 2
	checkpointMaxSize = 1 << 32
)

// checkpoints writes down what there is, now and then while something changes and at a
// clean stop, and what changes after that. Both files of a number n are begun together:
//
//	n.changed   the logs that changed since checkpoint n was begun; one entry for each
//	n           the checkpoint; n.clean when nothing was written behind it
//
// So what is true of a log stands in the newest checkpoint n, if no list from n on names
// it. The lists survive a kill. Only deletions in them are flushed, so that after a power
// cut a log may seem unchanged that changed within the last second or so; nothing but
// figures hangs on that, until the log is opened.
type checkpoints struct {
	s     *Store
	dir   string
	table map[string]tableMark // what the checkpoint says that this process found
	exact bool                 // and nothing was written behind it
	boot  uint64               // the run of the machine in which the process before wrote last; 0 is not known
	found checkpointFile
	ends  ends

	due     atomic.Bool // something changed since the last one
	refused atomic.Bool // something is missing that nobody has agreed to: write none

	mu        sync.Mutex // one at a time, and number; before listMu
	number    uint64
	written   time.Time
	took      time.Duration
	revisions uint64 // sum of the tables', at the last one

	listMu sync.Mutex // guards the following
	list   fs.File    // of the changes since number
	size   int64
	failed bool // a change could not be noted, which was told
}

// load finds the newest checkpoint that can be read, and what is known to have changed
// behind it. A directory without one is an older program's, or new.
func (c *checkpoints) load() (map[LogNumber]*rest, error) {
	names, err := c.s.fs.ReadDir(c.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	var found []checkpointFile
	for _, name := range names {
		if f, ok := parseCheckpointName(name); ok {
			found = append(found, f)
			c.number = max(c.number, f.number)
		}
	}
	slices.SortFunc(found, func(a, b checkpointFile) int { return int(int64(b.number) - int64(a.number)) })
	saved, err := c.newest(found)
	if err != nil {
		return nil, err
	}
	if saved.Logs == nil {
		saved.Logs = map[LogNumber]*rest{}
	}
	if !c.exact {
		c.takeEnds(names, saved.Logs)
	}
	c.takeChanges(saved, found)
	return saved.Logs, nil
}

// newest reads the newest checkpoint that can be read.
func (c *checkpoints) newest(found []checkpointFile) (checkpoint, error) {
	broken := false
	for _, f := range found {
		if f.changed {
			continue
		}
		saved, err := c.read(f.name)
		if errors.Is(err, ErrVersion) {
			return checkpoint{}, err
		}
		if err != nil {
			broken = true
			c.s.note(event{Kind: eventDamaged, Name: f.name, Text: fmt.Sprintf("checkpoint %s can't be read; the one before is used: %v", f.name, err)})
			continue
		}
		c.found, c.exact, c.boot = f, f.clean && !broken, saved.Boot
		c.table = make(map[string]tableMark, len(saved.Tables))
		for _, m := range saved.Tables {
			c.table[m.Name] = m
		}
		return saved, nil
	}
	return checkpoint{}, nil
}

// checkpointFile is one name in the directory.
type checkpointFile struct {
	name           string
	number         uint64
	clean, changed bool
}

func parseCheckpointName(name string) (f checkpointFile, ok bool) {
	f.name = name
	stem, clean := strings.CutSuffix(name, cleanSuffix)
	stem, changed := strings.CutSuffix(stem, changedSuffix)
	f.clean, f.changed = clean, changed
	n, err := strconv.ParseUint(stem, 16, 64)
	f.number = n
	return f, err == nil && len(stem) == 16 && !(clean && changed)
}

func (c *checkpoints) read(name string) (checkpoint, error) {
	if info, err := c.s.fs.Stat(c.dir + "/" + name); err != nil || info.SizeBytes > checkpointMaxSize {
		return checkpoint{}, errors.Join(err, ErrCorrupt)
	}
	data, err := readFile(c.s.fs, c.dir+"/"+name)
	if err != nil {
		return checkpoint{}, err
	}
	return decodeCheckpoint(data)
}

// takeChanges notes which of a checkpoint's figures do not hold any more, and in which
// run of the machine the last process wrote.
func (c *checkpoints) takeChanges(saved checkpoint, found []checkpointFile) {
	newest := true
	for _, f := range found {
		if !f.changed || f.number < saved.Number {
			continue
		}
		data, err := readFile(c.s.fs, c.dir+"/"+f.name)
		if err == nil {
			var all []change
			all, err = decodeChanges(data)
			for _, e := range all {
				if e.What == listBoot {
					if newest {
						c.boot, newest = uint64(e.ID), false
					}
					continue
				}
				if r := saved.Logs[e.ID]; r != nil {
					r.Uncertain = true
				}
				if e.What == logDeleted {
					delete(saved.Logs, e.ID)
				}
			}
		}
		if err != nil { // nobody knows which they were
			for _, r := range saved.Logs {
				r.Uncertain = true
			}
			c.s.note(event{Kind: eventNotice, Name: f.name, Text: fmt.Sprintf("%s: %v", f.name, err)})
		}
	}
}

// soil takes the mark of a clean end away, before anything is written.
func (c *checkpoints) soil() error {
	f := c.found
	if !f.clean {
		return nil
	}
	if err := c.s.fs.Rename(c.dir+"/"+f.name, c.dir+"/"+strings.TrimSuffix(f.name, cleanSuffix)); err != nil {
		return fmt.Errorf("begin behind the checkpoint: %w", err)
	}
	return c.s.fs.SyncDir(c.dir)
}

func checkpointName(number uint64) string { return fmt.Sprintf("%016x", number) }

// holds says whether all that the checkpoint says of a log is still so: nothing was written
// behind it, or the log is not among those that changed, and the machine ran on.
func (c *checkpoints) holds(r *rest) bool {
	return !r.Uncertain && (c.exact || c.boot == c.s.boot)
}

// touch notes that the log is not any more as the last checkpoint says, before it changes.
func (l *Log) touch() {
	if l.transient() || l.unsaved.Swap(true) {
		return
	}
	c := &l.store.checkpoints
	c.due.Store(true)
	err := c.changed(change{l.id, logChanged})
	if l.end.Load() == nil {
		start, end := int64(-1), int64(0)
		if inner := l.inner.Load(); inner != nil {
			start, end = inner.Bounds()
		}
		m, e := c.ends.take(l.id, start, end)
		if e == nil && !l.end.CompareAndSwap(nil, m) { // it has one, or was deleted meanwhile
			c.ends.give(m)
		}
		err = errors.Join(err, e)
	}
	c.tell(err)
}

// tell says once that changes can't be noted.
func (c *checkpoints) tell(err error) {
	if err == nil {
		return
	}
	c.listMu.Lock()
	told := c.failed
	c.failed = true
	c.listMu.Unlock()
	if !told {
		c.s.note(event{Kind: eventNotice, Name: c.dir,
			Text: fmt.Sprintf("can't note what changes; after a crash figures may be old until queues are used: %v", err)})
	}
}

// gone notes, before its files go, that a log is being deleted: nothing of it will be missed.
func (c *checkpoints) gone(id LogNumber) {
	c.due.Store(true)
	err := c.changed(change{id, logDeleted})
	c.listMu.Lock()
	if err == nil && c.list != nil {
		err = errors.Join(c.list.Sync(), c.s.fs.SyncDir(c.dir))
	}
	c.listMu.Unlock()
	c.tell(err)
}

// changed adds an entry to the list of changes. A list that lacks one is worse than none:
// what was dropped of that log would be missed. So it is made one that can't be read.
func (c *checkpoints) changed(e change) error {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	if c.list == nil {
		return store.ErrClosed
	}
	if _, err := c.list.WriteAt(e.appendTo(nil), c.size); err != nil {
		return errors.Join(err, c.list.Truncate(0))
	}
	c.size += changedBytes
	return nil
}

// begin begins the list of the next number, before which nothing is noted, and returns
// the number. Nobody who notes something waits for the disk.
func (c *checkpoints) begin() (uint64, error) {
	number := c.number + 1
	if err := c.s.fs.MkdirAll(c.dir); err != nil {
		return 0, err
	}
	name := c.dir + "/" + checkpointName(number) + changedSuffix
	f, err := c.s.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return 0, err
	}
	head := header{Magic: magicChanged, Tag: number, CreatedMs: c.s.now().UnixMilli()}.appendTo(nil)
	head = change{LogNumber(c.s.boot), listBoot}.appendTo(head)
	if _, err = f.WriteAt(head, 0); err != nil {
		return 0, errors.Join(err, f.Close(), c.s.fs.Remove(name)) // it would be one that can't be read
	}
	c.listMu.Lock()
	old := c.list
	c.number, c.list, c.size, c.failed = number, f, int64(len(head)), false
	c.listMu.Unlock()
	if old == nil {
		return number, c.s.fs.SyncDir(c.s.dir) // of a new directory the name
	}
	return number, old.Close()
}

// beginFirst begins the first list of a process and returns its name.
func (c *checkpoints) beginFirst() (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	number, err := c.begin()
	return checkpointName(number), err
}

// maybe writes a checkpoint if one is due and the last one was long enough ago.
func (c *checkpoints) maybe() {
	c.mu.Lock()
	first, since, took, revisions := c.written.IsZero(), time.Since(c.written), c.took, c.revisions
	c.mu.Unlock()
	defined := c.s.revisions() != revisions
	switch {
	case first:
	case since < checkpointShare*took, !defined && (!c.due.Load() || since < checkpointEvery):
		return
	}
	if err := c.write(false); err != nil {
		c.s.note(event{Kind: eventNotice, Name: c.dir, Text: fmt.Sprintf("write a checkpoint: %v", err)})
	}
}

// write writes a checkpoint. What it says of tables and logs was on disk before it is.
func (c *checkpoints) write(clean bool) error {
	if c.refused.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	begin := time.Now()
	number, err := c.begin()
	if err != nil {
		return err
	}
	c.due.Store(false)
	w := newCheckpoint(number, c.s.boot, c.s.now().UnixMilli())
	if c.revisions, err = c.addTables(w); err == nil {
		c.addLogs(w)
		err = c.s.fs.MkdirAll(c.dir)
	}
	if err == nil {
		name := checkpointName(number)
		if clean {
			name += cleanSuffix
		}
		err = writeFile(c.s.fs, c.dir, name, w.finish(), true)
	}
	c.written, c.took = time.Now(), time.Since(begin)
	if err != nil {
		c.due.Store(true)
		return err
	}
	return c.removeOld(number)
}

// addTables writes down every table after flushing it.
func (c *checkpoints) addTables(w *checkpointWriter) (revisions uint64, err error) {
	for _, t := range c.s.missedTables() {
		m := t.mark()
		if err := t.sync(); err != nil {
			return 0, err
		}
		revisions += m.Revision
		w.table(m)
	}
	return revisions, nil
}

// addLogs writes down every log that has segments: those that were used as they are, the
// others as they were.
func (c *checkpoints) addLogs(w *checkpointWriter) {
	logs, unclaimed := c.s.everyLog()
	for _, l := range logs {
		if r := l.restNow(); r != nil {
			w.log(l.id, r)
			if r.Flushed < r.End {
				c.due.Store(true)
			}
		}
	}
	for id, r := range unclaimed {
		w.log(id, r)
	}
}

// removeOld removes all but the last two checkpoints and the lists from the older one on,
// and what processes before this one noted of ends.
func (c *checkpoints) removeOld(newest uint64) error {
	names, err := c.s.fs.ReadDir(c.dir)
	if err != nil {
		return err
	}
	err = c.removeEnds(names)
	var numbers []uint64
	for _, name := range names {
		if f, ok := parseCheckpointName(name); ok && !f.changed && f.number <= newest {
			numbers = append(numbers, f.number)
		}
	}
	slices.Sort(numbers)
	if len(numbers) <= keptCheckpoints {
		return err
	}
	oldest := numbers[len(numbers)-keptCheckpoints]
	for _, name := range names {
		if f, ok := parseCheckpointName(name); ok && f.number < oldest {
			if e := c.s.fs.Remove(c.dir + "/" + name); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}
	return err
}

// close ends the list of changes.
func (c *checkpoints) close() error {
	c.listMu.Lock()
	defer c.listMu.Unlock()
	if c.list == nil {
		return nil
	}
	f := c.list
	c.list = nil
	return f.Close()
}
