package consumer

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenCursor has every kind of entry: a full run of pages, a page with few runs,
// a page with many, and messages returned once, twice and three times.
func goldenCursor(t testing.TB) *Cursor {
	log := &fakeLog{}
	log.add(6*pageBits, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 5*pageBits+100)
	must(t, k.Ack(0, 9))
	must(t, k.Ack(12, 20))
	for o := offset(pageBits); o < 2*pageBits; o += 2 {
		must(t, k.Ack(o, o))
	}
	must(t, k.Ack(2*pageBits-1, 2*pageBits-1))
	for range 3 {
		must(t, k.Requeue(10, 10))
		take(k, 1)
	}
	must(t, k.Requeue(11, 11))
	must(t, k.Requeue(3*pageBits, 4*pageBits-1))
	return c
}

func TestSavedStateIsWhatItWasInVersion1(t *testing.T) {
	const name = "testdata/state_v1.hex"
	got := hex.Dump(goldenCursor(t).AppendState(nil))
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(name, []byte(got), 0o644))
	}
	want, err := os.ReadFile(name)
	must(t, err)
	if got != strings.ReplaceAll(string(want), "\r", "") {
		t.Fatalf("the format changed: raise its version\n%s", got)
	}
}

func TestSavedStateComesBack(t *testing.T) {
	c := goldenCursor(t)
	floor, handed := c.Progress()
	data := c.AppendState([]byte("kept"))
	if !bytes.HasPrefix(data, []byte("kept")) {
		t.Fatal("AppendState does not append")
	}
	data = data[4:]
	back := newCursor(t, c.src, State{Floor: floor, Handed: handed, Data: data})
	if got := back.AppendState(nil); !bytes.Equal(got, data) {
		t.Fatalf("saved again it differs:\n%s\n%s", hex.Dump(data), hex.Dump(got))
	}
	wantCounts(t, back, c.Ready()+c.Unacked(), 0, 10, handed)
	for o, n := range map[offset]int{10: 3, 11: 1, 3*pageBits + 5: 1, 22: 0} {
		if got := back.Returned(o); got != n {
			t.Errorf("message %d returned %d times, want %d", o, got, n)
		}
	}
}

func TestStateOfACursorInOrderIsTiny(t *testing.T) {
	log := &fakeLog{}
	log.add(1_000_000, 0)
	c := newCursor(t, log, State{})
	k := add(t, c, ConsumerOptions{})
	take(k, 1_000_000)
	if n := len(c.AppendState(nil)); n > 64 {
		t.Errorf("%d bytes for a million unacked in order", n)
	}
	must(t, k.Ack(0, 999_999))
	if n := len(c.AppendState(nil)); n > 32 {
		t.Errorf("%d bytes for nothing", n)
	}
}

// sealed puts the right checksum behind a changed body.
func sealed(body []byte) []byte {
	return binary.LittleEndian.AppendUint64(bytes.Clone(body), xxhash.Sum64(body))
}

// TestDamagedStates is what New answers to a state that is not what was written.
func TestDamagedStates(t *testing.T) {
	good := goldenCursor(t).AppendState(nil)
	body := good[:len(good)-stateTrailer]
	change := func(at int, to byte) []byte {
		b := bytes.Clone(body)
		b[at] = to
		return b
	}
	header := func(next uint64, sets ...byte) []byte {
		b := append([]byte(stateMagic), stateVersion, 2, 0, 0)
		return append(binary.LittleEndian.AppendUint64(b, next), sets...)
	}
	for _, tc := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, nil},
		{"as written", good, nil},
		{"cut short", good[:len(good)-1], ErrDamaged},
		{"cut to the header", good[:stateHeader], ErrDamaged},
		{"one byte", good[:1], ErrDamaged},
		{"other magic", append([]byte("XXXX"), good[4:]...), ErrDamaged},
		{"a bit flipped", append(change(stateHeader+3, body[stateHeader+3]^1), good[len(body):]...), ErrDamaged},
		{"zeros", make([]byte, 100), ErrDamaged},
		{"newer version", sealed(change(4, 2)), ErrNewerState},
		{"version 0", sealed(change(4, 0)), ErrDamaged},
		{"too few sets", sealed(change(5, 1)), ErrDamaged},
		{"too many sets", sealed(change(5, 200)), ErrDamaged},
		{"negative next", sealed(header(1<<63, 0, 0)), ErrDamaged},
		{"empty", sealed(header(5, 0, 0)), nil},
		{"bytes left over", sealed(header(5, 0, 0, 0)), ErrDamaged},
		{"a set is missing", sealed(header(5, 0)), ErrDamaged},
		{"entry beyond next", sealed(header(5, 1, 1, kindFull, 1, 0)), ErrDamaged},
		{"full page beyond next", sealed(header(5, 1, 0, kindFull, 1, 0)), ErrDamaged},
		{"full of no pages", sealed(header(1<<20, 1, 0, kindFull, 0, 0)), ErrDamaged},
		{"run beyond next", sealed(header(5, 1, 0, kindRuns, 1, 4, 1, 0)), ErrDamaged},
		{"run up to next", sealed(header(5, 1, 0, kindRuns, 1, 4, 0, 0)), nil},
		{"run beyond its page", sealed(header(1<<20, 1, 0, kindRuns, 1, 0xFF, 0x1F, 1, 0)), ErrDamaged},
		{"no runs", sealed(header(5, 1, 0, kindRuns, 0, 0)), ErrDamaged},
		{"bits cut short", sealed(header(5, 1, 0, kindBits, 1, 2, 3)), ErrDamaged},
		{"unknown kind", sealed(header(5, 1, 0, 9, 0)), ErrDamaged},
		{"endless varint", sealed(header(5, bytes.Repeat([]byte{0xFF}, 20)...)), ErrDamaged},
		{"a thousand million pages", sealed(header(1<<62, 1, 0, kindFull, 0xFF, 0xFF, 0xFF, 0xFF, 0x03, 0)), ErrDamaged},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &fakeLog{}
			log.add(6*pageBits, 0)
			c, err := New(log, State{Data: tc.data})
			if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if (c == nil) != (err != nil) {
				t.Fatal("a cursor and an error")
			}
		})
	}
}

func FuzzState(f *testing.F) {
	good := goldenCursor(f).AppendState(nil)
	f.Add(good[:len(good)-stateTrailer], int64(7), int64(1<<20))
	f.Add([]byte("LVCS\x01\x02\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00"), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, body []byte, floor, handed int64) {
		log := &fakeLog{}
		log.add(3*pageBits, 0)
		c, err := New(log, State{Floor: offset(floor), Handed: offset(handed), Data: sealed(body)})
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewerState) {
				t.Fatalf("unexpected error %v", err)
			}
			return
		}
		// Whatever it says, the cursor must work and come to an end.
		k := add(t, c, ConsumerOptions{})
		want := c.Ready()
		runs := take(k, 1<<30)
		if total(runs) != want {
			t.Fatalf("took %d of %d ready", total(runs), want)
		}
		again := c.AppendState(nil)
		if _, err := New(log, State{Data: again}); err != nil {
			t.Fatal(err)
		}
		must(t, k.AckRuns(runs))
		if c.Floor() != log.end {
			t.Fatalf("floor %d after all, want %d", c.Floor(), log.end)
		}
	})
}
