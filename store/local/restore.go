package local

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// Restored is what a restore has made.
type Restored struct {
	Entries  int64
	Bytes    int64
	Logs     int
	Segments int
	Records  int64  // in the logs, those included that were acked already
	Begun    string // when the archive was begun, RFC 3339
}

// Names of an archive's entries, and bounds of what one may hold.
var (
	archivedFile  = regexp.MustCompile(`^queues/([0-9a-f]{2})/([0-9a-f]{16})/(meta|cursor|[a-z0-9-]{1,64}\.state|[0-9]{20}\.log\+?)$`)
	archivedTable = regexp.MustCompile(`^([a-z0-9-]{1,64})/entries$`)
)

const maxEntryBytes = 2 << 30

// Restore makes a data directory of an archive. The directory must not be there, or be empty; it comes into being under its name when everything in the
// archive was checked and is on disk, so a restore that fails or is killed leaves only DIR.restoring, which the next one
// replaces. Errors say which entry is wrong. A link is followed: the directory that it names is made.
func Restore(r io.Reader, dir string) (out Restored, err error) {
	files := fs.Real()
	if named, err := filepath.EvalSymlinks(dir); err == nil { // or the link would be replaced, and the other disk stay empty
		dir = named
	}
	if names, err := files.ReadDir(dir); err == nil && len(names) > 0 {
		return out, fmt.Errorf("%s is not empty: restore into a directory of its own", dir)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return out, err
	}
	dir = filepath.Clean(dir)
	temp := dir + ".restoring"
	if err := errors.Join(files.RemoveAll(temp), makeDirs(files, temp)); err != nil {
		return out, fmt.Errorf("it is made beside %s first, which fails; restore into a new directory below one that may be written: %w", dir, err)
	}
	x := &restoring{fs: files, dir: temp, seen: map[string]bool{}}
	if err := x.all(tar.NewReader(r)); err != nil {
		return x.out, errors.Join(err, x.close(), files.RemoveAll(temp))
	}
	if err := x.settle(dir); err != nil {
		return x.out, err
	}
	return x.out, nil
}

// restoring is a restore under way.
type restoring struct {
	fs   fs.FS
	dir  string
	out  Restored
	seen map[string]bool // names of entries, without the further pieces
	dirs []string        // made, to be flushed
	last string          // the log to which the last entry belonged

	file fs.File // the segment to which pieces are added; nil: none
	name string
	size int64
	next int64 // the offset that follows
}

func (x *restoring) all(t *tar.Reader) error {
	sum := sha256.New()
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return errors.New("the archive has no end: it was cut off, or its writer did not come to an end")
		}
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxEntryBytes {
			return fmt.Errorf("entry %q is not one of a backup's", h.Name)
		}
		data, err := readEntry(t, h.Size)
		if err != nil {
			return fmt.Errorf("entry %s: %w", h.Name, err)
		}
		if h.Name == archiveEnd {
			return x.end(data, hex.EncodeToString(sum.Sum(nil)))
		}
		addEntry(sum, h.Name, data)
		if err := x.entry(h.Name, data); err != nil {
			return fmt.Errorf("entry %s: %w", h.Name, err)
		}
		x.out.Entries++
		x.out.Bytes += int64(len(data))
	}
}

// readEntry reads an entry whose memory grows with what is there, not with what is announced.
func readEntry(r io.Reader, size int64) ([]byte, error) {
	const step = 4 << 20
	data := make([]byte, 0, min(size, step))
	for int64(len(data)) < size {
		n := min(size-int64(len(data)), max(step, int64(len(data))))
		data = append(data, make([]byte, n)...)
		if _, err := io.ReadFull(r, data[int64(len(data))-n:]); err != nil {
			return nil, fmt.Errorf("the archive was cut off: %w", err)
		}
	}
	return data, nil
}

// end compares the sums.
func (x *restoring) end(data []byte, sum string) error {
	if err := x.close(); err != nil {
		return err
	}
	var want archiveSum
	if err := json.Unmarshal(data, &want); err != nil {
		return fmt.Errorf("entry %s: %w", archiveEnd, err)
	}
	switch {
	case want.Version > archiveVersion:
		return fmt.Errorf("the backup is of version %d, this program knows up to %d", want.Version, archiveVersion)
	case want.SHA256 != sum || want.Entries != x.out.Entries || want.Bytes != x.out.Bytes:
		return fmt.Errorf("the backup has %d entries of %d bytes with hash %s; it should have %d of %d with %s: %w", x.out.Entries, x.out.Bytes, sum, want.Entries, want.Bytes, want.SHA256, ErrCorrupt)
	case !x.seen[layoutName]:
		return fmt.Errorf("there is no entry %s: %w", layoutName, ErrCorrupt)
	}
	x.out.Begun = want.Begun
	return nil
}

// entry checks one and writes it.
func (x *restoring) entry(name string, data []byte) error {
	if base, further := strings.CutSuffix(name, pieceSuffix); further {
		if base != x.name || x.file == nil {
			return fmt.Errorf("it goes on with nothing: %w", ErrCorrupt)
		}
		return x.piece(data)
	}
	if err := x.close(); err != nil {
		return err
	}
	if x.seen[name] {
		return fmt.Errorf("it is there twice: %w", ErrCorrupt)
	}
	x.seen[name] = true
	if name == layoutName {
		if _, err := decodeLayout(data); err != nil {
			return err
		}
		return x.write(name, data)
	}
	if m := archivedTable.FindStringSubmatch(name); m != nil && (validTableName(m[1]) || m[1] == ownTableName) {
		scan, err := scanTable(data)
		if err == nil && (len(scan.damaged) > 0 || scan.torn > 0) {
			err = fmt.Errorf("damaged ranges %s, %d bytes torn: %w", describe(scan.damaged), scan.torn, ErrCorrupt)
		}
		if err != nil {
			return err
		}
		return x.write(name, data)
	}
	m := archivedFile.FindStringSubmatch(name)
	if m == nil {
		return errors.New("a backup has no such entry")
	}
	return x.logEntry(name, m[2], m[3], data)
}

// logEntry checks an entry of a log.
func (x *restoring) logEntry(name, log, file string, data []byte) error {
	n, err := strconv.ParseUint(log, 16, 64)
	if err != nil {
		return err
	}
	if !x.seen[log] {
		x.seen[log] = true
		x.out.Logs++
	}
	id := LogNumber(n)
	var of LogNumber
	switch {
	case file == metaName:
		m, e := decodeMeta(data)
		of, err = m.ID, e
	case file == cursorName:
		page, e := decodeCursorPage(data)
		of, err = LogNumber(page.ID), e
	case strings.HasSuffix(file, stateSuffix):
		of, _, err = decodeState(data)
	default:
		return x.segment(name, file, data)
	}
	if err == nil && of != id {
		err = fmt.Errorf("it is of log %d: %w", of, ErrCorrupt)
	}
	if err != nil {
		return err
	}
	return x.write(name, data)
}

// segment begins a segment with its first piece.
func (x *restoring) segment(name, file string, data []byte) error {
	base, ok := segment.ParseName(file)
	if !ok || len(data) < segment.HeaderBytes {
		return fmt.Errorf("it is no segment: %w", ErrCorrupt)
	}
	h, err := segment.DecodeHeader(data[:segment.HeaderBytes])
	if err != nil {
		return err
	}
	if h.BaseOffset != base {
		return fmt.Errorf("it begins at offset %d: %w", h.BaseOffset, ErrCorrupt)
	}
	if err := x.makeDir(name); err != nil {
		return err
	}
	if x.file, err = x.fs.Open(x.dir+"/"+name, os.O_RDWR|os.O_CREATE); err != nil {
		return err
	}
	x.name, x.next, x.size = name, base, segment.HeaderBytes
	if _, err := x.file.WriteAt(data[:segment.HeaderBytes], 0); err != nil {
		return err
	}
	x.out.Segments++
	return x.piece(data[segment.HeaderBytes:])
}

// piece adds batches to the segment, each of which follows the one before.
func (x *restoring) piece(data []byte) error {
	for rest := data; len(rest) > 0; {
		b, more, err := batch.Next(rest)
		if err == nil {
			err = b.Check()
		}
		if err != nil {
			return err
		}
		if b.BaseOffset() != x.next {
			return fmt.Errorf("a batch of offset %d follows where %d should: %w", b.BaseOffset(), x.next, ErrCorrupt)
		}
		x.next = b.LastOffset() + 1
		x.out.Records += int64(b.Count())
		rest = more
	}
	_, err := x.file.WriteAt(data, x.size)
	x.size += int64(len(data))
	return err
}

// close flushes the segment that was written.
func (x *restoring) close() error {
	if x.file == nil {
		return nil
	}
	err := errors.Join(x.file.Sync(), x.file.Close())
	x.file, x.name = nil, ""
	return err
}

// write writes a whole file.
func (x *restoring) write(name string, data []byte) error {
	if err := x.makeDir(name); err != nil {
		return err
	}
	return writeFile(x.fs, path.Dir(x.dir+"/"+name), path.Base(name), data, true)
}

// makeDir makes the directory of an entry.
func (x *restoring) makeDir(name string) error {
	dir := path.Dir(x.dir + "/" + name)
	if dir == x.last {
		return nil
	}
	x.last = dir
	x.dirs = append(x.dirs, dir)
	return x.fs.MkdirAll(dir)
}

// settle flushes the directories and gives the whole its name.
func (x *restoring) settle(dir string) error {
	if err := x.fs.MkdirAll(x.dir + "/" + queuesName); err != nil {
		return err
	}
	flushed := map[string]bool{}
	for _, d := range append(x.dirs, x.dir) {
		for ; len(d) >= len(x.dir) && !flushed[d]; d = path.Dir(d) {
			if err := x.fs.SyncDir(d); err != nil {
				return err
			}
			flushed[d] = true
		}
	}
	if err := x.fs.Remove(dir); err != nil && !errors.Is(err, os.ErrNotExist) { // not RemoveAll: somebody may have begun to use it
		return fmt.Errorf("all was restored into %s, which can't take the place of %s: %w", x.dir, dir, err)
	}
	if err := os.Rename(x.dir, dir); err != nil {
		return err
	}
	return x.fs.SyncDir(filepath.Dir(dir))
}
