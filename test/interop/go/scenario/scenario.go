// Package scenario is what every Kafka client in Go has to do, whatever its
// calls are named: produce with each codec and read back byte for byte and in
// order, run a group of two through a join, a rebalance and a leave, restart
// from what was committed, and look up offsets.
package scenario

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/test/interop/go/check"
)

// Partitions of every topic that the scenario makes, but for lookups.
const Partitions = 4

// Header is one record header; a nil value is a null.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as sent; Offset is set when it was read.
type Record struct {
	Partition  int32
	Key, Value []byte
	Headers    []Header
	Time       time.Time // whole milliseconds
	Offset     int64
}

// Member is one member of a group.
type Member interface {
	// Poll waits a fraction of a second for records and returns them; when it
	// is called again, or the member closes, these are to be committed.
	Poll(ctx context.Context) ([]Record, error)
	// Assigned returns the partitions that the member holds now.
	Assigned() []int32
	// Close commits what Poll returned and leaves the group.
	Close() error
}

// Client is what a client's program offers.
type Client interface {
	CreateTopic(ctx context.Context, topic string, partitions int32) error
	DeleteTopic(ctx context.Context, topic string) error
	// Produce sends to the given partitions, in order, and returns after all were acked.
	Produce(ctx context.Context, topic string, records []Record, codec string, idempotent bool) error
	// Read reads count records of a partition, without a group.
	Read(ctx context.Context, topic string, partition int32, offset int64, count int) ([]Record, error)
	Member(group, topic string) (Member, error)
	// OffsetAt returns the offset of the first record of that time or later.
	OffsetAt(ctx context.Context, topic string, partition int32, t time.Time) (int64, error)
}

// Options are what a client can and cannot do.
type Options struct {
	Codecs     []string // names, "none" first
	Idempotent bool     // it has idempotent producers
	Nulls      bool     // it tells null from empty when reading
	NoTimes    bool     // it has no offset look-up by time
	// Assigned makes members of groups that the broker assigns (KIP-848); nil: the client has no such.
	Assigned func(group, topic string) (Member, error)
}

// Register adds all checks for a client.
func Register(c Client, o Options) {
	for _, codec := range o.Codecs {
		for _, idempotent := range []bool{false, true} {
			if idempotent && !o.Idempotent {
				continue
			}
			title := "codec " + codec
			if idempotent {
				title += ", idempotent"
			}
			check.Add(title+": what was produced is read back, in order", 40*time.Second, func(ctx context.Context) {
				roundTrip(ctx, c, codec, idempotent, o.Nulls)
			})
		}
	}
	check.Add("group of two: join, rebalance, leave, restart from the commit", 90*time.Second, func(ctx context.Context) { group(ctx, c, "group", c.Member) })
	if o.Assigned != nil {
		check.Add("group of two, assigned by the broker: join, rebalance, leave, restart from the commit", 90*time.Second, func(ctx context.Context) { group(ctx, c, "assigned", o.Assigned) })
	}
	if !o.NoTimes {
		check.Add("offsets by time", 30*time.Second, func(ctx context.Context) { times(ctx, c) })
	}
}

func roundTrip(ctx context.Context, c Client, codec string, idempotent, nulls bool) {
	topic := check.Name(fmt.Sprintf("%s-%v", codec, idempotent))
	check.OK(c.CreateTopic(ctx, topic, Partitions), "create topic")
	sent := mixed(400)
	check.OK(c.Produce(ctx, topic, sent, codec, idempotent), "produce")
	for p := range int32(Partitions) {
		want := slices.Collect(ofPartition(sent, p))
		got := check.Get(c.Read(ctx, topic, p, 0, len(want)))
		check.Equal(len(got), len(want), "records read")
		for i := range got {
			what := fmt.Sprintf("partition %d, record %d", p, i)
			check.Equal(got[i].Offset, int64(i), what+", offset")
			same(got[i], want[i], nulls, what)
		}
		middle := check.Get(c.Read(ctx, topic, p, 37, 5))
		for i := range middle {
			same(middle[i], want[37+i], nulls, fmt.Sprintf("partition %d, read from the middle, record %d", p, i))
		}
	}
	check.OK(c.DeleteTopic(ctx, topic), "delete topic")
}

// same compares two records; clients which make no difference between null and empty are let off it.
func same(got, want Record, nulls bool, what string) {
	compare := func(a, b []byte, field string) {
		if !bytes.Equal(a, b) || nulls && (a == nil) != (b == nil) {
			check.Fail("%s, %s: got %.80q (nil %v), want %.80q (nil %v)", what, field, a, a == nil, b, b == nil)
		}
	}
	compare(got.Key, want.Key, "key")
	compare(got.Value, want.Value, "value")
	check.Equal(got.Time.UnixMilli(), want.Time.UnixMilli(), what+", time")
	check.Equal(len(got.Headers), len(want.Headers), what+", number of headers")
	for i, h := range want.Headers {
		check.Equal(got.Headers[i].Key, h.Key, what+", header")
		compare(got.Headers[i].Value, h.Value, "header "+h.Key)
	}
}

func group(ctx context.Context, c Client, kind string, member func(group, topic string) (Member, error)) {
	topic, id := check.Name(kind+"-topic"), check.Name(kind)
	check.OK(c.CreateTopic(ctx, topic, Partitions), "create topic")
	produce := func(prefix string, count int) []string {
		records := plain(prefix, count)
		check.OK(c.Produce(ctx, topic, records, "none", false), "produce")
		return valuesOf(records)
	}
	join := func() *runner { return start(check.Get(member(id, topic))) }

	want := produce("one", 400)
	a := join()
	a.wait(ctx, "the first member reads all", 400)
	check.Equal(valuesOf(a.take()), want, "the first member's records")

	b := join()
	check.Until(ctx, "both have two partitions", func() bool { return len(a.assigned()) == 2 && len(b.assigned()) == 2 })
	check.Equal(sorted(append(a.assigned(), b.assigned()...)), []int32{0, 1, 2, 3}, "partitions held")
	want = produce("two", 400)
	a.wait(ctx, "the first reads its half", 200)
	b.wait(ctx, "the second reads its half", 200)
	for _, m := range []*runner{a, b} {
		m.inOrder()
	}
	check.Equal(valuesOf(append(a.take(), b.take()...)), want, "each record once")

	b.close()
	check.Until(ctx, "the one that stays takes all", func() bool { return len(a.assigned()) == Partitions })
	want = produce("three", 40)
	a.wait(ctx, "it reads on", 40)
	check.Equal(valuesOf(a.take()), want, "its records")
	a.close()

	want = produce("four", 60)
	last := join()
	last.wait(ctx, "the new member reads", 60)
	time.Sleep(300 * time.Millisecond) // anything too many would come now
	check.Equal(valuesOf(last.take()), want, "only what came after the commit")
	last.close()
	check.OK(c.DeleteTopic(ctx, topic), "delete topic")
}

func times(ctx context.Context, c Client) {
	topic := check.Name("times")
	check.OK(c.CreateTopic(ctx, topic, 1), "create topic")
	first := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	for batch := range 5 {
		var records []Record
		for i := range 20 {
			n := batch*20 + i
			records = append(records, Record{Value: fmt.Append(nil, n), Time: first.Add(time.Duration(n) * 10 * time.Millisecond)})
		}
		check.OK(c.Produce(ctx, topic, records, "none", false), "produce")
	}
	for after, want := range map[time.Duration]int64{0: 0, time.Millisecond: 1, 305 * time.Millisecond: 31, 990 * time.Millisecond: 99} {
		check.Equal(check.Get(c.OffsetAt(ctx, topic, 0, first.Add(after))), want, fmt.Sprint("offset after ", after))
	}
	check.OK(c.DeleteTopic(ctx, topic), "delete topic")
}

// runner polls a member until it is closed.
type runner struct {
	member  Member
	cancel  context.CancelFunc
	done    chan struct{}
	mu      sync.Mutex // guards records and err
	records []Record
	err     error
}

func start(m Member) *runner {
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{member: m, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			records, err := m.Poll(ctx)
			r.mu.Lock()
			r.records = append(r.records, records...)
			if err != nil && ctx.Err() == nil && r.err == nil {
				r.err = err
			}
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *runner) wait(ctx context.Context, what string, count int) {
	check.Until(ctx, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		check.OK(r.err, "poll")
		return len(r.records) >= count
	})
}

// take returns the records so far and forgets them.
func (r *runner) take() []Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.records
	r.records = nil
	return taken
}

func (r *runner) assigned() []int32 { return r.member.Assigned() }

func (r *runner) inOrder() {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[int32]int64{}
	for _, p := range r.member.Assigned() {
		next[p] = 100
	}
	for _, rec := range r.records {
		want, mine := next[rec.Partition]
		if !mine || rec.Offset != want {
			check.Fail("offset %d of partition %d came, %d was expected; assigned: %v", rec.Offset, rec.Partition, want, r.member.Assigned())
		}
		next[rec.Partition]++
	}
}

func (r *runner) close() {
	r.cancel()
	<-r.done
	check.OK(r.member.Close(), "close")
}

// mixed makes records of every shape a client can send.
func mixed(count int) []Record {
	rng := rand.New(rand.NewPCG(7, uint64(count)))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	now := time.Now().Add(-time.Duration(count) * time.Millisecond).Truncate(time.Millisecond)
	var out []Record
	for i := range count {
		keys := [][]byte{nil, {}, fmt.Appendf(nil, "key-%d", i), noise(20)}
		values := [][]byte{nil, {}, bytes.Repeat(fmt.Appendf(nil, "value %d ", i), 1+rng.IntN(30)), noise(1 + rng.IntN(3000))}
		headers := [][]Header{nil, {{"h", []byte("1")}}, {{"a", []byte("x")}, {"a", []byte("y")}, {"ž", noise(5)}, {"null", nil}}}
		out = append(out, Record{
			Partition: int32(i % Partitions), Key: keys[rng.IntN(4)], Value: values[rng.IntN(4)], Headers: headers[rng.IntN(3)],
			Time: now.Add(time.Duration(i) * time.Millisecond),
		})
	}
	return out
}

// plain makes small records with distinct values, spread over all partitions.
func plain(prefix string, count int) []Record {
	var out []Record
	now := time.Now().Truncate(time.Millisecond)
	for i := range count {
		out = append(out, Record{Partition: int32(i % Partitions), Key: fmt.Append(nil, i), Value: fmt.Appendf(nil, "%s-%d", prefix, i), Time: now})
	}
	return out
}

func ofPartition(records []Record, p int32) func(func(Record) bool) {
	return func(yield func(Record) bool) {
		for _, r := range records {
			if r.Partition == p && !yield(r) {
				return
			}
		}
	}
}

func valuesOf(records []Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return sorted(out)
}

func sorted[T int32 | string](s []T) []T {
	slices.Sort(s)
	return s
}
