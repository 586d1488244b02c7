package broker

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/local"
)

func sampleProducers() *producers {
	a := &producer{epoch: 3, seen: 1_700_000_000_123}
	for i := range 7 { // two more than are kept
		a.last[a.next] = sent{first: int32(10 * i), last: int32(10*i + 9), base: message.Offset(100 + 10*i), timestamp: 1_700_000_000_000 + int64(i)}
		a.next = (a.next + 1) % keptBatches
		a.n = min(a.n+1, keptBatches)
	}
	return &producers{
		byID: map[int64]*producer{1000: a, 1001: {seen: 1_700_000_000_000, ended: true}},
		mark: batchMark{base: 160, end: 170, producer: 1000, epoch: 3, sequence: 60},
	}
}

func TestStateOfProducersIsAsReleased(t *testing.T) {
	got := hex.Dump(sampleProducers().appendState(nil, sampleTxns()))
	path := filepath.Join("testdata", "producers-v3.hex")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || got != string(want) {
		t.Errorf("%v; the format changed: raise its version and add a golden file\n%s", err, got)
	}
}

func TestStateOfProducersOfAnOlderReleaseIsRead(t *testing.T) {
	dump, err := os.ReadFile(filepath.Join("testdata", "producers-v1.hex"))
	if err != nil {
		t.Fatal(err)
	}
	byID, txns, m, err := decodeProducers(undump(t, string(dump)))
	if err != nil || txns != nil || len(byID) != 2 || m != sampleProducers().mark {
		t.Errorf("%d producers, %+v, %v", len(byID), m, err)
	}
	if s := byID[1000]; s.check3(60, 69) == nil || s.check3(20, 29) == nil || s.check3(10, 19) != nil || byID[1001].ended {
		t.Error("its batches are others")
	}
}

// undump is what hex.Dump has shown.
func undump(t *testing.T, text string) (out []byte) {
	t.Helper()
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line[10:], "|")
		b, err := hex.DecodeString(strings.ReplaceAll(line, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b...)
	}
	return out
}

func TestStateOfProducersComesBack(t *testing.T) {
	good := sampleProducers().appendState(nil, nil)
	byID, _, m, err := decodeProducers(good)
	if err != nil || m.end != 170 || len(byID) != 2 || !byID[1001].ended {
		t.Fatalf("%d producers up to %d, %v", len(byID), m.end, err)
	}
	if again := (&producers{byID: byID, mark: m}).appendState(nil, nil); !bytes.Equal(again, good) {
		t.Error("it comes back different")
	}
	if s := byID[1000]; s.check3(60, 69) == nil || s.check3(20, 29) == nil || s.check3(10, 19) != nil {
		t.Error("not the last five batches are known")
	}
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if _, _, _, err := decodeProducers(bad); !errors.Is(err, errProducers) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if _, _, _, err := decodeProducers(good[:at]); !errors.Is(err, errProducers) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
}

// check3 is the batch of epoch 3 with these sequence numbers, if it is a duplicate.
func (pr *producer) check3(first, last int32) *sent {
	dup, _ := pr.check(3, sent{first: first, last: last}, false)
	return dup
}

func sampleTxns() *partTxns {
	t := newPartTxns()
	t.open[7] = openTxn{150, 3}
	t.open[1<<40] = openTxn{160, 0}
	list := []abortedTxn{{7, 10, 20, 15}, {8, 12, 30, 31}}
	t.aborted.Store(&list)
	return t
}

func FuzzDecodeProducers(f *testing.F) {
	f.Add(sampleProducers().appendState(nil, nil))
	f.Add((&producers{}).appendState(nil, nil))
	f.Add(sampleProducers().appendState(nil, sampleTxns()))
	f.Fuzz(func(t *testing.T, data []byte) {
		byID, txns, m, err := decodeProducers(data)
		if err != nil || data[4] < markedVersion { // an older one may have no mark
			return
		}
		again, txns2, m2, err := decodeProducers((&producers{byID: byID, mark: m}).appendState(nil, txns))
		if err != nil || m2 != m || !reflect.DeepEqual(again, byID) || (txns == nil) != (txns2 == nil) || txns != nil && !bytes.Equal(txns.appendState(nil), txns2.appendState(nil)) {
			t.Errorf("comes back different: %v", err)
		}
	})
}

// readCounter is a store that counts the bytes that are read from its logs.
type readCounter struct {
	store.Store
	bytes atomic.Int64
}

type countedLog struct {
	store.Log
	of *readCounter
}

func (s *readCounter) OpenLog(id store.LogID, o store.LogOptions) (store.Log, error) {
	l, err := s.Store.OpenLog(id, o)
	return countedLog{l, s}, err
}

func (l countedLog) Read(from message.Offset, maxBytes int) (store.View, error) {
	v, err := l.Log.Read(from, maxBytes)
	l.of.bytes.Add(int64(v.Len()))
	return v, err
}

// TestTheFirstIdempotentProduceReadsWhatChangedSinceTheLastSaving writes 48 MiB, and opens
// what a kill and what a clean end leave of it.
func TestTheFirstIdempotentProduceReadsWhatChangedSinceTheLastSaving(t *testing.T) {
	const one, count = 1 << 20, 48
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	value := string(bytes.Repeat([]byte("x"), one-1000))
	for i := range count {
		if _, err := r.s.Produce(q.Partitions()[0], produced(7, 0, int32(i), value)); err != nil {
			t.Fatal(err)
		}
		r.saveDirty()
	}
	killed := copied(t, r.dir)
	r.stop()
	for _, c := range []struct {
		name, dir string
		most      int64
	}{{"killed", killed, saveProducersBytes + 2*one}, {"closed", r.dir, 2 * one}} {
		t.Run(c.name, func(t *testing.T) {
			st, err := local.Open(local.Options{Dir: c.dir, Mode: store.ModeOS})
			if err != nil {
				t.Fatal(err)
			}
			counter := &readCounter{Store: st}
			b, err := Open(counter, Options{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := b.VHost("/")
			if err != nil {
				t.Fatal(err)
			}
			s := v.NewSession(auth.Identity{Name: "guest"})
			q, err := v.Queue("t")
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Produce(q.Partitions()[0], produced(7, 0, count-1, value))
			if err != nil || !out.Duplicate || out.Base != count-1 {
				t.Errorf("the last batch again: %+v, %v", out, err)
			}
			if n := counter.bytes.Load(); n > c.most {
				t.Errorf("%d bytes were read of %d", n, count*one)
			}
			if _, err := s.Produce(q.Partitions()[0], produced(7, 0, count+1, value)); !errors.Is(err, ErrOutOfOrderSequence) {
				t.Errorf("a gap: %v", err)
			}
			if out, err := s.Produce(q.Partitions()[0], produced(7, 0, count, value)); err != nil || out.Duplicate {
				t.Errorf("the next batch: %+v, %v", out, err)
			}
			if err := errors.Join(b.Close(), st.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStateOfProducersThatDoesNotFitTheLogIsNotBelieved has a state from a log that went
// on otherwise, as after a power cut that took its end.
func TestStateOfProducersThatDoesNotFitTheLogIsNotBelieved(t *testing.T) {
	for _, c := range []struct {
		name string
		mark batchMark
		sent sent
	}{
		{"its end is behind the log's", batchMark{base: 8, end: 9, producer: 7}, sent{first: 0, last: 0, base: 1}},
		{"its newest batch is another's", batchMark{base: 1, end: 2, producer: 7, sequence: 5}, sent{first: 5, last: 5, base: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := startWith(t, 0)
			q, err := r.s.CreateTopic("t", 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := q.Partitions()[0]
			for i := range int32(2) {
				if _, err := p.log.Append(batch.Batch(produced(7, 0, i, "v"))); err != nil {
					t.Fatal(err)
				}
			}
			state := &producers{byID: map[int64]*producer{7: {n: 1, next: 1, last: [keptBatches]sent{c.sent}}}, mark: c.mark}
			if err := p.log.SaveState(t.Context(), producersName, state.appendState(nil, nil)); err != nil {
				t.Fatal(err)
			}
			if out, err := r.s.Produce(p, produced(7, 0, 2, "v")); err != nil || out.Duplicate {
				t.Errorf("the next batch: %+v, %v", out, err)
			}
		})
	}
}

// TestStateOfProducersOutlivesTwoPowerCutsInARow has a state that was saved when more stood in the log than the first cut left of
// it. At the second one the log is longer again, and the state as it was.
func TestStateOfProducersOutlivesTwoPowerCutsInARow(t *testing.T) {
	r := startWith(t, 0)
	topic := func(name string) *Partition {
		q, err := r.s.CreateTopic(name, 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		return q.Partitions()[0]
	}
	put := func(p *Partition, id int64, epoch int16, sequence int32, duplicate bool) {
		t.Helper()
		if out, err := r.s.Produce(p, produced(id, epoch, sequence, "v")); err != nil || out.Duplicate != duplicate {
			t.Fatalf("sequence %d of %d: %+v, %v", sequence, id, out, err)
		}
	}
	plain := func(p *Partition) { put(p, batch.NoProducer, batch.NoProducerEpoch, batch.NoSequence, false) }

	before := topic("before")
	put(before, 7, 0, 0, false)
	plain(before)
	plain(before)
	state, _ := before.active().producers.toSave(before)

	after := topic("after") // what the first cut left, and what came behind it
	for sequence := range int32(3) {
		put(after, 7, 0, sequence, false)
	}
	plain(after)
	if err := after.log.SaveState(t.Context(), producersName, state); err != nil {
		t.Fatal(err)
	}
	r.kill()
	q, err := r.v.Queue("after")
	if err != nil {
		t.Fatal(err)
	}
	put(q.Partitions()[0], 7, 0, 2, true)
	put(q.Partitions()[0], 7, 0, 3, false)
}

// unsaving is a log that can't save a state while broken.
type unsaving struct {
	store.Log
	broken bool
	saved  []byte
}

func (l *unsaving) SaveState(ctx context.Context, name string, data []byte) error {
	if l.broken {
		return errors.New("no space")
	}
	l.saved = data
	return l.Log.SaveState(ctx, name, data)
}

func TestProducersThatCouldNotBeSavedAreSavedLater(t *testing.T) {
	r := start(t)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	l := &unsaving{Log: p.log, broken: true}
	p.log = l
	if _, err := r.s.Produce(p, produced(7, 0, 0, "a")); err != nil {
		t.Fatal(err)
	}
	if err := p.saveProducers(true); err == nil {
		t.Fatal("saved on a broken disk")
	}
	l.broken = false
	if err := p.saveProducers(false); err != nil || l.saved == nil {
		t.Errorf("not tried again: %d bytes, %v", len(l.saved), err)
	}
}

// laterLog tells where a batch went when it is asked to.
type laterLog struct {
	store.Log
}

type toldLater struct{ at store.Position }

func (l toldLater) Base(ctx context.Context) (message.Offset, error) { return l.at.Base(ctx) }

func (l laterLog) Append(data []byte) (store.Position, error) {
	at, err := l.Log.Append(data)
	return store.Awaited(toldLater{at}), err
}

// TestWhatIsSavedOfProducersHasAllBeforeItsEnd: of two batches the later one was heard of first.
func TestWhatIsSavedOfProducersHasAllBeforeItsEnd(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	if _, err := r.s.Produce(p, produced(1, 0, 0, "v")); err != nil {
		t.Fatal(err)
	}
	p.log = laterLog{p.log}
	ps := &p.active().producers
	put := func(id int64, sequence int32) *underWay {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		_, u, err := p.putNoted(produced(id, 0, sequence, "v"), sent{first: sequence, last: sequence})
		if err != nil || u == nil {
			t.Fatal(err)
		}
		return u
	}
	put(1, 1)
	if err := p.hearOf(2, put(2, 0)); err != nil {
		t.Fatal(err)
	}
	if err := p.saveProducers(true); err != nil {
		t.Fatal(err)
	}
	data, err := p.log.LoadState(t.Context(), producersName)
	if err != nil {
		t.Fatal(err)
	}
	byID, _, m, err := decodeProducers(data)
	if err != nil || m.end != 3 || byID[2] == nil || byID[1].newest().first != 1 {
		t.Errorf("up to %d, %v: %+v", m.end, err, byID[1])
	}
}
