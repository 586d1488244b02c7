package broker

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/message"
)

// grants is a ProducerMemory with so many bytes.
type grants struct{ left int64 }

func (g *grants) Try(n int64) error {
	if n > g.left {
		return errors.New("others have it")
	}
	g.left -= n
	return nil
}

func (g *grants) Give(n int64) { g.left += n }

// knowing is how many producers a queue's partitions know.
func knowing(q *Queue) (n int) {
	for _, p := range q.Partitions() {
		ps := &p.active().producers
		ps.mu.Lock()
		n += len(ps.byID)
		ps.mu.Unlock()
	}
	return n
}

func (r *producerRoom) counted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int(r.count)
}

// TestIdempotentProducersOfAllPartitionsHaveOneBound: one who floods some partitions with ids has his own forgotten, and neither who goes
// on sending elsewhere, nor who has a transaction.
func TestIdempotentProducersOfAllPartitionsHaveOneBound(t *testing.T) {
	const room = 500
	bubble(t, func(t *testing.T, r *rig) {
		r.producerRoom.limit = room * producerMemory
		quiet, err := r.s.CreateTopic("quiet", 1, nil)
		if err != nil {
			t.Fatal(err)
		}
		flooded, err := r.s.CreateTopic("flooded", 4, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := quiet.Partitions()[0]
		take := func(id int64, sequence int32, duplicate bool) {
			t.Helper()
			if out, err := r.s.Produce(p, produced(id, 0, sequence, "v")); err != nil || out.Duplicate != duplicate {
				t.Fatalf("sequence %d of %d: %+v, %v", sequence, id, out, err)
			}
		}
		if _, err := r.s.Produce(p, transactionally(1, 0, 0, "open")); err != nil {
			t.Fatal(err)
		}
		take(2, 0, false) // goes on
		take(3, 0, false) // falls silent
		busy := int32(0)
		for id := range int64(6 * room) {
			if _, err := r.s.Produce(flooded.Partitions()[id%4], produced(1000+id, 0, 0, "v")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if id%(room/4) == 0 {
				busy++
				take(2, busy, false)
			}
		}
		if n := r.producerRoom.counted(); n > room || n != knowing(quiet)+knowing(flooded) {
			t.Errorf("%d are counted, and %d and %d known", n, knowing(quiet), knowing(flooded))
		}
		take(2, busy, true)
		known := p.active().producers.byID
		if known[1] == nil || known[3] != nil {
			t.Errorf("one with a transaction is known: %v, one that was silent: %v", known[1] != nil, known[3] != nil)
		}
		if _, err := r.s.DeleteQueue("flooded", false, false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := r.producerRoom.counted(); n != knowing(quiet) {
			t.Errorf("%d are counted and %d known without the topic", n, knowing(quiet))
		}

		time.Sleep(2 * producerExpiry)
		for id := range int64(room / 2) { // each has two looked at
			take(1_000_000+id, 0, false)
		}
		if n := len(known); n < room/2 || n > 1+room/2 {
			t.Errorf("%d are known a day later", n)
		}
	})
}

func TestIdempotentProducersAreForgottenWhereOthersHaveTheMemory(t *testing.T) {
	memory := &grants{left: 3 * producerGrant}
	r := producerRoom{limit: 1 << 30, memory: memory, log: slog.New(slog.DiscardHandler)}
	ps := &producers{byID: map[int64]*producer{}, room: &r}
	now := time.Unix(1_000_000, 0)
	for id := range int64(5000) {
		now = now.Add(time.Millisecond)
		ps.note(id, 0, sent{base: message.Offset(id)}, now)
	}
	if want := int64(4 * producerGrant / producerMemory); r.count != want || len(ps.byID) != int(want) || memory.left != 0 || ps.byID[4999] == nil || ps.byID[0] != nil {
		t.Errorf("%d are counted, %d known, %d bytes are left", r.count, len(ps.byID), memory.left)
	}
	ps.drop()
	ps.note(1, 0, sent{}, now) // by who found it before
	if r.count != 0 || r.front != nil || memory.left < 2*producerGrant {
		t.Errorf("%d are counted, %d bytes are left", r.count, memory.left)
	}
}

// TestWhatWasSavedOfProducersIsCounted: states of many partitions are read after a start, and hold no more together than there is room.
func TestWhatWasSavedOfProducersIsCounted(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id := range int64(200) {
		if _, err := r.s.Produce(q.Partitions()[id%2], produced(id, 0, 0, "v")); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	r.producerRoom.limit = 100 * producerMemory
	q, err = r.v.Queue("t")
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range q.Partitions() {
		if out, err := r.s.Produce(p, produced(198+int64(i), 0, 0, "v")); err != nil || !out.Duplicate {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if n := r.producerRoom.counted(); n != 100 || knowing(q) != 100 {
		t.Errorf("%d are counted, %d known", n, knowing(q))
	}
}

// TestWhoHasATransactionIsForgottenLast: a run of them that is longer than one search stays, and what is open goes on; only what is
// more than all of the room goes.
func TestWhoHasATransactionIsForgottenLast(t *testing.T) {
	const room, slack = 600, 600 / 30
	bubble(t, func(t *testing.T, r *rig) {
		r.producerRoom.limit = room * producerMemory
		topic := func(name string) *Partition {
			q, err := r.s.CreateTopic(name, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			return q.Partitions()[0]
		}
		begin := func(p *Partition, ids, count int64) {
			for id := ids; id < ids+count; id++ {
				if _, err := r.s.ProduceInTransaction(p, transactionally(id, 0, 0, "v")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		open, flooded := topic("open"), topic("flooded")
		begin(open, 1000, room/2)
		for id := range int64(3 * room) {
			for range 2 { // none was silent when it is looked at first
				if _, err := r.s.Produce(flooded, produced(1_000_000+id, 0, 0, "v")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		if n, all := len(open.active().producers.byID), r.producerRoom.counted(); n != room/2 || all > room+slack {
			t.Errorf("%d of %d with a transaction are known, and %d in all", n, room/2, all)
		}
		for id := int64(1000); id < 1000+room/2; id++ {
			if _, err := r.s.ProduceInTransaction(open, transactionally(id, 0, 1, "more")); err != nil {
				t.Fatalf("the transaction of %d goes on: %v", id, err)
			}
		}
		begin(open, 5000, room)
		if n, all := len(open.active().producers.byID), r.producerRoom.counted(); n < room-slack || all > room+3*slack {
			t.Errorf("%d with a transaction are known, and %d in all", n, all)
		}
		for id := int64(1000); id < 6000; id++ { // whoever was forgotten
			if err := r.v.EndTransaction(open, id, 0, 1, true); err != nil {
				t.Fatal(err)
			}
		}
		if list, err := r.v.OpenTransactions(); err != nil || len(list) > 0 {
			t.Errorf("%d are open, %v", len(list), err)
		}
	})
}

// TestWhoGoesOnIsForgottenAfterWhoIsSilent, and who has a transaction after both.
func TestWhoGoesOnIsForgottenAfterWhoIsSilent(t *testing.T) {
	const each = 3 * producerLooks
	a := &activePart{}
	a.txns.Store(newPartTxns())
	ps := &a.producers
	r := &producerRoom{limit: 3 * each * producerMemory, log: slog.New(slog.DiscardHandler)}
	ps.part, ps.room, ps.byID = a, r, map[int64]*producer{}
	now := time.Unix(1_000_000, 0)
	send := func(from, to int64) {
		for id := from; id < to; id++ {
			now = now.Add(time.Millisecond)
			ps.note(id, 0, sent{base: message.Offset(id)}, now)
		}
	}
	known := func(from int64) (n int) {
		for id := from; id < from+each; id++ {
			if ps.byID[id] != nil {
				n++
			}
		}
		return n
	}
	for id := range int64(each) {
		a.txns.Load().open[id] = openTxn{}
	}
	send(0, 3*each)
	send(each, 2*each)
	send(3*each, 3*each+each/2)
	if known(0) != each || known(each) != each {
		t.Errorf("%d with a transaction are known, and %d of those who go on", known(0), known(each))
	}
	for id := int64(4 * each); id < 6*each; id++ {
		send(id, id+1)
		for old := range ps.byID { // all go on
			if old >= each {
				send(old, old+1)
			}
		}
	}
	if known(0) != each || r.count > 3*each+each/5 {
		t.Errorf("%d with a transaction are known, and %d in all", known(0), r.count)
	}
}

// TestWhoIsForgottenGoesOn as one whom the partition never knew.
func TestWhoIsForgottenGoesOn(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	ps := &p.active().producers
	for sequence := range int32(2) {
		if _, err := r.s.Produce(p, produced(1, 0, sequence, "v")); err != nil {
			t.Fatal(err)
		}
		if _, err := r.s.ProduceInTransaction(p, transactionally(2, int16(sequence), 0, "v")); err != nil {
			t.Fatal(err)
		}
		if err := r.v.EndTransaction(p, 2, int16(sequence), int16(sequence)+1, true); err != nil {
			t.Fatal(err)
		}
		ps.mu.Lock()
		ps.clear()
		ps.mu.Unlock()
	}
	if n := r.producerRoom.counted(); n != 0 {
		t.Errorf("%d are counted", n)
	}
}

// TestWhatIsKnownOfProducersGoesWithWhereTheyWrote, be it a queue, an exchange that is a topic, or all of a virtual host.
func TestWhatIsKnownOfProducersGoesWithWhereTheyWrote(t *testing.T) {
	const each = 1000
	bubble(t, func(t *testing.T, r *rig) {
		memory := &grants{left: 1 << 30}
		r.producerRoom.memory = memory
		write := func(v *VHost, s *Session) (q *Queue, x *Exchange) {
			t.Helper()
			q, err := s.CreateTopic("t", 1, nil)
			if err == nil {
				x, err = s.DeclareExchange("feed", ExchangeOptions{Type: "fanout", Durable: true, Args: arguments("x-kafka-topic", "feed")})
			}
			if err != nil {
				t.Fatal(err)
			}
			to := s.NewPublisher()
			for id := range int64(each) {
				_, err := s.Produce(q.Partitions()[0], produced(id, 0, 0, "v"))
				if err == nil {
					_, err = publishBatch(to, x, produced(id, 0, 0, "v"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			flush(t, to)
			return q, x
		}
		left := func(what string, want int) {
			t.Helper()
			time.Sleep(time.Second)
			if n := r.producerRoom.counted(); n != want {
				t.Errorf("%s: %d producers are counted", what, n)
			}
		}
		_, x := write(r.v, r.s)
		left("all are there", 2*each)
		if err := r.s.DeleteExchange("feed", false); err != nil {
			t.Fatal(err)
		}
		_, err := publishBatch(r.s.NewPublisher(), x, produced(each, 0, 0, "late")) // by who found it before
		kind(t, err, NotFound)
		left("without the exchange", each)
		if _, err := r.s.DeleteQueue("t", false, false); err != nil {
			t.Fatal(err)
		}
		left("without the topic", 0)
		write(r.host("other"))
		left("another virtual host", 2*each)
		r.drop("other")
		left("without the virtual host", 0)
		if held := 1<<30 - memory.left; held > 2*producerGrant {
			t.Errorf("%d bytes are not given back", held)
		}
	})
}

func TestProducersOfALoadThatFailedAreNotCounted(t *testing.T) {
	r, s := startFaulty(t)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	const each = 5
	for id := range int64(2 * each) { // more than is read at a time
		if _, err := r.s.Produce(p, produced(id, 0, 0, string(bytes.Repeat([]byte("x"), 1<<20)))); err != nil {
			t.Fatal(err)
		}
	}
	p.dropProducers()
	p.inUse.Store(nil) // as after a start
	s.broken.Store(3)
	for range 2 {
		if _, err := r.s.Produce(p, produced(0, 0, 1, "v")); err == nil {
			t.Fatal("produced without knowing who is known")
		}
		if n := r.producerRoom.counted(); n != 0 || knowing(q) != 0 {
			t.Errorf("%d are counted, %d known", n, knowing(q))
		}
	}
	s.broken.Store(0)
	if _, err := r.s.Produce(p, produced(0, 0, 1, "v")); err != nil {
		t.Error(err)
	}
	if n := r.producerRoom.counted(); n != 2*each || knowing(q) != 2*each {
		t.Errorf("%d are counted, %d known", n, knowing(q))
	}
}

// TestTransactionsThatWereSavedAreKnownWhereThereIsNoRoom: of more producers than there is room for, those go that have none.
func TestTransactionsThatWereSavedAreKnownWhereThereIsNoRoom(t *testing.T) {
	r := startWith(t, 0)
	q, err := r.s.CreateTopic("t", 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := q.Partitions()[0]
	for id := range int64(200) {
		b := produced(id, 0, 0, "v")
		if id < 20 {
			b = transactionally(id, 0, 0, "v")
		}
		if _, err := r.s.Produce(p, b); err != nil {
			t.Fatal(err)
		}
	}
	r.restart()
	r.producerRoom.limit = 50 * producerMemory
	if q, err = r.v.Queue("t"); err != nil {
		t.Fatal(err)
	}
	for id := range int64(20) {
		if _, err := r.s.ProduceInTransaction(q.Partitions()[0], transactionally(id, 0, 1, "more")); err != nil {
			t.Errorf("the transaction of %d: %v", id, err)
		}
	}
}

// TestAPartitionForgetsWhoHasATransactionLast, be they too many there, or long silent.
func TestAPartitionForgetsWhoHasATransactionLast(t *testing.T) {
	a := &activePart{}
	a.txns.Store(newPartTxns())
	ps := &a.producers
	ps.part, ps.byID = a, map[int64]*producer{}
	now := time.Unix(1_000_000, 0)
	for id := range int64(20) {
		a.txns.Load().open[id] = openTxn{}
		ps.note(id, 0, sent{base: message.Offset(id)}, now)
	}
	for id := int64(20); id < 60; id++ {
		ps.note(id, 0, sent{base: message.Offset(id)}, now)
	}
	ps.expire(now.Add(2 * producerExpiry))
	if len(ps.byID) != 20 {
		t.Errorf("%d are known", len(ps.byID))
	}
	for id := int64(0); id < 20; id++ {
		if ps.byID[id] == nil {
			t.Errorf("%d, which has a transaction, is not known", id)
		}
	}
}

// A producer's next epoch leaves its place in the ring alone, which others' places change meanwhile: theirs are other partitions, whose
// mutex it does not hold.
func TestANewEpochLeavesTheRingToWhoHasIt(t *testing.T) {
	room := &producerRoom{limit: 1 << 20, log: slog.New(slog.DiscardHandler)}
	known := func() *producers { return &producers{room: room, byID: map[int64]*producer{}} }
	goesOn, others := known(), known()
	now := time.Now()
	note := func(ps *producers, id int64, epoch int16) {
		ps.mu.Lock()
		defer ps.mu.Unlock()
		ps.note(id, epoch, sent{}, now)
	}
	note(others, 1, 0)
	note(goesOn, 2, 0)
	note(others, 3, 0)
	var stop atomic.Bool
	var both sync.WaitGroup
	both.Go(func() {
		for epoch := int16(1); !stop.Load(); epoch = (epoch + 1) & 0x7fff {
			note(goesOn, 2, epoch)
		}
	})
	for range 20_000 { // come before and behind it, and go
		note(others, 4, 0)
		others.mu.Lock()
		others.forget(1)
		others.forget(3)
		others.mu.Unlock()
		note(others, 3, 0)
		note(others, 1, 0)
		others.mu.Lock()
		others.forget(4)
		others.mu.Unlock()
	}
	stop.Store(true)
	both.Wait()
	if pr := goesOn.byID[2]; pr.of != goesOn || pr.before.behind != pr || pr.behind.before != pr {
		t.Error("it is not where its neighbours have it")
	}
	at, n := room.front, 0
	for ; n < 10; n++ {
		if at = at.behind; at == room.front {
			n++
			break
		}
	}
	if n != 3 || room.count != 3 {
		t.Errorf("the ring has %d, and counts %d, want 3", n, room.count)
	}
}
