package broker

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
)

var compactSeeds = flag.Uint64("compact.seeds", 6, "how many histories of a compacted topic to run")

// TestCompactionIsWhatAModelSays whatever comes in whatever order: producers, transactions, ends of keys, restarts, kills, and
// losses of what was saved beside the log.
func TestCompactionIsWhatAModelSays(t *testing.T) {
	for seed := range *compactSeeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compactCampaign(t, seed) })
	}
}

// compactModel is all that ever was in the topic, by offset.
type compactModel struct {
	*compacting
	rng    *rand.Rand
	all    []modelKeyed
	open   map[int64]int         // producer: its transaction's first record
	seq    map[int64]int32       // of the next batch
	last   map[int64]batch.Batch // of each producer
	lastAt map[int64]message.Offset
	ends   map[message.Offset][]message.Offset // where transactions end: their records
}

type modelKeyed struct {
	keyedRecord
	txn     int64 // of an open transaction
	aborted bool
	marker  bool
}

func compactCampaign(t *testing.T, seed uint64) {
	m := &compactModel{compacting: newCompacting(t, "segment.bytes", "65536"), rng: rand.New(rand.NewPCG(seed, 9)),
		open: map[int64]int{}, seq: map[int64]int32{}, last: map[int64]batch.Batch{}, lastAt: map[int64]message.Offset{}, ends: map[message.Offset][]message.Offset{}}
	if seed%3 == 0 {
		m.opts.CompactMemory = 5 * keyBlockBytes
	}
	for range 200 {
		m.step()
	}
	for id := range m.open {
		m.end(id, m.rng.IntN(2) == 0)
	}
	m.restarted(m.rng.IntN(4))
	m.check()
	for range 3 { // what ends keys and transactions goes with the second one
		m.compact(2 * time.Second)
	}
	m.checkClean()
	m.restarted(3)
	m.check()
	m.checkProducers()
}

// restarted begins anew: 0 in order, 1 after a kill, from 2 on after a kill and without some of what was saved.
func (m *compactModel) restarted(how int) {
	m.t.Helper()
	memory := m.opts.CompactMemory
	if how == 0 {
		m.restart()
	} else {
		id := m.part().log.ID()
		if how > 1 {
			names, _ := filepath.Glob(filepath.Join(m.dir, "queues", "*", "*", "*.state"))
			for i, name := range names {
				if how == 3 || i%2 == int(id[len(id)-1])%2 {
					_ = os.Remove(name)
				}
			}
		}
		m.kill()
	}
	m.opts.CompactMemory = memory
}

func (m *compactModel) step() {
	m.t.Helper()
	m.now.Add(m.rng.Int64N(20))
	switch op := m.rng.IntN(40); {
	case op < 14:
		m.produce(int64(m.rng.IntN(3)), false)
	case op < 24:
		m.produce(int64(10+m.rng.IntN(3)), true)
	case op < 30:
		for id := range m.open {
			m.end(id, m.rng.IntN(2) == 0)
			break
		}
	case op < 36:
		m.compact(time.Duration(m.rng.IntN(1500)) * time.Millisecond)
		m.check()
	case op < 38:
		m.restarted(m.rng.IntN(4))
		m.check()
	default:
		m.check()
	}
}

// produce sends a batch of random records; producer 0 is nobody.
func (m *compactModel) produce(id int64, txn bool) {
	m.t.Helper()
	var list []keyedRecord
	for range 1 + m.rng.IntN(8) {
		one := keyedRecord{key: fmt.Sprint("k", m.rng.IntN(60)), value: fmt.Sprint("v", len(m.all)+len(list))}
		if m.rng.IntN(5) == 0 {
			one.value = ""
		}
		list = append(list, one)
	}
	h := nobody
	if id > 0 {
		h = batch.Header{ProducerID: id, BaseSequence: m.seq[id]}
	}
	if txn {
		h.Attributes = batch.Transactional
	}
	codec := m.rng.IntN(5)
	list = m.put(codec, h, list...)
	if int(list[0].offset) != len(m.all) {
		m.t.Fatalf("it went to %d, want %d", list[0].offset, len(m.all))
	}
	if id > 0 {
		m.last[id], m.lastAt[id] = keyedBatch(m.t, codec, h, list...), list[0].offset
		m.seq[id] += int32(len(list))
	}
	if _, has := m.open[id]; txn && !has {
		m.open[id] = len(m.all)
	}
	for _, one := range list {
		rec := modelKeyed{keyedRecord: one}
		if txn {
			rec.txn = id
		}
		m.all = append(m.all, rec)
	}
}

func (m *compactModel) end(id int64, commit bool) {
	m.t.Helper()
	if err := m.v.EndTransaction(m.part(), id, 0, 0, commit); err != nil {
		m.t.Fatal(err)
	}
	var of []message.Offset
	for i := range m.all {
		if m.all[i].txn == id {
			m.all[i].txn, m.all[i].aborted = 0, !commit
			of = append(of, message.Offset(i))
		}
	}
	m.ends[message.Offset(len(m.all))] = of
	delete(m.open, id)
	m.all = append(m.all, modelKeyed{marker: true})
}

func (m *compactModel) stable() int {
	at := len(m.all)
	for _, first := range m.open {
		at = min(at, first)
	}
	return at
}

// check holds what a reader of what is committed sees against all that was committed: nothing else, in order, and the last
// record of each key, unless that ends the key.
func (m *compactModel) check() {
	m.t.Helper()
	seen := map[string][]keyedRecord{}
	at := message.Offset(-1)
	for _, one := range m.records() {
		if one.offset <= at {
			m.t.Fatalf("%d comes behind %d", one.offset, at)
		}
		at = one.offset
		if int(at) >= m.stable() {
			m.t.Fatalf("%d is seen before %d is decided", at, m.stable())
		}
		if want := m.all[at]; want.marker || want.aborted || want.keyedRecord != one {
			m.t.Fatalf("%+v is seen, want %+v", one, want)
		}
		seen[one.key] = append(seen[one.key], one)
	}
	last := map[string]keyedRecord{}
	for _, one := range m.all[:m.stable()] {
		if !one.marker && !one.aborted {
			last[one.key] = one.keyedRecord
		}
	}
	for key, want := range last {
		list := seen[key]
		if len(list) == 0 && want.value == "" {
			continue // its end is gone, with all before it
		}
		if len(list) == 0 || list[len(list)-1] != want {
			m.t.Fatalf("of %s are seen %+v, the last one is %+v", key, list, want)
		}
	}
	open, err := m.v.OpenTransactions()
	if err != nil || len(open) != len(m.open) {
		m.t.Fatalf("open are %+v, want %v: %v", open, m.open, err)
	}
	if start, end, err := m.part().log.Bounds(); start != 0 || int(end) != len(m.all) || err != nil {
		m.t.Fatalf("from %d to %d, want %d: %v", start, end, len(m.all), err)
	}
}

// checkClean holds that nothing is left that could go.
func (m *compactModel) checkClean() {
	m.t.Helper()
	m.check()
	keys, there, ends := map[string]bool{}, map[message.Offset]bool{}, map[message.Offset]int64{}
	for from := message.Offset(0); ; {
		v, err := await(m.part().log, from, 1<<20)
		if err != nil {
			m.t.Fatal(err)
		}
		if v.Len() == 0 {
			v.Done()
			break
		}
		err = v.Use(func(data []byte) error {
			for len(data) > 0 {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				if message.Offset(b.BaseOffset()) > from {
					m.t.Errorf("%d follows %d", b.BaseOffset(), from)
				}
				data, from = rest, message.Offset(b.LastOffset())+1
				if b.IsControl() {
					ends[message.Offset(b.BaseOffset())] = b.ProducerID()
					continue
				}
				for _, one := range recordsOf(m.t, b) {
					switch {
					case keys[one.key]:
						m.t.Errorf("%s is there again at %d", one.key, one.offset)
					case one.value == "":
						m.t.Errorf("the end of %s is left at %d", one.key, one.offset)
					case m.all[one.offset].aborted:
						m.t.Errorf("%d was aborted", one.offset)
					}
					keys[one.key], there[one.offset] = true, true
				}
			}
			return nil
		})
		v.Done()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	for at, producer := range ends {
		if at < m.lastAt[producer] && !slices.ContainsFunc(m.ends[at], func(o message.Offset) bool { return there[o] }) {
			m.t.Errorf("the end of a transaction of which nothing is left stands at %d", at)
		}
	}
}

// checkProducers holds that the newest batch of each is known, and what has to come next.
func (m *compactModel) checkProducers() {
	m.t.Helper()
	for id, b := range m.last {
		if b.IsTransactional() {
			continue // its epoch is its coordinator's to know
		}
		again, err := m.s.Produce(m.part(), b)
		if err != nil || !again.Duplicate || again.Base != m.lastAt[id] {
			m.t.Errorf("producer %d: its newest batch again: %+v %v, want it at %d", id, again, err, m.lastAt[id])
		}
		if _, err := m.s.Produce(m.part(), keyedBatch(m.t, 0, batch.Header{ProducerID: id, BaseSequence: m.seq[id] + 1}, keyedRecord{key: "k", value: "v"})); err == nil {
			m.t.Errorf("producer %d: a batch is missing, and nobody minds", id)
		}
		if _, err := m.s.Produce(m.part(), keyedBatch(m.t, 0, batch.Header{ProducerID: id, BaseSequence: m.seq[id]}, keyedRecord{key: "k", value: "v"})); err != nil {
			m.t.Errorf("producer %d: its next batch: %v", id, err)
		}
	}
}
