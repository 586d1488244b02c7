package kafkaload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// fetchWait is how long a broker may hold back an answer that has nothing yet, and
// emptyLimit how many such answers in a row mean that the rest is lost.
const (
	fetchWait  = 500 * time.Millisecond
	emptyLimit = 10
)

// Fetched is what a raw read did.
type Fetched struct {
	Records int64 // of all readers together
	Bytes   int64 // of record batches
	Elapsed time.Duration
	Latency *measure.Latencies // of numbered batches that were followed: from the write to the read
}

// Reading says what is in the topic, and so what must be read.
type Reading struct {
	// Ends is the offset behind the last record, by partition.
	Ends []int64
	// Starts is the offset of the first record, by partition; nil where it is 0 everywhere.
	Starts []int64
	// RecordsPerBatch, if not 0, says that every batch is a numbered Template of so many
	// records: batch n of a partition must carry n.
	RecordsPerBatch int
	// Checksums has every batch's checksum computed, which a load that is measured leaves out.
	Checksums bool
	// Value, if set, is given every record's value and when its batch was read, in stamps'
	// microseconds since the epoch, from one goroutine at a time.
	Value func(partition int, value []byte, micros uint32) error
	// Readers is how many read the topic, each all of it; 0 is 1.
	Readers int
}

// fetching is one connection that reads one partition.
type fetching struct {
	load      *Load
	reading   *Reading
	mu        *sync.Mutex // guards Reading.Value
	ends      *atomic.Pointer[[]int64]
	conn      net.Conn
	in        *stream
	partition int32
	from, at  int64 // first and next offset
	batches   uint64
	bytes     int64
	epoch     time.Time
	lastAt    time.Duration
	latency   *measure.Latencies // nil: not wanted
	request   []byte
	whole     []byte // one batch, when its records are looked at
}

// Reader is a load on the same topic that reads all of it, however long it takes.
func (l *Load) Reader() *Load {
	return &Load{Address: l.Address, Topic: l.Topic, Partitions: l.Partitions, FetchBytes: l.FetchBytes}
}

// Fetch reads every partition from its start to its end and checks offsets, counts and, as asked, numbers, checksums and values.
func (l *Load) Fetch(ctx context.Context, reading Reading) (Fetched, error) {
	return l.read(ctx, reading, false, func(context.Context, time.Time) ([]int64, error) { return reading.Ends, nil })
}

// Follow reads every partition while write fills them, from whatever client, and checks as
// Fetch does. The write is given the epoch from which the times in what it writes count,
// and returns the end offset of each partition.
func (l *Load) Follow(ctx context.Context, reading Reading, write func(context.Context, time.Time) (ends []int64, err error)) (Fetched, error) {
	return l.read(ctx, reading, reading.RecordsPerBatch != 0, write)
}

func (l *Load) read(ctx context.Context, reading Reading, timed bool, write func(context.Context, time.Time) ([]int64, error)) (Fetched, error) {
	var mu sync.Mutex
	var ends atomic.Pointer[[]int64]
	var fs []*fetching
	closeAll := func() {
		for _, f := range fs {
			f.conn.Close()
		}
	}
	for i := range l.Partitions * max(1, reading.Readers) {
		c, err := dial(ctx, l.Address)
		if err != nil {
			closeAll()
			return Fetched{}, err
		}
		f := &fetching{load: l, reading: &reading, mu: &mu, ends: &ends, conn: c, in: newStream(c), partition: int32(i % l.Partitions)}
		if reading.Starts != nil {
			f.begin(reading.Starts[f.partition])
		}
		if timed {
			f.latency = measure.NewLatencies()
		}
		fs = append(fs, f)
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
	end, err := write(ctx, epoch)
	if err != nil {
		cancel(err)
	}
	ends.Store(&end)
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return Fetched{}, err
	}
	out := Fetched{Latency: measure.NewLatencies()}
	for _, f := range fs {
		out.Records += f.at - f.from
		out.Bytes += f.bytes
		out.Elapsed = max(out.Elapsed, f.lastAt)
		if f.latency != nil {
			out.Latency.Merge(f.latency)
		}
	}
	return out, nil
}

// begin has the reader expect the batch at an offset first.
func (f *fetching) begin(at int64) {
	f.from, f.at = at, at
	if n := int64(f.reading.RecordsPerBatch); n > 0 {
		f.batches = uint64(at / n)
	}
}

// end is the offset behind the partition's last record, or -1 while it is being written.
func (f *fetching) end() int64 {
	if ends := f.ends.Load(); ends != nil && int(f.partition) < len(*ends) {
		return (*ends)[f.partition]
	}
	return -1
}

func (f *fetching) run(epoch time.Time) error {
	f.epoch = epoch
	empty := 0
	for end := f.end(); end < 0 || f.at < end; end = f.end() {
		before := f.at
		if err := f.fetch(); err != nil {
			return err
		}
		switch {
		case f.at > before:
			f.lastAt = time.Since(epoch)
			empty = 0
		case end >= 0:
			if empty++; empty == emptyLimit {
				return fmt.Errorf("%d of %d records are not there", end-f.at, end)
			}
		}
	}
	if end := f.end(); f.at != end {
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
	if n := binary.LittleEndian.Uint32(tail); n != uint32(f.batches) {
		return 0, fmt.Errorf("batch number %d where %d was due", n, f.batches)
	}
	if f.latency != nil {
		f.latency.Add(measure.Micros(time.Since(f.epoch)), binary.LittleEndian.Uint32(tail[4:]))
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
	now := measure.Micros(time.Since(f.epoch))
	err = eachValue(f.whole, func(v []byte) error { return f.reading.Value(int(f.partition), v, now) })
	return crc32.Checksum(f.whole[crcFrom:], castagnoli), err
}
