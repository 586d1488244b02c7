package message

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/batch"
)

// delayed is a batch of one message with an lv.d header before a header of its own.
func delayed(d Delay) []byte {
	var b Builder
	raw := appendBytes(appendBytes(d.AppendTo(nil), []byte("n")), []byte("v"))
	b.Add(&Publish{Exchange: []byte("later"), Key: []byte("k"), Body: []byte("body"), TimestampMs: 1_700_000_000_000, Raw: Headers{Count: 2, Raw: raw}})
	return b.Seal()
}

func firstRecord(t testing.TB, data []byte) (rec Record) {
	t.Helper()
	b, _, err := batch.Next(data)
	if err != nil {
		t.Fatal(err)
	}
	r := NewRecords(b.Records())
	if ok, err := r.Next(&rec); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return rec
}

func TestADelayIsReadAsItWasWritten(t *testing.T) {
	want := Delay{DueMs: 1_700_000_005_000, AfterMs: 5000, Keys: AppendKey(AppendKey(nil, []byte("cc")), nil)}
	rec := firstRecord(t, delayed(want))
	got, rest, err := rec.Delay()
	if err != nil || got.DueMs != want.DueMs || got.AfterMs != want.AfterMs || !bytes.Equal(got.Keys, want.Keys) {
		t.Fatalf("%+v, %v", got, err)
	}
	if name, value, ok := rest.Next(); !ok || string(name) != "n" || string(value) != "v" || rest.Count != 0 {
		t.Errorf("behind it %q %q %v", name, value, ok)
	}
	if e, ok := rec.Envelope(); !ok || string(e.Exchange) != "later" {
		t.Errorf("the envelope is %+v", e)
	}
	first, ok1 := got.NextKey()
	second, ok2 := got.NextKey()
	if _, more := got.NextKey(); string(first) != "cc" || len(second) != 0 || !ok1 || !ok2 || more {
		t.Errorf("keys %q %q", first, second)
	}
}

func TestADelayHasItsGoldenBytes(t *testing.T) {
	d := Delay{DueMs: 1_700_000_005_000, AfterMs: 5000, Keys: AppendKey(nil, []byte("cc"))}
	want, err := os.ReadFile("testdata/delay-v1.hex")
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(d.AppendTo(nil)); got != strings.TrimSpace(string(want)) {
		t.Errorf("%s", got)
	}
}

func TestADamagedDelayIsSeen(t *testing.T) {
	good := (&Delay{AfterMs: 1, Keys: AppendKey(nil, []byte("cc"))}).AppendTo(nil)[6:]
	if _, err := parseDelay(good); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := parseDelay(good[:n]); !errors.Is(err, ErrDelay) && n != delayFixedBytes {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	for name, d := range map[string]Delay{"no time": {}, "a negative time": {DueMs: -1}, "a negative wait": {DueMs: 1, AfterMs: -1}, "a key too long": {AfterMs: 1, Keys: []byte{3, 'a'}}} {
		if _, err := parseDelay(d.AppendTo(nil)[6:]); !errors.Is(err, ErrDelay) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseDelay(append([]byte{2}, good[1:]...)); !errors.Is(err, ErrDelay) {
		t.Errorf("another version: %v", err)
	}
	var b Builder
	b.Add(&Publish{Body: []byte("x")})
	rec := firstRecord(t, b.Seal())
	if _, _, err := rec.Delay(); !errors.Is(err, ErrDelay) {
		t.Errorf("without the header: %v", err)
	}
}

func FuzzDelay(f *testing.F) {
	f.Add((&Delay{DueMs: 1, AfterMs: 2, Keys: AppendKey(nil, []byte("cc"))}).AppendTo(nil)[6:])
	f.Fuzz(func(t *testing.T, v []byte) {
		d, err := parseDelay(v)
		if err != nil {
			return
		}
		again := Delay{DueMs: d.DueMs, AfterMs: d.AfterMs}
		for keys := d; ; {
			key, ok := keys.NextKey()
			if !ok {
				break
			}
			again.Keys = AppendKey(again.Keys, key)
		}
		if back, err := parseDelay(again.AppendTo(nil)[len(again.AppendTo(nil))-delayFixedBytes-len(again.Keys):]); err != nil || !bytes.Equal(back.Keys, again.Keys) {
			t.Fatalf("%x became %x: %v", v, back.Keys, err)
		}
	})
}
