package local

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/store"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares data with the golden file of that name, kept as a hex dump so
// that a change of the format shows in a diff.
func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	dump := hex.Dump(data)
	if *update {
		if err := os.WriteFile(path, []byte(dump), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if dump != string(want) {
		t.Errorf("%s changed: raise the format's version and add a golden file.\ngot\n%swant\n%s", name, dump, want)
	}
}

func sampleMeta() Meta {
	return Meta{
		ID: 42, Created: time.UnixMilli(1_700_000_000_123), Definition: `{"vhost":"/","name":"orders"}`,
		Options: store.LogOptions{
			Name: "/orders:häßlich", Mode: store.ModeAlways, Transient: true, SegmentBytes: 1 << 20,
			Retention: store.Retention{Consumed: true, Age: time.Hour, Bytes: 5 << 30},
		},
	}
}

func sampleSlot() slot {
	return slot{
		Seq: 7, Floor: 1000, Handed: 1200, Reserved: 4096, Start: 990, Boot: 0xB007,
		BlobAt: cursorBlobAt, BlobLen: 5, BlobHash: blobHash([]byte("acked")),
	}
}

func sampleCursor() []byte {
	s := sampleSlot()
	return append(encodeCursorPage(42, 1_700_000_000_123, &s), "acked"...)
}

func sampleTable() []byte {
	data := header{Magic: magicTable, Tag: 3, CreatedMs: 1_700_000_000_123}.appendTo(nil)
	data = appendRecord(data, recordUpsert, recordFirst|recordLast, 4, "queue/a", []byte("one"))
	data = appendRecord(data, recordUpsert, recordFirst, 5, "queue/b", []byte("two"))
	data = appendRecord(data, recordTombstone, recordLast, 6, "queue/a", nil)
	return data
}

func TestFormatsAreAsReleased(t *testing.T) {
	golden(t, "layout-v1", encodeLayout(1))
	golden(t, "meta-v2", encodeMeta(sampleMeta()))
	golden(t, "checkpoint-v1", sampleCheckpoint())
	golden(t, "changed-v1", sampleChanges())
	golden(t, "ends-v1", sampleEnds())
	golden(t, "state-v1", encodeState(42, 1_700_000_000_123, []byte("known")))
	golden(t, "cursor-v1", sampleCursor())
	golden(t, "table-v1", sampleTable())
}

func sampleCheckpoint() []byte {
	w := newCheckpoint(7, 0xB007, 1_700_000_000_123)
	w.table(tableMark{Name: "defs", Revision: 9, Keys: 4, Digest: 0xD16E57, File: 3, Bytes: 320})
	w.log(42, sampleRest())
	w.log(43, &rest{First: -1, Last: -1, Start: 5, End: 5, Flushed: 5, Oldest: 1<<63 - 1})
	return w.finish()
}

func sampleRest() *rest {
	return &rest{First: 100, Last: 300, Start: 120, End: 340, Flushed: 330, Bytes: 1 << 20, Segments: 3,
		Oldest: 1_700_000_000_000, Waiting: 17, Uncertain: true}
}

func sampleChanges() []byte {
	b := header{Magic: magicChanged, Tag: 7, CreatedMs: 1_700_000_000_123}.appendTo(nil)
	return change{43, logDeleted}.appendTo(change{42, logChanged}.appendTo(change{0xB007, listBoot}.appendTo(b)))
}

func sampleEnds() []byte {
	b := header{Magic: magicEnds, Tag: 0xB007, CreatedMs: 1_700_000_000_123}.appendTo(nil)
	for _, v := range []uint64{42, 17, 340, 0, 0, 0, 0, 0, 43, 0, 0, 0, 44, 1<<64 - 1, 1, 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// TestOlderFormatsAreRead reads the golden files of versions that are not written any more.
func TestOlderFormatsAreRead(t *testing.T) {
	want := sampleMeta()
	want.Definition = ""
	if m, err := decodeMeta(goldenBytes(t, "meta-v1")); err != nil || m != want {
		t.Errorf("meta of version 1 is %+v, %v", m, err)
	}
}

// goldenBytes is the content of a golden file.
func goldenBytes(t *testing.T, name string) (data []byte) {
	t.Helper()
	dump, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(dump)) {
		words := strings.Fields(strings.SplitN(line, "|", 2)[0])
		for _, w := range words[1:] {
			b, err := hex.DecodeString(w)
			if err != nil {
				t.Fatal(err)
			}
			data = append(data, b...)
		}
	}
	return data
}

func TestCheckpointsComeBack(t *testing.T) {
	c, err := decodeCheckpoint(sampleCheckpoint())
	if err != nil || c.Number != 7 || c.Boot != 0xB007 || len(c.Logs) != 2 || *c.Logs[42] != *sampleRest() ||
		!reflect.DeepEqual(c.Tables, []tableMark{{"defs", 9, 4, 0xD16E57, 3, 320}}) {
		t.Errorf("checkpoint is %+v, %v", c, err)
	}
	changes, err := decodeChanges(sampleChanges())
	if want := []change{{0xB007, listBoot}, {42, logChanged}, {43, logDeleted}}; err != nil || !reflect.DeepEqual(changes, want) {
		t.Errorf("changes are %v, %v", changes, err)
	}
	ends, boot, err := decodeEnds(sampleEnds())
	if want := map[LogNumber]span{42: {17, 340}, 44: {-1, 1}}; err != nil || boot != 0xB007 || !reflect.DeepEqual(ends, want) {
		t.Errorf("ends are %v of boot %x, %v", ends, boot, err)
	}
	good := sampleCheckpoint()
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := decodeCheckpoint(bad); err == nil {
			t.Errorf("byte %d changed and nobody saw it", at)
		}
		if _, err := decodeCheckpoint(good[:at]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
}

func TestFormatsComeBack(t *testing.T) {
	if m, err := decodeMeta(encodeMeta(sampleMeta())); err != nil || m != sampleMeta() {
		t.Errorf("meta is %+v, %v", m, err)
	}
	page, err := decodeCursorPage(sampleCursor())
	if err != nil || !page.Found || page.Suspect || page.ID != 42 || page.Slot != sampleSlot() {
		t.Errorf("cursor is %+v, %v", page, err)
	}
	scan, err := scanTable(sampleTable())
	want := map[string]tableEntry{"queue/b": {[]byte("two"), 5}}
	if err != nil || !reflect.DeepEqual(scan.entries, want) || scan.revision != 6 || scan.torn != 0 {
		t.Errorf("table is %+v, %v", scan, err)
	}
	if id, data, err := decodeState(encodeState(42, 1, []byte("known"))); id != 42 || string(data) != "known" || err != nil {
		t.Errorf("state is %q of log %d, %v", data, id, err)
	}
	if v, err := decodeLayout(encodeLayout(1)); v != 1 || err != nil {
		t.Errorf("layout is %d, %v", v, err)
	}
}

// asVersion is the file with another version in its header, and its hash right.
func asVersion(data []byte, version uint16) []byte {
	out := bytes.Clone(data)
	h, _ := decodeHeader(data, string(data[:4]))
	fresh := h.appendTo(nil)
	fresh[4], fresh[5] = byte(version), byte(version>>8)
	copy(out, rehash(fresh))
	return out
}

// TestNewerIsNotCorrupt holds that a newer file is told from a damaged one, and
// that neither opens.
func TestNewerIsNotCorrupt(t *testing.T) {
	decode := map[string]func([]byte) error{
		"meta":       func(b []byte) error { _, err := decodeMeta(b); return err },
		"checkpoint": func(b []byte) error { _, err := decodeCheckpoint(b); return err },
		"state":      func(b []byte) error { _, _, err := decodeState(b); return err },
		"ends":       func(b []byte) error { _, _, err := decodeEnds(b); return err },
		"changes":    func(b []byte) error { _, err := decodeChanges(b); return err },
		"cursor":     func(b []byte) error { _, err := decodeCursorPage(b); return err },
		"table":      func(b []byte) error { _, err := scanTable(b); return err },
	}
	files := map[string][]byte{"meta": encodeMeta(sampleMeta()), "cursor": sampleCursor(), "table": sampleTable(),
		"checkpoint": sampleCheckpoint(), "changes": sampleChanges(), "ends": sampleEnds(),
		"state": encodeState(42, 1, []byte("known"))}
	for name, data := range files {
		if err := decode[name](asVersion(data, 3)); (!errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt)) && name != "checkpoint" && name != "state" {
			t.Errorf("%s of version 3: %v", name, err)
		}
		if name == "table" {
			continue // its header is repaired: see TestTableRecovery
		}
		for _, at := range []int{0, 4, 9, 24} {
			bad := bytes.Clone(data)
			bad[at] ^= 0x40
			if err := decode[name](bad); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
				t.Errorf("%s with byte %d changed: %v", name, at, err)
			}
		}
	}
}

func TestLayoutFile(t *testing.T) {
	good := string(encodeLayout(1))
	for name, c := range map[string]struct {
		text string
		want error
	}{
		"ours":                {good, nil},
		"newer":               {string(encodeLayout(2)), ErrVersion},
		"empty":               {"", ErrCorrupt},
		"no newline":          {strings.TrimSuffix(good, "\n"), ErrCorrupt},
		"version changed":     {strings.Replace(good, "1", "2", 1), ErrCorrupt},
		"hash changed":        {good[:len(good)-2] + "x\n", ErrCorrupt},
		"version zero":        {string(encodeLayout(0)), ErrCorrupt},
		"version no number":   {string(encodeLayoutText("x")), ErrCorrupt},
		"another program's":   {"mysql 8\n", ErrCorrupt},
		"far too long":        {good + strings.Repeat("x", 1000) + "\n", ErrCorrupt},
		"zeros after a crash": {string(make([]byte, 35)), ErrCorrupt},
		"newer, more words":   {string(encodeLayoutText("7 with more")), ErrVersion},
	} {
		if _, err := decodeLayout([]byte(c.text)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v and should be %v", name, err, c.want)
		}
	}
}

func TestMetaDamage(t *testing.T) {
	good := encodeMeta(sampleMeta())
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, err := decodeMeta(bad); err == nil {
			t.Errorf("byte %d changed and nobody saw it", at)
		}
		if _, err := decodeMeta(good[:at]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	long := sampleMeta()
	long.Options.Name = strings.Repeat("x", metaMaxNameBytes+100)
	if m, err := decodeMeta(encodeMeta(long)); err != nil || len(m.Options.Name) != metaMaxNameBytes {
		t.Errorf("a long name: %d bytes, %v", len(m.Options.Name), err)
	}
}

func TestCursorSlotDamageIsSeen(t *testing.T) {
	s := sampleSlot()
	good := encodeCursorPage(1, 0, &s)
	at := cursorSlotAt(s.Seq)
	for i := range slotBytes * 8 {
		bad := bytes.Clone(good)
		bad[at+i/8] ^= 1 << (i % 8)
		if got, empty, err := decodeSlot(bad[at:]); err == nil {
			t.Errorf("bit %d changed and nobody saw it: %+v, %t", i, got, empty)
		}
	}
}

func TestStoredSlotIsTheEncodedOne(t *testing.T) {
	s := sampleSlot()
	page := make([]byte, cursorPageBytes)
	storeSlot(page, cursorSlotAt(s.Seq), &s)
	want := encodeCursorPage(42, 0, &s)
	if !bytes.Equal(page[cursorSlot0:], want[cursorSlot0:]) {
		t.Error("the mapped page and the encoded page differ")
	}
	if got, empty, err := decodeSlot(page[cursorSlot1:]); got != s || empty || err != nil {
		t.Errorf("decoded %+v, %t, %v", got, empty, err)
	}
}
