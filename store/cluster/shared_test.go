package cluster

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

func soon(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestProcessesSeeEachOthersDefinitions(t *testing.T) {
	c := fakeCluster(t)
	a, b := openStore(t, c), openStore(t, c)
	defer a.Close()
	defer b.Close()
	ctx := t.Context()
	one, err := a.Table(ctx, "defs")
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Table(ctx, "defs")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var heard []string
	defer two.Watch(func(e store.Entry) {
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, fmt.Sprintf("%s=%s", e.Key, e.Value))
	})()
	if err := two.Load(ctx, func(store.Entry) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := one.Put(ctx, store.Entry{Key: "x", Value: []byte("1")}, store.Entry{Key: "y", Value: []byte("2")}); err != nil {
		t.Fatal(err)
	}
	if err := two.Put(ctx, store.Entry{Key: "own", Value: []byte("3")}); err != nil {
		t.Fatal(err)
	}
	if err := one.Put(ctx, store.Entry{Key: "x"}); err != nil {
		t.Fatal(err)
	}
	soon(t, "three changes", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(heard) >= 3
	})
	if got := strings.Join(heard, " "); got != "x=1 y=2 x=" {
		t.Errorf("heard %s", got)
	}
}

// Whoever reads the records in their order agrees on who won, however close it was.
func TestOnlyOneOfManyProcessesWins(t *testing.T) {
	c := fakeCluster(t)
	const processes, keys = 4, 20
	won := make([]map[string]string, processes)
	var group sync.WaitGroup
	for i := range processes {
		s := openStore(t, c)
		defer s.Close()
		table, err := s.Table(t.Context(), "defs")
		if err != nil {
			t.Fatal(err)
		}
		won[i] = map[string]string{}
		group.Go(func() {
			for k := range keys {
				key, value := fmt.Sprint("k", k), fmt.Sprint("by ", i)
				switch _, err := table.Swap(t.Context(), store.Entry{Key: key, Value: []byte(value)}); {
				case err == nil:
					won[i][key] = value
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("process %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
	s := openStore(t, c)
	defer s.Close()
	table, err := s.Table(t.Context(), "defs")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	err = table.Load(t.Context(), func(e store.Entry) error {
		seen++
		for i := range won {
			if value, ok := won[i][e.Key]; ok != (string(e.Value) == fmt.Sprint("by ", i)) || ok && value != string(e.Value) {
				t.Errorf("%s is %q, and process %d won: %t", e.Key, e.Value, i, ok)
			}
		}
		return nil
	})
	if err != nil || seen != keys {
		t.Errorf("%d keys, %v", seen, err)
	}
}

// TestATopicThatWasMadeAnewTakesMessages: whichever process deleted the one before of its name.
func TestATopicThatWasMadeAnewTakesMessages(t *testing.T) {
	for name, own := range map[string]bool{"by the process that deleted it": true, "by another": false} {
		t.Run(name, func(t *testing.T) {
			c := fakeCluster(t)
			a, b := openStore(t, c), openStore(t, c)
			defer a.Close()
			defer b.Close()
			ctx := t.Context()
			other := b
			if own {
				other = a
			}
			o := store.LogOptions{Name: "q"}
			var before store.LogID
			for i, maker := range []*Store{a, other, other} {
				if i > 0 {
					if err := other.DeleteLog(ctx, before); err != nil {
						t.Fatal(err)
					}
				}
				ids, err := maker.NewLogs(ctx, o, nil, 1)
				if err != nil {
					t.Fatal(err)
				}
				before = ids[0]
				l, err := a.OpenLog(ids[0], o)
				if err != nil {
					t.Fatal(err)
				}
				at, err := l.Append(oneBatch("m"))
				if err != nil {
					t.Fatalf("topic %d of the name: %v", i, err)
				}
				if base, err := at.Base(ctx); base != 0 || err != nil {
					t.Fatalf("topic %d of the name: at %d, %v", i, base, err)
				}
			}
		})
	}
}

func TestACursorBelongsToTheProcessWithTheLease(t *testing.T) {
	c := fakeCluster(t)
	a := openStore(t, c)
	defer a.Close()
	ctx := t.Context()
	var logs []store.Log
	for i := range 16 {
		o := store.LogOptions{Name: fmt.Sprint("q", i), Retention: store.Retention{Consumed: true}}
		ids, err := a.NewLogs(ctx, o, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		l, err := a.OpenLog(ids[0], o)
		if err != nil {
			t.Fatal(err)
		}
		at, err := l.Append(oneBatch("m"))
		if err == nil {
			_, err = at.Base(ctx)
		}
		if err == nil {
			_, err = l.LoadCursor(ctx)
		}
		if err == nil {
			err = l.Progress(0, 1)
		}
		if err != nil {
			t.Fatal(err)
		}
		logs = append(logs, l)
	}
	var mu sync.Mutex
	lost := map[int32]bool{}
	defer a.Leases().Watch(func(_, gone []store.Lease) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range gone {
			lost[l.Slot] = true
		}
	})()
	b := openStore(t, c)
	defer b.Close()
	b.leases.join()
	soon(t, "the second process to get its share", func() bool {
		b.leases.mu.Lock()
		defer b.leases.mu.Unlock()
		return len(b.leases.held) > 0
	})
	moved := 0
	for _, l := range logs {
		slot := a.Leases().Slot(l.ID())
		mu.Lock()
		gone := lost[slot]
		mu.Unlock()
		err := l.Progress(1, 1)
		if gone != errors.Is(err, store.ErrFenced) || !gone && err != nil {
			t.Errorf("slot %d, lost: %t; Progress: %v", slot, gone, err)
		}
		if !gone {
			continue
		}
		moved++
		other, err := b.OpenLog(l.ID(), store.LogOptions{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := other.LoadCursor(ctx)
		if err != nil || st.Floor != 0 || st.Handed < 1 {
			t.Errorf("the new owner finds floor %d, handed %d, %v; what was handed out must be marked", st.Floor, st.Handed, err)
		}
	}
	if moved == 0 {
		t.Error("no log has a new owner")
	}
}

// oneBatch is a batch of one record.
func oneBatch(body string) []byte {
	var b message.Builder
	b.Add(&message.Publish{Body: []byte(body), TimestampMs: 1})
	return b.Seal()
}

func TestTopicNamesAreLegalAndTellNamesApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"/ a", "/ A", "/_a", "/ a_", "a.b", "a-b", "/ " + strings.Repeat("x", 300), "/ " + strings.Repeat("x", 301), "Größe", ""} {
		topic := topicName("leveret", name)
		if other, taken := seen[topic]; taken {
			t.Errorf("%q and %q are both %s", name, other, topic)
		}
		seen[topic] = name
		if len(topic) > maxTopicBytes-3 || strings.Trim(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Errorf("%q is topic %s", name, topic)
		}
	}
}

func FuzzCursor(f *testing.F) {
	id := logID{gen: [16]byte{1, 2}}
	c := cursor{floor: 3, handed: 9, data: []byte("state"), open: 4, next: 7}
	f.Add(c.encode(id.gen, true))
	f.Add("")
	f.Fuzz(func(t *testing.T, metadata string) {
		c, mine, err := decodeCursor(metadata, id.gen)
		if err != nil || !mine {
			return
		}
		back, mine, err := decodeCursor(c.encode(id.gen, true), id.gen)
		if err != nil || !mine || back.handed != c.handed || string(back.data) != string(c.data) {
			t.Errorf("%q came back as %+v, %t, %v", metadata, back, mine, err)
		}
	})
}

func FuzzLogIDs(f *testing.F) {
	f.Add(logID{"leveret.a", 3, [16]byte{1}}.String())
	f.Fuzz(func(t *testing.T, name string) {
		id, err := parseID(store.LogID(name))
		if err != nil {
			return
		}
		if back, err := parseID(store.LogID(id.String())); err != nil || back != id {
			t.Errorf("%q came back as %+v, %v", name, back, err)
		}
	})
}

func FuzzTableRecords(f *testing.F) {
	f.Add([]byte(encodeEntries([]store.Entry{{Key: "k", Value: []byte("v")}, {Key: "gone"}}, "me", true, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, _, err := batch.Next(data); err == nil {
			reseal(b)
		}
		table := &table{s: &Store{}, entries: map[string]store.Entry{}, changed: make(chan struct{})}
		_ = table.apply(data)
	})
}

// reseal makes a batch's checksum right, so that what is behind it is looked at.
func reseal(b batch.Batch) {
	b.Seal(batch.Header{
		Attributes: b.Attributes(), LastOffsetDelta: b.LastOffsetDelta(), BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Count: b.Count(),
	})
}

// What others append is looked for with a few requests a round, however many logs are watched, and one that is gone keeps
// nobody from seeing the others.
func TestWatchedLogsAreLookedAtTogether(t *testing.T) {
	c := fakeCluster(t)
	a, b := openStore(t, c), openStore(t, c)
	defer func() {
		if err := errors.Join(a.Close(), b.Close()); err != nil {
			t.Error(err)
		}
	}()
	const n = 30
	var ours, theirs []store.Log
	heard := make(chan int, 1000)
	for i := range n {
		ids, err := a.NewLogs(t.Context(), store.LogOptions{Name: fmt.Sprint("log", i)}, nil, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*Store{a, b} {
			l, err := s.OpenLog(ids[0], store.LogOptions{})
			if err == nil {
				_, _, err = l.Bounds()
			}
			if err != nil {
				t.Fatal(err)
			}
			if s == a {
				ours = append(ours, l)
			} else {
				theirs = append(theirs, l)
			}
		}
		defer theirs[i].Watch(func() { heard <- i })()
	}
	if err := a.DeleteLog(t.Context(), ours[0].ID()); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	c.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		asked.Add(1)
		return nil, nil, false
	})
	for _, l := range ours[1:] {
		if _, err := l.Append(oneBatch("m")); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[int]bool{}
	for len(seen) < n-1 {
		select {
		case i := <-heard:
			seen[i] = i > 0 || seen[i]
			if i == 0 {
				delete(seen, i) // it heard that it is gone
			}
		case <-time.After(time.Minute):
			t.Fatalf("appends to %d of %d logs were seen", len(seen), n-1)
		}
	}
	asked.Store(0)
	begun := time.Now()
	soon(t, "ten rounds", func() bool { return time.Since(begun) > 10*b.o.PollEvery && asked.Load() > 0 })
	// Two questions a round of each process, to each of three brokers.
	rounds := int64(time.Since(begun)/b.o.PollEvery) + 2
	if got := asked.Load(); got > 2*2*3*rounds {
		t.Errorf("%d requests in %d rounds", got, rounds)
	}
}
