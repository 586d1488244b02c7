package kafka

import (
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

// What is taken can be read by every client: one whole batch, its checksum right, and
// its records as many, numbered and timed as the header says.
func FuzzCheckBatch(f *testing.F) {
	f.Add([]byte(makeBatch(nil, "a", "b")))
	for codec := message.CodecGzip; codec <= message.CodecZstd; codec++ {
		f.Add([]byte(packBatch(codec, nil, "a", "b")))
	}
	f.Add([]byte("short"))
	set := testSettings()
	f.Fuzz(func(t *testing.T, records []byte) {
		if b, _, err := batch.Next(records); err == nil {
			seal(b) // or nothing would be found behind the checksum
		}
		b, code, _ := anArrival().check(records, set)
		if code != wire.None {
			return
		}
		if err := b.Check(); err != nil || len(b) != len(records) {
			t.Fatalf("took %x: %v", records, err)
		}
		raw, err := message.Unpack(nil, b.Codec(), b.Records(), message.MaxUnpackedBytes)
		if err != nil {
			t.Fatalf("took %x: %v", records, err)
		}
		latest, n := int64(message.NoTime), int32(0)
		r := message.NewRecords(raw)
		var rec message.Record
		for {
			more, err := r.Next(&rec)
			if err != nil || more && rec.OffsetDelta != n {
				t.Fatalf("took %x: record %d: %v", records, n, err)
			}
			if !more {
				break
			}
			n++
			latest = max(latest, b.BaseTimestamp()+rec.TimestampDelta)
		}
		if n != b.Count() || latest != b.MaxTimestamp() {
			t.Fatalf("took %x: %d records until %d, the header says %d until %d", records, n, latest, b.Count(), b.MaxTimestamp())
		}
	})
}

// Whatever an old producer's message holds, as a set or packed, becomes a batch that can be read, or is refused.
func FuzzUpConvert(f *testing.F) {
	inner := oldMessage(0, 0, 0, 1, []byte("k"), []byte("v"))
	for codec := message.CodecNone; codec <= message.CodecZstd; codec++ {
		packed := inner
		if codec != message.CodecNone {
			packed = pack(codec, inner)
		}
		f.Add(byte(0), byte(codec), packed)
		f.Add(byte(1), byte(codec), packed)
	}
	set := testSettings()
	f.Fuzz(func(t *testing.T, magic, attributes byte, value []byte) {
		a := anArrival()
		a.version = 2
		b, code, why := a.check(oldMessage(int8(magic&1), int8(attributes&0xf), 0, 1, nil, value), set)
		defer a.release()
		if code != wire.None {
			if why == "" {
				t.Error("refused without a reason")
			}
			return
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		raw, err := message.Unpack(nil, b.Codec(), b.Records(), message.MaxUnpackedBytes)
		if err != nil {
			t.Fatal(err)
		}
		r := message.NewRecords(raw)
		var rec message.Record
		for n := int32(0); n < b.Count(); n++ {
			if more, err := r.Next(&rec); err != nil || !more || rec.OffsetDelta != n {
				t.Fatalf("record %d of %d: %v %v", n, b.Count(), more, err)
			}
		}
	})
}
