package kafkaload

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTemplateIsAValidBatchUnderEveryNumber(t *testing.T) {
	for _, c := range []struct{ valueBytes, batchBytes int }{{12, 2048}, {100, 64 << 10}, {1024, 512 << 10}, {5000, 2048}} {
		tpl, err := NewTemplate(c.valueBytes, c.batchBytes, 1_700_000_000_000)
		if err != nil {
			t.Fatal(err)
		}
		if len(tpl.Bytes) > c.batchBytes && tpl.Records > 1 {
			t.Errorf("%+v: %d bytes", c, len(tpl.Bytes))
		}
		for _, n := range []uint32{0, 1, 255, 1 << 31} {
			tpl.Number(n, 12345)
			b, rest, err := batch.Next(tpl.Bytes)
			if err == nil {
				err = b.Check()
			}
			if err != nil || len(rest) != 0 || b.Count() != int32(tpl.Records) {
				t.Fatalf("%+v, number %d: %v, %d bytes behind it, %d records of %d", c, n, err, len(rest), b.Count(), tpl.Records)
			}
		}
	}
}

// The records must be what an independent codec reads, each with its index in front and
// the batch's number at the end of the last.
func TestTemplateRecordsAsAnotherCodecReadsThem(t *testing.T) {
	const size, number = 100, 77
	tpl, err := NewTemplate(size, 20_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	tpl.Number(number, 0)
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(tpl.Bytes); err != nil {
		t.Fatal(err)
	}
	if got := crc32.Checksum(tpl.Bytes[crcFrom:], castagnoli); uint32(rb.CRC) != got {
		t.Fatalf("checksum %x, computed %x", uint32(rb.CRC), got)
	}
	rest := rb.Records
	var values int
	for i := range tpl.Records {
		length, n := binary.Varint(rest)
		whole := rest[:n+int(length)]
		var r kmsg.Record
		if err := r.ReadFrom(whole); err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		if r.OffsetDelta != int32(i) || len(r.Value) != size || r.Key != nil || len(r.Headers) != 0 {
			t.Fatalf("record %d: delta %d, value of %d bytes, key %v, %d headers", i, r.OffsetDelta, len(r.Value), r.Key, len(r.Headers))
		}
		if got := binary.LittleEndian.Uint64(r.Value); got != uint64(i) {
			t.Fatalf("record %d begins with %d", i, got)
		}
		if i == tpl.Records-1 && binary.LittleEndian.Uint64(r.Value[size-8:]) != number {
			t.Fatal("the last record does not end with the batch's number")
		}
		rest = rest[len(whole):]
	}
	if len(rest) != 0 {
		t.Fatalf("%d bytes behind the records", len(rest))
	}
	err = eachValue(tpl.Bytes, func(v []byte) error {
		if len(v) != size || binary.LittleEndian.Uint64(v) != uint64(values) {
			t.Fatalf("value %d: %d bytes", values, len(v))
		}
		values++
		return nil
	})
	if err != nil || values != tpl.Records {
		t.Fatalf("%d values, %v", values, err)
	}
}

func TestStampedTemplateIsAValidBatchOfStamps(t *testing.T) {
	for _, c := range []struct{ valueBytes, batchBytes int }{{12, 2048}, {100, 64 << 10}, {5000, 2048}} {
		tpl, err := NewTemplate(c.valueBytes, c.batchBytes, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, first := range []uint64{0, 1000} {
			tpl.Stamp(first, 77)
			b, _, err := batch.Next(tpl.Bytes)
			if err == nil {
				err = b.Check()
			}
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			next := first
			err = eachValue(tpl.Bytes, func(v []byte) error {
				if seq, micros := measure.Stamp(v); seq != next || micros != 77 || len(v) != c.valueBytes {
					t.Fatalf("%+v: record %d has sequence %d, time %d, %d bytes", c, next, seq, micros, len(v))
				}
				next++
				return nil
			})
			if err != nil || next != first+uint64(tpl.Records) {
				t.Fatalf("%+v: up to %d, %v", c, next, err)
			}
		}
	}
}

func TestTemplateRefusesValuesWithoutRoom(t *testing.T) {
	if _, err := NewTemplate(11, 4096, 0); err == nil {
		t.Fatal("a value of 11 bytes was taken")
	}
}

func FuzzEachValue(f *testing.F) {
	tpl, err := NewTemplate(20, 2048, 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tpl.Bytes)
	f.Add(make([]byte, batchHeaderBytes))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if len(b) >= batchHeaderBytes {
			_ = eachValue(b, func([]byte) error { return nil }) // must not panic
		}
	})
}
