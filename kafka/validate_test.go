package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang/snappy"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

func testSettings() *broker.Settings {
	return &broker.Settings{MaxBatchBytes: 1 << 20, TimeBeforeMs: math.MaxInt64, TimeAfterMs: 3600_000}
}

var testNow = time.UnixMilli(time.Now().UnixMilli())

func anArrival() *arrival {
	return &arrival{now: testNow, version: 9, memory: budget.New(budget.Options{}).Open(), wide: make(wide, 1)}
}

// seal makes a batch's checksum right.
func seal(b batch.Batch) {
	if len(b) >= batch.HeaderBytes {
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	}
}

func pack(codec int, raw []byte) []byte {
	var b bytes.Buffer
	switch codec {
	case message.CodecGzip:
		w := gzip.NewWriter(&b)
		w.Write(raw)
		w.Close()
	case message.CodecSnappy:
		return snappy.Encode(nil, raw)
	case message.CodecLZ4:
		w := lz4.NewWriter(&b)
		w.Write(raw)
		w.Close()
	case message.CodecZstd:
		w, _ := zstd.NewWriter(nil)
		defer w.Close()
		return w.EncodeAll(raw, nil)
	default:
		return raw
	}
	return b.Bytes()
}

// packBatch is makeBatch with compressed records.
func packBatch(codec int, edit func(*batch.Header), values ...string) batch.Batch {
	plain := makeBatch(nil, values...)
	return sealed(codec, pack(codec, plain.Records()), len(values), edit)
}

// sealed is a batch of codec whose header promises count records, whatever packed is.
func sealed(codec int, packed []byte, count int, edit func(*batch.Header)) batch.Batch {
	b := batch.Batch(append(make([]byte, batch.HeaderBytes), packed...))
	now := time.Now().UnixMilli()
	h := batch.Header{Attributes: int16(codec), LastOffsetDelta: int32(count - 1), Count: int32(count), BaseTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
	if edit != nil {
		edit(&h)
	}
	b.Seal(h)
	return b
}

// timed is a batch of records with these times; claim is the header's MaxTimestamp.
func timed(codec int, claim int64, edit func(*batch.Header), times ...int64) batch.Batch {
	var raw []byte
	for i, ms := range times {
		body := binary.AppendVarint([]byte{0}, ms-times[0])
		body = binary.AppendVarint(body, int64(i))
		body = append(body, 1, 0, 0)
		raw = append(binary.AppendVarint(raw, int64(len(body))), body...)
	}
	return sealed(codec, pack(codec, raw), len(times), func(h *batch.Header) {
		h.BaseTimestamp, h.MaxTimestamp = times[0], claim
		if edit != nil {
			edit(h)
		}
	})
}

func everyCodec(t *testing.T, test func(t *testing.T, codec int)) {
	for codec := message.CodecNone; codec <= message.CodecZstd; codec++ {
		t.Run(fmt.Sprint("codec ", codec), func(t *testing.T) { test(t, codec) })
	}
}

func TestABatchCantPromiseMoreRecordsThanItCanHold(t *testing.T) {
	for _, trust := range []bool{false, true} {
		a := anArrival()
		a.trust = trust
		b := sealed(message.CodecSnappy, make([]byte, 10), math.MaxInt32, nil)
		if _, code, why := a.check(b, testSettings()); code != wire.InvalidRecord {
			t.Errorf("got %d %s", code, why)
		}
	}
}

func TestTheLatestTimeIsWhatTheRecordsSay(t *testing.T) {
	now := testNow.UnixMilli()
	everyCodec(t, func(t *testing.T, codec int) {
		for _, claim := range []int64{-1, 0, now - 9*3600_000, now + 600_000, now + 48*3600_000, now - 1000, math.MaxInt64, math.MinInt64} {
			r := testSettings()
			b, code, why := anArrival().check(timed(codec, claim, nil, now-3000, now-1000, now-2000), r)
			if code != wire.None {
				t.Fatalf("claim %d: %d %s", claim, code, why)
			}
			if err := b.Check(); err != nil || b.MaxTimestamp() != now-1000 || b.BaseTimestamp() != now-3000 {
				t.Errorf("claim now%+d: latest now%+d, %v", claim-now, b.MaxTimestamp()-now, err)
			}
		}
		r := testSettings()
		if b, code, _ := anArrival().check(timed(codec, now, nil, -1, -1), r); code != wire.None || b.MaxTimestamp() != message.NoTime {
			t.Errorf("records without a time: code %d, latest %d", code, b.MaxTimestamp())
		}
	})
}

func TestTimesFarFromTheBrokersAreRefused(t *testing.T) {
	now := testNow.UnixMilli()
	const hour = 3600_000
	for _, c := range []struct {
		name          string
		before, after int64
		times         []int64
		want          wire.Code
	}{
		{"an hour ahead", math.MaxInt64, int64(3600_000), []int64{now, now + hour}, wire.None},
		{"more than an hour ahead", math.MaxInt64, int64(3600_000), []int64{now, now + hour + 1, now}, wire.InvalidTimestamp},
		{"two days ahead, as allowed", math.MaxInt64, 48 * hour, []int64{now + 48*hour}, wire.None},
		{"any time ahead", math.MaxInt64, math.MaxInt64, []int64{math.MaxInt64}, wire.None},
		{"from 1970", math.MaxInt64, int64(3600_000), []int64{0, now}, wire.None},
		{"from before 1970", math.MaxInt64, int64(3600_000), []int64{-1000, now}, wire.None},
		{"an hour ago, as allowed", hour, int64(3600_000), []int64{now - hour, now}, wire.None},
		{"more than an hour ago", hour, int64(3600_000), []int64{now, now - hour - 1, now}, wire.InvalidTimestamp},
		{"no time", hour, int64(3600_000), []int64{-1, -1}, wire.None},
		{"the first time there is", math.MaxInt64, hour, []int64{math.MinInt64}, wire.InvalidTimestamp},
		{"beyond the last time there is", math.MaxInt64, hour, []int64{now, math.MinInt64 + now - 1}, wire.InvalidTimestamp},
	} {
		t.Run(c.name, func(t *testing.T) {
			everyCodec(t, func(t *testing.T, codec int) {
				r := testSettings()
				r.TimeBeforeMs, r.TimeAfterMs = c.before, c.after
				if _, code, why := anArrival().check(timed(codec, now, nil, c.times...), r); code != c.want {
					t.Errorf("%d %s, want %d", code, why, c.want)
				}
				r.LogAppendTime = true
				if _, code, why := anArrival().check(timed(codec, now, nil, c.times...), r); code != wire.None {
					t.Errorf("of a topic with the broker's time: %d %s", code, why)
				}
			})
		})
	}
}

func TestHeadersThatNobodyCouldMeanAreRefused(t *testing.T) {
	length := func(n uint32) []byte {
		b := makeBatch(nil, "a")
		binary.BigEndian.PutUint32(b[8:], n)
		return b
	}
	for name, c := range map[string]struct {
		b    []byte
		want wire.Code
	}{
		"a producer's epoch below none":  {makeBatch(func(h *batch.Header) { h.ProducerID, h.ProducerEpoch, h.BaseSequence = 7, -2, 0 }, "a"), wire.InvalidProducerEpoch},
		"a length below zero":            {length(0xffffffff), wire.CorruptMessage},
		"no length":                      {length(0), wire.CorruptMessage},
		"a length of less than a header": {length(batch.HeaderBytes - 13), wire.CorruptMessage},
	} {
		if _, code, why := anArrival().check(c.b, testSettings()); code != c.want || why == "" {
			t.Errorf("%s: %d %q, want %d", name, code, why, c.want)
		}
	}
}

func TestTheTopicSaysWhoseTimeABatchHas(t *testing.T) {
	now := testNow.UnixMilli()
	everyCodec(t, func(t *testing.T, codec int) {
		for _, flag := range []int16{0, batch.LogAppendTime} {
			r := testSettings()
			edit := func(h *batch.Header) { h.Attributes |= flag }
			b, code, why := anArrival().check(timed(codec, now-7, edit, now-5000, now-1000), r)
			if code != wire.None || b.Check() != nil || b.Attributes()&batch.LogAppendTime != 0 || b.MaxTimestamp() != now-1000 || b.Codec() != codec {
				t.Errorf("the producer's: %d %s, attributes %x, latest now%+d", code, why, b.Attributes(), b.MaxTimestamp()-now)
			}
			r.LogAppendTime = true
			b, code, why = anArrival().check(timed(codec, now-7, edit, now-5000, now-1000), r)
			if code != wire.None || b.Check() != nil || b.Attributes()&batch.LogAppendTime == 0 || b.MaxTimestamp() != now || b.Codec() != codec {
				t.Errorf("the broker's: %d %s, attributes %x, latest now%+d", code, why, b.Attributes(), b.MaxTimestamp()-now)
			}
		}
	})
}

func TestRecordsThatNobodyCouldReadAreNotStored(t *testing.T) {
	three := makeBatch(nil, "a", "b", "c").Records()
	everyCodec(t, func(t *testing.T, codec int) {
		bad := map[string][]byte{
			"two records of three":  pack(codec, makeBatch(nil, "a", "b").Records()),
			"four records of three": pack(codec, makeBatch(nil, "a", "b", "c", "d").Records()),
			"all numbered 0":        pack(codec, bytes.Repeat(record(0, "a"), 3)),
			"a gap":                 pack(codec, append(append(record(0, "a"), record(2, "b")...), record(3, "c")...)),
			"bytes behind":          pack(codec, append(bytes.Clone(three), 0)),
			"rubbish":               bytes.Repeat([]byte("rubbish"), 10),
			"nothing":               nil,
		}
		if codec != message.CodecNone {
			bad["cut"] = pack(codec, three)[:len(pack(codec, three))-5]
			bad["not compressed"] = three
			bad["compressed twice"] = pack(codec, pack(codec, three))
		}
		for name, packed := range bad {
			r := testSettings()
			if _, code, _ := anArrival().check(sealed(codec, packed, 3, nil), r); code != wire.InvalidRecord {
				t.Errorf("%s: %d", name, code)
			}
			trusting := &arrival{now: time.Now(), version: 9, trust: true}
			if _, code, why := trusting.check(sealed(codec, packed, 3, nil), r); codec != message.CodecNone && code != wire.None {
				t.Errorf("%s, producers trusted: %d %s", name, code, why)
			}
		}
	})
}

func TestABatchThatUnpacksToTooMuchIsTooLarge(t *testing.T) {
	everyCodec(t, func(t *testing.T, codec int) {
		if codec == message.CodecNone {
			return
		}
		a := anArrival()
		packed := pack(codec, record(0, string(make([]byte, 20<<20))))
		r := testSettings()
		if _, code, why := a.check(sealed(codec, packed, 1, nil), r); code != wire.None {
			t.Errorf("20 MiB, 64 are taken: %d %s", code, why)
		}
		r.MaxBatchBytes = 1 << 18
		b := sealed(codec, packed, 1, nil)
		if len(b) > r.MaxBatchBytes {
			r.MaxBatchBytes = len(b)
		}
		if _, code, _ := a.check(b, r); len(b) <= 1<<18 && code != wire.MessageTooLarge {
			t.Errorf("20 MiB, 16 are taken: %d", code)
		}
		if held := a.memory.Held(); held != 0 {
			t.Errorf("%d bytes of the client's memory are still held", held)
		}
	})
}

// oneBlock is a batch that can't be looked into piece by piece.
func oneBlock(size int) []byte {
	return sealed(message.CodecSnappy, pack(message.CodecSnappy, record(0, string(make([]byte, size)))), 1, nil)
}

// Who waits for its turn to unpack holds no memory meanwhile.
func TestUnpackingTakesItsMemoryWhenItIsItsTurn(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(a *arrival, gone chan struct{})
		want wire.Code
	}{
		"the turn came":   {func(a *arrival, _ chan struct{}) { a.wide.give() }, wire.None},
		"it never came":   {func(*arrival, chan struct{}) { time.Sleep(widePatience) }, wire.RequestTimedOut},
		"the client left": {func(_ *arrival, gone chan struct{}) { close(gone) }, wire.RequestTimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			large := oneBlock(20 << 20)
			fakeclock.Test(t, func(t *testing.T) {
				gone := make(patientClient)
				a := anArrival()
				a.client = gone
				_ = a.wide.take(nil)
				got := make(chan wire.Code, 1)
				go func() {
					_, code, _ := a.check(large, testSettings())
					got <- code
				}()
				synctest.Wait()
				if held := a.memory.Held(); held != 0 || len(got) > 0 {
					t.Errorf("%d bytes are held", held)
				}
				c.end(a, gone)
				if code := <-got; code != c.want {
					t.Errorf("%d, want %d", code, c.want)
				}
				if held := a.memory.Held(); held != 0 {
					t.Errorf("%d bytes stay", held)
				}
			})
		})
	}
}

type patientClient chan struct{}

func (c patientClient) patient() <-chan struct{} { return c }

func TestUnpackingWaitsForMemoryThatOthersHold(t *testing.T) {
	b := budget.New(budget.Options{Bytes: 64 << 20, Share: 64 << 20, Patience: time.Millisecond})
	other := b.Open()
	if err := other.Try(50 << 20); err != nil {
		t.Fatal(err)
	}
	a := anArrival()
	a.memory = b.Open()
	large := oneBlock(20 << 20)
	small := packBatch(message.CodecGzip, nil, "a", "b")
	r := testSettings()
	if _, code, why := a.check(large, r); code != wire.RequestTimedOut {
		t.Errorf("while others hold it: %d %s", code, why)
	}
	a.now = time.Now()
	if _, code, why := a.check(small, r); code != wire.None {
		t.Errorf("a small one: %d %s", code, why)
	}
	other.Give(50 << 20)
	if _, code, why := a.check(large, r); code != wire.None {
		t.Errorf("then: %d %s", code, why)
	}
}

func TestZstdCameWithProduceSeven(t *testing.T) {
	everyCodec(t, func(t *testing.T, codec int) {
		for version := int16(3); version <= 9; version++ {
			want := wire.None
			if codec == message.CodecZstd && version < 7 {
				want = wire.UnsupportedCompression
			}
			r := testSettings()
			a := &arrival{now: time.Now(), version: version, memory: anArrival().memory}
			if _, code, why := a.check(packBatch(codec, nil, "a"), r); code != want {
				t.Errorf("version %d: %d %s, want %d", version, code, why, want)
			}
		}
	})
}

// keyedRecord is a record with a key, or none, so much later than its batch.
func keyedRecord(delta int, key string, ms int64, value string) []byte {
	body := binary.AppendVarint([]byte{0}, ms)
	body = binary.AppendVarint(body, int64(delta))
	if key == "" {
		body = append(body, 1)
	} else {
		body = append(binary.AppendVarint(body, int64(len(key))), key...)
	}
	body = append(binary.AppendVarint(body, int64(len(value))), value...)
	return append(binary.AppendVarint(nil, int64(len(body)+1)), append(body, 0)...)
}

func TestAProducerIsToldWhichRecordsAreNotTaken(t *testing.T) {
	r := newRig(t, nil)
	r.topic("keys", 1, map[string]string{"cleanup.policy": "compact"})
	r.topic("times", 1, map[string]string{"message.timestamp.before.max.ms": "60000", "message.timestamp.after.max.ms": "60000"})
	long := strings.Repeat("long", 400_000) // comes in pieces
	for _, tc := range []struct {
		topic string
		codec int
		value string
		code  wire.Code
		want  []int32
	}{
		{"keys", message.CodecNone, "v", wire.InvalidRecord, []int32{1, 3}},
		{"keys", message.CodecGzip, "v", wire.InvalidRecord, []int32{1, 3}},
		{"keys", message.CodecZstd, long, wire.InvalidRecord, []int32{1, 3}},
		{"times", message.CodecNone, "v", wire.InvalidTimestamp, []int32{2, 3}},
		{"times", message.CodecSnappy, "v", wire.InvalidTimestamp, []int32{2, 3}},
	} {
		var raw []byte
		for i := range 4 {
			raw = append(raw, keyedRecord(i, []string{"k", "", "k", ""}[i], []int64{0, 1, 3600_000, -3600_000}[i], tc.value)...)
		}
		records := sealed(tc.codec, pack(tc.codec, raw), 4, nil)
		if tc.codec == message.CodecNone {
			records = sealed(tc.codec, raw, 4, nil)
		}
		for _, version := range []int16{7, 8, 9} {
			p := r.raw().produceIn(version, tc.topic, records)
			var got []int32
			for _, f := range p.ErrorRecords {
				if got = append(got, f.RelativeOffset); f.ErrorMessage == nil || len(*f.ErrorMessage) < 20 {
					t.Errorf("%+v", f)
				}
			}
			want := tc.want
			if version < 8 {
				want = nil
			}
			if wire.Code(p.ErrorCode) != tc.code || !slices.Equal(got, want) || (version >= 8) != (p.ErrorMessage != nil) {
				t.Errorf("%s, codec %d, version %d: %+v", tc.topic, tc.codec, version, p)
			}
		}
	}
}

func TestNoMoreRecordsAreToldThanThereIsMemoryFor(t *testing.T) {
	r := newRig(t, nil)
	r.topic("keys", 1, map[string]string{"cleanup.policy": "compact"})
	p := r.raw().produce("keys", -1, makeBatch(nil, make([]string, 5000)...))
	if p.ErrorCode != 87 || len(p.ErrorRecords) != maxFaults || p.ErrorRecords[maxFaults-1].RelativeOffset != maxFaults-1 {
		t.Errorf("%d records are told", len(p.ErrorRecords))
	}
}
