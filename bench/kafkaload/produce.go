package kafkaload

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/bench/measure"
	"github.com/leveret-mq/leveret/internal/netx"
)

// Load is a raw load on one topic whose partitions each have a connection of their own.
type Load struct {
	Address    string
	Topic      string
	Partitions int
	ValueBytes int
	BatchBytes int
	Acks       int16         // 0 is not supported: the loads want to know
	InFlight   int           // requests sent and not answered, a connection
	Records    int64         // at most so many in all
	For        time.Duration // no request begins later than this
	FetchBytes int           // at most so many a Fetch, raw reads
	Stamped    bool          // every record has a stamp of its own; else batches are numbered
}

// Produced is what a raw produce load did.
type Produced struct {
	Records         int64
	RecordsPerBatch int
	Batches         []int64 // by partition
	Elapsed         time.Duration
	Latency         *measure.Latencies // of a request
}

// producing is one connection.
type producing struct {
	load      *Load
	conn      net.Conn
	partition int32
	batch     *Template
	request   request // its end is batch.Bytes
	open      chan time.Time
	batches   int64
	latency   *measure.Latencies
	lastAt    time.Duration
}

// Producers are the load's connections, dialled and ready.
type Producers struct {
	load  *Load
	conns []*producing
}

// Producers dials a connection for each partition.
func (l *Load) Producers(ctx context.Context) (*Producers, error) {
	if l.Acks == 0 {
		return nil, errors.New("a raw produce load needs acks 1 or -1")
	}
	ps := &Producers{load: l}
	for i := range l.Partitions {
		p, err := l.producer(ctx, int32(i))
		if err != nil {
			ps.Close()
			return nil, err
		}
		ps.conns = append(ps.conns, p)
	}
	return ps, nil
}

func (l *Load) producer(ctx context.Context, partition int32) (*producing, error) {
	t, err := NewTemplate(l.ValueBytes, l.BatchBytes, time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, l.Address)
	if err != nil {
		return nil, err
	}
	p := &producing{load: l, conn: c, partition: partition, batch: t, latency: measure.NewLatencies(), open: make(chan time.Time, l.InFlight)}
	p.request = append(produceRequest(l.Topic, partition, l.Acks, len(t.Bytes)), t.Bytes...).done()
	t.Bytes = p.request[len(p.request)-len(t.Bytes):]
	return p, nil
}

func dial(ctx context.Context, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	hostPort, secure := overTLS(address)
	c, err := d.DialContext(ctx, "tcp", hostPort)
	if err != nil {
		return nil, fmt.Errorf("connect to kafka broker: %w", err)
	}
	if !secure {
		return c, nil
	}
	_ = c.SetDeadline(time.Now().Add(d.Timeout))
	t, err := netx.Secured(c, trusting)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to kafka broker with TLS: %w", err)
	}
	return t, t.SetDeadline(time.Time{})
}

// TLSPrefix stands before the address of a broker that is to be spoken to with TLS.
const TLSPrefix = "tls://"

// trusting trusts any broker: it is measured, and told nothing.
var trusting = &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true}

func overTLS(address string) (hostPort string, secure bool) {
	return strings.CutPrefix(address, TLSPrefix)
}

// seeds are the options by which a client finds the broker.
func seeds(address string) []kgo.Opt {
	hostPort, secure := overTLS(address)
	o := []kgo.Opt{kgo.SeedBrokers(hostPort), kgo.ClientID(clientID)}
	if secure {
		o = append(o, kgo.DialTLSConfig(trusting))
	}
	return o
}

// RecordsPerBatch is how many records each batch of the load has.
func (ps *Producers) RecordsPerBatch() int { return ps.conns[0].batch.Records }

// Run produces until the count or the time is reached and everything is answered. The
// times in its batches count from the epoch.
func (ps *Producers) Run(ctx context.Context, epoch time.Time) (Produced, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(ctx, ps.Close)()
	began := time.Since(epoch)
	var group sync.WaitGroup
	for _, p := range ps.conns {
		batches := max(1, ps.load.Records/int64(ps.load.Partitions)/int64(p.batch.Records))
		group.Go(func() {
			if err := p.run(epoch, batches); err != nil {
				cancel(fmt.Errorf("produce to partition %d: %w", p.partition, err))
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return Produced{}, err
	}
	out := Produced{Latency: measure.NewLatencies()}
	for _, p := range ps.conns {
		out.RecordsPerBatch = p.batch.Records
		out.Batches = append(out.Batches, p.batches)
		out.Records += p.batches * int64(p.batch.Records)
		out.Elapsed = max(out.Elapsed, p.lastAt-began)
		out.Latency.Merge(p.latency)
	}
	return out, nil
}

// Ends is the offset behind the last record of each partition.
func (p Produced) Ends() []int64 {
	out := make([]int64, len(p.Batches))
	for i, n := range p.Batches {
		out[i] = n * int64(p.RecordsPerBatch)
	}
	return out
}

// run writes on one goroutine and reads the answers on this one. The channel of open
// requests bounds them and tells the reader when there will be no more.
func (p *producing) run(epoch time.Time, batches int64) error {
	written := make(chan error, 1)
	go func() {
		written <- p.write(epoch, batches)
		close(p.open)
	}()
	err := p.readAnswers(epoch)
	if err != nil {
		p.conn.Close()
		for range p.open { // let the writer go
		}
	}
	return errors.Join(err, <-written)
}

func (p *producing) write(epoch time.Time, batches int64) error {
	until := time.Now().Add(p.load.For)
	for i := int64(0); i < batches; i++ {
		now := time.Now()
		if !now.Before(until) {
			return nil
		}
		p.open <- now
		if micros := measure.Micros(now.Sub(epoch)); p.load.Stamped {
			p.batch.Stamp(uint64(i)*uint64(p.batch.Records), micros)
		} else {
			p.batch.Number(uint32(i), micros)
		}
		binary.BigEndian.PutUint32(p.request[posCorrelation:], uint32(i))
		if _, err := p.conn.Write(p.request); err != nil {
			return err
		}
	}
	return nil
}

// readAnswers checks that answers come in order and that each batch got the offset right
// behind the one before.
func (p *producing) readAnswers(epoch time.Time) error {
	r := bufio.NewReader(p.conn)
	var buf []byte
	for at := range p.open {
		var err error
		if buf, err = readAnswer(r, buf); err != nil {
			return err
		}
		correlation, base, err := produceAnswer(buf)
		if err != nil {
			return err
		}
		if correlation != int32(p.batches) {
			return fmt.Errorf("answer %d where %d was due", correlation, p.batches)
		}
		if due := p.batches * int64(p.batch.Records); base != due {
			return fmt.Errorf("batch %d was given offset %d, %d was due", p.batches, base, due)
		}
		now := time.Now()
		p.latency.AddDuration(now.Sub(at))
		p.lastAt = now.Sub(epoch)
		p.batches++
	}
	return nil
}

// Close ends the connections.
func (ps *Producers) Close() {
	for _, p := range ps.conns {
		p.conn.Close()
	}
}
