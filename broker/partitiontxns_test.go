package broker

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// transactionally is a batch of a producer's transaction.
func transactionally(id int64, epoch int16, seq int32, values ...string) batch.Batch {
	b := produced(id, epoch, seq, values...)
	b.Seal(batch.Header{Attributes: batch.Transactional, LastOffsetDelta: int32(len(values) - 1), BaseTimestamp: 1_000, MaxTimestamp: 1_000,
		ProducerID: id, ProducerEpoch: epoch, BaseSequence: seq, Count: int32(len(values))})
	return b
}

// txnModel is what a partition should know of transactions, kept the slow way.
type txnModel struct {
	records []modelRecord // by offset
	open    map[int64]int // producer: its first record
	seq     map[int64]int32
}

type modelRecord struct {
	value   string // "" of a marker
	txn     int64  // of an open transaction; 0: of none
	aborted bool
}

func (m *txnModel) stable() int {
	at := len(m.records)
	for _, first := range m.open {
		at = min(at, first)
	}
	return at
}

func (m *txnModel) committed() (out []string) {
	for _, rec := range m.records[:m.stable()] {
		if rec.value != "" && !rec.aborted {
			out = append(out, rec.value)
		}
	}
	return out
}

func (m *txnModel) end(id int64, commit bool) {
	for i := range m.records {
		if m.records[i].txn == id {
			m.records[i].txn, m.records[i].aborted = 0, !commit
		}
	}
	delete(m.open, id)
	m.records = append(m.records, modelRecord{})
}

// fetchCommitted reads as a Kafka consumer does who reads what is committed: it leaves out what the answer says was aborted.
func fetchCommitted(t *testing.T, s *Session, p *Partition, maxBytes int) (out []string, stable message.Offset) {
	t.Helper()
	for from := message.Offset(0); ; {
		got, pieces, err := s.Fetch(p, Fetch{From: from, MaxBytes: maxBytes, Whole: true, Committed: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(pieces) == 0 {
			return out, got.Stable
		}
		if !slices.IsSortedFunc(got.Aborted, func(a, b Aborted) int { return cmp.Compare(a.First, b.First) }) {
			t.Errorf("not by their first offsets: %v", got.Aborted)
		}
		aborted, next := map[int64]bool{}, 0
		for _, piece := range pieces {
			err := piece.Use(func(data []byte) error {
				for len(data) > 0 {
					b, rest, err := batch.Next(data)
					if err != nil {
						return err
					}
					data, from = rest, message.Offset(b.LastOffset())+1
					for ; next < len(got.Aborted) && got.Aborted[next].First <= message.Offset(b.LastOffset()); next++ {
						aborted[got.Aborted[next].Producer] = true
					}
					if b.IsControl() {
						if commit, err := message.ParseMarker(b); err != nil || !commit {
							delete(aborted, b.ProducerID())
						}
						continue
					}
					if b.IsTransactional() && aborted[b.ProducerID()] {
						continue
					}
					records := message.NewRecords(b.Records())
					var rec message.Record
					for {
						more, err := records.Next(&rec)
						if err != nil || !more {
							break
						}
						out = append(out, string(rec.Value))
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			piece.Release()
		}
	}
}

// Whatever comes in whatever order, through restarts and kills: readers of what is committed see that, and nothing else.
func TestWhatIsCommittedIsWhatAModelSays(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { txnCampaign(t, seed) })
	}
}

func txnCampaign(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 7))
	r := startWith(t, 0)
	if _, err := r.s.CreateTopic("t", 1, nil); err != nil {
		t.Fatal(err)
	}
	part := func() *Partition {
		q, err := r.v.Queue("t")
		if err != nil {
			t.Fatal(err)
		}
		return q.Partitions()[0]
	}
	m := &txnModel{open: map[int64]int{}, seq: map[int64]int32{}}
	worked := 0 // messages that were taken by work
	look := func() {
		t.Helper()
		want := m.committed()
		got, stable := fetchCommitted(t, r.s, part(), []int{1, 300, 1 << 20}[rng.IntN(3)])
		if !slices.Equal(got, want) || int(stable) != m.stable() {
			t.Fatalf("seed %d: committed are\n%v up to %d, want\n%v up to %d", seed, got, stable, want, m.stable())
		}
		if n := part().q.Ready(); int(n) != len(want)-worked {
			t.Fatalf("seed %d: %d are ready, want %d", seed, n, len(want)-worked)
		}
		open, err := r.v.OpenTransactions()
		if err != nil || len(open) != len(m.open) {
			t.Fatalf("seed %d: open are %+v, want %v: %v", seed, open, m.open, err)
		}
	}
	for step := range 120 {
		id := int64(1 + rng.IntN(4))
		values := make([]string, 1+rng.IntN(3))
		for i := range values {
			values[i] = fmt.Sprintf("%d.%d", step, i)
		}
		switch op := rng.IntN(20); {
		case op == 0:
			r.restart()
			look()
		case op == 1:
			r.kill()
			look()
		case op < 5: // of nobody's transaction
			if _, err := r.s.Produce(part(), produced(-1, -1, -1, values...)); err != nil {
				t.Fatal(err)
			}
			for _, v := range values {
				m.records = append(m.records, modelRecord{value: v})
			}
		case op < 13:
			got, err := r.s.Produce(part(), transactionally(id, 0, m.seq[id], values...))
			if err != nil || int(got.Base) != len(m.records) {
				t.Fatal(got, err)
			}
			if _, has := m.open[id]; !has {
				m.open[id] = len(m.records)
			}
			m.seq[id] += int32(len(values))
			for _, v := range values {
				m.records = append(m.records, modelRecord{value: v, txn: id})
			}
		case op < 18:
			commit := rng.IntN(2) == 0
			if err := r.v.EndTransaction(part(), id, 0, 0, commit); err != nil {
				t.Fatal(err)
			}
			if _, has := m.open[id]; has {
				m.end(id, commit)
			}
			look()
		default:
			want := m.committed()
			got, err := r.s.Get("t", true)
			switch {
			case err != nil:
				t.Fatal(err)
			case got == nil && len(want) > worked, got != nil && (len(want) == worked || string(got.Body) != want[worked]):
				t.Fatalf("seed %d: work gets %v after %d of %v", seed, got, worked, want)
			case got != nil:
				worked++
			}
		}
	}
	look()
}

func TestAConsumerOfAStreamStopsAtTheLastStableOffset(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("s", QueueOptions{Durable: true, Args: arguments(argType, "stream")})
	p := q.Partitions()[0]
	woken := make(chan struct{}, 100)
	sub, err := r.s.Subscribe("s", SubscribeOptions{Prefetch: 100, Args: arguments("x-stream-offset", "first"), Wake: func() { woken <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	var seen []string
	pull := func() {
		for {
			n, err := sub.Pull(10, 1<<20, func(d *Delivery) { seen = append(seen, string(d.Body)) })
			if err != nil {
				t.Fatal(err)
			}
			sub.Release()
			if n == 0 {
				return
			}
		}
	}
	put := func(b batch.Batch) {
		t.Helper()
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
	}
	put(transactionally(1, 0, 0, "a"))
	put(produced(-1, -1, -1, "plain"))
	put(transactionally(2, 0, 0, "aborted"))
	pull()
	if len(seen) != 0 {
		t.Errorf("%v from behind an open transaction", seen)
	}
	for _, end := range []struct {
		id     int64
		commit bool
	}{{2, false}, {1, true}} {
		if err := r.v.EndTransaction(p, end.id, 0, 0, end.commit); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.After(patience)
	for len(seen) < 2 {
		select {
		case <-woken:
			pull()
		case <-deadline:
			t.Fatalf("nobody is woken by the end of a transaction: %v", seen)
		}
	}
	if !slices.Equal(seen, []string{"a", "plain"}) {
		t.Errorf("%v", seen)
	}
}

func TestAProducerHasOneTransactionAtATime(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	if _, err := r.s.Produce(p, transactionally(1, 0, 0, "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Produce(p, produced(1, 0, 1, "b")); err != ErrInTransaction {
		t.Errorf("a batch without the transaction: %v", err)
	}
	if err := r.v.EndTransaction(p, 1, 0, 1, true); err != nil {
		t.Fatal(err)
	}
	if _, err := r.s.Produce(p, transactionally(1, 0, 1, "zombie")); err != ErrProducerFenced {
		t.Errorf("a batch of the epoch before: %v", err)
	}
	if _, err := r.s.Produce(p, transactionally(1, 1, 0, "c")); err != nil {
		t.Error(err)
	}
	if err := r.v.EndTransaction(p, 1, 0, 1, true); err != nil {
		t.Fatal(err)
	}
	if open, _ := r.v.OpenTransactions(); len(open) != 1 {
		t.Errorf("a decision about an older epoch ended a newer transaction: %+v", open)
	}
}

// Whoever is woken by a marker's append may look before it is known what it ends.
func TestReadersAreWokenOnceTheEndIsKnown(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	if _, err := r.s.Produce(p, transactionally(1, 0, 0, "a")); err != nil {
		t.Fatal(err)
	}
	seen := message.Offset(-1) // when it was woken last
	defer r.s.Watch(p, func() { _, seen, _ = p.bounds() })()
	if err := r.v.EndTransaction(p, 1, 0, 0, true); err != nil {
		t.Fatal(err)
	}
	if seen != 2 {
		t.Errorf("the last who was woken saw an end of %d", seen)
	}
}

// A replay, and who looks through a queue, see what is committed, and end where that ends.
func TestAReplayAndABrowseStopAtTheLastStableOffset(t *testing.T) {
	r := startWith(t, 0)
	q := r.queue("t", QueueOptions{Durable: true, Args: arguments(argRetention, "1h")})
	r.queue("copy", QueueOptions{Durable: true})
	p := q.Partitions()[0]
	put := func(b batch.Batch) {
		t.Helper()
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
	}
	end := func(id int64, commit bool) {
		t.Helper()
		if err := r.v.EndTransaction(p, id, 0, 0, commit); err != nil {
			t.Fatal(err)
		}
	}
	see := func(want ...string) {
		t.Helper()
		var browsed []string
		for from, end := message.Offset(0), message.Offset(1); from < end; {
			var err error
			if from, end, err = r.s.Browse(p, from, 1<<20, func(d *Delivery) bool { browsed = append(browsed, string(d.Body)); return true }); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(browsed, want) {
			t.Errorf("browsed %q, want %q", browsed, want)
		}
		if j := r.job(ReplayJob, spec("t", intoQueue("copy"))); j.State != JobDone || int(j.Copied) != len(want) {
			t.Errorf("replayed: %+v", j)
		}
		var replayed []string
		for {
			got, err := r.s.Get("copy", true)
			if err != nil {
				t.Fatal(err)
			}
			if got == nil {
				break
			}
			replayed = append(replayed, string(got.Body))
		}
		if !slices.Equal(replayed, want) {
			t.Errorf("replayed %q, want %q", replayed, want)
		}
	}
	put(transactionally(1, 0, 0, "a"))
	put(transactionally(2, 0, 0, "aborted"))
	end(1, true)
	end(2, false)
	put(transactionally(1, 0, 1, "b"))
	put(transactionally(2, 0, 1, "aborted, too"))
	put(produced(-1, -1, -1, "plain"))
	see("a")
	end(2, false)
	see("a")
	end(1, true)
	see("a", "b", "plain")
	r.restart()
	if q, err := r.v.Queue("t"); err != nil {
		t.Fatal(err)
	} else {
		p = q.Partitions()[0]
	}
	see("a", "b", "plain")
}

// hurriedLog is a log to which something is appended at the last moment before it is read.
type hurriedLog struct {
	store.Log
	first func()
}

func (l *hurriedLog) Read(from message.Offset, maxBytes int) (store.View, error) {
	l.first()
	return l.Log.Read(from, maxBytes)
}

// A transaction that begins while a consumer looks for its next messages is not among them.
func TestATransactionThatBeginsInTheMeantimeIsNotHandedOut(t *testing.T) {
	for name, before := range map[string]bool{"the first one": false, "another": true} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			q, err := r.s.CreateTopic("t", 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := q.Partitions()[0]
			produce := func(b batch.Batch) message.Offset {
				t.Helper()
				got, err := r.s.Produce(p, b)
				if err != nil {
					t.Fatal(err)
				}
				return got.Base
			}
			if before {
				produce(transactionally(2, 0, 0, "committed"))
				if err := r.v.EndTransaction(p, 2, 0, 0, true); err != nil {
					t.Fatal(err)
				}
			}
			plain := produce(produced(-1, -1, -1, "plain"))
			src := source{part: p, log: &hurriedLog{p.log, func() { produce(transactionally(1, 0, 0, "open")) }}}
			first, last, ok, err := src.Next(plain, true)
			if first != plain || last != plain || !ok || err != nil {
				t.Errorf("%d to %d, %v, %v; want %d alone", first, last, ok, err, plain)
			}
		})
	}
}

func TestWhatATransactionCommitsIsHeldAgainstTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", "x-max-length", 2)
		p := q.Partitions()[0]
		if _, err := r.s.Produce(p, transactionally(1, 0, 0, "a", "b", "c", "d", "e")); err != nil {
			t.Fatal(err)
		}
		if n := q.Ready(); n != 0 {
			t.Fatalf("%d ready of an open one", n)
		}
		if err := r.v.EndTransaction(p, 1, 0, 0, true); err != nil {
			t.Fatal(err)
		}
		if n := q.Ready(); n != 2 {
			t.Errorf("%d ready", n)
		}
	})
}

// What stands behind an open transaction takes room in a queue that refuses, and gives it back when it is aborted.
func TestWhatIsUndecidedTakesRoomWhereMessagesAreRefused(t *testing.T) {
	for name, limit := range map[string][]any{
		"messages": {"x-max-length", 5}, "bytes": {"x-max-length-bytes", 5 * 1000}, "dead letters": {"x-max-length", 5, "x-overflow", "reject-publish-dlx"},
	} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			q := r.limited("q", append([]any{"x-overflow", "reject-publish"}, limit...)...)
			p, pub, body := q.Partitions()[0], r.s.NewPublisher(), strings.Repeat("b", 900)
			for round := range int32(3) { // what came is read once, and taken off again
				if _, err := r.s.Produce(p, transactionally(int64(round), 0, 0, body, body)); err != nil {
					t.Fatal(err)
				}
				if refused := r.offer(pub, "", "q", body, body, body, body, body, body); len(refused) < 3 || len(refused) > 4 {
					t.Errorf("round %d: refused %q behind an open transaction", round, refused)
				}
				_, err := r.s.Produce(p, transactionally(int64(round), 0, 2, body, body, body))
				kind(t, err, LimitReached)
				if err := r.v.EndTransaction(p, int64(round), 0, 0, false); err != nil {
					t.Fatal(err)
				}
				if refused := r.offer(pub, "", "q", body); len(refused) != 0 {
					t.Errorf("round %d: refused %q behind one that was aborted", round, refused)
				}
				if _, err := r.s.Purge("q"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A queue that drops its oldest messages can't drop what is undecided, and grows by so much and no more.
func TestAQueueThatDropsRefusesWhatComesBehindAVeryLargeTransaction(t *testing.T) {
	r := startWith(t, 0)
	q := r.limited("q", "x-max-length", 2)
	p, pub := q.Partitions()[0], r.s.NewPublisher()
	if refused := r.offer(pub, "", "q", "its publisher knows it before there is any transaction"); len(refused) != 0 {
		t.Fatal(refused)
	}
	half := make([]string, undecidedMessages/2+1)
	if _, err := r.s.Produce(p, transactionally(1, 0, 0, half...)); err != nil {
		t.Fatal(err)
	}
	if refused := r.offer(pub, "", "q", "a", "b", "c"); len(refused) != 0 {
		t.Errorf("refused %q behind half of what may be undecided", refused)
	}
	if _, err := r.s.Produce(p, transactionally(1, 0, int32(len(half)), half...)); err != nil {
		t.Fatal(err)
	}
	if refused := r.offer(pub, "", "q", "d", "e"); strings.Join(refused, "") != "de" {
		t.Errorf("refused %q, want d and e", refused)
	}
	_, err := r.s.Produce(p, produced(-1, -1, -1, "f"))
	kind(t, err, LimitReached)
	if err := r.v.EndTransaction(p, 1, 0, 0, false); err != nil {
		t.Fatal(err)
	}
	if refused := r.offer(pub, "", "q", "g"); len(refused) != 0 || q.Ready() != 2 {
		t.Errorf("when it has ended: refused %q, %d ready", refused, q.Ready())
	}
}

// Messages whose time is over while a transaction is open before them expire with its end, without anybody who asks.
func TestWhatATransactionHeldUpExpiresWithItsEnd(t *testing.T) {
	for name, own := range map[string]bool{"the queue's time": false, "its own time": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, r *rig) {
				q, want := r.lasting("q", 1000), uint64(5)
				if own {
					q, want = r.limited("own"), 3
				}
				p := q.Partitions()[0]
				if _, err := r.s.Produce(p, transactionally(1, 0, 0, "a", "b")); err != nil {
					t.Fatal(err)
				}
				r.put(q.Name, 3, expiring("1000"), time.Now())
				time.Sleep(5 * time.Second)
				if n := q.Ready(); n != 0 {
					t.Fatalf("%d ready while it is open", n)
				}
				if err := r.v.EndTransaction(p, 1, 0, 0, !own); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				if got := r.leftBy(); got[Expired] != want {
					t.Errorf("left %v, want %d that expired", got, want)
				}
			})
		})
	}
}

// Names of what stands behind a transaction that is open are not forgotten, although there is nothing to be had from the queue.
func TestNamesBehindATransactionStay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		q := r.limited("q", argDistinct, true)
		if _, err := r.s.Produce(q.Partitions()[0], transactionally(1, 0, 0, "open")); err != nil {
			t.Fatal(err)
		}
		r.refuses(numbers(0, 2*fewNames))
		if n := q.Ready(); n != 0 {
			t.Fatalf("%d ready while it is open", n)
		}
		time.Sleep(2 * restNames)
		r.refuses(numbers(0, 2*fewNames), numbers(0, 2*fewNames)...)
	})
}

// Retention, and who deletes records, may take the beginning of an open transaction, as in Kafka.
func TestTheBeginningOfAnOpenTransactionMayGo(t *testing.T) {
	for name, commit := range map[string]bool{"committed": true, "aborted": false} {
		t.Run(name, func(t *testing.T) {
			r := startWith(t, 0)
			q, err := r.s.CreateTopic("t", 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := q.Partitions()[0]
			put := func(b batch.Batch) {
				t.Helper()
				if _, err := r.s.Produce(p, b); err != nil {
					t.Fatal(err)
				}
			}
			if n := q.Ready(); n != 0 { // its cursor is there
				t.Fatal(n)
			}
			put(transactionally(1, 0, 0, "gone"))
			put(produced(-1, -1, -1, "gone"))
			put(transactionally(1, 0, 1, "left"))
			put(produced(-1, -1, -1, "plain"))
			if start, err := r.s.Truncate(p, 2); err != nil || start != 2 {
				t.Fatal(start, err)
			}
			got, list, err := r.s.Fetch(p, Fetch{From: 2, MaxBytes: 1000, Whole: true, Committed: true}, nil)
			if err != nil || len(list) != 0 || got.Start != 2 || got.Stable != 2 || got.End != 4 {
				t.Errorf("%+v, %d runs, %v", got, len(list), err)
			}
			if n := q.Ready(); n != 0 {
				t.Errorf("%d are ready while it is open", n)
			}
			if start, end, err := r.s.Extent(p); start != 2 || end != 2 || err != nil {
				t.Errorf("from %d to %d, %v", start, end, err)
			}
			if err := r.v.EndTransaction(p, 1, 0, 0, commit); err != nil {
				t.Fatal(err)
			}
			want := []string{"left", "plain"}
			if !commit {
				want = want[1:]
			}
			if bodies, _ := r.browse(q, 0, 10); !slices.Equal(bodies, want) || q.Ready() != int64(len(want)) {
				t.Errorf("%q, %d ready; want %q", bodies, q.Ready(), want)
			}
		})
	}
}

// What is decided before another open transaction is not counted any more.
func TestWhatIsUndecidedIsCountedFromTheOldestOpenTransaction(t *testing.T) {
	r := startWith(t, 0)
	q := r.limited("q", "x-max-length-bytes", 100_000, "x-overflow", "reject-publish")
	p := q.Partitions()[0]
	put := func(b batch.Batch) int64 {
		t.Helper()
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
		return int64(len(b))
	}
	l := p.limiter()
	want := func(messages, bytes int64) {
		t.Helper()
		if m, b, err := l.undecided(p, q.Settings()); m != messages || b != bytes || err != nil {
			t.Errorf("%d messages of %d bytes, %v; want %d of %d", m, b, err, messages, bytes)
		}
	}
	first := put(transactionally(1, 0, 0, "a", "b"))
	plain := put(produced(-1, -1, -1, "plain"))
	second := put(transactionally(2, 0, 0, "c"))
	want(4, first+plain+second)
	if err := r.v.EndTransaction(p, 1, 0, 0, true); err != nil {
		t.Fatal(err)
	}
	_, end, _ := p.log.Bounds()
	marker, err := p.storedBytes(end-1, end)
	if err != nil || marker == 0 {
		t.Fatal(marker, err)
	}
	want(1, second+marker)
	more := put(transactionally(2, 0, 1, "d"))
	want(2, second+marker+more)
	if err := r.v.EndTransaction(p, 2, 0, 0, false); err != nil {
		t.Fatal(err)
	}
	want(0, 0)
}
