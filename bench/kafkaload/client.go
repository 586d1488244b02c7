package kafkaload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Client is a load with franz-go's client.
type Client struct {
	Address    string
	Topic      string
	Partitions int
	ValueBytes int           // at least measure.StampBytes
	BatchBytes int           // at most so many a batch
	Linger     time.Duration // 0 sends each record as soon as it can
	Acks       int16         // 1 or -1
	InFlight   int
	FetchBytes int
	Rate       float64       // records a second, each when it is due; 0: no limit
	Records    int64         // at most so many
	For        time.Duration // no record later than this
	// Idempotent has the producer number its batches, with acks -1 and the requests in flight that are the client's own to choose.
	Idempotent bool
	// Transaction is how long each transaction takes that an idempotent producer produces in; 0: it has none.
	Transaction time.Duration
	Keys        int // of which each record has one, in a random order; 0: none has any
}

// ClientResult is what a load with franz-go did.
type ClientResult struct {
	Records int64
	Elapsed time.Duration
	Latency *measure.Latencies // producing: to the acknowledgement; end to end: to the consumer
	Late    time.Duration      // how far a paced producer was behind at worst

	Transactions int64 // each of which has a marker in the partition that it produced to
}

// latencySample is how many records share one look at the clock when producing at full speed.
const latencySample = 16

func (c *Client) producerOptions() []kgo.Opt {
	acks := kgo.LeaderAck()
	if c.Acks < 0 {
		acks = kgo.AllISRAcks()
	}
	guarantee := []kgo.Opt{kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(c.InFlight)}
	if c.Idempotent {
		guarantee = []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())} // up to 5 in flight
	}
	if c.Transaction > 0 {
		guarantee = append(guarantee, kgo.TransactionalID(c.Topic))
	}
	return append(append(seeds(c.Address), guarantee...),
		kgo.DefaultProduceTopic(c.Topic),
		kgo.ProducerLinger(c.Linger), kgo.ProducerBatchMaxBytes(int32(c.BatchBytes)), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.MaxBufferedRecords(1<<18), kgo.MaxBufferedBytes(128<<20),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(c.BatchBytes, false, false, nil)),
	)
}

func (c *Client) consumerOptions() []kgo.Opt {
	at := map[int32]kgo.Offset{}
	for p := range c.Partitions {
		at[int32(p)] = kgo.NewOffset().AtStart()
	}
	return append(seeds(c.Address),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{c.Topic: at}),
		kgo.FetchMaxBytes(int32(c.FetchBytes)), kgo.FetchMaxPartitionBytes(int32(c.FetchBytes)), kgo.FetchMaxWait(fetchWait),
	)
}

// Producer is a franz-go client that has looked up its topic.
type Producer struct {
	load   *Client
	client *kgo.Client
}

// Producer makes the client.
func (c *Client) Producer(ctx context.Context) (*Producer, error) {
	cl, err := kgo.NewClient(c.producerOptions()...)
	if err == nil {
		err = cl.Ping(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("kafka producer: %w", err)
	}
	return &Producer{c, cl}, nil
}

// Close ends the client.
func (p *Producer) Close() { p.client.Close() }

// sending counts what became of the records of one run.
type sending struct {
	failed  atomic.Int64
	failure atomic.Pointer[error]
}

func (s *sending) done(err error) {
	if s.failed.Add(1) == 1 {
		s.failure.Store(&err)
	}
}

func (s *sending) err() error {
	if n := s.failed.Load(); n > 0 {
		if f := s.failure.Load(); f != nil {
			return fmt.Errorf("%d records failed, first: %w", n, *f)
		}
	}
	return nil
}

// Run produces as fast as the client goes. Record i's value is stamped with sequence i.
func (p *Producer) Run(ctx context.Context) (ClientResult, error) {
	c := p.load
	var s sending
	latency := measure.NewLatencies()
	type sample struct{ d time.Duration }
	samples := make(chan sample, 1<<16) // bounded: a full one drops samples, it never blocks the client
	values := slab{valueBytes: c.ValueBytes}
	epoch := time.Now()
	var sent, transactions int64
	var now, ends time.Duration
	end := func() error { return nil }
	for ; sent < c.Records; sent++ {
		sampled := sent%latencySample == 0
		if sampled {
			if now = time.Since(epoch); now >= c.For {
				break
			}
			if c.Transaction > 0 && now >= ends {
				if err := errors.Join(end(), p.client.BeginTransaction()); err != nil {
					return ClientResult{}, err
				}
				transactions++
				end = func() error {
					return errors.Join(p.client.Flush(ctx), p.client.EndTransaction(ctx, kgo.TryCommit))
				}
				now = time.Since(epoch)
				ends = now + c.Transaction
			}
		}
		v := values.next()
		measure.PutStamp(v, uint64(sent), measure.Micros(now))
		at := now
		p.client.Produce(ctx, &kgo.Record{Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				s.done(err)
				return
			}
			if sampled {
				select {
				case samples <- sample{time.Since(epoch) - at}:
				default:
				}
			}
		})
		if sampled {
			drain(samples, func(x sample) { latency.AddDuration(x.d) })
		}
	}
	err := errors.Join(p.client.Flush(ctx), end())
	elapsed := time.Since(epoch)
	drain(samples, func(x sample) { latency.AddDuration(x.d) })
	return ClientResult{Records: sent, Elapsed: elapsed, Latency: latency, Transactions: transactions}, errors.Join(err, s.err())
}

func drain[T any](c chan T, with func(T)) {
	for {
		select {
		case x := <-c:
			with(x)
		default:
			return
		}
	}
}

// slab hands out values from large pieces. The client keeps a value until it is
// acknowledged, so pieces are left to the collector.
type slab struct {
	valueBytes int
	free       []byte
}

func (s *slab) next() []byte {
	if len(s.free) < s.valueBytes {
		s.free = make([]byte, max(1<<20, s.valueBytes))
	}
	v := s.free[:s.valueBytes:s.valueBytes]
	s.free = s.free[s.valueBytes:]
	return v
}

// Consume reads the given number of records of a topic with a franz-go consumer and checks
// that each partition's offsets follow one another.
func (c *Client) Consume(ctx context.Context, records int64) (ClientResult, error) {
	cl, err := kgo.NewClient(c.consumerOptions()...)
	if err != nil {
		return ClientResult{}, fmt.Errorf("kafka consumer: %w", err)
	}
	defer cl.Close()
	epoch := time.Now()
	next := make([]int64, c.Partitions)
	var got int64
	for got < records && err == nil {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(_ string, p int32, e error) { err = fmt.Errorf("consume partition %d: %w", p, e) })
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next[r.Partition] && err == nil {
				err = fmt.Errorf("partition %d: offset %d where %d was due", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition] = r.Offset + 1
			got++
		})
	}
	return ClientResult{Records: got, Elapsed: time.Since(epoch)}, err
}

// ReadCommitted reads so many records that were committed, and calls with the value of each.
func (c *Client) ReadCommitted(ctx context.Context, records int64, with func(value []byte)) error {
	cl, err := kgo.NewClient(append(c.consumerOptions(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))...)
	if err != nil {
		return fmt.Errorf("kafka consumer: %w", err)
	}
	defer cl.Close()
	for got := int64(0); got < records && err == nil; {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(_ string, p int32, e error) { err = fmt.Errorf("consume partition %d: %w", p, e) })
		fetches.EachRecord(func(r *kgo.Record) {
			with(r.Value)
			got++
		})
	}
	return err
}

// Count is how many records there are up to an offset, of a load with one partition: the last one is among them.
func (c *Client) Count(ctx context.Context, end int64) (n int64, err error) {
	cl, err := kgo.NewClient(c.consumerOptions()...)
	if err != nil {
		return 0, fmt.Errorf("kafka consumer: %w", err)
	}
	defer cl.Close()
	for last := int64(-1); last < end-1 && err == nil; {
		fetches := cl.PollFetches(ctx)
		fetches.EachError(func(_ string, _ int32, e error) { err = e })
		fetches.EachRecord(func(r *kgo.Record) { last, n = r.Offset, n+1 })
	}
	return n, err
}

// EndToEnd produces at the load's rate on one goroutine and consumes on another. Latency
// is from when a record was due to when the consumer has it, without the first tenth.
func (c *Client) EndToEnd(ctx context.Context) (ClientResult, error) {
	p, err := c.Producer(ctx)
	if err != nil {
		return ClientResult{}, err
	}
	defer p.Close()
	cons, err := kgo.NewClient(c.consumerOptions()...)
	if err != nil {
		return ClientResult{}, fmt.Errorf("kafka consumer: %w", err)
	}
	defer cons.Close()
	c.Records = min(c.Records, int64(c.For.Seconds()*c.Rate))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var r receiving
	// The consumer must have found its place before the first record is due.
	first, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	cons.PollFetches(first)
	stop()
	epoch := time.Now()
	received := make(chan struct{})
	go func() {
		defer close(received)
		if err := r.run(ctx, cons, c, epoch); err != nil {
			cancel(err)
		}
	}()
	late, err := p.paced(ctx, epoch, nil)
	if err != nil {
		cancel(err)
	}
	<-received
	if err := context.Cause(ctx); err != nil {
		return ClientResult{}, err
	}
	return ClientResult{Records: r.got, Elapsed: r.lastAt, Latency: r.latency, Late: late}, r.check.Err([]int64{c.Records})
}

// receiving is the consumer's half of EndToEnd.
type receiving struct {
	got     int64
	lastAt  time.Duration
	latency *measure.Latencies
	check   *measure.Sequence
}

func (r *receiving) run(ctx context.Context, cl *kgo.Client, c *Client, epoch time.Time) (err error) {
	r.latency, r.check = measure.NewLatencies(), measure.NewSequence(1)
	for r.got < c.Records && err == nil {
		fetches := cl.PollFetches(ctx)
		r.lastAt = time.Since(epoch)
		now := measure.Micros(r.lastAt)
		fetches.EachError(func(_ string, _ int32, e error) { err = e })
		fetches.EachRecord(func(rec *kgo.Record) {
			if len(rec.Value) < measure.StampBytes {
				err = errors.New("record without a stamp")
				return
			}
			seq, at := measure.Stamp(rec.Value)
			r.check.Add(seq)
			if r.got++; r.got > c.Records/10 {
				r.latency.Add(now, at)
			}
		})
	}
	return err
}

// Paced produces at the load's rate. Latency is from when a record was due to its acknowledgement, without the first tenth.
func (p *Producer) Paced(ctx context.Context) (ClientResult, error) {
	c := p.load
	c.Records = min(c.Records, int64(c.For.Seconds()*c.Rate))
	var mu sync.Mutex
	r := ClientResult{Latency: measure.NewLatencies()}
	epoch := time.Now()
	late, err := p.paced(ctx, epoch, func(due time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		r.Elapsed = time.Since(epoch)
		if r.Records++; r.Records > c.Records/10 {
			r.Latency.AddDuration(r.Elapsed - due)
		}
	})
	mu.Lock()
	defer mu.Unlock()
	r.Late = late
	return r, err
}

// Fill produces records without looking at the clock.
func (p *Producer) Fill(ctx context.Context, records int64) error {
	var s sending
	values, keys := slab{valueBytes: p.load.ValueBytes}, keys(p.load.Keys)
	for i := int64(0); i < records && ctx.Err() == nil; i++ {
		p.client.Produce(ctx, &kgo.Record{Key: keys.next(), Value: values.next()}, func(_ *kgo.Record, err error) {
			if err != nil {
				s.done(err)
			}
		})
	}
	return errors.Join(p.client.Flush(ctx), s.err())
}

// keys is how many there are.
type keys int

func (k keys) next() []byte {
	if k == 0 {
		return nil
	}
	return strconv.AppendInt([]byte("key-"), int64(rand.IntN(int(k))), 10)
}

// paced produces each record when it is due, and calls acked, if that is not nil, with when it was.
func (p *Producer) paced(ctx context.Context, epoch time.Time, acked func(due time.Duration)) (late time.Duration, err error) {
	var s sending
	keys := keys(p.load.Keys)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread with its timer setting ends with the goroutine
		measure.PrepareThread()
		pace := measure.NewPacer(epoch, p.load.Rate)
		values := slab{valueBytes: p.load.ValueBytes}
		for i := int64(0); i < p.load.Records && ctx.Err() == nil; i++ {
			due := pace.Wait(i)
			v := values.next()
			measure.PutStamp(v, uint64(i), measure.Micros(due))
			p.client.Produce(ctx, &kgo.Record{Key: keys.next(), Value: v}, func(_ *kgo.Record, err error) {
				if err != nil {
					s.done(err)
				} else if acked != nil {
					acked(due)
				}
			})
		}
		late = pace.Late
	}()
	<-done
	return late, errors.Join(p.client.Flush(ctx), s.err())
}

// Admin makes and deletes topics.
type Admin struct {
	client *kgo.Client
	admin  *kadm.Client
}

// NewAdmin connects.
func NewAdmin(ctx context.Context, address string) (*Admin, error) {
	cl, err := kgo.NewClient(seeds(address)...)
	if err == nil {
		err = cl.Ping(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to kafka broker: %w", err)
	}
	return &Admin{cl, kadm.NewClient(cl)}, nil
}

// Close ends the connection.
func (a *Admin) Close() { a.client.Close() }

// Version is a guess from the requests that the broker knows, such as "v4.0"; empty where it does
// not tell.
func (a *Admin) Version(ctx context.Context) string {
	answers, err := a.admin.ApiVersions(ctx)
	if err != nil {
		return ""
	}
	for _, v := range answers.Sorted() {
		if v.Err == nil {
			return v.VersionGuess()
		}
	}
	return ""
}

// Settings are those of the broker's that bear on speed and durability. A broker that does
// not tell has none.
func (a *Admin) Settings(ctx context.Context) map[string]string {
	out := map[string]string{}
	brokers, err := a.admin.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return out
	}
	answers, err := a.admin.DescribeBrokerConfigs(ctx, brokers[0].NodeID)
	if err != nil {
		return out
	}
	for _, r := range answers {
		for _, c := range r.Configs {
			if c.Value != nil && *c.Value != "" && !c.Sensitive && bears(c.Key) {
				out[c.Key] = *c.Value
			}
		}
	}
	return out
}

// bears tells whether a setting matters to who compares brokers.
func bears(key string) bool {
	for _, prefix := range []string{"log.flush.interval", "log.segment.bytes", "num.io.threads", "num.network.threads", "min.insync", "compression.type"} {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// readyLimit is how long a new topic may take until each partition answers.
const readyLimit = 20 * time.Second

// Create makes a topic with the given configuration and waits until every partition has a
// leader that answers.
func (a *Admin) Create(ctx context.Context, topic string, partitions int, configs map[string]*string) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	if _, err := a.admin.CreateTopic(ctx, int32(partitions), 1, configs, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for {
		ends, err := a.Ends(ctx, topic)
		if err == nil && len(ends) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("topic %s with %d partitions is not ready: %w", topic, partitions, errors.Join(err, ctx.Err()))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Ends is the offset behind the last record of each partition.
func (a *Admin) Ends(ctx context.Context, topic string) ([]int64, error) {
	return offsets(ctx, topic, a.admin.ListEndOffsets)
}

// Starts is the offset of the first record of each partition that is still there.
func (a *Admin) Starts(ctx context.Context, topic string) ([]int64, error) {
	return offsets(ctx, topic, a.admin.ListStartOffsets)
}

func offsets(ctx context.Context, topic string, list func(context.Context, ...string) (kadm.ListedOffsets, error)) ([]int64, error) {
	l, err := list(ctx, topic)
	if err == nil {
		err = l.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list offsets of %s: %w", topic, err)
	}
	out := make([]int64, len(l[topic]))
	for p, o := range l[topic] {
		if int(p) < len(out) {
			out[p] = o.Offset
		}
	}
	return out, nil
}

// Delete removes a topic.
func (a *Admin) Delete(ctx context.Context, topic string) error {
	r, err := a.admin.DeleteTopic(ctx, topic)
	if err == nil {
		err = r.Err
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
