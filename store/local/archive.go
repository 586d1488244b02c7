package local

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/log"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/segment"
	"github.com/leveret-mq/leveret/store"
)

// An archive is a tape archive with the files of a data directory, in this order, each as it is on disk but for the segments:
//
//	format                             the layout
//	queues/<xx>/<id>/cursor …          of every log, before anything of which they tell is read
//	<table>/entries …                  the tables, the store's own last
//	queues/<xx>/<id>/meta, *.state     of one log,
//	queues/<xx>/<id>/<offset>.log      and its segments, made anew: a header and batches as they are stored;
//	queues/<xx>/<id>/<offset>.log+ …   each piece of up to about a megabyte an entry of its own, in order
//	complete.json                      how many entries and bytes went before it, and the SHA-256 of all of them
//
// # Why nothing is missing
//
// A message leaves a queue when a cursor says so, and where it went it was committed before: by the broker, for dead letters and redrives,
// or by a client that works it off and acks then. Cursors come first in the archive, so what they call done is, where it
// went, in a log that is read later, or its table's entry in a table that is. What is acked, or would go by age or size, while the
// archive is being written stays on disk until its end (holdBack), because the cursor that was written still needs it.
const (
	archiveEnd     = "complete.json"
	pieceSuffix    = "+"
	pieceBytes     = 1 << 20
	archiveVersion = 1
)

// archiveSum is the content of archiveEnd.
type archiveSum struct {
	Version int    `json:"version"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"` // of the entries, without the archive's own
	SHA256  string `json:"sha256"`
	Begun   string `json:"begun"` // RFC 3339
}

// archive is one that is being written.
type archive struct {
	s   *Store
	ctx context.Context
	tar *tar.Writer
	hash.Hash
	sum archiveSum
}

// Archive implements store.Archiver.
func (s *Store) Archive(ctx context.Context, w io.Writer, wanted func(store.LogID) bool) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if !s.archiving.TryLock() {
		return fmt.Errorf("an archive is being written: %w", store.ErrBusy)
	}
	defer s.archiving.Unlock()
	s.holdBack()
	defer s.letGo()
	a := &archive{s: s, ctx: ctx, tar: tar.NewWriter(w), Hash: sha256.New(), sum: archiveSum{Version: archiveVersion, Begun: s.now().UTC().Format(time.RFC3339)}}
	for _, step := range []func(func(store.LogID) bool) error{a.layout, a.cursors, a.tables, a.logs, a.complete} {
		if err := step(wanted); err != nil {
			return fmt.Errorf("archive: %w", err)
		}
	}
	return a.tar.Close()
}

// holdBack keeps on disk what is there. Of a Thin or Compact that is under way the end is awaited: what it asks is not known here.
func (s *Store) holdBack() {
	s.thinning.Lock()
	s.held.Store(true)
	s.thinning.Unlock()
}

// letGo ends that; the sweep takes what was held back.
func (s *Store) letGo() {
	s.held.Store(false)
	if !s.closed.Load() {
		s.work.Go(s.sweepOnce)
	}
}

// put writes one entry.
func (a *archive) put(name string, data []byte) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if a.s.closed.Load() {
		return store.ErrClosed
	}
	if err := a.tar.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(data)), Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	a.sum.Entries++
	a.sum.Bytes += int64(len(data))
	addEntry(a.Hash, name, data)
	_, err := a.tar.Write(data)
	return err
}

// addEntry adds an entry to the hash of all.
func addEntry(h hash.Hash, name string, data []byte) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(data)))
	_, _ = h.Write([]byte(name)) // a hash takes everything
	_, _ = h.Write(n[:])
	_, _ = h.Write(data)
}

func (a *archive) layout(func(store.LogID) bool) error {
	return a.put(layoutName, encodeLayout(layoutVersion))
}

// kept are the logs that are written, in the order of their ids.
func (a *archive) kept(wanted func(store.LogID) bool) []*Log {
	all := slices.DeleteFunc(a.s.allLogs(), func(l *Log) bool { return l.transient() || !wanted(l.ID()) })
	slices.SortFunc(all, func(x, y *Log) int {
		if x.id < y.id {
			return -1
		}
		return 1
	})
	return all
}

// path is the name of a log's file in the archive.
func (l *Log) path(name string) string {
	return strings.TrimPrefix(l.dir(), l.store.dir+"/") + "/" + name
}

func (a *archive) cursors(wanted func(store.LogID) bool) error {
	for _, l := range a.kept(wanted) {
		data, err := l.cursorFile()
		if err == nil && len(data) > 0 {
			err = a.put(l.path(cursorName), data)
		}
		if err != nil {
			return fmt.Errorf("cursor of log %d (%s): %w", l.id, l.name(), err)
		}
	}
	return nil
}

// cursorFile reads the cursor as it is at this moment; nothing when there is none.
func (l *Log) cursorFile() ([]byte, error) {
	if c := l.cursor.Load(); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
	}
	data, err := readFile(l.store.fs, l.dir()+"/"+cursorName)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

// tables writes the tables as they are at this moment, the store's own last: its ids must be above all that others name.
func (a *archive) tables(func(store.LogID) bool) error {
	a.s.mu.Lock()
	var all []*table
	for _, t := range a.s.tables {
		all = append(all, t)
	}
	a.s.mu.Unlock()
	slices.SortFunc(all, func(x, y *table) int {
		switch {
		case x.name == ownTableName:
			return 1
		case y.name == ownTableName:
			return -1
		}
		return strings.Compare(x.name, y.name)
	})
	for _, t := range all {
		data, err := t.content()
		if err == nil {
			err = a.put(t.name+"/"+tableName, data)
		}
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	return nil
}

// content is the table's file.
func (t *table) content() ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, store.ErrClosed
	}
	data := make([]byte, t.main.size)
	if n, err := t.main.file.ReadAt(data, 0); n < len(data) {
		return nil, fmt.Errorf("read %d of %d bytes: %w", n, len(data), err)
	}
	return data, nil
}

// logs writes what stands in the logs. One that is deleted meanwhile is left out from there on.
func (a *archive) logs(wanted func(store.LogID) bool) error {
	for _, l := range a.kept(wanted) {
		err := a.log(l)
		if err != nil && !l.isGone() {
			return fmt.Errorf("log %d (%s): %w", l.id, l.name(), err)
		}
		if a.ctx.Err() != nil {
			return a.ctx.Err()
		}
	}
	return nil
}

func (a *archive) log(l *Log) error {
	inner, err := l.useWithRoom()
	if err != nil || inner == nil { // nil: it is empty
		return err
	}
	names, err := a.s.fs.ReadDir(l.dir())
	if err != nil {
		return err
	}
	for _, name := range names {
		if name != metaName && !strings.HasSuffix(name, stateSuffix) {
			continue
		}
		data, err := readFile(a.s.fs, l.dir()+"/"+name)
		if err == nil {
			err = a.put(l.path(name), data)
		}
		if err != nil {
			return err
		}
	}
	return a.segments(l, inner)
}

// segments writes the log's batches, as segments that are about as long as its own.
func (a *archive) segments(l *Log, inner *log.Log) error {
	var file archivedSegment
	from, end := inner.Bounds()
	for from < end {
		v, err := l.Read(message.Offset(from), pieceBytes)
		if errors.Is(err, store.ErrOutOfRange) { // somebody has moved the start
			start, _ := inner.Bounds()
			if start <= from {
				return err
			}
			from = start
			continue
		}
		if err != nil {
			return err
		}
		if v.Len() == 0 {
			break // nothing more can be read
		}
		err = v.Use(func(data []byte) error {
			first, next, err := spanOf(data)
			if err != nil {
				return err
			}
			from = max(next, from+1)
			return file.add(a, l, data, first, next)
		})
		v.Done()
		if err != nil {
			return err
		}
	}
	return nil
}

// spanOf are the first offset of whole batches and the one behind the last. They are checked.
func spanOf(data []byte) (first, next int64, err error) {
	for rest := data; len(rest) > 0; {
		var b batch.Batch
		if b, rest, err = batch.Next(rest); err != nil {
			return 0, 0, err
		}
		if err := b.Check(); err != nil {
			return 0, 0, fmt.Errorf("batch %d: %w", b.BaseOffset(), err)
		}
		if next == 0 {
			first = b.BaseOffset()
		}
		next = b.LastOffset() + 1
	}
	return first, next, nil
}

// archivedSegment is the segment that is being written into an archive.
type archivedSegment struct {
	name string
	base int64
	next int64
	size int64
}

// add writes batches into it, or into another that begins with them: behind a gap, and where it would become too long.
func (f *archivedSegment) add(a *archive, l *Log, data []byte, first, next int64) error {
	if f.name != "" && first == f.next && f.size+int64(len(data)) <= l.segmentBytes() && next-f.base <= segment.MaxOffsets {
		f.next, f.size = next, f.size+int64(len(data))
		return a.put(f.name+pieceSuffix, data)
	}
	*f = archivedSegment{name: l.path(segment.FileName(first)), base: first, next: next, size: segment.HeaderBytes + int64(len(data))}
	var head [segment.HeaderBytes]byte
	segment.Header{Generation: randomGeneration(), BaseOffset: first, CreatedMs: a.s.now().UnixMilli(), AllocatedBytes: f.size}.Put(head[:])
	return a.put(f.name, slices.Concat(head[:], data))
}

// randomGeneration is the name of a segment's life; never 0.
func randomGeneration() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:]) | 1
}

func (a *archive) complete(func(store.LogID) bool) error {
	a.sum.SHA256 = hex.EncodeToString(a.Hash.Sum(nil))
	var text bytes.Buffer
	if err := json.NewEncoder(&text).Encode(&a.sum); err != nil {
		return err
	}
	if err := a.tar.WriteHeader(&tar.Header{Name: archiveEnd, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(text.Len()), Format: tar.FormatUSTAR}); err != nil {
		return err
	}
	_, err := a.tar.Write(text.Bytes())
	return err
}
