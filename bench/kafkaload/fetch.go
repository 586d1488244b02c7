package kafkaload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"sync"
	"time"
)

// fetchWait is how long a broker may hold back an answer that has nothing yet, and
// emptyLimit how many such answers in a row mean that the rest is lost.
const (
	fetchWait  = 500 * time.Millisecond
	emptyLimit = 10
)

// Fetched is what a raw read did.
type Fetched struct {
	Records int64
	Bytes   int64 // of record batches
	Elapsed time.Duration
}

// Reading says what is in the topic, and so what must be read.
type Reading struct {
	// Ends is the offset behind the last record, by partition.
	Ends []int64
	// RecordsPerBatch, if not 0, says that every batch is a numbered Template of so many
	// records: batch n of a partition must carry n.
	RecordsPerBatch int
	// Checksums has every batch's checksum computed, which a load that is measured leaves out.
	Checksums bool
	// Value, if set, is given every record's value, from one goroutine at a time.
	Value func(partition int, value []byte) error
}

// fetching is one connection that reads one partition.
type fetching struct {
	load      *Load
	reading   *Reading
	mu        *sync.Mutex // guards Reading.Value
	conn      net.Conn
	in        *stream
	partition int32
	at        int64 // next offset
	batches   uint64
	bytes     int64
	lastAt    time.Duration
	request   []byte
	whole     []byte // one batch, when its records are looked at
}

// Reader is a load on the same topic that reads all of it, however long it takes.
func (l *Load) Reader() *Load {
	return &Load{Address: l.Address, Topic: l.Topic, Partitions: l.Partitions, FetchBytes: l.FetchBytes}
}

// Fetch reads every partition from its start to its end and checks offsets, counts and, as asked, numbers, checksums and values.
func (l *Load) Fetch(ctx context.Context, reading Reading) (Fetched, error) {
	var mu sync.Mutex
	var fs []*fetching
	closeAll := func() {
		for _, f := range fs {
			f.conn.Close()
		}
	}
	for i := range reading.Ends {
		c, err := dial(ctx, l.Address)
		if err != nil {
			closeAll()
			return Fetched{}, err
		}
		fs = append(fs, &fetching{load: l, reading: &reading, mu: &mu, conn: c, in: newStream(c), partition: int32(i)})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	context.AfterFunc(ctx, closeAll)
	epoch := time.Now()
	var group sync.WaitGroup
	for _, f := range fs {
		group.Go(func() {
			if err := f.run(epoch); err != nil {
				cancel(fmt.Errorf("read partition %d at offset %d: %w", f.partition, f.at, err))
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return Fetched{}, err
	}
	var out Fetched
	for _, f := range fs {
		out.Records += f.at
		out.Bytes += f.bytes
		out.Elapsed = max(out.Elapsed, f.lastAt)
	}
	return out, nil
}

func (f *fetching) run(epoch time.Time) error {
	empty := 0
	for end := f.reading.Ends[f.partition]; f.at < end; {
		before := f.at
		if err := f.fetch(); err != nil {
			return err
		}
		f.lastAt = time.Since(epoch)
		if f.at > before {
			empty = 0
		} else if empty++; empty == emptyLimit {
			return fmt.Errorf("%d of %d records are not there", end-f.at, end)
		}
	}
	if end := f.reading.Ends[f.partition]; f.at != end {
		return fmt.Errorf("%d records, %d were produced", f.at, end)
	}
	return nil
}

func (f *fetching) fetch() error {
	r := newRequest(keyFetch, versionFetch)
	if f.request != nil {
		r = append(f.request[:0], r...)
	}
	most := int32(f.load.FetchBytes)
	r = r.i32(-1).i32(int32(fetchWait.Milliseconds())).i32(1).i32(most).i8(0).i32(0).i32(-1).
		i32(1).str(f.load.Topic).i32(1).i32(f.partition).i32(-1).i64(f.at).i64(-1).i32(most).
		i32(0).str("")
	f.request = r.done()
	if _, err := f.conn.Write(f.request); err != nil {
		return err
	}
	size, err := f.answerHead()
	if err != nil {
		return err
	}
	before := f.at
	if err := f.batchesIn(size); err != nil {
		return err
	}
	if size > 0 && f.at == before {
		return errors.New("not one whole batch in an answer")
	}
	_, err = f.in.skip(f.in.left, 0, false)
	return err
}

// answerHead reads up to the records and returns their size in bytes.
func (f *fetching) answerHead() (size int64, err error) {
	s := f.in
	if err := s.begin(); err != nil {
		return 0, err
	}
	b, err := s.need(4 + 4 + 2 + 4 + 4)
	if err != nil {
		return 0, err
	}
	if code := int16(binary.BigEndian.Uint16(b[8:])); code != 0 {
		return 0, fmt.Errorf("fetch refused: error code %d", code)
	}
	if topics := binary.BigEndian.Uint32(b[14:]); topics != 1 {
		return 0, fmt.Errorf("answer for %d topics, 1 was asked", topics)
	}
	n, err := s.i16()
	if err != nil {
		return 0, err
	}
	if _, err := s.need(int(n)); err != nil {
		return 0, err
	}
	if b, err = s.need(4 + 4 + 2 + 8 + 8 + 8); err != nil {
		return 0, err
	}
	if code := int16(binary.BigEndian.Uint16(b[8:])); code != 0 {
		return 0, fmt.Errorf("fetch refused: error code %d", code)
	}
	aborted, err := s.i32()
	if err != nil {
		return 0, err
	}
	if aborted > 0 {
		return 0, fmt.Errorf("%d aborted transactions, there are none", aborted)
	}
	if b, err = s.need(4 + 4); err != nil { // preferred replica, size of records
		return 0, err
	}
	return max(0, int64(int32(binary.BigEndian.Uint32(b[4:])))), nil
}

// batchesIn takes all whole batches of an answer; the last may be cut short.
func (f *fetching) batchesIn(size int64) error {
	for size >= batchHeaderBytes {
		h, err := f.in.need(batchHeaderBytes)
		if err != nil {
			return err
		}
		length := int64(int32(binary.BigEndian.Uint32(h[posLength:]))) + batchFrameBytes
		if length < batchHeaderBytes {
			return fmt.Errorf("batch of %d bytes", length)
		}
		if length > size {
			size -= batchHeaderBytes
			break
		}
		if err := f.batch(h, length); err != nil {
			return err
		}
		size -= length
	}
	_, err := f.in.skip(size, 0, false)
	return err
}

// batch checks one batch, of which the header was read, and passes over its records.
func (f *fetching) batch(h []byte, length int64) error {
	base := int64(binary.BigEndian.Uint64(h))
	count := int64(int32(binary.BigEndian.Uint32(h[posCount:])))
	last := int64(int32(binary.BigEndian.Uint32(h[posLastDelta:])))
	if base != f.at || count < 1 || last != count-1 || h[posMagic] != 2 {
		return fmt.Errorf("batch at offset %d of %d records, last delta %d, magic %d; offset %d was due", base, count, last, h[posMagic], f.at)
	}
	if n := f.reading.RecordsPerBatch; n != 0 && count != int64(n) {
		return fmt.Errorf("batch of %d records, all had %d", count, n)
	}
	want := binary.BigEndian.Uint32(h[posCRC:])
	var err error
	var crc uint32
	if f.reading.Value != nil {
		crc, err = f.values(h, length)
	} else {
		crc, err = f.passOver(h, length)
	}
	if err != nil {
		return err
	}
	if (f.reading.Checksums || f.reading.Value != nil) && crc != want {
		return fmt.Errorf("batch at offset %d has a wrong checksum", base)
	}
	f.at += count
	f.bytes += length
	f.batches++
	return nil
}

// passOver skips the records but for the number at their end.
func (f *fetching) passOver(h []byte, length int64) (crc uint32, err error) {
	if f.reading.Checksums {
		crc = crc32.Checksum(h[crcFrom:], castagnoli)
	}
	if f.reading.RecordsPerBatch == 0 {
		return f.in.skip(length-batchHeaderBytes, crc, f.reading.Checksums)
	}
	if crc, err = f.in.skip(length-batchHeaderBytes-tailBytes, crc, f.reading.Checksums); err != nil {
		return 0, err
	}
	tail, err := f.in.need(tailBytes)
	if err != nil {
		return 0, err
	}
	if n := binary.LittleEndian.Uint64(tail); n != f.batches {
		return 0, fmt.Errorf("batch number %d where %d was due", n, f.batches)
	}
	if f.reading.Checksums {
		crc = crc32.Update(crc, castagnoli, tail)
	}
	return crc, nil
}

// values reads the whole batch and hands out its records' values.
func (f *fetching) values(h []byte, length int64) (crc uint32, err error) {
	f.whole = append(f.whole[:0], h...)
	for rest := length - batchHeaderBytes; rest > 0; {
		k := min(rest, streamBytes)
		b, err := f.in.need(int(k))
		if err != nil {
			return 0, err
		}
		f.whole = append(f.whole, b...)
		rest -= k
	}
	if f.whole[22]&7 != 0 {
		return 0, errors.New("batch is compressed, the load's are not")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	err = eachValue(f.whole, func(v []byte) error { return f.reading.Value(int(f.partition), v) })
	return crc32.Checksum(f.whole[crcFrom:], castagnoli), err
}
