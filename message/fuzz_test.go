package message

import (
	"bytes"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
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
			var p Properties
			if err := p.Parse(props); err != nil {
				t.Fatalf("properties made of a record: %v", err)
			}
			if err := CheckTable(p.Headers); err != nil {
				t.Fatalf("headers made of a record: %v", err)
			}
		}
	})
}

func FuzzProperties(f *testing.F) {
	f.Add([]byte{0, 0})
	p := Properties{Flags: flagsKnown, Headers: AppendInt(AppendName(nil, "n"), 1)}
	f.Add(p.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p Properties
		if CheckProperties(raw) != (p.Parse(raw) == nil) {
			t.Fatal("CheckProperties and Parse disagree")
		}
		if p.Parse(raw) == nil && !bytes.Equal(p.Append(nil), raw) {
			t.Fatal("parsed and written again they differ")
		}
		appendPlainHeaders(nil, raw)
		ParseEnvelope(raw)
	})
}

func FuzzTable(f *testing.F) {
	f.Add(AppendTable(AppendName(AppendInt(AppendName(nil, "n"), 1), "t"), AppendVoid(AppendName(nil, "v"))))
	f.Add([]byte("\x01aS\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if CheckTable(raw) != nil {
			return
		}
		r := NewTableReader(raw)
		for r.Next() {
			if out, ok := r.AppendValueText(nil); ok && len(out) > len(r.Raw())+400 {
				t.Fatalf("a value of %d bytes became %d", len(r.Raw()), len(out))
			}
			if !SameValue(&r, &r) {
				if v, ok := r.Float(); !ok || v == v {
					t.Fatal("a value differs from itself")
				}
			}
		}
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

func FuzzAppendWithHeader(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add((&Properties{Flags: FlagHeaders | FlagAppID, Headers: AppendBool(AppendName(nil, "n"), true), AppID: []byte("i")}).Append(nil))
	f.Fuzz(func(t *testing.T, props []byte) {
		if !CheckProperties(props) {
			return
		}
		out := AppendWithHeader(nil, props, "n", AppendInt(nil, 7))
		var before, after Properties
		if err := before.Parse(props); err != nil {
			return
		}
		if err := after.Parse(out); err != nil {
			t.Fatalf("%q became %q: %v", props, out, err)
		}
		if v, ok := Find(after.Headers, "n"); !ok {
			t.Fatalf("no header in %q", out)
		} else if n, _ := v.Int(); n != 7 {
			t.Fatalf("header is %d", n)
		}
		if CheckTable(before.Headers) == nil && CheckTable(after.Headers) != nil {
			t.Fatalf("headers of %q are damaged", out)
		}
	})
}
