package local

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// A checkpoint says what stood in the directory when it was written, so that a later
// start misses what is gone and answers for logs that it does not open:
//
//	0          32     40       44     48
//	┌──────────┬──────┬────────┬──────┬───────────┬─────────┬────────┐
//	│ header   │ boot │ tables │ logs │ tables    │ logs    │ hash   │
//	│ tag=nmbr │ u64  │ u32    │ u32  │ 42+ each  │ 88 each │ u64    │
//	└──────────┴──────┴────────┴──────┴───────────┴─────────┴────────┘
//
//	table    0      2          10     18       26     34      42     42+name
//	         ┌──────┬──────────┬──────┬────────┬──────┬───────┬──────┐
//	         │ name │ revision │ keys │ digest │ file │ bytes │ name │
//	         │ u16  │ u64      │ u64  │ u64    │ u64  │ i64   │ text │
//	         └──────┴──────────┴──────┴────────┴──────┴───────┴──────┘
//
//	log      0    8       16     24      32    40        48      56         64       72        80
//	         ┌────┬───────┬──────┬───────┬─────┬─────────┬───────┬──────────┬────────┬─────────┬───────┐
//	         │ id │ first │ last │ start │ end │ flushed │ bytes │ segments │ oldest │ waiting │ flags │
//	         │ u64│ i64   │ i64  │ i64   │ i64 │ i64     │ i64   │ i64      │ i64 ms │ i64     │ u64   │
//	         └────┴───────┴──────┴───────┴─────┴─────────┴───────┴──────────┴────────┴─────────┴───────┘
//
// The hash covers all before it. first and last are base offsets of segments, -1 without
// one; flushed is an offset below which all was on disk; see log.Extent. waiting is how
// many messages its consumers have before them. Flag bit 0: the figures are uncertain,
// because the log was not opened since a crash. Bit 1: no definition knew of the log, and that
// was accepted. Logs that never had a
// message are left out.
//
// boot is a hash of the running kernel's boot id, as in a cursor. A table's digest is the
// sum over its live keys of a hash of key and revision; file is the tag of its file and
// bytes how much of that was on disk.
//
// Beside the checkpoints stand the lists of what changed since: a header with the number
// as its tag, and 24 bytes for each log:
//
//	0    8      16     24
//	┌────┬──────┬──────┐
//	│ id │ what │ hash │   what: 1 changed, 2 deleted, 3 the id is the boot; the hash covers both
//	│ u64│ u64  │ u64  │
//	└────┴──────┴──────┘
const (
	checkpointHeadBytes  = headerBytes + 16
	checkpointTableBytes = 42
	checkpointLogBytes   = 88
	changedBytes         = 24
	logChanged           = 1
	logDeleted           = 2
	listBoot             = 3 // of the machine, in the place of an id: first in each list
	maxCheckpointTables  = 1 << 16
	restUncertain        = 1 << 0
	restUnclaimed        = 1 << 1
)

// checkpoint is the content of one.
type checkpoint struct {
	Number    uint64
	CreatedMs int64
	Boot      uint64
	Tables    []tableMark
	Logs      map[LogNumber]*rest
	order     []LogNumber // of the file, for whoever prints it
}

// tableMark is what a table held.
type tableMark struct {
	Name     string
	Revision uint64 // of the last write
	Keys     uint64
	Digest   uint64
	File     uint64 // tag of its file
	Bytes    int64  // of the file that were on disk
}

// rest is what is known of a log that is not open.
type rest struct {
	First, Last int64
	Start, End  int64
	Flushed     int64
	Bytes       int64
	Segments    int64
	Oldest      int64
	Waiting     int64
	Uncertain   bool
	Unclaimed   bool
	startNoted  bool // Start is right although the rest is uncertain; not in the file
}

// appendTo appends the log's entry.
func (r *rest) appendTo(buf []byte, id LogNumber) []byte {
	var flags uint64
	if r.Uncertain {
		flags |= restUncertain
	}
	if r.Unclaimed {
		flags |= restUnclaimed
	}
	for _, v := range [...]uint64{
		uint64(id), uint64(r.First), uint64(r.Last), uint64(r.Start), uint64(r.End), uint64(r.Flushed),
		uint64(r.Bytes), uint64(r.Segments), uint64(r.Oldest), uint64(r.Waiting), flags,
	} {
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	return buf
}

// checkpointWriter builds the file.
type checkpointWriter struct {
	buf          []byte
	tables, logs uint32
}

func newCheckpoint(number, boot uint64, createdMs int64) *checkpointWriter {
	w := &checkpointWriter{buf: header{Magic: magicCheckpoint, Tag: number, CreatedMs: createdMs}.appendTo(nil)}
	w.buf = binary.LittleEndian.AppendUint64(w.buf, boot)
	w.buf = append(w.buf, make([]byte, 8)...)
	return w
}

// table adds one; all of them come before the logs.
func (w *checkpointWriter) table(m tableMark) {
	w.tables++
	w.buf = binary.LittleEndian.AppendUint16(w.buf, uint16(len(m.Name)))
	w.buf = binary.LittleEndian.AppendUint64(w.buf, m.Revision)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, m.Keys)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, m.Digest)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, m.File)
	w.buf = binary.LittleEndian.AppendUint64(w.buf, uint64(m.Bytes))
	w.buf = append(w.buf, m.Name...)
}

func (w *checkpointWriter) log(id LogNumber, r *rest) {
	w.logs++
	w.buf = r.appendTo(w.buf, id)
}

// finish returns the file's content.
func (w *checkpointWriter) finish() []byte {
	binary.LittleEndian.PutUint32(w.buf[headerBytes+8:], w.tables)
	binary.LittleEndian.PutUint32(w.buf[headerBytes+12:], w.logs)
	return binary.LittleEndian.AppendUint64(w.buf, xxhash.Sum64(w.buf))
}

// decodeCheckpoint reads a checkpoint file.
func decodeCheckpoint(data []byte) (checkpoint, error) {
	h, err := decodeHeader(data, magicCheckpoint)
	if err != nil {
		return checkpoint{}, fmt.Errorf("checkpoint: %w", err)
	}
	if len(data) < checkpointHeadBytes+8 {
		return checkpoint{}, fmt.Errorf("checkpoint has %d bytes: %w", len(data), ErrCorrupt)
	}
	body := data[:len(data)-8]
	if binary.LittleEndian.Uint64(data[len(body):]) != xxhash.Sum64(body) {
		return checkpoint{}, fmt.Errorf("checkpoint hash differs: %w", ErrCorrupt)
	}
	c := checkpoint{Number: h.Tag, CreatedMs: h.CreatedMs, Boot: binary.LittleEndian.Uint64(data[headerBytes:])}
	tables, logs := binary.LittleEndian.Uint32(data[headerBytes+8:]), binary.LittleEndian.Uint32(data[headerBytes+12:])
	rest := body[checkpointHeadBytes:]
	if tables > maxCheckpointTables {
		return checkpoint{}, fmt.Errorf("checkpoint of %d tables: %w", tables, ErrCorrupt)
	}
	for range tables {
		var m tableMark
		if m, rest, err = decodeTableMark(rest); err != nil {
			return checkpoint{}, err
		}
		c.Tables = append(c.Tables, m)
	}
	if int64(len(rest)) != int64(logs)*checkpointLogBytes {
		return checkpoint{}, fmt.Errorf("checkpoint of %d logs has %d bytes for them: %w", logs, len(rest), ErrCorrupt)
	}
	c.takeLogs(rest)
	return c, nil
}

func decodeTableMark(b []byte) (m tableMark, rest []byte, err error) {
	if len(b) < checkpointTableBytes {
		return m, b, fmt.Errorf("checkpoint's tables are cut short: %w", ErrCorrupt)
	}
	name := int(binary.LittleEndian.Uint16(b))
	if len(b) < checkpointTableBytes+name {
		return m, b, fmt.Errorf("checkpoint's table name is cut short: %w", ErrCorrupt)
	}
	m = tableMark{
		Revision: binary.LittleEndian.Uint64(b[2:]), Keys: binary.LittleEndian.Uint64(b[10:]),
		Digest: binary.LittleEndian.Uint64(b[18:]), File: binary.LittleEndian.Uint64(b[26:]),
		Bytes: int64(binary.LittleEndian.Uint64(b[34:])), Name: string(b[checkpointTableBytes : checkpointTableBytes+name]),
	}
	return m, b[checkpointTableBytes+name:], nil
}

// takeLogs reads the logs' entries, which are whole.
func (c *checkpoint) takeLogs(b []byte) {
	n := len(b) / checkpointLogBytes
	c.Logs, c.order = make(map[LogNumber]*rest, n), make([]LogNumber, 0, n)
	all := make([]rest, n)
	for i := range all {
		var w [checkpointLogBytes / 8]uint64
		for j := range w {
			w[j] = binary.LittleEndian.Uint64(b[i*checkpointLogBytes+8*j:])
		}
		all[i] = rest{
			First: int64(w[1]), Last: int64(w[2]), Start: int64(w[3]), End: int64(w[4]), Flushed: int64(w[5]),
			Bytes: int64(w[6]), Segments: int64(w[7]), Oldest: int64(w[8]), Waiting: int64(w[9]), Uncertain: w[10]&restUncertain != 0,
			Unclaimed: w[10]&restUnclaimed != 0,
		}
		c.Logs[LogNumber(w[0])] = &all[i]
		c.order = append(c.order, LogNumber(w[0]))
	}
}

// change is one entry of a list of what changed.
type change struct {
	ID   LogNumber
	What uint64
}

// appendTo appends the entry.
func (c change) appendTo(buf []byte) []byte {
	at := len(buf)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(c.ID))
	buf = binary.LittleEndian.AppendUint64(buf, c.What)
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf[at:]))
}

// decodeChanges reads such a list up to its last whole entry.
func decodeChanges(data []byte) ([]change, error) {
	if _, err := decodeHeader(data, magicChanged); err != nil {
		return nil, fmt.Errorf("list of changes: %w", err)
	}
	var all []change
	for b := data[headerBytes:]; len(b) >= changedBytes; b = b[changedBytes:] {
		if binary.LittleEndian.Uint64(b[16:]) != xxhash.Sum64(b[:16]) {
			break
		}
		all = append(all, change{LogNumber(binary.LittleEndian.Uint64(b)), binary.LittleEndian.Uint64(b[8:])})
	}
	return all, nil
}
