package batch

import (
	"bytes"
	"errors"
	"testing"
)

// sealed is a whole batch around some records.
func sealed(records string, h Header) Batch {
	b := Batch(append(make([]byte, HeaderBytes), records...))
	b.Seal(h)
	return b
}

func sample() Batch {
	return sealed("records", Header{Attributes: Transactional | 4, LastOffsetDelta: 6, BaseTimestamp: 1000, MaxTimestamp: 2000,
		ProducerID: 9, ProducerEpoch: 3, BaseSequence: 77, Count: 7})
}

func TestHeaderFieldsComeBack(t *testing.T) {
	b := sample()
	b.SetBaseOffset(1 << 40)
	b.SetEpoch(5)
	if err := b.Check(); err != nil {
		t.Fatal("offset and epoch lie outside the checksum:", err)
	}
	for name, ok := range map[string]bool{
		"base offset": b.BaseOffset() == 1<<40, "epoch": b.Epoch() == 5, "last offset": b.LastOffset() == 1<<40+6,
		"codec": b.Codec() == 4, "transactional": b.IsTransactional(), "control": !b.IsControl(),
		"times": b.BaseTimestamp() == 1000 && b.MaxTimestamp() == 2000, "count": b.Count() == 7,
		"producer": b.ProducerID() == 9 && b.ProducerEpoch() == 3 && b.BaseSequence() == 77,
		"records":  string(b.Records()) == "records", "size": b.SizeBytes() == len(b),
	} {
		if !ok {
			t.Errorf("%s is not what was written", name)
		}
	}
}

func TestCheckFindsEachKindOfDamage(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(Batch) Batch
		want error
	}{
		"whole":             {func(b Batch) Batch { return b }, nil},
		"shorter header":    {func(b Batch) Batch { return b[:HeaderBytes-1] }, ErrShort},
		"cut records":       {func(b Batch) Batch { return b[:len(b)-1] }, ErrLength},
		"bytes behind":      {func(b Batch) Batch { return append(b, 0) }, ErrLength},
		"old magic":         {func(b Batch) Batch { b[16] = 1; return b }, ErrMagic},
		"a record's bit":    {func(b Batch) Batch { b[len(b)-1] ^= 1; return b }, ErrCRC},
		"a checksum's bit":  {func(b Batch) Batch { b[17] ^= 1; return b }, ErrCRC},
		"more than offsets": {func(b Batch) Batch { return sealed("r", Header{Count: 3, LastOffsetDelta: 1}) }, ErrCount},
		"negative delta":    {func(b Batch) Batch { return sealed("r", Header{LastOffsetDelta: -1}) }, ErrCount},
		"fewer than offsets": {func(b Batch) Batch { return sealed("r", Header{Count: 1, LastOffsetDelta: 5}) },
			nil}, // what a compaction leaves
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.harm(bytes.Clone(sample())).Check(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func FuzzBatch(f *testing.F) {
	f.Add([]byte(sample()))
	f.Add([]byte(append(bytes.Clone(sample()), sample()...)))
	f.Add(make([]byte, HeaderBytes))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		for rest := data; len(rest) > 0; {
			b, next, err := Next(rest)
			if err != nil {
				return
			}
			if len(b) < HeaderBytes || len(b)+len(next) != len(rest) {
				t.Fatalf("cut %d of %d bytes, %d left", len(b), len(rest), len(next))
			}
			if b.Check() == nil && (b.Count() < 0 || b.LastOffsetDelta() < 0) {
				t.Fatal("a checked batch has negative numbers")
			}
			total += len(b)
			rest = next
		}
		if total != len(data) {
			t.Fatal("bytes were lost")
		}
	})
}
