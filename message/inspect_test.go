package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var codecNames = map[int]string{CodecNone: "none", CodecGzip: "gzip", CodecSnappy: "snappy", CodecLZ4: "lz4", CodecZstd: "zstd"}

// packers are encoders that others wrote, several forms a codec.
var packers = []struct {
	name  string
	codec int
	pack  func(raw []byte) []byte
}{
	{"none", CodecNone, bytes.Clone},
	{"gzip", CodecGzip, func(raw []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		must(w.Write(raw))
		mustEnd(w.Close())
		return b.Bytes()
	}},
	{"snappy block", CodecSnappy, func(raw []byte) []byte { return snappy.Encode(nil, raw) }},
	{"snappy in Java's frames", CodecSnappy, func(raw []byte) []byte { return inFrames(raw, 32<<10) }},
	{"lz4", CodecLZ4, func(raw []byte) []byte { return packLZ4(raw, lz4.Block64Kb, false) }},
	{"lz4, large blocks, sums", CodecLZ4, func(raw []byte) []byte { return packLZ4(raw, lz4.Block4Mb, true) }},
	{"zstd", CodecZstd, func(raw []byte) []byte { return packZstd(raw, zstd.SpeedDefault) }},
	{"zstd, as a stream", CodecZstd, func(raw []byte) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithEncoderConcurrency(1))
		mustEnd(err)
		for len(raw) > 0 { // no content size is known
			n := min(len(raw), 10_000)
			must(w.Write(raw[:n]))
			mustEnd(w.Flush())
			raw = raw[n:]
		}
		mustEnd(w.Close())
		return b.Bytes()
	}},
}

func must(_ int, err error) { mustEnd(err) }

func mustEnd(err error) {
	if err != nil {
		panic(err)
	}
}

func packLZ4(raw []byte, size lz4.BlockSize, sums bool) []byte {
	var b bytes.Buffer
	w := lz4.NewWriter(&b)
	mustEnd(w.Apply(lz4.BlockSizeOption(size), lz4.ChecksumOption(sums), lz4.BlockChecksumOption(sums)))
	must(w.Write(raw))
	mustEnd(w.Close())
	return b.Bytes()
}

func packZstd(raw []byte, level zstd.EncoderLevel, more ...zstd.EOption) []byte {
	w, err := zstd.NewWriter(nil, append(more, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1))...)
	mustEnd(err)
	defer w.Close()
	return w.EncodeAll(raw, nil)
}

func inFrames(raw []byte, size int) []byte {
	out := append(bytes.Clone(xerial), 0, 0, 0, 1, 0, 0, 0, 1)
	for len(raw) > 0 {
		n := min(size, len(raw))
		packed := snappy.Encode(nil, raw[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(len(packed)))
		out = append(out, packed...)
		raw = raw[n:]
	}
	return out
}

// testRecord is one record in bytes.
type testRecord struct {
	ms         int64
	delta      int
	key, value []byte
	headers    [][2][]byte
}

func (r testRecord) append(dst []byte) []byte {
	body := appendVarint([]byte{0}, r.ms)
	body = appendVarint(body, int64(r.delta))
	body = appendBytes(appendBytes(body, r.key), r.value)
	body = appendVarint(body, int64(len(r.headers)))
	for _, h := range r.headers {
		body = appendBytes(appendBytes(body, h[0]), h[1])
	}
	return append(appendVarint(dst, int64(len(body))), body...)
}

func checkWith(codec int, packed []byte, count int, limit, allowed int) (Check, int, error) {
	c := NewCheck(int32(count), 1000)
	n, err := Walk(&c, codec, packed, limit, allowed)
	return c, n, err
}

func TestRecordsOfAnyCodecAndShapeAreFoundGood(t *testing.T) {
	long := bytes.Repeat([]byte("long "), 100_000)
	shapes := map[string][]testRecord{
		"one, empty":  {{}},
		"null values": {{key: []byte("k")}, {delta: 1}},
		"headers":     {{value: []byte("v"), headers: [][2][]byte{{[]byte("a"), nil}, {[]byte(""), []byte("b")}}}},
		"long ones":   {{value: long}, {delta: 1, key: long, value: long}, {delta: 2, value: []byte("short")}},
	}
	for i := range 5000 {
		shapes["many"] = append(shapes["many"], testRecord{ms: int64(i%700) * 31, delta: i, key: []byte(fmt.Sprint(i)), value: long[:i%300]})
	}
	for shape, records := range shapes {
		var raw []byte
		latest, oldest := int64(0), int64(math.MaxInt64)
		for _, r := range records {
			raw = r.append(raw)
			latest, oldest = max(latest, 1000+r.ms), min(oldest, 1000+r.ms)
		}
		for _, p := range packers {
			t.Run(shape+" "+p.name, func(t *testing.T) {
				c, n, err := checkWith(p.codec, p.pack(raw), len(records), 64<<20, 64<<20)
				if err != nil || n != len(raw) || c.Latest() != latest || c.Oldest() != oldest {
					t.Errorf("%d of %d bytes, times %d to %d of %d to %d, %v", n, len(raw), c.Oldest(), c.Latest(), oldest, latest, err)
				}
				for _, other := range []int{len(records) - 1, len(records) + 1} {
					if _, _, err := checkWith(p.codec, p.pack(raw), other, 64<<20, 64<<20); !errors.Is(err, ErrCount) {
						t.Errorf("a count of %d: %v", other, err)
					}
				}
			})
		}
	}
}

func TestRecordsThatNobodyCouldReadAreRefused(t *testing.T) {
	good := testRecord{value: []byte("value"), key: []byte("key")}.append(nil)
	second := testRecord{delta: 1}.append(nil)
	bent := func(at int, v byte) []byte {
		b := bytes.Clone(good)
		b[at] = v
		return append(b, second...)
	}
	for name, raw := range map[string][]byte{
		"nothing":                    nil,
		"rubbish":                    []byte("rubbish rubbish rubbish"),
		"only one":                   good,
		"a third":                    append(append(bytes.Clone(good), second...), second...),
		"bytes behind":               append(append(bytes.Clone(good), second...), 0),
		"cut":                        append(bytes.Clone(good), second[:len(second)-1]...),
		"both numbered 0":            append(bytes.Clone(good), good...),
		"first numbered 1":           append(bytes.Clone(second), good...),
		"length 0":                   bent(0, 0),
		"length negative":            bent(0, 3),
		"length too short":           bent(0, good[0]-2),
		"length too long":            bent(0, good[0]+2),
		"key too long":               bent(4, 40),
		"key of -2":                  bent(4, 3),
		"value too long":             bent(8, 40),
		"value of -2":                bent(8, 3),
		"headers that are not there": bent(14, 4),
		"headers of -1":              bent(14, 1),
		"value too short":            bent(8, 8),
		"null header name":           append(testRecord{headers: [][2][]byte{{nil, nil}}}.append(nil), second...),
		"a byte behind the headers":  append(append([]byte{good[0] + 2}, append(bytes.Clone(good[1:]), 0)...), second...),
		"length without end":         bytes.Repeat([]byte{0xff}, 40),
	} {
		for _, p := range packers {
			if _, _, err := checkWith(p.codec, p.pack(raw), 2, 1<<20, 1<<20); err == nil {
				t.Errorf("%s, %s: taken", name, p.name)
			}
		}
	}
}

// without is b with bits taken out of a byte.
func without(b []byte, at int, bits byte) []byte {
	b[at] &^= bits
	return b
}

func TestALongRecordThatClaimsMoreThanMayComeIsRefusedAtOnce(t *testing.T) {
	claims := binary.AppendVarint(nil, 20<<20)
	raw := append(claims, make([]byte, 2<<20)...)
	for _, w := range []Walker{&Check{count: 1}, &Seek{Ms: 1}} {
		n, err := Walk(w, CodecNone, raw, 8<<20, OrdinaryBytes)
		if !errors.Is(err, ErrUnpacked) || n > 2*OrdinaryBytes {
			t.Errorf("%T: %d bytes were looked at, %v", w, n, err)
		}
	}
}

func TestCompressionThatNotAllReadersReadIsRefused(t *testing.T) {
	raw := testRecord{value: bytes.Repeat([]byte("abcdefgh"), 4000)}.append(nil)
	pack := func(codec int) []byte {
		for _, p := range packers {
			if p.codec == codec {
				return p.pack(raw)
			}
		}
		return nil
	}
	twice := func(codec int, whole []byte) []byte {
		a, b := whole[:len(whole)/2], whole[len(whole)/2:]
		packA, packB := bytes.Clone(a), bytes.Clone(b)
		for _, p := range packers {
			if p.codec == codec {
				packA, packB = p.pack(a), p.pack(b)
				break
			}
		}
		return append(packA, packB...)
	}
	for name, c := range map[string]struct {
		codec  int
		packed []byte
	}{
		"gzip rubbish":                     {CodecGzip, []byte("rubbish rubbish rubbish")},
		"snappy rubbish":                   {CodecSnappy, bytes.Repeat([]byte{0xff}, 40)},
		"lz4 rubbish":                      {CodecLZ4, []byte("rubbish rubbish rubbish")},
		"zstd rubbish":                     {CodecZstd, []byte("rubbish rubbish rubbish")},
		"gzip cut":                         {CodecGzip, pack(CodecGzip)[:40]},
		"snappy cut":                       {CodecSnappy, pack(CodecSnappy)[:40]},
		"lz4 cut":                          {CodecLZ4, pack(CodecLZ4)[:40]},
		"zstd cut":                         {CodecZstd, pack(CodecZstd)[:20]},
		"gzip within gzip":                 {CodecGzip, packers[1].pack(pack(CodecGzip))},
		"gzip, bytes behind":               {CodecGzip, append(pack(CodecGzip), "behind"...)},
		"gzip in two members":              {CodecGzip, twice(CodecGzip, raw)},
		"lz4, bytes behind":                {CodecLZ4, append(pack(CodecLZ4), "behind"...)},
		"lz4 in two frames":                {CodecLZ4, twice(CodecLZ4, raw)},
		"zstd, bytes behind":               {CodecZstd, append(pack(CodecZstd), "behind"...)},
		"snappy, bytes behind":             {CodecSnappy, append(pack(CodecSnappy), "behind"...)},
		"snappy frame without it":          {CodecSnappy, inFrames(raw, 1<<20)[:30]},
		"snappy's superset s2":             {CodecSnappy, s2.EncodeBest(nil, raw)},
		"lz4 blocks that depend on others": {CodecLZ4, without(pack(CodecLZ4), 4, lz4Independent)},
		"unknown codec":                    {5, raw},
	} {
		_, _, err := checkWith(c.codec, c.packed, 1, 1<<20, 1<<20)
		if err == nil || strings.Contains(name, "depend") && !strings.Contains(err.Error(), "depend") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatGrowsBeyondItsLimitIsRefusedInLittleMemory(t *testing.T) {
	zeros := make([]byte, 40<<20)
	one := testRecord{value: zeros}.append(nil)
	var many []byte
	for i := range 40 << 10 {
		many = testRecord{delta: i, value: zeros[:1000]}.append(many)
	}
	for _, p := range packers {
		if p.codec == CodecNone {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			packedOne, packedMany := p.pack(one), p.pack(many)
			if _, _, err := checkWith(p.codec, packedOne, 1, 8<<20, OrdinaryBytes); !errors.Is(err, ErrUnpacked) && !errors.Is(err, ErrMemory) {
				t.Errorf("one of 40 MiB, limit 8 MiB: %v", err)
			}
			if _, _, err := checkWith(p.codec, packedOne, 1, 64<<20, OrdinaryBytes); err != nil && !errors.Is(err, ErrMemory) {
				t.Errorf("one of 40 MiB: %v", err)
			}
			if _, _, err := checkWith(p.codec, packedOne, 1, 64<<20, 64<<20); err != nil {
				t.Errorf("one of 40 MiB, with memory: %v", err)
			}
			if _, _, err := checkWith(p.codec, packedMany, 40<<10, 8<<20, 64<<20); !errors.Is(err, ErrUnpacked) && !errors.Is(err, ErrMemory) {
				t.Errorf("40 MiB of 1 KiB each, limit 8 MiB: %v", err)
			}
			allocated := testing.AllocsPerRun(1, func() {
				_, _, err := checkWith(p.codec, packedMany, 40<<10, 64<<20, OrdinaryBytes)
				if errors.Is(err, ErrMemory) && p.name == "snappy block" {
					err = nil // one block: it can't be had in pieces
				}
				if err != nil {
					t.Errorf("40 MiB of 1 KiB each: %v", err)
				}
			})
			if allocated > 100 {
				t.Errorf("%v allocations", allocated)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, _ = checkWith(p.codec, packedOne, 1, 64<<20, OrdinaryBytes)
			_, _, _ = checkWith(p.codec, packedMany, 40<<10, 64<<20, OrdinaryBytes)
			if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 4<<20 {
				t.Errorf("%d bytes for twice 40 MiB", after.TotalAlloc-before.TotalAlloc)
			}
		})
	}
}

func TestAZstdWindowBeyondTheOrdinaryTakesAllowedMemory(t *testing.T) {
	var raw []byte
	for i := range 3000 {
		raw = testRecord{delta: i, value: bytes.Repeat([]byte{byte(i)}, 1000)}.append(raw)
	}
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, zstd.WithWindowSize(32<<20), zstd.WithEncoderConcurrency(1))
	mustEnd(err)
	must(w.Write(raw))
	mustEnd(w.Close())
	if _, _, err := checkWith(CodecZstd, b.Bytes(), 3000, 64<<20, OrdinaryBytes); !errors.Is(err, ErrMemory) {
		t.Errorf("without: %v", err)
	}
	if _, _, err := checkWith(CodecZstd, b.Bytes(), 3000, 64<<20, 64<<20); err != nil {
		t.Errorf("with: %v", err)
	}
}

func TestSeekFindsTheFirstRecordThatIsLateEnough(t *testing.T) {
	times := []int64{0, 500, 300, 900, 400, 900}
	var raw []byte
	for i, ms := range times {
		raw = testRecord{ms: ms, delta: i, value: bytes.Repeat([]byte("v"), 40_000)}.append(raw)
	}
	for _, p := range packers {
		for _, c := range []struct {
			number int32
			ms     int64
			at     int32
		}{{0, 0, 0}, {0, 1000, 0}, {0, 1001, 1}, {2, 1001, 2}, {2, 1301, 3}, {4, 1301, 4}, {4, 1401, 5}, {0, 1901, -1}, {6, 0, -1}} {
			s := Seek{BaseMs: 1000, Number: c.number, Ms: c.ms}
			_, err := Walk(&s, p.codec, p.pack(raw), 64<<20, OrdinaryBytes)
			if s.Found != (c.at >= 0) || s.Found && (s.At != c.at || s.TimeMs != 1000+times[c.at]) || err != nil && !errors.Is(err, ErrMemory) {
				t.Errorf("%s, from %d at or after %d: %+v, %v", p.name, c.number, c.ms, s, err)
			}
		}
	}
}

// Pieces of any size come to the same verdict as the whole, and a record that was
// found good can be decoded.
func FuzzCheck(f *testing.F) {
	seed := testRecord{value: []byte("value"), key: []byte("key"), headers: [][2][]byte{{[]byte("a"), nil}}}.append(nil)
	f.Add(testRecord{ms: 300, delta: 1}.append(seed), 2, 7)
	f.Add([]byte("rubbish"), 3, 1)
	f.Fuzz(func(t *testing.T, raw []byte, count, piece int) {
		count, piece = count&0xff, 1+piece&0x3f
		whole := NewCheck(int32(count), 0)
		used, err := whole.Records(raw)
		if err == nil {
			err = whole.End(len(raw) - used)
		}
		pieces := NewCheck(int32(count), 0)
		at, bad := 0, error(nil)
		for end := 0; bad == nil && end < len(raw); {
			end = min(end+piece, len(raw))
			n := 0
			n, bad = pieces.Records(raw[at:end])
			at += n
		}
		if bad == nil {
			bad = pieces.End(len(raw) - at)
		}
		stretched := NewCheck(int32(count), 0)
		in := inspector{buf: make([]byte, piece)} // nearly all records are long ones
		_, strange := in.walk(&stretched, iotest.OneByteReader(bytes.NewReader(raw)), len(raw))
		if (err == nil) != (strange == nil) || err == nil && (whole.Latest() != stretched.Latest() || whole.Oldest() != stretched.Oldest()) {
			t.Fatalf("whole: %v, in %d bytes of memory: %v", err, piece, strange)
		}
		if (err == nil) != (bad == nil) || err == nil && (whole.Latest() != pieces.Latest() || whole.Oldest() != pieces.Oldest()) {
			t.Fatalf("whole: %v, in pieces of %d: %v", err, piece, bad)
		}
		if err != nil {
			return
		}
		faults := func(buf int) []Fault {
			f := NewFaults(int32(count), 0, true, 0, 1000, 100)
			in := inspector{buf: make([]byte, buf)}
			if _, err := in.walk(&f, bytes.NewReader(raw), len(raw)); err != nil {
				t.Fatalf("what is at fault in a good batch: %v", err)
			}
			return f.Found
		}
		if whole, stretched := faults(1+len(raw)), faults(piece); !slices.Equal(whole, stretched) {
			t.Fatalf("at fault: %v, in %d bytes of memory: %v", whole, piece, stretched)
		}
		r := NewRecords(raw)
		var rec Record
		for i := range count {
			if ok, err := r.Next(&rec); !ok || err != nil || int(rec.OffsetDelta) != i {
				t.Fatalf("record %d: %v, %v, numbered %d", i, ok, err, rec.OffsetDelta)
			}
			for h := rec.Headers; h.Count > 0; {
				if _, _, ok := h.Next(); !ok {
					t.Fatalf("record %d: a header can't be read", i)
				}
			}
		}
	})
}

func FuzzWalk(f *testing.F) {
	raw := testRecord{value: []byte("value")}.append(nil)
	for _, p := range packers {
		f.Add(p.codec, p.pack(raw))
	}
	f.Fuzz(func(t *testing.T, codec int, packed []byte) {
		codec &= 7
		c, n, err := checkWith(codec, packed, 1, 1<<20, 1<<20)
		if err != nil {
			return
		}
		out, err := Unpack(nil, codec, packed, MaxUnpackedBytes)
		if err != nil || len(out) != n {
			t.Fatalf("%s found good: unpacked to %d of %d bytes, %v", codecNames[codec], len(out), n, err)
		}
		var rec Record
		r := NewRecords(out)
		if ok, err := r.Next(&rec); !ok || err != nil || c.Latest() != max(NoTime, 1000+rec.TimestampDelta) {
			t.Fatalf("%v, %v, %+v", ok, err, rec)
		}
	})
}

func TestUnpackStopsAtItsLimit(t *testing.T) {
	var small, large []byte
	for i := range 900 {
		small = testRecord{delta: i, value: bytes.Repeat([]byte{byte(i)}, 1000)}.append(small)
	}
	large = testRecord{value: make([]byte, 4<<20)}.append(nil)
	wide := func(raw []byte) []byte {
		var b bytes.Buffer
		w, err := zstd.NewWriter(&b, zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
		mustEnd(err)
		for len(raw) > 0 {
			n := min(len(raw), 100_000)
			must(w.Write(raw[:n]))
			mustEnd(w.Flush())
			raw = raw[n:]
		}
		mustEnd(w.Close())
		return b.Bytes()
	}
	for _, p := range append(packers, struct {
		name  string
		codec int
		pack  func([]byte) []byte
	}{"zstd, wide window", CodecZstd, wide}) {
		if p.codec == CodecNone {
			continue
		}
		for _, limit := range []int{OrdinaryBytes, MaxUnpackedBytes} {
			if got, err := Unpack(nil, p.codec, p.pack(small), limit); err != nil || !bytes.Equal(got, small) {
				t.Errorf("%s, limit %d: a small one: %d bytes, %v", p.name, limit, len(got), err)
			}
			got, err := Unpack(nil, p.codec, p.pack(large), limit)
			if limit == OrdinaryBytes && (!errors.Is(err, ErrUnpacked) || cap(got) > 4*limit) || limit > OrdinaryBytes && (err != nil || !bytes.Equal(got, large)) {
				t.Errorf("%s, limit %d: a large one: %d bytes of memory, %v", p.name, limit, cap(got), err)
			}
		}
	}
}
