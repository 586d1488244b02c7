package message

import (
	"bytes"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/field"
)

func FuzzRecords(f *testing.F) {
	var b Builder
	b.Add(&Publish{Exchange: []byte("x"), Key: []byte("k"), Properties: []byte{0x10, 0, 2}, Body: []byte("body")})
	b.Add(&Publish{Body: bytes.Repeat([]byte("v"), 200)})
	f.Add([]byte(batch.Batch(b.Seal()).Records()))
	f.Add([]byte{2, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, s := NewRecords(raw), NewRecords(raw)
		var rec Record
		for {
			ok, err := r.Next(&rec)
			skipped, skipErr := s.Skip()
			if err != nil || !ok {
				return
			}
			if !skipped || skipErr != nil || r.Len() != s.Len() {
				t.Fatal("Skip and Next disagree", skipErr)
			}
			rec.Envelope()
			for h := rec.Headers; ; {
				if _, _, ok := h.Next(); !ok {
					break
				}
			}
			props, _ := KafkaToAMQP(nil, &rec, 1, 0)
			var p field.Properties
			if err := p.Parse(props); err != nil {
				t.Fatalf("properties made of a record: %v", err)
			}
			if err := field.CheckTable(p.Headers); err != nil {
				t.Fatalf("headers made of a record: %v", err)
			}
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte{0, 0})
	p := field.Properties{Flags: 0xFFFC, Headers: field.AppendInt(field.AppendName(nil, "n"), 1)}
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p field.Properties
		if field.CheckProperties(raw) != (p.Parse(raw) == nil) {
			t.Fatal("field.CheckProperties and Parse disagree")
		}
		if p.Parse(raw) == nil && !bytes.Equal(p.Append(nil), raw) {
			t.Fatal("parsed and written again they differ")
		}
		appendPlainHeaders(nil, raw)
		parseEnvelope(raw)
	})
}

func FuzzUnpack(f *testing.F) {
	for codec := range 6 {
		f.Add(codec, []byte("\x82SNAPPY\x00 and more"))
	}
	f.Fuzz(func(t *testing.T, codec int, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		Unpack(nil, codec, data, MaxUnpackedBytes)
	})
}
