package kafka

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/alloc"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/store"
)

// polling is a client with very many partitions, of which one has something new at each poll.
type polling struct {
	t       testing.TB
	c       *conn
	session *broker.Session
	full    *kmsg.FetchRequest
	id      int32
	epoch   int32
	offset  int64
}

// newPolling has so many partitions, a thousand to a topic.
func newPolling(t testing.TB, parts int) *polling {
	r := newRigWith(t, store.ModeOS, func(r *rig) {
		permissive(r)
		r.edit = func(o *Options) { o.Budget = budget.New(budget.Options{Bytes: 1 << 30}) }
	})
	q := kmsg.NewPtrFetchRequest()
	q.MinBytes, q.MaxBytes, q.MaxWaitMillis = 1, 1<<20, 0
	for n := 0; n < parts; n += 1000 {
		ft := kmsg.NewFetchRequestTopic()
		ft.Topic = fmt.Sprint("t", n)
		size := min(1000, parts-n)
		r.topic(ft.Topic, size, nil)
		for i := range size {
			fp := kmsg.NewFetchRequestTopicPartition()
			fp.Partition, fp.PartitionMaxBytes = int32(i), 1<<20
			ft.Partitions = append(ft.Partitions, fp)
		}
		q.Topics = append(q.Topics, ft)
	}
	v, err := r.broker.VHost("/")
	if err != nil {
		t.Fatal(err)
	}
	return &polling{t: t, c: r.direct(t), session: v.NewSession(auth.Identity{Name: "guest"}), full: q}
}

func (p *polling) serve(q *kmsg.FetchRequest) {
	q.SessionID, q.SessionEpoch = p.id, p.epoch
	p.frame(framed(q, 12))
}

func (p *polling) frame(b []byte) {
	p.c.frames.Touch()
	if err := p.c.serve(b); err != nil {
		p.t.Fatal(err)
	}
	if p.epoch >= 0 {
		p.epoch++
	}
}

// open makes the session, and has everything looked at once.
func (p *polling) open() {
	p.serve(p.full)
	for id := range p.c.fetch.sessions {
		p.id = id
	}
	if p.id == 0 {
		p.t.Fatal("declined")
	}
	empty := *p.full
	empty.Topics = nil
	for range 2 {
		p.serve(&empty)
	}
}

// add puts a record into the last partition.
func (p *polling) add(b []byte) {
	last := p.full.Topics[len(p.full.Topics)-1]
	q, err := p.session.Queue(broker.Look, last.Topic)
	if err != nil {
		p.t.Fatal(err)
	}
	parts := q.Partitions()
	if _, err := p.session.Produce(parts[len(last.Partitions)-1], b); err != nil {
		p.t.Fatal(err)
	}
}

// BenchmarkFetchOfMany is a poll that names all partitions, and one in a session.
func BenchmarkFetchOfMany(b *testing.B) {
	for _, parts := range []int{10, 1000, 10_000, 50_000} {
		b.Run(fmt.Sprint(parts, "/in-session"), func(b *testing.B) {
			p := newPolling(b, parts)
			p.open()
			last := p.full.Topics[len(p.full.Topics)-1]
			one := kmsg.NewFetchRequestTopic()
			one.Topic, one.Partitions = last.Topic, last.Partitions[len(last.Partitions)-1:]
			q := *p.full
			q.Topics = []kmsg.FetchRequestTopic{one}
			data := makeBatch(nil, "some value")
			for b.Loop() {
				p.add(data)
				q.Topics[0].Partitions[0].FetchOffset = p.offset
				p.serve(&q)
				p.offset++
			}
			if found := p.c.s.broker.Counters().Fetched.Load(); found < uint64(b.N) {
				b.Fatalf("%d records of %d", found, b.N)
			}
		})
		b.Run(fmt.Sprint(parts, "/naming-all"), func(b *testing.B) {
			p := newPolling(b, parts)
			p.epoch = -1
			data := makeBatch(nil, "some value")
			last := p.full.Topics[len(p.full.Topics)-1]
			for b.Loop() {
				p.add(data)
				last.Partitions[len(last.Partitions)-1].FetchOffset = p.offset
				p.serve(p.full)
				p.offset++
			}
		})
	}
}

// BenchmarkFetchSessionMemory tells what a partition of a session takes, beside what is counted for it.
func BenchmarkFetchSessionMemory(b *testing.B) {
	for _, parts := range []int{1000, 10_000, 50_000} {
		b.Run(fmt.Sprint(parts), func(b *testing.B) {
			for b.Loop() {
				p := newPolling(b, parts)
				p.serve(p.full) // what is opened by that stays
				p.c.endFetchSessions()
				p.epoch = 0
				before := heap()
				p.open()
				b.ReportMetric(float64(heap()-before)/float64(parts), "B/part")
				b.ReportMetric(float64(p.c.s.members.Held())/float64(parts), "counted-B/part")
				runtime.KeepAlive(p)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a poll of a session costs depends on what has changed, not on what there is.
func TestAPollOfASessionLooksAtWhatHasChanged(t *testing.T) {
	p := newPolling(t, 3000)
	p.open()
	x := p.c.fetch.sessions[p.id]
	if first, _ := x.changed.take(); first != nil {
		t.Fatal("partitions without news are looked at")
	}
	p.add(makeBatch(nil, "v"))
	listed := 0
	first, last := x.changed.take()
	for q := first; q != nil; q = q.next {
		listed++
	}
	x.changed.putBack(first, last)
	if listed != 1 {
		t.Errorf("%d partitions are looked at for one that has changed", listed)
	}
	empty := *p.full
	empty.Topics = nil
	frames := [10][]byte{} // of five measurements
	for i := range frames {
		empty.SessionID, empty.SessionEpoch = p.id, p.epoch+int32(i)
		frames[i] = framed(&empty, 12)
	}
	n := 0
	allocs := alloc.Least(20, 1, func() { p.frame(frames[n]); n++ })
	if allocs > 20 {
		t.Errorf("a poll of 3000 partitions makes %v allocations", allocs)
	}
}
