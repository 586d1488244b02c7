package txn

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// world is what a coordinator works with: partitions, a table, groups. It survives the coordinator.
type world struct {
	kept      map[string][]byte
	open      map[Place]Open
	ended     []string // markers, in their order
	offsets   map[key]int64
	producers int64
	fail      func(what string) error

	mu sync.Mutex // held by what a coordinator calls from its timers, too; a test looks when they rest
}

func newWorld() *world {
	return &world{kept: map[string][]byte{}, open: map[Place]Open{}, offsets: map[key]int64{}, fail: func(string) error { return nil }}
}

func (w *world) coordinator() *Coordinator {
	return New(Options{
		Keep: func(id string, state []byte, offsets []group.Change) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err := w.fail("keep"); err != nil {
				return err
			}
			if w.kept[id] = state; state == nil {
				delete(w.kept, id)
			}
			for _, ch := range offsets {
				w.offsets[place(&ch)] = ch.Offset.Offset
			}
			return nil
		},
		Commit: func(_ []group.Change, save func() error) error { return save() },
		End: func(p Place, producer int64, epoch, next int16, commit bool) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if err := w.fail("end"); err != nil {
				return err
			}
			if o, ok := w.open[p]; ok && o.Producer == producer && o.Epoch <= epoch {
				delete(w.open, p)
				w.ended = append(w.ended, fmt.Sprintf("%s-%d %d/%d %v", p.Topic, p.Partition, producer, next, commit))
			}
			return nil
		},
		Flush: func(_ []Place, done func(error)) { done(w.failed("flush")) },
		NewProducer: func() (int64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.producers++
			return w.producers, w.fail("producer")
		},
	})
}

// opened is how many partitions have a transaction open.
func (w *world) opened() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.open)
}

func (w *world) failed(what string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fail(what)
}

// restart is a coordinator that goes on where a process was killed.
func (w *world) restart(t *testing.T, before *Coordinator) *Coordinator {
	t.Helper()
	before.Close()
	c := w.coordinator()
	for id, state := range w.kept {
		if err := c.Restore(id, state); err != nil {
			t.Fatal(err)
		}
	}
	c.Recover(slices.Collect(maps.Values(w.open)))
	return c
}

func at(n int32) Place { return Place{Topic: "t", Partition: n} }

// produce is what a producer does with partitions in its transaction.
func (w *world) produce(t *testing.T, c *Coordinator, id string, producer int64, epoch int16, parts ...Place) wire.Code {
	t.Helper()
	e, code := c.Enter(id, producer, epoch, parts, true)
	if code != wire.None {
		return code
	}
	defer e.Leave()
	for _, p := range parts {
		if !e.Has(p) {
			t.Fatalf("%v takes no part", p)
		}
		w.mu.Lock()
		w.open[p] = Open{p, producer, epoch}
		w.mu.Unlock()
	}
	return wire.None
}

func begin(t *testing.T, c *Coordinator, id string) (int64, int16) {
	t.Helper()
	producer, epoch, code := c.Init("guest", id, time.Minute, -1, -1)
	if code != wire.None {
		t.Fatal(code)
	}
	return producer, epoch
}

func TestATransactionGoesItsWay(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	p, e := begin(t, c, "x")
	for i, bump := range []bool{true, true, false, false, true} {
		if code := w.produce(t, c, "x", p, e, at(0), at(1)); code != wire.None {
			t.Fatal(i, code)
		}
		p2, e2, code := c.End("x", p, e, i != 1, bump)
		if code != wire.None || p2 != p || (e2 == e) == bump {
			t.Fatal(i, p2, e2, code)
		}
		again, e3, code := c.End("x", p, e, i != 1, bump)
		if code != wire.None || again != p || e3 != e2 {
			t.Errorf("%d: asked again: %d %d %v", i, again, e3, code)
		}
		if _, _, code := c.End("x", p, e, i == 1, bump); code != wire.InvalidTxnState {
			t.Errorf("%d: asked for the other end: %v", i, code)
		}
		e = e2
		if len(w.open) != 0 || len(w.ended) != 2*(i+1) {
			t.Errorf("%d: open %v, ended %v", i, w.open, w.ended)
		}
	}
	if d, _ := c.Describe("x"); d.State != CompleteCommit || d.Epoch != e {
		t.Errorf("%+v", d)
	}
}

func TestEpochsThatAreUsedUpEndWithAnotherProducer(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	p, _ := begin(t, c, "x")
	tx := c.lock("x")
	tx.epoch = lastEpoch
	tx.mu.Unlock()
	w.produce(t, c, "x", p, lastEpoch, at(0))
	p2, e2, code := c.End("x", p, lastEpoch, true, true)
	if code != wire.None || p2 == p || e2 != 0 {
		t.Fatal(p2, e2, code)
	}
	if p3, e3, code := c.End("x", p, lastEpoch, true, true); code != wire.None || p3 != p2 || e3 != 0 {
		t.Errorf("asked again: %d %d %v", p3, e3, code)
	}
	if code := w.produce(t, c, "x", p2, 0, at(0)); code != wire.None {
		t.Error(code)
	}
	c = w.restart(t, c)
	defer c.Close()
	if p3, e3, code := c.End("x", p2, 0, true, true); code != wire.None || p3 != p2 || e3 != 1 {
		t.Errorf("after a restart: %d %d %v", p3, e3, code)
	}
}

func TestInitFencesAndAborts(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	p, e := begin(t, c, "x")
	w.produce(t, c, "x", p, e, at(0))
	p2, e2 := begin(t, c, "x")
	if p2 != p || e2 != e+1 || len(w.open) != 0 || w.ended[0] != "t-0 1/1 false" {
		t.Errorf("%d %d, open %v, ended %v", p2, e2, w.open, w.ended)
	}
	if code := w.produce(t, c, "x", p, e, at(0)); code != wire.ProducerFenced {
		t.Errorf("the old one produces: %v", code)
	}
	if _, _, code := c.Init("guest", "x", time.Minute, p, e); code != wire.ProducerFenced {
		t.Errorf("the old one asks: %v", code)
	}
	if _, _, code := c.Init("guest", "x", time.Minute, p+1, e2); code != wire.ProducerFenced {
		t.Errorf("another asks: %v", code)
	}
	p3, e3, code := c.Init("guest", "x", time.Minute, p, e2)
	if code != wire.None || p3 != p || e3 != e2+1 {
		t.Errorf("the new one asks: %d %d %v", p3, e3, code)
	}
	if p4, e4, code := c.Init("guest", "x", time.Minute, p, e2); code != wire.None || p4 != p || e4 != e3 {
		t.Errorf("it asks again: %d %d %v", p4, e4, code)
	}
}

func TestTimeIsUp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinator()
		defer c.Close()
		p, e := begin(t, c, "x")
		w.produce(t, c, "x", p, e, at(0))
		time.Sleep(time.Minute - time.Millisecond)
		synctest.Wait()
		synctest.Wait()
		if w.opened() != 1 {
			t.Error("aborted too early")
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		synctest.Wait()
		if w.opened() != 0 || w.ended[0] != "t-0 1/1 false" {
			t.Errorf("open %v, ended %v", w.open, w.ended)
		}
		if _, _, code := c.End("x", p, e, true, true); code != wire.InvalidTxnState {
			t.Errorf("the late one commits: %v", code)
		}
		if _, _, code := c.End("x", p, e, false, false); code != wire.ProducerFenced {
			t.Errorf("the late one of before KIP-890 aborts: %v", code)
		}
		for range 2 { // whether it is told by an abort, which it may ask for again, or by Init
			if p2, e2, code := c.End("x", p, e, false, true); code != wire.None || p2 != p || e2 != e+1 {
				t.Errorf("the late one aborts: %d/%d %v", p2, e2, code)
			}
		}
		for range 2 {
			if _, e2, code := c.Init("guest", "x", time.Minute, p, e); code != wire.None || e2 != e+1 {
				t.Errorf("the late one goes on: %d %v", e2, code)
			}
		}
		c = w.restart(t, c)
		if code := w.produce(t, c, "x", p, e, at(0)); code != wire.ProducerFenced {
			t.Errorf("with the epoch from before: %v", code)
		}
		if code := w.produce(t, c, "x", p, e+1, at(0)); code != wire.None {
			t.Error(code)
		}
		if _, _, code := c.Init("guest", "x", time.Minute, p, e); code != wire.ProducerFenced {
			t.Errorf("the epoch from before when another transaction is open: %v", code)
		}
		c.Close()
	})
}

func TestIDsAreForgottenThatNobodyUses(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinator()
		defer c.Close()
		begin(t, c, "idle")
		p, e, _ := c.Init("guest", "busy", 15*time.Minute, -1, -1)
		for range 7 * 24 * 6 {
			w.produce(t, c, "busy", p, e, at(0))
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			_, e, _ = c.End("busy", p, e, true, true)
		}
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		synctest.Wait()
		if c.Count() != 1 || len(w.kept) != 1 {
			t.Errorf("%d ids, %d kept", c.Count(), len(w.kept))
		}
	})
}

func change(topic string, offset int64) group.Change {
	return group.Change{Group: "g", Topic: topic, Offset: group.Offset{Offset: offset, Metadata: "m", Committed: time.Now()}}
}

func TestOffsetsWaitForTheEnd(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	p, e := begin(t, c, "x")
	if code := c.CommitOffsets("x", p, e, "g", []group.Change{change("a", 5)}, false); code != wire.InvalidTxnState {
		t.Errorf("of a group that takes no part: %v", code)
	}
	if code := c.AddGroup("x", p, e, "g"); code != wire.None {
		t.Fatal(code)
	}
	for _, o := range []int64{5, 6} {
		if code := c.CommitOffsets("x", p, e, "g", []group.Change{change("a", o), change("b", o)}, false); code != wire.None {
			t.Fatal(code)
		}
	}
	c = w.restart(t, c)
	if !c.Unstable("g", "a", 0) || c.Unstable("g", "c", 0) || len(w.offsets) != 0 {
		t.Errorf("%v", w.offsets)
	}
	if _, e, code := c.End("x", p, e, true, true); code != wire.None || w.offsets[key{"g", "a", 0}] != 6 || len(w.offsets) != 2 || e != 1 {
		t.Errorf("%v %v %d", code, w.offsets, e)
	}
	if c.Unstable("g", "a", 0) {
		t.Error("still unstable")
	}
	c.CommitOffsets("x", p, 1, "g", []group.Change{change("a", 9)}, true)
	if _, _, code := c.End("x", p, 1, false, true); code != wire.None || w.offsets[key{"g", "a", 0}] != 6 || c.Unstable("g", "a", 0) {
		t.Errorf("after an abort: %v %v", code, w.offsets)
	}
	c = w.restart(t, c)
	defer c.Close()
	if c.Unstable("g", "a", 0) {
		t.Error("unstable after a restart")
	}
}

// A producer that did not hear of its new epoch is told of it by Init, but only before it has used that.
func TestInitTellsOfTheEpochThatAnEndGave(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	p, e := begin(t, c, "x")
	w.produce(t, c, "x", p, e, at(0))
	if _, _, code := c.End("x", p, e, true, true); code != wire.None {
		t.Fatal(code)
	}
	if _, e2, code := c.Init("guest", "x", time.Minute, p, e); code != wire.None || e2 != e+1 {
		t.Errorf("%d %v", e2, code)
	}
	c = w.restart(t, c)
	if _, _, code := c.End("x", p, e, false, true); code != wire.ProducerFenced {
		t.Errorf("with the epoch from before, of which it knows by now: %v", code)
	}
	w.produce(t, c, "x", p, e+1, at(0))
	_, e, _ = c.End("x", p, e+1, true, true)
	w.produce(t, c, "x", p, e, at(0))
	if _, _, code := c.Init("guest", "x", time.Minute, p, e-1); code != wire.ProducerFenced || len(w.open) != 1 {
		t.Errorf("when the next transaction is open: %v, %v", code, w.open)
	}
	c.Close()
}

func TestADeletedGroupGetsNoOffsets(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	p, e := begin(t, c, "x")
	other := change("a", 6)
	other.Group = "other"
	for id, ch := range map[string]group.Change{"g": change("a", 5), "other": other} {
		if code := c.CommitOffsets("x", p, e, id, []group.Change{ch}, true); code != wire.None {
			t.Fatal(code)
		}
	}
	w.fail = func(string) error { return errDisk }
	if code := c.ForgetGroup("g"); code != wire.CoordinatorNotAvailable || !c.Unstable("g", "a", 0) {
		t.Errorf("a disk that refuses it: %v", code)
	}
	w.fail = func(string) error { return nil }
	if code := c.ForgetGroup("nobody"); code != wire.None {
		t.Error(code)
	}
	if code := c.ForgetGroup("g"); code != wire.None || c.Unstable("g", "a", 0) || !c.Unstable("other", "a", 0) {
		t.Errorf("%v, unstable %v and %v", code, c.Unstable("g", "a", 0), c.Unstable("other", "a", 0))
	}
	c = w.restart(t, c)
	defer c.Close()
	if _, _, code := c.End("x", p, e, true, true); code != wire.None || w.offsets[key{"other", "a", 0}] != 6 || len(w.offsets) != 1 {
		t.Errorf("%v %v", code, w.offsets)
	}
}

func TestACoordinatorAskedForTheWrongThingSaysWhich(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	p, e := begin(t, c, "x")
	for what, got := range map[string]struct{ got, want wire.Code }{
		"add, no id":              {c.Add("", p, e, []Place{at(0)}), wire.InvalidRequest},
		"add, unknown id":         {c.Add("y", p, e, []Place{at(0)}), wire.InvalidProducerIDMapping},
		"add, other producer":     {c.Add("x", p+1, e, []Place{at(0)}), wire.InvalidProducerIDMapping},
		"add, older epoch":        {c.Add("x", p, e-1, []Place{at(0)}), wire.ProducerFenced},
		"add, newer epoch":        {c.Add("x", p, e+1, []Place{at(0)}), wire.ProducerFenced},
		"group, no id":            {c.AddGroup("", p, e, "g"), wire.InvalidRequest},
		"group, older epoch":      {c.AddGroup("x", p, e-1, "g"), wire.ProducerFenced},
		"offsets, no id":          {c.CommitOffsets("", p, e, "g", nil, true), wire.InvalidRequest},
		"offsets, other producer": {c.CommitOffsets("x", p+1, e, "g", nil, true), wire.InvalidProducerIDMapping},
	} {
		if got.got != got.want {
			t.Errorf("%s: %v, want %v", what, got.got, got.want)
		}
	}
	if _, _, code := c.End("", p, e, true, false); code != wire.InvalidRequest {
		t.Errorf("end, no id: %v", code)
	}
	if entered, code := c.Enter("x", p, e, nil, true); code != wire.None {
		t.Error(code)
	} else {
		entered.Leave()
	}
	if d, _ := c.Describe("x"); d.State != Empty {
		t.Errorf("nothing was produced, and it is %v", d.State)
	}
	if code := c.Add("x", p, e, nil); code != wire.None {
		t.Error(code)
	}
	if d, _ := c.Describe("x"); d.State != Ongoing { // as Kafka has it
		t.Errorf("no partition was added, and it is %v", d.State)
	}
}

func TestWhatNobodyKnowsOfIsAborted(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	w.open[at(3)] = Open{at(3), 99, 4}
	c = w.restart(t, c)
	defer c.Close()
	if len(w.open) != 0 || w.ended[0] != "t-3 99/4 false" {
		t.Errorf("open %v, ended %v", w.open, w.ended)
	}
}

var errDisk = errors.New("disk")

// A model of what was promised is held against what the partitions show, with failures and kills at any step.
func TestTransactionsHoldThroughFailuresAndKills(t *testing.T) {
	for seed := range uint64(300) {
		fakeclock.Test(t, func(t *testing.T) { campaign(t, seed) })
	}
}

func campaign(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	w := newWorld()
	failing := false
	w.fail = func(string) error {
		if failing && r.IntN(4) == 0 {
			return errDisk
		}
		return nil
	}
	type producer struct {
		id     int64
		epoch  int16
		bump   bool
		has    map[Place]bool
		offset int64 // that it wants committed; 0: none
		wants  string
	}
	c := w.coordinator()
	ids := []string{"a", "b", "c"}
	known := map[string]*producer{}
	committed := int64(0) // offset of the group of each id, as promised
	promised := map[string]int64{}
	for range 60 {
		id := ids[r.IntN(len(ids))]
		p := known[id]
		failing = r.IntN(3) == 0
		switch op := r.IntN(10); {
		case op == 0:
			failing = false
			c = w.restart(t, c)
		case p == nil || op == 1:
			n, e, code := c.Init("guest", id, time.Minute, -1, -1)
			if code == wire.None {
				known[id] = &producer{id: n, epoch: e, bump: r.IntN(2) == 0, has: map[Place]bool{}}
			} else {
				delete(known, id)
			}
		case op < 5 && p.wants == "":
			part := Place{Topic: id, Partition: int32(r.IntN(3))}
			if code := w.produce(t, c, id, p.id, p.epoch, part); code == wire.None {
				p.has[part] = true
			}
		case op == 5 && p.wants == "":
			committed++
			if c.CommitOffsets(id, p.id, p.epoch, "g"+id, []group.Change{{Group: "g" + id, Topic: "in", Offset: group.Offset{Offset: committed}}}, true) == wire.None {
				p.offset = committed
			}
		default:
			if p.wants == "" {
				p.wants = []string{"commit", "abort"}[r.IntN(2)]
			}
			n, e, code := c.End(id, p.id, p.epoch, p.wants == "commit", p.bump)
			switch code {
			case wire.None:
				for part := range p.has {
					if o, open := w.open[part]; open {
						t.Fatalf("seed %d: %s was ended (%s), and %+v is open", seed, id, p.wants, o)
					}
				}
				if p.offset > 0 && p.wants == "commit" {
					promised[id] = p.offset
				}
				p.id, p.epoch, p.has, p.offset, p.wants = n, e, map[Place]bool{}, 0, ""
			case wire.CoordinatorNotAvailable, wire.ConcurrentTransactions: // it asks again
			case wire.InvalidTxnState: // there was nothing in it
				if len(p.has) > 0 || p.offset > 0 {
					t.Fatalf("seed %d: %s of %s: %v, with %v", seed, p.wants, id, code, p)
				}
				p.wants = ""
			default:
				t.Fatalf("seed %d: %s of %s: %v", seed, p.wants, id, code)
			}
		}
		for id, want := range promised {
			if got := w.offsets[key{"g" + id, "in", 0}]; got != want && (known[id] == nil || got != known[id].offset) {
				t.Fatalf("seed %d: %s has committed %d, want %d", seed, id, got, want)
			}
		}
		wantCounted(t, c)
	}
	failing = false
	c = w.restart(t, c)
	for id := range known {
		begin(t, c, id)
	}
	time.Sleep(2 * time.Minute) // those whose id was forgotten by the test
	synctest.Wait()
	if len(w.open) != 0 {
		t.Fatalf("seed %d: %v is open for ever", seed, w.open)
	}
	c.Close()
}

// wantCounted holds what is counted against what is there.
func wantCounted(t *testing.T, c *Coordinator) {
	t.Helper()
	c.mu.Lock()
	list, all := slices.Collect(maps.Values(c.byID)), c.bytes
	ids, owned := len(list), all
	for _, o := range c.owners {
		ids -= o.ids.Len()
		owned -= o.bytes
	}
	c.mu.Unlock()
	if ids != 0 || owned != 0 {
		t.Errorf("%d ids and %d bytes are of no user", ids, owned)
	}
	for _, x := range list {
		x.mu.Lock()
		if all -= x.bytes; x.bytes != x.size() {
			t.Errorf("%q: %d bytes are counted, %d are there", x.id, x.bytes, x.size())
		}
		x.mu.Unlock()
	}
	if all != 0 {
		t.Errorf("%d bytes are counted for nobody", all)
	}
}

// purse is a group.Memory with a limit.
type purse struct{ used, limit int64 }

func (p *purse) Try(n int64) error {
	if p.used+n > p.limit {
		return errors.New("there are no more")
	}
	p.used += n
	return nil
}

func (p *purse) Give(n int64) { p.used -= n }

func TestOneWhoMakesMillionsOfIDsLosesTheOldest(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld()
		memory, lines := &purse{limit: 1 << 30}, &bytes.Buffer{}
		c := w.coordinator()
		defer func() {
			if c.Close(); memory.used != 0 {
				t.Errorf("%d bytes are counted for what is closed", memory.used)
			}
		}()
		c.opts.MaxBytes, c.opts.Memory, c.opts.Logger = 1<<20, memory, slog.New(slog.NewTextHandler(lines, nil))
		long := strings.Repeat("x", 10<<10)
		for i := range 1000 {
			if _, _, code := c.Init("guest", fmt.Sprint(i, long), time.Minute, -1, -1); code != wire.None {
				t.Fatal(code)
			}
		}
		if n := c.Count(); n < 10 || n > 100 || len(w.kept) != n || memory.used > 3<<18 {
			t.Errorf("%d ids, %d kept, %d bytes", n, len(w.kept), memory.used)
		}
		if n := strings.Count(lines.String(), "too much memory"); n != 1 {
			t.Errorf("%d lines of the log", n)
		}
		wantCounted(t, c)
		time.Sleep(8 * 24 * time.Hour)
		synctest.Wait()
		if c.Count() != 0 || memory.used != 0 {
			t.Errorf("when their time is over: %d ids, %d bytes", c.Count(), memory.used)
		}
		if _, _, code := c.Init("guest", "later", time.Minute, -1, -1); code != wire.None {
			t.Errorf("there is room again: %v", code)
		}
		memory.limit = memory.used
		if _, _, code := c.Init("guest", "others have it", time.Minute, -1, -1); code != wire.PolicyViolation {
			t.Errorf("the memory is used by others: %v", code)
		}
	})
}

func TestWhatIsInATransactionIsCountedAndGivenBack(t *testing.T) {
	w := newWorld()
	memory := &purse{limit: 64 << 10}
	c := w.coordinator()
	c.opts.Memory = memory
	p, e := begin(t, c, "x")
	idle := memory.used
	round := func(commit bool) {
		t.Helper()
		parts, offsets, groups := 0, 0, 0
		for code := wire.None; code == wire.None; parts++ {
			if code = c.Add("x", p, e, []Place{at(int32(parts))}); code != wire.None && code != wire.TransactionAbortable {
				t.Fatalf("partition %d: %v", parts, code)
			}
		}
		if parts < 100 {
			t.Errorf("%d partitions", parts)
		}
		_, next, code := c.End("x", p, e, commit, true)
		if e = next; code != wire.None || memory.used != idle {
			t.Fatalf("%v, %d bytes of %d", code, memory.used, idle)
		}
		for code := wire.None; code == wire.None; groups++ {
			if code = c.AddGroup("x", p, e, fmt.Sprint("group", groups)); code != wire.None && code != wire.InvalidCommitOffsetSize {
				t.Fatalf("group %d: %v", groups, code)
			}
		}
		_, next, _ = c.End("x", p, e, commit, true)
		for e, code = next, wire.None; code == wire.None; offsets++ {
			for range 2 { // the second takes the place of the first
				ch := change(fmt.Sprint("t", offsets), 1)
				ch.Offset.Metadata = strings.Repeat("m", 1000)
				if code = c.CommitOffsets("x", p, e, "g", []group.Change{ch}, true); code != wire.None && code != wire.InvalidCommitOffsetSize {
					t.Fatalf("offset %d: %v", offsets, code)
				}
			}
			wantCounted(t, c)
		}
		if groups < 100 || offsets < 10 || offsets > 40 {
			t.Errorf("%d groups, %d offsets", groups, offsets)
		}
		if _, next, code = c.End("x", p, e, commit, true); code != wire.None || memory.used != idle {
			t.Fatalf("%v, %d bytes of %d", code, memory.used, idle)
		}
		e = next
	}
	round(true)
	round(false)
	if c.Close(); memory.used != 0 {
		t.Errorf("%d bytes are counted for what is closed", memory.used)
	}
}

func FuzzState(f *testing.F) {
	sample := newTxn()
	sample.producer, sample.epoch, sample.timeout = 7, 3, time.Minute
	ch := change("topic", 5)
	sample.offsets[place(&ch)] = ch
	f.Add(sample.appendState(nil, Ongoing))
	f.Add(newTxn().appendState(nil, Empty))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := parseState(data)
		if err != nil {
			return
		}
		b, err := parseState(a.appendState(nil, a.state))
		if err != nil || b.producer != a.producer || b.decided != a.decided || !reflect.DeepEqual(b.offsets, a.offsets) {
			t.Errorf("comes back different: %v", err)
		}
	})
}

func TestStateIsWrittenAsDrawn(t *testing.T) {
	tx := newTxn()
	tx.producer, tx.epoch, tx.decided, tx.next, tx.timeout, tx.used = 7, 3, 2, -1, time.Minute, time.UnixMilli(1000)
	ch := group.Change{Group: "g", Topic: "in", Partition: 1, Offset: group.Offset{TopicID: [16]byte{9}, Offset: 5, LeaderEpoch: -1, Metadata: "m"}}
	tx.offsets[place(&ch)] = ch
	const want = "0101000000000000000700030002ffffffffffffffff0000ea6000000000000003e800000001" +
		"000167" + "0002696e" + "09000000000000000000000000000000" + "00000001" + "0000000000000005" + "ffffffff" + "00016d"
	if got := fmt.Sprintf("%x", tx.appendState(nil, Ongoing)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A decision that is replaced before its markers are on disk could not be made good after a power cut.
func TestADecisionStaysUntilItsMarkersAreSafe(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinator()
		defer c.Close()
		var safe func(error)
		c.opts.Flush = func(_ []Place, done func(error)) { safe = done }
		p, e := begin(t, c, "x")
		w.produce(t, c, "x", p, e, at(0))
		_, e, _ = c.End("x", p, e, true, true)
		before := string(w.kept["x"])
		w.produce(t, c, "x", p, e, at(0))
		ended := false
		go func() {
			_, _, code := c.End("x", p, e, false, true)
			ended = code == wire.None
		}()
		synctest.Wait()
		if ended || string(w.kept["x"]) != before {
			t.Error("the decision was replaced")
		}
		safe(nil)
		synctest.Wait()
		if !ended || string(w.kept["x"]) == before {
			t.Error("the next one does not go on")
		}
	})
}

// What a flush failed for may pass, or go with its partition: the id is of use again then.
func TestMarkersThatCouldNotBeFlushedAreFlushedAgain(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	var flushed [][]Place
	bad := true
	c.opts.Flush = func(parts []Place, done func(error)) {
		flushed = append(flushed, parts)
		if bad {
			done(errors.New("too many open files"))
			return
		}
		done(nil)
	}
	p, e := begin(t, c, "x")
	w.produce(t, c, "x", p, e, at(0))
	_, e, code := c.End("x", p, e, true, true)
	if code != wire.None {
		t.Fatal(code)
	}
	w.produce(t, c, "x", p, e, at(1))
	before := string(w.kept["x"])
	for range 2 {
		if _, _, code := c.End("x", p, e, true, true); code != wire.CoordinatorNotAvailable || string(w.kept["x"]) != before {
			t.Errorf("while the markers can't be flushed: %v", code)
		}
	}
	bad = false
	if _, _, code := c.End("x", p, e, true, true); code != wire.None {
		t.Errorf("when they can be: %v", code)
	}
	want := [][]Place{{at(0)}, {at(0)}, {at(0)}, {at(0)}, {at(1)}}
	if !reflect.DeepEqual(flushed, want) {
		t.Errorf("flushed %v, want %v", flushed, want)
	}
}

func TestATransactionHasSoManyGroups(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	c.opts.MaxOffsets = 2
	p, e := begin(t, c, "x")
	for _, id := range []string{"a", "b", "a"} {
		if code := c.AddGroup("x", p, e, id); code != wire.None {
			t.Error(id, code)
		}
	}
	if code := c.AddGroup("x", p, e, "c"); code != wire.InvalidCommitOffsetSize {
		t.Errorf("announced: %v", code)
	}
	if code := c.CommitOffsets("x", p, e, "c", nil, true); code != wire.InvalidCommitOffsetSize {
		t.Errorf("committed: %v", code)
	}
	if d, _ := c.Describe("x"); len(d.Groups) != 2 {
		t.Error(d.Groups)
	}
}
