package message

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// keysOf is what Keys tells of a batch's records.
func keysOf(codec int, packed []byte) (out []Keyed, err error) {
	k := Keys{Each: func(r *Keyed) { out = append(out, *r) }}
	_, err = Walk(&k, codec, packed, MaxUnpackedBytes, OrdinaryBytes)
	return out, err
}

func digest(key []byte) (d KeyDigest) {
	sum := sha256.Sum256(key)
	copy(d[:], sum[:])
	return d
}

// TestKeysTellsOfEachRecord also of those that are longer than what is in memory at a time, in every codec.
func TestKeysTellsOfEachRecord(t *testing.T) {
	long := bytes.Repeat([]byte("long"), OrdinaryBytes)
	records := []Record{
		{Key: []byte("a"), Value: []byte("1")},
		{Key: nil, Value: []byte("2"), TimestampDelta: 5},
		{Key: []byte{}, Value: nil},
		{Key: []byte("b"), Value: long},
		{Key: long, Value: nil, TimestampDelta: -70_000},
		{Key: long[1:], Value: []byte{}},
		{Key: nil, Value: long},
		{Key: []byte("c"), Value: []byte("9")},
	}
	var b Builder
	for i := range records {
		b.AddRecord(&records[i], records[i].TimestampDelta)
	}
	for codec := CodecNone; codec <= CodecZstd; codec++ {
		packed, err := Pack(nil, codec, b.buf[61:])
		if err != nil {
			t.Fatal(err)
		}
		back, err := Unpack(nil, codec, packed, MaxUnpackedBytes)
		if err != nil || !bytes.Equal(back, b.buf[61:]) {
			t.Errorf("codec %d: what is packed comes back as %d bytes, %v", codec, len(back), err)
		}
		got, err := keysOf(codec, packed)
		if err == ErrMemory { // one block of snappy
			continue
		}
		if err != nil || len(got) != len(records) {
			t.Fatalf("codec %d: %d records, %v", codec, len(got), err)
		}
		for i, r := range records {
			want := Keyed{Number: int32(i), TimeMs: r.TimestampDelta, HasKey: r.Key != nil, HasValue: r.Value != nil}
			if want.HasKey {
				want.Digest = digest(r.Key)
			}
			if got[i] != want {
				t.Errorf("codec %d: record %d is %+v, want %+v", codec, i, got[i], want)
			}
		}
	}
}

// TestAppendKeptLeavesRecordsAsTheyAre but for the time that they count from.
func TestAppendKeptLeavesRecordsAsTheyAre(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var b Builder
		var list []Record
		for i := range 1 + rng.IntN(20) {
			r := Record{TimestampDelta: rng.Int64N(1<<40) - 1<<39, OffsetDelta: int32(i), Key: fmt.Append(nil, "key", i), Value: bytes.Repeat([]byte("v"), rng.IntN(300)),
				Headers: Headers{1, []byte{2, 'h', 2, byte('0' + i%10)}}}
			if i == 0 {
				r.TimestampDelta = 0
			}
			list = append(list, r)
			b.AddRecord(&r, r.TimestampDelta)
		}
		keep := make([]bool, len(list))
		for i := range keep {
			keep[i] = rng.IntN(2) == 0
		}
		shift := []int64{0, 1, -1, 1 << 41, -(1 << 41)}[rng.IntN(5)]
		prefix := []byte("before")
		out, err := AppendKept(slices.Clone(prefix), b.buf[61:], shift, func(place int) bool { return keep[place] })
		if err != nil || !bytes.HasPrefix(out, prefix) {
			t.Fatal(err)
		}
		records := NewRecords(out[len(prefix):])
		var rec Record
		for i, r := range list {
			if !keep[i] {
				continue
			}
			more, err := records.Next(&rec)
			if err != nil || !more || rec.TimestampDelta != r.TimestampDelta-shift || rec.OffsetDelta != r.OffsetDelta || !bytes.Equal(rec.Key, r.Key) || !bytes.Equal(rec.Value, r.Value) ||
				rec.Headers.Count != 1 || !bytes.Equal(rec.Headers.Raw, r.Headers.Raw) {
				t.Fatalf("record %d is %+v, %v %v, want %+v", i, rec, more, err, r)
			}
		}
		if records.Len() != 0 {
			t.Error("there are more")
		}
	}
}

// FuzzKeys holds that nothing makes Keys or AppendKept fail otherwise than with an error, and that they do what they say with all that
// Check lets in.
func FuzzKeys(f *testing.F) {
	var b Builder
	for i := range 3 {
		b.AddRecord(&Record{Key: []byte{byte(i)}, Value: []byte("value")}, int64(i))
	}
	f.Add(b.buf[61:], int64(7))
	f.Add([]byte{12, 0, 0, 0, 1, 1, 0}, int64(-1))
	f.Add(binary.AppendVarint(nil, 1<<40), int64(0))
	f.Fuzz(func(t *testing.T, raw []byte, shift int64) {
		var seen []Keyed
		k := Keys{Each: func(r *Keyed) { seen = append(seen, *r) }}
		used, err := k.Records(raw)
		if used > len(raw) || used < 0 {
			t.Fatal("more than there is")
		}
		if err != nil || k.End(len(raw)-used) != nil {
			return
		}
		check := NewCheck(int32(len(seen)), 0)
		if n, err := check.Records(raw); err != nil || check.End(len(raw)-n) != nil {
			return // it would not have been stored
		}
		kept, err := AppendKept(nil, raw, shift, func(int) bool { return true })
		if err != nil {
			t.Fatalf("Keys takes what AppendKept does not: %v", err)
		}
		var again []Keyed
		k.Each = func(r *Keyed) { again = append(again, *r) }
		if used, err = k.Records(kept); err != nil || used != len(kept) || len(again) != len(seen) {
			t.Fatalf("%d records, %d of %d bytes, %v", len(again), used, len(kept), err)
		}
		for i := range seen {
			seen[i].TimeMs -= shift
			if seen[i] != again[i] {
				t.Fatalf("%+v became %+v", seen[i], again[i])
			}
		}
		all, err := AppendKept(nil, raw, 0, func(int) bool { return true })
		if err != nil || !bytes.Equal(all, raw) {
			t.Fatal("kept all, and it is not the same")
		}
	})
}
