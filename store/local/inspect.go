package local

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/segment"
)

// ErrUnknownFile means that a file is none of this package's.
var ErrUnknownFile = errors.New("no file of a data directory")

// Inspect prints what any file of a data directory holds: the lock, a table, cursor, meta or layout file, a segment and its index. It
// changes nothing and needs no lock. What is damaged is printed as such, and an
// error that says so is returned after everything else was printed. People send what it
// prints to each other, so what passwords are known by is left out.
func Inspect(w io.Writer, path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("%s is a directory; name its files", path)
	case filepath.Base(path) == lockName:
		_, err := fmt.Fprintf(w, "file\t%s\nkind\tlock of a data directory, always empty\n", path)
		return err
	}
	if ours, err := segment.DumpNamed(w, fs.Real(), path); ours {
		return err
	}
	data, err := readFile(fs.Real(), path)
	if err != nil {
		return fmt.Errorf("inspect %s: %w", path, err)
	}
	out := &printer{w: w}
	out.printf("file\t%s\nbytes\t%d\n", path, len(data))
	switch {
	case filepath.Base(path) == layoutName:
		err = inspectLayout(out, data)
	case len(data) >= 4 && string(data[:4]) == magicTable:
		err = inspectTable(out, data, filepath.Base(filepath.Dir(path)) == "access")
	case len(data) >= 4 && string(data[:4]) == magicCursor:
		err = inspectCursor(out, data)
	case len(data) >= 4 && string(data[:4]) == magicMeta:
		err = inspectMeta(out, data)
	case len(data) >= 4 && string(data[:4]) == magicCheckpoint:
		err = inspectCheckpoint(out, data)
	case len(data) >= 4 && string(data[:4]) == magicChanged:
		err = inspectChanges(out, data)
	case len(data) >= 4 && string(data[:4]) == magicState:
		err = inspectState(out, data)
	case len(data) >= 4 && string(data[:4]) == magicEnds:
		err = inspectEnds(out, data)
	default:
		err = ErrUnknownFile
	}
	if err = errors.Join(err, out.err); err != nil {
		return fmt.Errorf("inspect %s: %w", path, err)
	}
	return nil
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func inspectLayout(out *printer, data []byte) error {
	version, err := decodeLayout(data)
	out.printf("kind\tlayout\nversion\t%d\n", version)
	return err
}

func inspectMeta(out *printer, data []byte) error {
	m, err := decodeMeta(data)
	if err != nil {
		return err
	}
	o := m.Options
	out.printf("kind\tmeta\nid\t%d\nname\t%s\ncreated\t%s\n", m.ID, strconv.Quote(o.Name), m.Created.UTC().Format(time.RFC3339Nano))
	out.printf("mode\t%s\ntransient\t%t\nsegment bytes\t%d\n", o.Mode, o.Transient, o.SegmentBytes)
	out.printf("retention\tconsumed=%t age=%s bytes=%d\n", o.Retention.Consumed, o.Retention.Age, o.Retention.Bytes)
	if m.Definition != "" {
		out.printf("definition\t%s\n", quoteShort([]byte(m.Definition)))
	}
	return nil
}

func inspectCheckpoint(out *printer, data []byte) error {
	c, err := decodeCheckpoint(data)
	if err != nil {
		return err
	}
	out.printf("kind\tcheckpoint\nnumber\t%d\ncreated\t%s\nboot\t%016x\ntables\t%d\nlogs\t%d\n",
		c.Number, time.UnixMilli(c.CreatedMs).UTC().Format(time.RFC3339Nano), c.Boot, len(c.Tables), len(c.Logs))
	for _, m := range c.Tables {
		out.printf("table\t%s\trevision=%d keys=%d digest=%016x file=%d bytes=%d\n", strconv.Quote(m.Name), m.Revision, m.Keys, m.Digest, m.File, m.Bytes)
	}
	for _, id := range c.order {
		r := c.Logs[id]
		uncertain := ""
		if r.Uncertain {
			uncertain = " uncertain"
		}
		out.printf("log\t%016x\tsegments=%d from %d to %d, offsets %d to %d, flushed=%d bytes=%d oldest=%d waiting=%d%s\n",
			uint64(id), r.Segments, r.First, r.Last, r.Start, r.End, r.Flushed, r.Bytes, r.Oldest, r.Waiting, uncertain)
	}
	return nil
}

func inspectState(out *printer, data []byte) error {
	id, state, err := decodeState(data)
	if err != nil {
		return err
	}
	out.printf("kind\tstate of a log's owner\nid\t%d\nstate\t%d bytes: %s\n", id, len(state), quoteShort(state))
	return nil
}

func inspectEnds(out *printer, data []byte) error {
	ends, boot, err := decodeEnds(data)
	if err != nil {
		return err
	}
	out.printf("kind\tends of logs\nboot\t%016x\nlogs\t%d\n", boot, len(ends))
	for _, id := range slices.Sorted(maps.Keys(ends)) {
		out.printf("log\t%016x\tfrom %d, written up to %d\n", uint64(id), ends[id].start, ends[id].end)
	}
	return nil
}

func inspectChanges(out *printer, data []byte) error {
	all, err := decodeChanges(data)
	if err != nil {
		return err
	}
	out.printf("kind\tlist of changes since a checkpoint\nentries\t%d\n", len(all))
	for _, e := range all {
		what := "changed"
		switch e.What {
		case logDeleted:
			what = "deleted"
		case listBoot:
			what = "boot"
		}
		out.printf("%s\t%016x\n", what, uint64(e.ID))
	}
	return nil
}

func inspectCursor(out *printer, data []byte) error {
	h, err := decodeHeader(data, magicCursor)
	if err != nil {
		return err
	}
	out.printf("kind\tcursor\nid\t%d\ncreated\t%s\n", h.Tag, time.UnixMilli(h.CreatedMs).UTC().Format(time.RFC3339Nano))
	if len(data) < cursorPageBytes {
		return fmt.Errorf("file is shorter than its page: %w", ErrCorrupt)
	}
	for i, at := range [2]int{cursorSlot0, cursorSlot1} {
		s, empty, slotErr := decodeSlot(data[at:])
		switch {
		case slotErr != nil:
			out.printf("slot %d\tdamaged\n", i)
			err = errors.Join(err, fmt.Errorf("slot %d: %w", i, slotErr))
		case empty:
			out.printf("slot %d\tnever written\n", i)
		default:
			inspectSlot(out, i, &s, data)
		}
	}
	return err
}

func inspectSlot(out *printer, i int, s *slot, data []byte) {
	reserved := strconv.FormatInt(s.Reserved, 10)
	if s.Reserved == reservedAll {
		reserved = "everything"
	}
	blob := "none"
	if s.BlobLen > 0 {
		blob = fmt.Sprintf("%d bytes at %d, ", s.BlobLen, s.BlobAt)
		end := s.BlobAt + s.BlobLen
		if end <= uint64(len(data)) && blobHash(data[s.BlobAt:end]) == s.BlobHash {
			blob += "whole"
		} else {
			blob += "not whole"
		}
	}
	out.printf("slot %d\tseq=%d floor=%d handed=%d reserved=%s start=%d boot=%016x data=%s\n",
		i, s.Seq, s.Floor, s.Handed, reserved, s.Start, s.Boot, blob)
}

// secretKeys begin the keys of the table "access" whose values hold hashes and keys.
var secretKeys = []string{"u/", "m/"}

func inspectTable(out *printer, data []byte, secrets bool) error {
	scan, err := scanTable(data)
	if err != nil {
		return err
	}
	out.printf("kind\ttable\nrevision\t%d\nkeys\t%d\nlive bytes\t%d\nunfinished bytes at the end\t%d\n",
		scan.revision, len(scan.entries), scan.live, scan.torn)
	for at := headerBytes; at < int(scan.size); {
		r, n, err := decodeRecord(data[at:])
		if err != nil {
			at += 8
			continue
		}
		verb := "set"
		if r.Kind == recordTombstone {
			verb = "delete"
		}
		value := quoteShort(r.Value)
		if secrets && slices.ContainsFunc(secretKeys, func(key string) bool { return strings.HasPrefix(string(r.Key), key) }) {
			value = fmt.Sprintf("(%d bytes, of passwords, not shown)", len(r.Value))
		}
		out.printf("%d\t%s\t%d\t%s\t%s\n", at, verb, r.Revision, quoteShort(r.Key), value)
		at += n
	}
	if len(scan.damaged) > 0 {
		out.printf("damaged ranges\t%s\n", describe(scan.damaged))
		return fmt.Errorf("damaged ranges %s: %w", describe(scan.damaged), ErrCorrupt)
	}
	return nil
}

// quoteShort prints text as text, other bytes in hexadecimal, and the first of many only.
func quoteShort(b []byte) string {
	const most = 120
	more := ""
	if len(b) > most {
		b, more = b[:most], fmt.Sprintf("… (%d bytes)", len(b))
	}
	if utf8.Valid(b) {
		return strconv.Quote(string(b)) + more
	}
	return fmt.Sprintf("%x%s", b, more)
}
