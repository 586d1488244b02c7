package broker

import (
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// stamped publishes messages to "q", each stored at a time, and with a property timestamp if that is not 0.
func (r *rig) stamped(list ...Stamp) {
	r.t.Helper()
	p := r.s.NewPublisher()
	for _, s := range list {
		props := field.Properties{Timestamp: uint64(s.Property)}
		if s.Property != 0 {
			props.Flags = field.FlagTimestamp
		}
		if _, err := p.Publish(&Inbound{Key: []byte("q"), Body: []byte("x"), Properties: props.Append(nil), TimestampMs: s.StoredMs}); err != nil {
			r.t.Fatal(err)
		}
		flush(r.t, p)
	}
}

// oldest is Queue.Oldest as soon as it is known.
func (r *rig) oldest(name string) (s Stamp) {
	r.t.Helper()
	q, err := r.v.Queue(name)
	if err != nil {
		r.t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if s, ok := q.Oldest(true); ok {
			return s
		}
	}
	r.t.Fatalf("nobody knows how old what is in '%s' is", name)
	return s
}

func TestTheOldestMessageIsTheFirstThatIsNotSettled(t *testing.T) {
	r := start(t)
	q := r.queue("q", QueueOptions{Durable: true})
	if s, ok := q.Oldest(true); ok {
		t.Errorf("an empty queue has %v", s)
	}
	all := []Stamp{{1000, 0}, {2000, 77}, {3000, 0}}
	r.stamped(all...)
	held, err := r.s.Get("q", false)
	if err != nil {
		t.Fatal(err)
	}
	if s := r.oldest("q"); s != all[0] {
		t.Errorf("while the first is held: %v", s)
	}
	r.get("q") // the second
	if s := r.oldest("q"); s != all[0] {
		t.Errorf("while the first is held and the second is gone: %v", s)
	}
	if err := held.Lease.Ack(held.Offset, held.Offset); err != nil {
		t.Fatal(err)
	}
	if s := r.oldest("q"); s != all[2] {
		t.Errorf("behind the second: %v", s)
	}
	r.get("q")
	if s, ok := q.Oldest(true); ok {
		t.Errorf("a queue that was emptied has %v", s)
	}
	r.stamped(Stamp{5000, 88})
	stats := r.Broker.QueueStats()[0].Oldest
	if age := time.Now().UnixMilli() - 5000; !stats.Known || stats.Property != 88 || stats.Ms < age-10_000 || stats.Ms > age {
		t.Errorf("%+v, where it is %d ms old", stats, age)
	}
}

// After a start nobody has opened a log: what is asked for is fetched, where the cursor stands and without one being made.
func TestTheOldestMessageIsFoundAfterAStart(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true})
	r.queue("none", QueueOptions{Durable: true})
	r.stamped(Stamp{1000, 0}, Stamp{2000, 77}, Stamp{3000, 0})
	r.get("q")
	r.restart()
	q, _ := r.v.Queue("q")
	if s, ok := q.Oldest(true); ok {
		t.Errorf("it was known without a look: %v", s)
	}
	if s := r.oldest("q"); s != (Stamp{2000, 77}) {
		t.Error(s)
	}
	if q.Partitions()[0].cursor.Load() != nil {
		t.Error("a cursor was made for it")
	}
	r.get("q") // there is one now, which has moved
	if s := r.oldest("q"); s != (Stamp{3000, 0}) {
		t.Error(s)
	}
	if none, _ := r.v.Queue("none"); none != nil {
		if s, ok := none.Oldest(true); ok {
			t.Errorf("an empty queue has %v", s)
		}
	}
}

// A topic keeps what was read; how old what a group has not read is, is asked for by offset.
func TestAgesInATopicGoByOffset(t *testing.T) {
	r := start(t)
	r.queue("q", QueueOptions{Durable: true, Args: field.AppendString(field.AppendName(nil, "x-queue-type"), []byte("stream"))})
	r.stamped(Stamp{1000, 0}, Stamp{2000, 0})
	if s := r.oldest("q"); s.StoredMs != 1000 {
		t.Error(s)
	}
	q, _ := r.v.Queue("q")
	p := q.Partitions()[0]
	_, end := p.Ends()
	now := time.Now().UnixMilli()
	for at, want := range map[int64]int64{0: 1000, 1: 2000, 2: 2000} { // behind each append some offsets are left unused
		if a := p.Age(at); !a.Known || now-a.Ms > want+10_000 || now-a.Ms < want-10_000 {
			t.Errorf("at %d: %+v", at, a)
		}
	}
	if a := p.Age(end); a.Known {
		t.Errorf("at the end: %+v", a)
	}
}

// What nobody asks for any more is forgotten, and what is gone at once.
func TestAgesAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.queue("q", QueueOptions{Durable: true})
		r.stamped(Stamp{1000, 0})
		r.restart()
		r.oldest("q")
		count := func() int {
			r.ages.mu.Lock()
			defer r.ages.mu.Unlock()
			return len(r.ages.known)
		}
		if n := count(); n != 1 {
			t.Fatalf("%d are kept", n)
		}
		time.Sleep(2 * agesKept)
		q, _ := r.v.Queue("q")
		r.ages.fetched(r.Broker, spot{q.Partitions()[0], 12345})
		if n := count(); n != 1 {
			t.Errorf("%d are kept", n)
		}
	})
}

// TestTheOldestMessageIsThatOfAllPartitions, whichever it is in, and those that are empty do not matter.
func TestTheOldestMessageIsThatOfAllPartitions(t *testing.T) {
	r := start(t)
	topic, err := r.s.CreateTopic("t", 4, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := topic.Oldest(true); ok {
		t.Errorf("an empty topic has %v", s)
	}
	for _, step := range []struct {
		partition  int
		ms, oldest int64
	}{{1, 3000, 3000}, {3, 2000, 2000}, {2, 1000, 1000}, {1, 500, 1000}} { // the last one stands behind another
		b := produced(-1, -1, -1, "x")
		b.SetTimes(true, step.ms)
		if _, err := r.s.Produce(topic.Partitions()[step.partition], b); err != nil {
			t.Fatal(err)
		}
		if s := r.oldest("t"); s.StoredMs != step.oldest {
			t.Errorf("with one of %d in partition %d: %d, want %d", step.ms, step.partition, s.StoredMs, step.oldest)
		}
	}
}
