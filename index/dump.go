package index

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/leveret-mq/leveret/internal/fs"
)

// dumpBytes bounds the file that Dump reads.
const dumpBytes = 1 << 30

// Dump prints an index file in a readable form: header, the state at its last
// whole block, each entry, and what follows that is no block. The error is that
// of reading or writing, never what the file holds.
func Dump(w io.Writer, f fs.FS, name string) error {
	b, err := readAll(f, name)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	printf := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	printf("index %s, %d bytes\n", name, len(b))
	d, err := Decode(b)
	if err != nil {
		printf("header: %v\n", err)
		return out.Flush()
	}
	printf("header: version %d, generation %016x, base offset %d\n", version, d.Header.Generation, d.Header.BaseOffset)
	for _, e := range d.Entries {
		printf("%10d batch of offset %d, before it up to %s\n", e.Position, d.Header.BaseOffset+int64(e.Relative), stamp(e.TimeBefore))
	}
	state := "open"
	if d.Last.Sealed {
		state = "sealed"
	}
	if d.Blocks > 0 {
		printf("%s at position %d: next offset %d, %d records, up to %s\n", state, d.Last.EndPosition, d.Last.NextOffset, d.Last.Records, stamp(d.Last.MaxTime))
	}
	printf("%d blocks, %d entries\n", d.Blocks, len(d.Entries))
	if rest := len(b) - d.Bytes; rest > 0 {
		printf("damaged: %d bytes from %d on are no block\n", rest, d.Bytes)
	}
	return out.Flush()
}

func stamp(ms int64) string {
	if ms == NoTime {
		return "nothing"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

func readAll(f fs.FS, name string) ([]byte, error) {
	file, err := f.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	if size > dumpBytes {
		return nil, fmt.Errorf("%s: %d bytes is too much for an index file", name, size)
	}
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(file, 0, size), b)
	return b, err
}
