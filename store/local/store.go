package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/internal/share"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// Names in the data directory.
const (
	lockName      = "leveret.lock"
	layoutName    = "format"
	queuesName    = "queues"
	transientName = "transient"
	spareName     = "spare"
	ownTableName  = "store"
)

// Store is a store.Store over one data directory.
type Store struct {
	o      Options
	dir    string
	fs     fs.FS // of all but the logs' segments: the reserve over o.FS
	logger *slog.Logger
	now    func() time.Time
	boot   uint64
	lock   io.Closer
	pool   *segment.Pool
	syncer *syncer
	ids    idSource
	kept   share.Values[store.LogOptions, *store.LogOptions] // options of logs that are kept alike

	reserve     *reserve
	checkpoints checkpoints

	appended  atomic.Uint64 // bytes
	scratches atomic.Uint64 // numbers them
	closed    atomic.Bool
	stop      chan struct{}  // ends the sweep
	work      sync.WaitGroup // the sweep and short errands

	mu     sync.Mutex // guards the maps
	logs   map[LogNumber]*Log
	onDisk map[LogNumber]*rest // directories found at start of logs not opened yet, with what is known of them
	lost   map[LogNumber]*rest // logs that were there, and whose directories are not
	tables map[string]*table

	dirMu sync.Mutex
	made  map[string]struct{} // directories of hashes that are there and flushed

	cursorMu sync.Mutex
	mapped   []*Log // logs whose cursor is mapped

	roomMu sync.Mutex    // one makeRoom at a time
	rooms  atomic.Uint64 // how often it ran

	archiving sync.Mutex   // one archive at a time
	thinning  sync.RWMutex // held for reading by those who thin or compact
	held      atomic.Bool  // nothing goes from disk: see holdBack

	eventMu sync.Mutex
	events  []event
}

var _ store.Store = (*Store)(nil)

// Open takes the directory and starts the store. The error of a directory that
// another process uses is fs.ErrLocked and names it; a directory of a newer
// version is refused with ErrVersion, one with a damaged format file with ErrCorrupt.
func Open(options Options) (*Store, error) {
	o, err := options.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Store{
		o: o, dir: o.Dir, fs: o.FS, logger: o.Logger, now: o.Now, boot: bootHash(o.BootID),
		stop: make(chan struct{}), logs: map[LogNumber]*Log{}, onDisk: map[LogNumber]*rest{}, lost: map[LogNumber]*rest{},
		tables: map[string]*table{}, made: map[string]struct{}{},
	}
	s.reserve = &reserve{FS: o.FS, name: o.Dir + "/" + layoutName}
	s.fs = s.reserve
	s.checkpoints.s, s.checkpoints.dir = s, s.dir+"/"+checkpointDir
	s.checkpoints.ends.c = &s.checkpoints
	if err := makeDirs(s.fs, s.dir); err != nil {
		return nil, fmt.Errorf("open store in %s: %w", s.dir, err)
	}
	if s.lock, err = s.fs.Lock(s.dir + "/" + lockName); err != nil {
		if errors.Is(err, fs.ErrLocked) {
			return nil, fmt.Errorf("open store in %s: another process uses this directory: %w", s.dir, err)
		}
		return nil, fmt.Errorf("open store in %s: %w", s.dir, err)
	}
	if err := s.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open store in %s: %w", s.dir, err), s.lock.Close())
	}
	return s, nil
}

// makeDirs makes a directory with what is missing above it, so that it survives
// a power cut.
func makeDirs(fsys fs.FS, dir string) error {
	var missing []string
	for at := filepath.Clean(dir); at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := fsys.Stat(at); err == nil {
			break
		}
		missing = append(missing, filepath.Dir(at))
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	for _, parent := range missing {
		if err := fsys.SyncDir(parent); err != nil {
			return err
		}
	}
	return nil
}

// start does all of Open that needs the lock.
func (s *Store) start() error {
	if err := s.checkLayout(); err != nil {
		return err
	}
	if err := s.fs.RemoveAll(s.dir + "/" + transientName); err != nil {
		return fmt.Errorf("wipe transient logs: %w", err)
	}
	if err := s.findLogs(); err != nil {
		return err
	}
	saved, err := s.checkpoints.load()
	if err != nil {
		return err
	}
	s.recall(saved)
	s.pool, err = segment.NewPool(segment.PoolOptions{
		FS: s.o.FS, Dir: s.dir + "/" + spareName, FreeBytes: s.o.RecycleBytes,
		MaxOpen: s.o.MaxOpenSegments, LimitOpen: s.o.LimitOpenFiles, Logger: s.logger,
	})
	if err != nil {
		return err
	}
	s.syncer = newSyncer(s.fs, s.dir, s.o.FlushInterval)
	if err = s.checkWhole(saved); err == nil {
		if err = s.checkpoints.soil(); err == nil {
			s.checkpoints.ends.prefix, err = s.checkpoints.beginFirst()
		}
	}
	if err == nil {
		s.ids.table, err = s.openTable(ownTableName)
	}
	if err == nil {
		err = s.ids.load(saved, s.onDisk, s.now())
	}
	if err != nil {
		for _, t := range s.tables {
			err = errors.Join(err, t.close())
		}
		err = errors.Join(err, s.checkpoints.close())
		s.syncer.close()
		return errors.Join(err, s.pool.Close())
	}
	s.reserve.fill()
	s.work.Go(s.sweep)
	return nil
}

// checkLayout reads the format file, or makes it in a new directory. A directory
// that has queues but no format file was not made by us.
func (s *Store) checkLayout() error {
	data, err := readFile(s.fs, s.dir+"/"+layoutName)
	if err == nil {
		_, err = decodeLayout(data)
		return err
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if _, err := s.fs.Stat(s.dir + "/" + queuesName); err == nil {
		return fmt.Errorf("there are queues but no %s file: %w", layoutName, ErrCorrupt)
	}
	if err := writeFile(s.fs, s.dir, layoutName, encodeLayout(layoutVersion), true); err != nil {
		return err
	}
	if err := s.fs.MkdirAll(s.dir + "/" + queuesName); err != nil {
		return err
	}
	return s.fs.SyncDir(s.dir)
}

// findLogs lists the directories of logs, so that a log without one is known to
// be empty without a look at the disk.
func (s *Store) findLogs() error {
	root := s.dir + "/" + queuesName
	groups, err := s.fs.ReadDir(root)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, group := range groups {
		if _, err := strconv.ParseUint(group, 16, 8); err != nil || len(group) != 2 {
			continue // a file manager's or a backup's, not ours
		}
		names, err := s.fs.ReadDir(root + "/" + group)
		if err != nil {
			return err
		}
		for _, name := range names {
			if id, err := strconv.ParseUint(name, 16, 64); err == nil && len(name) == 16 {
				s.onDisk[LogNumber(id)] = nil
			}
		}
		s.made[root+"/"+group] = struct{}{}
	}
	return nil
}

// hashDir is the directory that holds the log's directory, and root the one above.
func (s *Store) hashDir(id LogNumber, transient bool) (hash, root string) {
	root = s.dir + "/" + queuesName
	if transient {
		root = s.dir + "/" + transientName
	}
	var key [8]byte
	for i := range key {
		key[i] = byte(id >> (8 * i))
	}
	return fmt.Sprintf("%s/%02x", root, byte(xxhash.Sum64(key[:]))), root
}

// logDir is the directory of a log.
func (s *Store) logDir(id LogNumber, transient bool) string {
	hash, _ := s.hashDir(id, transient)
	return fmt.Sprintf("%s/%016x", hash, uint64(id))
}

// makeHashDir makes the directory above a log's. Its name is flushed once.
func (s *Store) makeHashDir(id LogNumber, transient bool) error {
	hash, root := s.hashDir(id, transient)
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if _, ok := s.made[hash]; ok {
		return nil
	}
	if err := s.fs.MkdirAll(hash); err != nil {
		return err
	}
	if !transient {
		if err := errors.Join(s.fs.SyncDir(root), s.fs.SyncDir(s.dir)); err != nil {
			return err
		}
	}
	s.made[hash] = struct{}{}
	return nil
}

// Caps are those of a store that is alone with its disk.
func (s *Store) Caps() store.Caps {
	return store.Caps{Exact: true, Transactions: true, MaxBatchBytes: s.o.MaxBatchBytes}
}

// Leases are all here.
func (s *Store) Leases() store.Leases { return store.Sole{} }

// NewLogs returns ids that were never used. A log's files come with its first message.
func (s *Store) NewLogs(_ context.Context, _ store.LogOptions, _ []store.LogID, n int) ([]store.LogID, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	ids := make([]store.LogID, n)
	for i := range ids {
		id, err := s.ids.next()
		if err != nil {
			return nil, err
		}
		ids[i] = id.ID()
	}
	return ids, nil
}

// OpenLog opens the log or makes it; nothing is read from disk yet.
func (s *Store) OpenLog(name store.LogID, o store.LogOptions) (store.Log, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	id, err := number(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	l := s.logs[id]
	if l == nil {
		defer s.mu.Unlock()
		if gone := s.lost[id]; gone != nil {
			return s.openLost(id, o, gone)
		}
		r, found := s.onDisk[id]
		delete(s.onDisk, id)
		l = newLog(s, id, o, found && !o.Transient, r)
		s.logs[id] = l
		return l, nil
	}
	s.mu.Unlock()
	return l, l.SetOptions(context.Background(), o)
}

// DeleteLog removes a log with everything in it; see store.Store.
func (s *Store) DeleteLog(ctx context.Context, name store.LogID) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	id, err := number(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	l := s.logs[id]
	_, found := s.onDisk[id]
	delete(s.logs, id)
	delete(s.onDisk, id)
	s.mu.Unlock()
	if found || l != nil && l.hasDir() {
		s.checkpoints.gone(id)
	}
	if l != nil {
		if m := l.end.Swap(deletedMark); m != nil && m != deletedMark {
			s.checkpoints.ends.give(m)
		}
	}
	switch {
	case l != nil:
		found = !l.transient() // those are wiped at the next start anyway
		err = l.remove(ctx)
	case found:
		if err = s.removeDir(s.logDir(id, false), newPace(ctx)); err != nil {
			err = fmt.Errorf("delete log %d: %w", id, err)
		}
	}
	if err != nil && found {
		s.mu.Lock()
		s.onDisk[id] = nil
		s.mu.Unlock()
	}
	return err
}

// removeDir removes a log's directory file by file.
func (s *Store) removeDir(dir string, p *pace) error {
	names, err := s.fs.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, name := range names {
		if err := p.next(); err != nil {
			return err
		}
		if err := s.fs.Remove(dir + "/" + name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return errors.Join(err, s.fs.RemoveAll(dir))
}

// Table opens a table or makes it. Names are lower-case letters, digits and '-'.
func (s *Store) Table(_ context.Context, name string) (store.Table, error) {
	if s.closed.Load() {
		return nil, store.ErrClosed
	}
	if !validTableName(name) {
		return nil, fmt.Errorf("open table %q: not a name for a table", name)
	}
	return s.openTable(name)
}

// validTableName keeps tables from the other names in the directory.
func validTableName(name string) bool {
	switch name {
	case "", queuesName, transientName, spareName, layoutName, ownTableName, checkpointDir:
		return false
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return len(name) <= 64
}

func (s *Store) openTable(name string) (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[name]; t != nil {
		return t, nil
	}
	t := &table{
		name: name, dir: s.dir + "/" + name, fs: s.fs, syncer: s.syncer,
		durable: s.o.Mode != store.ModeOS, note: s.note, now: s.now, check: s.checkTable,
	}
	if err := openTable(t); err != nil {
		return nil, err
	}
	if err := s.fs.SyncDir(s.dir); err != nil {
		return nil, errors.Join(fmt.Errorf("open table %s: %w", name, err), t.close())
	}
	s.tables[name] = t
	return t, nil
}

// Stats fills in the store's own figures.
func (s *Store) Stats() store.Stats {
	stats := store.Stats{Mode: s.o.Mode, AppendedBytes: s.appended.Load(), Recovered: s.recovered()}
	s.syncer.times.fill(&stats)
	return stats
}

// Err says why the store as a whole can't take writes: definitions can't be written.
func (s *Store) Err() error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		t.mu.Lock()
		err := t.err
		t.mu.Unlock()
		if err != nil {
			return fmt.Errorf("table %s: %w: %w", t.name, store.ErrReadOnly, err)
		}
	}
	return nil
}

// Close flushes, writes checkpoints, closes everything and gives the directory up.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	close(s.stop)
	s.work.Wait()
	s.syncer.close()
	s.mu.Lock()
	logs, tables := s.logs, s.tables
	s.mu.Unlock()
	errs := closeLogs(logs)
	errs = append(errs, s.checkpoints.write(errors.Join(errs...) == nil))
	errs = append(errs, s.checkpoints.ends.close(errors.Join(errs...) == nil), s.checkpoints.close())
	s.mu.Lock()
	s.logs, s.tables = map[LogNumber]*Log{}, map[string]*table{}
	s.mu.Unlock()
	for _, t := range tables {
		errs = append(errs, t.close())
	}
	errs = append(errs, s.pool.Close(), s.reserve.close(), s.lock.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close store in %s: %w", s.dir, err)
	}
	return nil
}

// closeLogs closes a few logs at a time: each flushes.
func closeLogs(logs map[LogNumber]*Log) []error {
	var mu sync.Mutex
	var errs []error
	var group sync.WaitGroup
	slots := make(chan struct{}, syncWorkers)
	for _, l := range logs {
		if !l.touched() {
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := l.close(); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return errs
}
