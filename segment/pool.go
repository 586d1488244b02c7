package segment

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/fs"
)

// ErrTooManyOpen says that a segment could not be made or mapped because too many
// are, or because the system's limit of open files or mappings is reached. Nothing
// was written; Pool.MakeRoom helps.
var ErrTooManyOpen = errors.New("too many open segments")

// spareSuffix ends the names of files between two lives.
const spareSuffix = ".free"

// PoolOptions says how much a Pool may hold.
type PoolOptions struct {
	FS fs.FS // required
	// Dir is the folder of files between two lives, on the file system of the
	// logs. The pool owns it and empties it at the start.
	Dir string
	// FreeBytes bounds the files kept for recycling; 0 keeps none.
	FreeBytes int64
	// MinBytes is the smallest file worth recycling; default 256 KiB. A smaller
	// one is unlinked in the background.
	MinBytes int64
	// MaxOpen bounds the segments with a mapping, a descriptor or an index in
	// memory; default 4096. Pinned and unsynced ones may exceed it.
	MaxOpen int
	// LimitOpen bounds the files that are open, those of unsynced, prepared and free
	// segments included: beyond it making or mapping one for an append fails with
	// ErrTooManyOpen. Reads may exceed it. 0 is no bound.
	LimitOpen int
	// Sweep is how often what was not used since the last time is closed;
	// default 5 s.
	Sweep time.Duration
	// Logger gets failures of background work; default slog.Default.
	Logger *slog.Logger
}

// Pool makes segments, recycles them and bounds what is open. It is shared by
// all logs of a store, and safe for concurrent use.
//
// Lock order: a log's append mutex, then a Segment's mu, then Pool.mu.
type Pool struct {
	o PoolOptions

	mu      sync.Mutex // guards the fields below
	wake    sync.Cond
	jobs    []func()
	free    []*block
	freed   int64 // bytes in free
	open    map[*Segment]struct{}
	serial  int
	closing bool // Close was called
	stopped bool // the goroutine is gone

	done chan struct{}
	tick *time.Ticker

	chunks atomic.Int64 // bytes of the chunks that segments keep
	files  atomic.Int64 // open descriptors

	// Reports for metrics.
	recycled, fresh int64
}

// NewPool empties o.Dir and starts the pool's goroutine, which ends with Close.
func NewPool(o PoolOptions) (*Pool, error) {
	if o.MinBytes <= 0 {
		o.MinBytes = 256 << 10
	}
	if o.MaxOpen <= 0 {
		o.MaxOpen = 4096
	}
	if o.Sweep <= 0 {
		o.Sweep = 5 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if err := o.FS.MkdirAll(o.Dir); err != nil {
		return nil, fmt.Errorf("segment pool: %w", err)
	}
	left, err := o.FS.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("segment pool: %w", err)
	}
	p := &Pool{o: o, open: make(map[*Segment]struct{}), done: make(chan struct{}), tick: time.NewTicker(o.Sweep)}
	p.wake.L = &p.mu
	// Unlinking large files would hold up the start: it runs behind, and our
	// own names begin where those of the former process end.
	for _, name := range left {
		if n, err := strconv.Atoi(strings.TrimSuffix(name, spareSuffix)); err == nil {
			p.serial = max(p.serial, n)
		}
		p.later(func() { p.note(p.o.FS.Remove(filepath.Join(o.Dir, name))) })
	}
	go p.run()
	go p.sweeps()
	return p, nil
}

// Close finishes the background work, removes the free files and stops. Every
// log that uses the pool is closed before.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		<-p.done
		return nil
	}
	p.closing = true
	p.wake.Broadcast()
	p.mu.Unlock()
	p.tick.Stop()
	<-p.done
	p.mu.Lock()
	free := p.free // a last sweep may be under way
	p.free = nil
	p.mu.Unlock()
	for _, b := range free {
		p.discard(b)
	}
	return nil
}

// Wait returns when the background work that was asked for before is done.
func (p *Pool) Wait() {
	done := make(chan struct{})
	p.later(func() { close(done) })
	<-done
}

// Later runs a piece of slow work on the pool's goroutine, in order.
func (p *Pool) Later(job func()) { p.later(job) }

func (p *Pool) later(job func()) {
	p.mu.Lock()
	if !p.stopped {
		p.jobs = append(p.jobs, job)
		p.wake.Signal()
		p.mu.Unlock()
		return
	}
	p.mu.Unlock()
	job() // a View outlived the pool: nobody else is left to clean up behind it
}

// run is the pool's goroutine. It ends when the pool is closing and no job is left.
func (p *Pool) run() {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer close(p.done)
	for {
		for len(p.jobs) == 0 {
			if p.closing {
				p.stopped = true
				return
			}
			p.wake.Wait()
		}
		jobs := p.jobs
		p.jobs = nil
		p.mu.Unlock()
		for _, job := range jobs {
			job()
		}
		p.mu.Lock()
	}
}

// note logs a failure of work that nobody waits for.
func (p *Pool) note(err error) {
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.o.Logger.Warn("segment pool", "err", err)
	}
}

// take returns a mapped file of exactly size bytes: a recycled one if one fits
// base, else a fresh one. A full disk is tried again without the free files.
func (p *Pool) take(size, base int64) (*block, error) {
	if b := p.reuse(size, base); b != nil {
		return b, nil
	}
	b, err := p.create(size)
	if (errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrTooManyOpen)) && p.Shed() {
		b, err = p.create(size)
	}
	if err != nil {
		return nil, fmt.Errorf("new segment of %d bytes: %w", size, err)
	}
	return b, nil
}

// reuse takes the free block that was put back last, whose pages are warmest.
func (p *Pool) reuse(size, base int64) *block {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.free) - 1; i >= 0; i-- {
		b := p.free[i]
		if b.size == size && b.highest <= base {
			p.free = append(p.free[:i], p.free[i+1:]...)
			p.freed -= b.size
			p.recycled++
			return b
		}
	}
	p.fresh++
	return nil
}

// create makes a file, allocated and mapped, under a name in the pool's folder.
func (p *Pool) create(size int64) (*block, error) {
	name := p.spareName()
	f, err := p.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	var m fs.Mapping
	if err = f.Allocate(size); err == nil {
		m, err = f.Map(size)
	}
	if err != nil {
		return nil, errors.Join(scarce(err), p.closeFile(f), p.o.FS.Remove(name))
	}
	return &block{name: name, size: size, file: f, mapping: m, index: new(index.Index)}, nil
}

// openFile opens a file that will be mapped for an append, within the limit.
func (p *Pool) openFile(name string, flag int) (fs.File, error) {
	if !p.Room() {
		return nil, fmt.Errorf("%w: %d", ErrTooManyOpen, p.o.LimitOpen)
	}
	f, err := p.o.FS.Open(name, flag)
	if err != nil {
		return nil, scarce(err)
	}
	p.files.Add(1)
	return f, nil
}

// closeFile closes a file that is counted.
func (p *Pool) closeFile(f fs.File) error {
	p.files.Add(-1)
	return f.Close()
}

// scarce marks the errors of opening and mapping that go away when segments are closed.
func scarce(err error) error {
	if fs.OutOfFiles(err) || errors.Is(err, syscall.ENOMEM) {
		return fmt.Errorf("%w: %w", ErrTooManyOpen, err)
	}
	return err
}

// MakeRoom closes what can be closed, and returns when that is done. The caller,
// who holds no lock of a log, has had what is unsynced synced before.
func (p *Pool) MakeRoom() {
	p.later(p.trim)
	p.Wait() // trimmed
	p.Wait() // and what that let go of is closed
	if !p.Room() {
		p.Shed()
	}
}

// Room reports whether one more segment may be opened for an append.
func (p *Pool) Room() bool { return p.o.LimitOpen <= 0 || p.files.Load() < int64(p.o.LimitOpen) }

// Crowded reports whether files should not be opened ahead of need.
func (p *Pool) Crowded() bool { return p.files.Load() >= int64(p.o.MaxOpen) }

func (p *Pool) spareName() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serial++
	return filepath.Join(p.o.Dir, strconv.Itoa(p.serial)+spareSuffix)
}

// keep puts a block into the free list, or discards it: the oldest ones go when
// there are too many. A block whose pages left memory is of no use, because the
// first store to each page would read the old one from disk.
func (p *Pool) keep(b *block) {
	if b.size < p.o.MinBytes || b.size > p.o.FreeBytes || !b.mapping.Resident(0, b.warm) {
		p.discard(b)
		return
	}
	var over []*block
	p.mu.Lock()
	p.free = append(p.free, b)
	p.freed += b.size
	for p.freed > p.o.FreeBytes {
		over = append(over, p.free[0])
		p.freed -= p.free[0].size
		p.free = p.free[1:]
	}
	p.mu.Unlock()
	for _, b := range over {
		p.discard(b)
	}
}

// wants says whether a file of this size would be kept for recycling now.
func (p *Pool) wants(size int64) bool { return size >= p.o.MinBytes && size <= p.o.FreeBytes }

func (p *Pool) discard(b *block) {
	p.note(b.mapping.Close())
	p.note(p.closeFile(b.file))
	p.note(p.o.FS.Remove(b.name))
}

// Shed gives all free files back to the disk and reports whether there were any.
func (p *Pool) Shed() bool {
	p.mu.Lock()
	free := p.free
	p.free, p.freed = nil, 0
	p.mu.Unlock()
	for _, b := range free {
		p.discard(b)
	}
	return len(free) > 0
}

// PoolStats is a snapshot for metrics.
type PoolStats struct {
	FreeBytes   int64 // in files kept for recycling
	FreeFiles   int
	Open        int // segments with a mapping, descriptor or index in memory
	Files       int // open files, free and prepared ones included
	Recycled    int64
	Fresh       int64
	PendingJobs int
}

// Stats returns what the pool holds and did.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return PoolStats{
		FreeBytes: p.freed, FreeFiles: len(p.free), Open: len(p.open), Files: int(p.files.Load()),
		Recycled: p.recycled, Fresh: p.fresh, PendingJobs: len(p.jobs),
	}
}
