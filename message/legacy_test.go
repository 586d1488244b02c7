package message

import (
	"bytes"
	"errors"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
)

func TestMessagesOfOldFormatsComeBack(t *testing.T) {
	for magic := byte(0); magic <= 1; magic++ {
		var set []byte
		want := []Record{{Key: []byte("k"), Value: []byte("v")}, {Value: []byte{}}, {Key: []byte{}}, {}}
		for i := range want {
			before := len(set)
			set = AppendLegacy(set, &want[i], magic, int64(7+i), 1000, i == 1)
			if n := LegacyBytes(&want[i], magic); n != len(set)-before {
				t.Errorf("magic %d: %d bytes are taken for %d", magic, len(set)-before, n)
			}
		}
		for i, w := range want {
			m, rest, err := NextLegacy(set)
			if err != nil {
				t.Fatal(err)
			}
			ms := int64(NoTime)
			if magic == 1 {
				ms = 1000
			}
			if m.Offset != int64(7+i) || m.Magic != magic || m.TimestampMs != ms || !bytes.Equal(m.Key, w.Key) || !bytes.Equal(m.Value, w.Value) ||
				(m.Key == nil) != (w.Key == nil) || (m.Value == nil) != (w.Value == nil) || (m.Attributes != 0) != (magic == 1 && i == 1) {
				t.Errorf("magic %d: message %d: %+v", magic, i, m)
			}
			set = rest
		}
	}
}

func TestPackedBatchesUnpack(t *testing.T) {
	for codec := CodecNone; codec <= CodecZstd; codec++ {
		b := new(Builder)
		for range 1000 {
			b.AddRecord(&Record{Value: []byte("the same again")}, 5)
		}
		plain := bytes.Clone(b.Seal())
		packed, err := b.SealPacked(nil, codec)
		if err != nil {
			t.Fatal(err)
		}
		got := batch.Batch(packed)
		if err := got.Check(); err != nil || got.Codec() != codec || codec != CodecNone && len(packed) > len(plain)/4 {
			t.Errorf("codec %d: %v, %d bytes of %d", codec, err, len(packed), len(plain))
		}
		raw, err := Unpack(nil, codec, got.Records(), OrdinaryBytes)
		if err != nil || !bytes.Equal(raw, plain[batch.HeaderBytes:]) {
			t.Errorf("codec %d: %v, %d bytes", codec, err, len(raw))
		}
		c := NewCheck(got.Count(), got.BaseTimestamp())
		if _, err := Walk(&c, codec, got.Records(), OrdinaryBytes, OrdinaryBytes); err != nil {
			t.Errorf("codec %d: %v", codec, err)
		}
	}
	if _, err := Pack(nil, CodecZstd+1, nil); !errors.Is(err, ErrCodec) {
		t.Errorf("a codec that is not there: %v", err)
	}
}

// FuzzLegacy has any bytes be a set: what is taken becomes a batch with as many records, and back the same messages.
func FuzzLegacy(f *testing.F) {
	f.Add(AppendLegacy(nil, &Record{Key: []byte("k"), Value: []byte("v")}, 0, 1, 2, false))
	f.Add(AppendLegacy(AppendLegacy(nil, &Record{Value: []byte("v")}, 1, 1, 2, true), &Record{}, 1, 2, -1, false))
	f.Fuzz(func(t *testing.T, set []byte) {
		b := new(Builder)
		if b.AddLegacy(set) != nil || b.Len() == 0 {
			return
		}
		sealed := batch.Batch(b.Seal())
		if err := sealed.Check(); err != nil {
			t.Fatal(err)
		}
		records := NewRecords(sealed.Records())
		for i := 0; ; i++ {
			var rec Record
			more, err := records.Next(&rec)
			if err != nil {
				t.Fatal(err)
			}
			if !more {
				if len(set) > 0 {
					t.Fatalf("%d bytes of the set became nothing", len(set))
				}
				return
			}
			m, rest, err := NextLegacy(set)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(m.Key, rec.Key) || !bytes.Equal(m.Value, rec.Value) || sealed.BaseTimestamp()+rec.TimestampDelta != m.TimestampMs {
				t.Fatalf("message %d: %+v became %+v", i, m, rec)
			}
			back := AppendLegacy(nil, &rec, m.Magic, m.Offset, m.TimestampMs, m.Attributes&legacyAppendTime != 0 && m.Magic == 1)
			if again, _, err := NextLegacy(back); err != nil || again.Offset != m.Offset || !bytes.Equal(again.Value, m.Value) {
				t.Fatalf("message %d: %+v comes back as %+v, %v", i, m, again, err)
			}
			set = rest
		}
	})
}
