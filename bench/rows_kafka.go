package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leveret-mq/leveret/bench/kafkaload"
	"github.com/leveret-mq/leveret/bench/measure"
)

const (
	smallBatch = 64 << 10
	linger     = 5 * time.Millisecond
	manyParts  = 8
)

func kafkaRows() []row {
	var out []row
	add := func(name, about string, run func(context.Context, *running) error) {
		out = append(out, row{name: name, about: about, protocol: kafka, run: run})
	}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"100b", 100}, {"1k", 1024}} {
		for _, parts := range []int{1, manyParts} {
			add(fmt.Sprintf("kafka-ingest-%s-p%d", size.name, parts), fmt.Sprintf("raw Produce requests, a connection for each of %d partitions", parts),
				func(ctx context.Context, x *running) error {
					return ingest(ctx, x, x.kafkaLoad(parts, size.bytes), nil)
				})
		}
	}
	add("kafka-ingest-1k-p1-64k", "raw Produce requests, batches of 64 KiB", func(ctx context.Context, x *running) error {
		l := x.kafkaLoad(1, 1024)
		l.BatchBytes = smallBatch
		return ingest(ctx, x, l, nil)
	})
	add("kafka-ingest-1k-p1-bounded", "raw Produce requests, the topic bounded to 256 MiB", func(ctx context.Context, x *running) error {
		return ingest(ctx, x, x.kafkaLoad(1, 1024), bounded())
	})
	for _, r := range []struct {
		name         string
		parts, bytes int
	}{{"kafka-fetch-100b-p1", 1, 100}, {"kafka-fetch-1k-p1", 1, 1024}, {"kafka-fetch-1k-p8", manyParts, 1024}} {
		add(r.name, "raw Fetch requests, reading a topic from its start", func(ctx context.Context, x *running) error {
			return fetch(ctx, x, x.kafkaLoad(r.parts, r.bytes))
		})
	}
	add("kafka-franz-produce-100b", "franz-go producer", func(ctx context.Context, x *running) error { return clientProduce(ctx, x, 100) })
	add("kafka-franz-produce-1k", "franz-go producer", func(ctx context.Context, x *running) error { return clientProduce(ctx, x, 1024) })
	add("kafka-franz-consume-1k", "franz-go consumer", clientConsume)
	add("kafka-e2e-5k", "franz-go, 5,000 records a second of 1 KiB, each produced when due, no linger", clientEndToEnd)
	return out
}

func (x *running) kafkaLoad(partitions, valueBytes int) *kafkaload.Load {
	return &kafkaload.Load{
		Address: x.kafka, Topic: x.name, Partitions: partitions, ValueBytes: valueBytes, BatchBytes: int(x.options.batchBytes),
		Acks: x.options.acks(), InFlight: x.options.inFlight, Records: x.messages(valueBytes), For: x.options.time, FetchBytes: int(x.options.fetchBytes),
	}
}

func (x *running) client(valueBytes int) *kafkaload.Client {
	return &kafkaload.Client{
		Address: x.kafka, Topic: x.name, Partitions: 1, ValueBytes: valueBytes, BatchBytes: int(x.options.batchBytes), Linger: linger,
		Acks: x.options.acks(), InFlight: x.options.inFlight, Records: x.messages(valueBytes), For: x.options.time, FetchBytes: int(x.options.fetchBytes),
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

// ends are the end offsets that a load must have left behind.
func ends(p kafkaload.Produced) []int64 {
	out := make([]int64, len(p.Batches))
	for i, n := range p.Batches {
		out[i] = n * int64(p.RecordsPerBatch)
	}
	return out
}

// produceAll runs a raw producer.
func produceAll(ctx context.Context, l *kafkaload.Load) (kafkaload.Produced, error) {
	ps, err := l.Producers(ctx)
	if err != nil {
		return kafkaload.Produced{}, err
	}
	defer ps.Close()
	return ps.Run(ctx)
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
			p, err = ps.Run(ctx)
			return work{messages: p.Records, bodyBytes: l.ValueBytes, elapsed: p.Elapsed, latency: p.Latency, latencyName: "request to answer"}, err
		})
		if err != nil {
			return err
		}
		if err := checkEnds(ctx, a, l.Topic, ends(p)); err != nil || configs != nil {
			return err // a bounded topic may have lost its beginning, as it should
		}
		return readBack(ctx, l.Reader(), kafkaload.Reading{Ends: ends(p), RecordsPerBatch: p.RecordsPerBatch, Checksums: true})
	})
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
				f, err := l.Reader().Fetch(ctx, kafkaload.Reading{Ends: ends(p), RecordsPerBatch: p.RecordsPerBatch})
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

func clientProduce(ctx context.Context, x *running, valueBytes int) error {
	c := x.client(valueBytes)
	return x.withTopic(ctx, 1, nil, func(a *kafkaload.Admin) error {
		p, err := c.Producer(ctx)
		if err != nil {
			return err
		}
		defer p.Close()
		var r kafkaload.ClientResult
		err = x.measured(ctx, func() (work, error) {
			r, err = p.Run(ctx)
			return work{messages: r.Records, bodyBytes: valueBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "produce to acknowledgement"}, err
		})
		if err != nil {
			return err
		}
		end := []int64{r.Records}
		if err := checkEnds(ctx, a, c.Topic, end); err != nil {
			return err
		}
		check := measure.NewSequence(1)
		err = readBack(ctx, x.kafkaLoad(1, valueBytes).Reader(), kafkaload.Reading{Ends: end, Value: func(_ int, v []byte) error {
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

func clientConsume(ctx context.Context, x *running) error {
	l := x.kafkaLoad(1, 1024)
	return x.withTopic(ctx, 1, nil, func(*kafkaload.Admin) error {
		p, err := produceAll(ctx, l)
		if err != nil {
			return fmt.Errorf("fill the topic: %w", err)
		}
		return x.measured(ctx, func() (work, error) {
			r, err := x.client(1024).Consume(ctx, p.Records)
			return work{messages: r.Records, bodyBytes: 1024, elapsed: r.Elapsed}, err
		})
	})
}

func clientEndToEnd(ctx context.Context, x *running) error {
	c := x.client(1024)
	c.Linger, c.Rate, c.For = 0, pacedRate, 2*x.options.time
	return x.withTopic(ctx, 1, nil, func(*kafkaload.Admin) error {
		return x.measured(ctx, func() (work, error) {
			r, err := c.EndToEnd(ctx)
			return work{messages: r.Records, bodyBytes: c.ValueBytes, elapsed: r.Elapsed, latency: r.Latency, latencyName: "due to consumer", late: r.Late}, err
		})
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
		return readBack(ctx, l.Reader(), kafkaload.Reading{Ends: ends(p), RecordsPerBatch: p.RecordsPerBatch})
	})
}
