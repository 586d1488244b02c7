package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/bench/measure"
)

const (
	smallBatch = 64 << 10
	largeBatch = 1 << 20
	linger     = 5 * time.Millisecond
	manyParts  = 8
	crowdParts = 100

	transactionLength = 100 * time.Millisecond
)

// kafkaRows are a matrix of workloads and sizes, and some loads besides. Raw loads have a
// connection a partition.
func kafkaRows() []row {
	var out []row
	add := func(name, workload, about string, short bool, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: kafka, run: run, workload: workload, short: short})
	}
	for _, s := range sizes {
		add("kafka-ingest-"+s.name+"-p1", "ingest", "raw Produce requests to one partition", s.short("100b", "1k"),
			func(ctx context.Context, x *running) error { return ingest(ctx, x, x.kafkaLoad(1, s.bytes), nil) })
	}
	for _, s := range sizes {
		add("kafka-ingest-"+s.name+"-p8", "ingest-p8", "raw Produce requests to 8 partitions", s.short("1k"),
			func(ctx context.Context, x *running) error {
				return ingest(ctx, x, x.kafkaLoad(manyParts, s.bytes), nil)
			})
	}
	add("kafka-ingest-1k-p1-64k", "ingest-64k", "raw Produce requests, batches of 64 KiB", true, func(ctx context.Context, x *running) error {
		return ingest(ctx, x, x.batched(1024, smallBatch), nil)
	})
	add("kafka-ingest-100b-p1-bounded", "ingest-bounded", "raw Produce requests, the topic bounded to 256 MiB", false, func(ctx context.Context, x *running) error {
		return ingest(ctx, x, x.kafkaLoad(1, 100), bounded())
	})
	add("kafka-ingest-1k-p1-bounded", "ingest-bounded", "raw Produce requests, the topic bounded to 256 MiB", true, func(ctx context.Context, x *running) error {
		return ingest(ctx, x, x.kafkaLoad(1, 1024), bounded())
	})
	for _, s := range sizes {
		add("kafka-ingest-"+s.name+"-p1-1m", "ingest-1m", "raw Produce requests, batches of 1 MiB", false, func(ctx context.Context, x *running) error {
			return ingest(ctx, x, x.batched(s.bytes, largeBatch), nil)
		})
		add("kafka-ingest-"+s.name+"-p1-1m-bounded", "ingest-1m-bounded", "raw Produce requests, batches of 1 MiB, the topic bounded to 256 MiB", false,
			func(ctx context.Context, x *running) error {
				return ingest(ctx, x, x.batched(s.bytes, largeBatch), bounded())
			})
	}
	for _, s := range sizes {
		add("kafka-fetch-"+s.name+"-p1", "catch-up", "raw Fetch requests, reading a topic from its start", s.short("100b", "1k"),
			func(ctx context.Context, x *running) error { return fetch(ctx, x, x.kafkaLoad(1, s.bytes)) })
	}
	for _, n := range []int{manyParts, crowdParts} {
		add(fmt.Sprintf("kafka-fetch-1k-p%d", n), fmt.Sprintf("catch-up-p%d", n), "raw Fetch requests, reading a topic from its start, a connection for each partition", false,
			func(ctx context.Context, x *running) error { return fetch(ctx, x, x.kafkaLoad(n, 1024)) })
	}
	for _, s := range sizes {
		for _, n := range []int{1, 4} {
			add(fmt.Sprintf("kafka-share-%s-m%d", s.name, n), "share", fmt.Sprintf("raw ShareFetch requests of %d members of a share group, which accept all they get", n), false,
				func(ctx context.Context, x *running) error {
					return share(ctx, x, x.kafkaLoad(1, s.bytes), kafkaload.Sharing{Members: n})
				})
		}
	}
	add("kafka-share-100b-m32", "share", "the same with 32 members on one partition", false, func(ctx context.Context, x *running) error {
		return share(ctx, x, x.kafkaLoad(1, 100), kafkaload.Sharing{Members: 32})
	})
	add("kafka-share-100b-p8-m4", "share", "the same with 4 members on 8 partitions", false, func(ctx context.Context, x *running) error {
		return share(ctx, x, x.kafkaLoad(manyParts, 100), kafkaload.Sharing{Members: 4})
	})
	add("kafka-share-100b-held", "share", "the same with 8 members on one partition, which hold what they get for 100 ms each time", false, func(ctx context.Context, x *running) error {
		l := x.kafkaLoad(1, 100)
		l.Records = min(l.Records, heldRecords)
		return share(ctx, x, l, kafkaload.Sharing{Members: 8, Hold: 100 * time.Millisecond})
	})
	for _, s := range sizes {
		add("kafka-tail-"+s.name, "tail", "raw Produce requests, batches of 64 KiB, a raw reader at the tail", s.short("1k"),
			func(ctx context.Context, x *running) error {
				return followTail(ctx, x, x.batched(s.bytes, smallBatch), 1)
			})
	}
	for _, s := range sizes {
		add("kafka-fanout10-"+s.name, "fan-out", "the same with 10 readers, each at the tail; figures per delivery", false,
			func(ctx context.Context, x *running) error {
				return followTail(ctx, x, x.batched(s.bytes, smallBatch), 10)
			})
	}
	for _, s := range sizes {
		add("kafka-franz-produce-"+s.name, "client-produce", "franz-go producer", s.short("1k"),
			func(ctx context.Context, x *running) error { return clientProduce(ctx, x, s.bytes) })
	}
	for _, transaction := range []time.Duration{0, transactionLength} {
		name, about := "kafka-idempotent-1k", "franz-go producer, idempotent"
		if transaction > 0 {
			name, about = "kafka-transactions-1k", "the same in transactions of 100 ms"
		}
		add(name, name[len("kafka-"):len(name)-len("-1k")], about, false, func(ctx context.Context, x *running) error { return exactlyOnce(ctx, x, 1024, transaction) })
	}
	for _, s := range sizes {
		add("kafka-franz-consume-"+s.name, "client-consume", "franz-go consumer, reading a topic from its start", s.short("1k"),
			func(ctx context.Context, x *running) error { return clientConsume(ctx, x, s.bytes) })
	}
	for _, s := range sizes {
		name := "kafka-e2e-5k"
		if s.bytes != 1024 {
			name += "-" + s.name
		}
		add(name, "paced", "franz-go, 5,000 records a second, each produced when due, no linger", s.short("1k"),
			func(ctx context.Context, x *running) error { return clientEndToEnd(ctx, x, s.bytes) })
	}
	add("kafka-keyed-5k", "paced-keyed", "franz-go, 5,000 records of 1 KiB with keys a second, behind 256 MiB of such", false,
		func(ctx context.Context, x *running) error { return keyedProduce(ctx, x, false) })
	add("kafka-compacted-5k", "paced-compacted", "the same to a topic that is being compacted (its broker must look every second: --start-args='--compaction-interval 1s')", false,
		func(ctx context.Context, x *running) error { return keyedProduce(ctx, x, true) })
	return out
}

func (x *running) kafkaLoad(partitions, valueBytes int) *kafkaload.Load {
	return &kafkaload.Load{
		Address: x.kafka, Topic: x.name, Partitions: partitions, ValueBytes: valueBytes, BatchBytes: int(x.options.batchBytes),
		Acks: x.options.acks(x.mode), InFlight: x.options.inFlight, Records: x.messages(valueBytes), For: x.options.time, FetchBytes: int(x.options.fetchBytes),
	}
}

// batched is a load on one partition with batches of a size of its own.
func (x *running) batched(valueBytes, batchBytes int) *kafkaload.Load {
	l := x.kafkaLoad(1, valueBytes)
	l.BatchBytes = batchBytes
	l.FetchBytes = max(l.FetchBytes, 2*batchBytes)
	return l
}

func (x *running) client(valueBytes int) *kafkaload.Client {
	return &kafkaload.Client{
		Address: x.kafka, Topic: x.name, Partitions: 1, ValueBytes: valueBytes, BatchBytes: int(x.options.batchBytes), Linger: linger,
		Acks: x.options.acks(x.mode), InFlight: x.options.inFlight, Records: x.messages(valueBytes), For: x.options.time, FetchBytes: int(x.options.fetchBytes),
	}
}

// bounded lets a broker drop or reuse what is older than the newest 256 MiB.
func bounded() map[string]*string {
	retention, segment := "268435456", "67108864"
	return map[string]*string{"retention.bytes": &retention, "segment.bytes": &segment}
}

// withTopic makes the run's topic and deletes it in the end.
func (x *running) withTopic(ctx context.Context, partitions int, configs map[string]*string, use func(*kafkaload.Admin) error) (err error) {
	a, err := kafkaload.NewAdmin(ctx, x.kafka)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := a.Create(ctx, x.name, partitions, configs); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, a.Delete(ctx, x.name))
	}()
	return use(a)
}

// produceAll runs a raw producer.
func produceAll(ctx context.Context, l *kafkaload.Load) (kafkaload.Produced, error) {
	ps, err := l.Producers(ctx)
	if err != nil {
		return kafkaload.Produced{}, err
	}
	defer ps.Close()
	return ps.Run(ctx, time.Now())
}

func ingest(ctx context.Context, x *running, l *kafkaload.Load, configs map[string]*string) error {
	return x.withTopic(ctx, l.Partitions, configs, func(a *kafkaload.Admin) error {
		ps, err := l.Producers(ctx)
		if err != nil {
			return err
		}
		defer ps.Close()
		var p kafkaload.Produced
		err = x.measured(ctx, func() (work, error) {
			p, err = ps.Run(ctx, time.Now())
			return work{messages: p.Records, bodyBytes: l.ValueBytes, elapsed: p.Elapsed, latency: p.Latency, latencyName: "request to answer"}, err
		})
		if err != nil {
			return err
		}
		if err := checkEnds(ctx, a, l.Topic, p.Ends()); err != nil {
			return err
		}
		r := kafkaload.Reading{Ends: p.Ends(), RecordsPerBatch: p.RecordsPerBatch, Checksums: true}
		if configs == nil {
			return readBack(ctx, l.Reader(), r)
		}
		return readBackBounded(ctx, a, l.Reader(), r)
	})
}

// readBackBounded reads what a bounded topic has kept. It may let go of more while it is
// being read, so that a read that failed counts only if the beginning stayed where it was.
func readBackBounded(ctx context.Context, a *kafkaload.Admin, l *kafkaload.Load, r kafkaload.Reading) error {
	starts, err := a.Starts(ctx, l.Topic)
	if err != nil {
		return err
	}
	for {
		r.Starts = starts
		readErr := readBack(ctx, l, r)
		if readErr == nil {
			return nil
		}
		if starts, err = a.Starts(ctx, l.Topic); err != nil || slices.Equal(starts, r.Starts) {
			return errors.Join(readErr, err)
		}
	}
}

func checkEnds(ctx context.Context, a *kafkaload.Admin, topic string, want []int64) error {
	got, err := a.Ends(ctx, topic)
	if err != nil {
		return err
	}
	for p, n := range want {
		if p >= len(got) || got[p] != n {
			return fmt.Errorf("end offsets are %v, %v were produced", got, want)
		}
	}
	return nil
}

// readBack reads the whole topic and checks it, without being measured.
func readBack(ctx context.Context, l *kafkaload.Load, r kafkaload.Reading) error {
	if _, err := l.Fetch(ctx, r); err != nil {
		return fmt.Errorf("reading back: %w", err)
	}
	return nil
}

func fetch(ctx context.Context, x *running, l *kafkaload.Load) error {
	return x.withTopic(ctx, l.Partitions, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		return x.measured(ctx, func() (work, error) {
			// Reading is faster than writing was: several times over, for a measurable time.
			w := work{bodyBytes: l.ValueBytes}
			for w.elapsed < x.options.time {
				f, err := l.Reader().Fetch(ctx, kafkaload.Reading{Ends: p.Ends(), RecordsPerBatch: p.RecordsPerBatch})
				if err != nil {
					return work{}, err
				}
				w.messages += f.Records
				w.elapsed += f.Elapsed
			}
			return w, nil
		})
	})
}

// heldRecords are few enough for a broker that gives out no more than 2,000 at a time.
const heldRecords = 400_000

// share has a share group work a topic off once.
func share(ctx context.Context, x *running, l *kafkaload.Load, s kafkaload.Sharing) error {
	return x.withTopic(ctx, l.Partitions, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		return x.measured(ctx, func() (work, error) {
			r, err := l.Reader().Share(ctx, l.Topic+"-shared", s, p.Ends())
			if r.Again > 0 {
				err = errors.Join(err, fmt.Errorf("%d records were given out more than once", r.Again))
			}
			return work{messages: r.Records, bodyBytes: l.ValueBytes, elapsed: r.Elapsed}, err
		})
	})
}

// followTail has readers follow a producer. Figures are of what they read; the broker's
// processor time is that of writing and reading.
func followTail(ctx context.Context, x *running, l *kafkaload.Load, readers int) error {
	l.Records /= int64(readers)
	return x.withTopic(ctx, l.Partitions, nil, func(a *kafkaload.Admin) error {
		ps, err := l.Producers(ctx)
		if err != nil {
			return err
		}
		defer ps.Close()
		var p kafkaload.Produced
		produce := func(ctx context.Context, epoch time.Time) ([]int64, error) {
			p, err = ps.Run(ctx, epoch)
			return p.Ends(), err
		}
		err = x.measured(ctx, func() (work, error) {
			f, err := l.Follow(ctx, kafkaload.Reading{RecordsPerBatch: ps.RecordsPerBatch(), Readers: readers}, produce)
			return work{messages: f.Records, bodyBytes: l.ValueBytes, elapsed: f.Elapsed, latency: f.Latency, latencyName: "produce to delivery"}, err
		})
		if err != nil {
			return err
		}
		return checkEnds(ctx, a, l.Topic, p.Ends())
	})
}

// clientProduced measures a producer at full speed.
func clientProduced(ctx context.Context, x *running, c *kafkaload.Client) (r kafkaload.ClientResult, err error) {
	p, err := c.Producer(ctx)
	if err != nil {
		return r, err
	}
	defer p.Close()
	err = x.measured(ctx, func() (work, error) {
		r, err = p.Run(ctx)
		return work{messages: r.Records, bodyBytes: c.ValueBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "produce to acknowledgement"}, err
	})
	return r, err
}

func clientProduce(ctx context.Context, x *running, valueBytes int) error {
	c := x.client(valueBytes)
	return x.withTopic(ctx, 1, nil, func(a *kafkaload.Admin) error {
		r, err := clientProduced(ctx, x, c)
		if err != nil {
			return err
		}
		end := []int64{r.Records}
		if err := checkEnds(ctx, a, c.Topic, end); err != nil {
			return err
		}
		check := measure.NewSequence(1)
		err = readBack(ctx, x.kafkaLoad(1, valueBytes).Reader(), kafkaload.Reading{Ends: end, Value: func(_ int, v []byte, _ uint32) error {
			if len(v) != valueBytes {
				return fmt.Errorf("value of %d bytes, %d were produced", len(v), valueBytes)
			}
			seq, _ := measure.Stamp(v)
			check.Add(seq)
			return nil
		}})
		return errors.Join(err, check.Err(end))
	})
}

// exactlyOnce produces as an idempotent producer, or as one that ends a transaction whenever that is as old as transaction, and
// reads what is committed.
func exactlyOnce(ctx context.Context, x *running, valueBytes int, transaction time.Duration) error {
	c := x.client(valueBytes)
	c.Idempotent, c.Transaction = true, transaction
	return x.withTopic(ctx, 1, nil, func(a *kafkaload.Admin) error {
		r, err := clientProduced(ctx, x, c)
		if err != nil {
			return err
		}
		if err := checkEnds(ctx, a, c.Topic, []int64{r.Records + r.Transactions}); err != nil {
			return err
		}
		check := measure.NewSequence(1)
		err = c.ReadCommitted(ctx, r.Records, func(v []byte) {
			seq, _ := measure.Stamp(v)
			check.Add(seq)
		})
		return errors.Join(err, check.Err([]int64{r.Records}))
	})
}

func clientConsume(ctx context.Context, x *running, valueBytes int) error {
	l := x.kafkaLoad(1, valueBytes)
	return x.withTopic(ctx, 1, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		return x.measured(ctx, func() (work, error) {
			r, err := x.client(valueBytes).Consume(ctx, p.Records)
			return work{messages: r.Records, bodyBytes: valueBytes, elapsed: r.Elapsed}, err
		})
	})
}

func clientEndToEnd(ctx context.Context, x *running, valueBytes int) error {
	c := x.client(valueBytes)
	c.Linger, c.Rate, c.For = 0, pacedRate, 2*x.options.time
	return x.withTopic(ctx, 1, nil, func(*kafkaload.Admin) error {
		return x.measured(ctx, func() (work, error) {
			r, err := c.EndToEnd(ctx)
			return work{messages: r.Records, bodyBytes: c.ValueBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "due to consumer", late: r.Late}, err
		})
	})
}

// Of keyedProduce: what is there before, and of how many keys.
const (
	keyedBefore = 256 << 20
	keyedKeys   = 50_000
)

// keyedProduce measures what producers notice of the compaction of their topic: it begins with what was there before, and goes on
// with what comes. That some of it went is looked at behind the load.
func keyedProduce(ctx context.Context, x *running, compacted bool) error {
	c := x.client(1024)
	c.Linger, c.Rate, c.For, c.Keys, c.Acks = 0, pacedRate, 4*x.options.time, keyedKeys, -1
	configs := map[string]*string{}
	set := func(name, value string) { configs[name] = &value }
	set("segment.bytes", "8388608")
	if compacted {
		set("cleanup.policy", "compact")
		set("min.cleanable.dirty.ratio", "0.01")
	}
	return x.withTopic(ctx, 1, configs, func(*kafkaload.Admin) error {
		p, err := c.Producer(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		before := min(keyedBefore/1024, x.messages(1024))
		if err := p.Fill(ctx, before); err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		var r kafkaload.ClientResult
		err = x.measured(ctx, func() (work, error) {
			r, err = p.Paced(ctx)
			return work{messages: r.Records, bodyBytes: c.ValueBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "due to acknowledgement", late: r.Late}, err
		})
		if err != nil || !compacted || before < keyedBefore/1024 { // a short load of a test ends before anything is compacted
			return err
		}
		left, err := c.Count(ctx, before+r.Records)
		if err == nil && left == before+r.Records {
			err = fmt.Errorf("nothing of %d records was compacted: see how often the broker looks", left)
		}
		return err
	})
}

// warmUpKafka puts some load on a broker that compiles as it goes.
func warmUpKafka(ctx context.Context, x *running) error {
	l := x.kafkaLoad(4, 512)
	return x.withTopic(ctx, l.Partitions, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return err
		}
		return readBack(ctx, l.Reader(), kafkaload.Reading{Ends: p.Ends(), RecordsPerBatch: p.RecordsPerBatch})
	})
}
