package segment

import (
	"bytes"
	"strings"
	"testing"
)

func TestDumpPrintsBatchesAndDamage(t *testing.T) {
	b := newBed(t, 0)
	s := b.create(t, 10, 8<<10)
	fill(t, s, 5)
	whole := read(t, b.fs, s.Name())
	const size = 261
	for _, tt := range []struct {
		name   string
		damage func([]byte) []byte
		want   []string
	}{
		{"good", func(b []byte) []byte { return b }, []string{
			"version 1,", "base offset 10, created 2023-11-14T22:13:20.000Z, allocated 8192 bytes",
			"128 batch: offsets 10 to 11, 2 records, 261 bytes, codec none, crc ok", "end, 6759 bytes free", "5 batches, 10 records, 0 damaged ranges"}},
		{"flipped", func(b []byte) []byte { b[HeaderBytes+size+100] ^= 1; return b }, []string{
			"damaged: 261 bytes, records 12 to 13: record batch checksum does not match", "4 batches, 8 records, 1 damaged ranges"}},
		{"torn", func(b []byte) []byte { clear(b[HeaderBytes+4*size+100:]); return b }, []string{"a torn tail", "4 batches, 8 records"}},
		{"header zero", func(b []byte) []byte { clear(b[:HeaderBytes]); return b }, []string{"header: not a segment file", "5 batches"}},
		{"other base", func(b []byte) []byte { Header{Generation: 1, BaseOffset: 3}.Put(b); return b }, []string{"a former life's: the name says base offset 10"}},
		{"empty", func(b []byte) []byte { return nil }, []string{"0 bytes", "header: not a segment file", "0 batches"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, 0)
			write(t, b.fs, "/q/"+FileName(10), tt.damage(bytes.Clone(whole)))
			var out strings.Builder
			if err := dump(&out, b.fs, "/q/"+FileName(10)); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
