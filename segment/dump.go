package segment

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/leveret-mq/leveret/index"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fs"
)

// DumpNamed prints a file whose name says that it is a segment, a spare one or an index, and says whether it is.
func DumpNamed(w io.Writer, f fs.FS, name string) (ours bool, err error) {
	switch filepath.Ext(name) {
	case LogSuffix, spareSuffix:
		return true, dump(w, f, name)
	case IndexSuffix:
		return true, index.Dump(w, f, name)
	}
	return false, nil
}

// dump prints a segment file in a readable form: its header, a line for each
// batch, and where the bytes stop being batches. It reads the file alone and
// trusts nothing in it; damage is printed, and the walk goes on behind it. The
// error is that of reading or writing, never what the file holds.
func dump(w io.Writer, f fs.FS, name string) error {
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return err
	}
	d := dumper{w: bufio.NewWriter(w)}
	d.header(file, name, size)
	d.batches(file, size)
	d.printf("%d batches, %d records, %d damaged ranges\n", d.count, d.records, d.damaged)
	return d.w.Flush()
}

type dumper struct {
	w       *bufio.Writer
	base    int64
	count   int64
	records int64
	damaged int
}

// printf keeps its error in the buffered writer, where Flush finds it.
func (d *dumper) printf(format string, args ...any) { _, _ = fmt.Fprintf(d.w, format, args...) }

func (d *dumper) header(f fs.File, name string, size int64) {
	d.printf("segment %s, %d bytes\n", name, size)
	var b [HeaderBytes]byte
	base, named := ParseName(name)
	d.base = base
	if err := readFull(f, b[:], 0); err != nil {
		d.printf("header: %v\n", ErrNotSegment)
		return
	}
	h, err := DecodeHeader(b[:])
	if err != nil {
		d.printf("header: %v\n", err)
		return
	}
	if !named {
		d.base = h.BaseOffset
	}
	d.printf("header: version %d, generation %016x, base offset %d, created %s, allocated %d bytes\n",
		h.version(), h.Generation, h.BaseOffset, stamp(h.CreatedMs), h.AllocatedBytes)
	if h.Covers > 0 {
		d.printf("header: merged out of several, in place of files up to offset %d\n", h.Covers)
	}
	if named && h.BaseOffset != base {
		d.printf("header: it is a former life's: the name says base offset %d\n", base)
	}
}

func stamp(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// batches walks the file as recovery would without an index.
func (d *dumper) batches(f fs.File, size int64) {
	c := newScan(&Segment{o: &Options{IndexIntervalBytes: MaxBytes}, base: d.base}, f, new(index.Index), size, -1)
	for c.at < c.limit {
		b, err := c.next()
		if err == nil {
			d.batch(c.at, b)
			c.take(b)
			continue
		}
		at, next := c.at, c.t.next
		to, ok := c.behind(b)
		if !ok {
			d.rest(c, err)
			return
		}
		c.at, c.t.next = to.position, to.offset
		d.damaged++
		d.printf("%10d damaged: %d bytes, records %d to %d: %v\n", at, c.at-at, next, c.t.next-1, err)
	}
}

// rest says what stands behind the last batch.
func (d *dumper) rest(c *scan, err error) {
	if c.used() == 0 {
		d.printf("%10d end, %d bytes free\n", c.at, c.limit-c.at)
		return
	}
	d.printf("%10d end, %d bytes of something else (free space of a recycled file, or a torn tail): %v\n", c.at, c.limit-c.at, err)
}

var codecs = [...]string{"none", "gzip", "snappy", "lz4", "zstd", "codec 5", "codec 6", "codec 7"}

func (d *dumper) batch(at int64, b batch.Batch) {
	d.count++
	d.records += int64(b.Count())
	d.printf("%10d batch: offsets %d to %d, %d records, %d bytes, codec %s, crc ok %08x, time %s to %s",
		at, b.BaseOffset(), b.LastOffset(), b.Count(), len(b), codecs[b.Codec()], b.CRC(), stamp(b.BaseTimestamp()), stamp(b.MaxTimestamp()))
	if b.ProducerID() != batch.NoProducer {
		d.printf(", producer %d epoch %d sequence %d", b.ProducerID(), b.ProducerEpoch(), b.BaseSequence())
	}
	if b.IsTransactional() {
		d.printf(", transactional")
	}
	if b.IsControl() {
		d.printf(", control")
	}
	d.printf("\n")
}
