package kafkaload

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Raw members of a share group do as little as they can: they say which records they accept with their next fetch, and look at no
// record, only at which were acquired.

const (
	keyShareFetch     = 78
	versionShareFetch = 1
	shareBeat         = 2 * time.Second // between two heartbeats of a member
	shareRecords      = 50_000          // a fetch, as far as the broker lets it
)

// Shared is what raw members of a share group did.
type Shared struct {
	Records int64
	Bytes   int64 // of record batches
	Again   int64 // records that were acquired more than once
	Fetches int64
	Elapsed time.Duration
}

// Sharing says how a share group works.
type Sharing struct {
	Members int
	Hold    time.Duration // how long a member keeps what a fetch got it before it accepts that
}

// Share has members of a share group, a connection each, work off the topic from its start, of which ends are the ends by partition.
func (l *Load) Share(ctx context.Context, group string, how Sharing, ends []int64) (Shared, error) {
	cl, err := kgo.NewClient(seeds(l.Address)...)
	if err != nil {
		return Shared{}, fmt.Errorf("connect to kafka broker: %w", err)
	}
	defer cl.Close()
	s := &sharing{load: l, group: group, hold: how.Hold, cl: cl}
	for _, end := range ends {
		s.left.Add(end)
	}
	if err := s.prepare(ctx); err != nil {
		return Shared{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var beats, runs sync.WaitGroup
	list := make([]*sharer, how.Members)
	for i := range list {
		var id [16]byte
		_, _ = rand.Read(id[:])                                             // never fails
		x := &sharer{s: s, id: base64.RawURLEncoding.EncodeToString(id[:])} // Kafka wants them so
		if err := x.join(ctx); err != nil {
			return Shared{}, err
		}
		if x.conn, err = dial(ctx, l.Address); err != nil {
			return Shared{}, err
		}
		defer x.conn.Close()
		context.AfterFunc(ctx, func() { x.conn.Close() })
		list[i] = x
		beats.Go(func() { x.beat(ctx) })
	}
	began := time.Now()
	for _, x := range list {
		runs.Go(func() {
			if err := x.run(); err != nil {
				cancel(fmt.Errorf("share member %s: %w", x.id, err))
			}
		})
	}
	runs.Wait()
	out := Shared{Elapsed: time.Since(began)}
	if err := context.Cause(ctx); err != nil {
		return Shared{}, err
	}
	cancel(nil)
	beats.Wait()
	var all []acquiredRun
	for _, x := range list {
		out.Fetches += x.fetches
		out.Bytes += x.bytes
		all = append(all, x.all...)
	}
	out.Records, out.Again = count(all)
	want := int64(0)
	for _, end := range ends {
		want += end
	}
	if out.Records != want {
		return out, fmt.Errorf("%d records were acquired, %d are there", out.Records, want)
	}
	return out, nil
}

// sharing is what members have in common.
type sharing struct {
	load  *Load
	group string
	hold  time.Duration
	cl    *kgo.Client
	topic [16]byte
	left  atomic.Int64 // records that nobody has acquired yet
}

// prepare finds the topic, and has the group begin at its start.
func (s *sharing) prepare(ctx context.Context) error {
	m := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = &s.load.Topic
	m.Topics = append(m.Topics, t)
	res, err := m.RequestWith(ctx, s.cl)
	if err != nil || len(res.Topics) != 1 || res.Topics[0].ErrorCode != 0 {
		return fmt.Errorf("look up topic %s: %w", s.load.Topic, errors.Join(err, errAnswer))
	}
	s.topic = res.Topics[0].TopicID
	r := kmsg.NewPtrIncrementalAlterConfigsRequest()
	x := kmsg.NewIncrementalAlterConfigsRequestResource()
	x.ResourceType, x.ResourceName = kmsg.ConfigResourceTypeGroupConfig, s.group
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Value = "share.auto.offset.reset", kmsg.StringPtr("earliest")
	x.Configs = append(x.Configs, c)
	r.Resources = append(r.Resources, x)
	altered, err := r.RequestWith(ctx, s.cl)
	if err != nil || len(altered.Resources) != 1 || altered.Resources[0].ErrorCode != 0 {
		return fmt.Errorf("have the share group begin at the start: %w", errors.Join(err, errAnswer))
	}
	return nil
}

// sharer is one member.
type sharer struct {
	s       *sharing
	id      string
	epoch   int32 // of the member
	conn    net.Conn
	session int32 // epoch of its share session
	answer  []byte
	request []byte
	runs    []acquiredRun // acquired by the last fetch
	all     []acquiredRun
	fetches int64
	bytes   int64
}

type acquiredRun struct {
	partition   int32
	first, last int64
}

// count is how many records there are in runs, and how many more often than once.
func count(runs []acquiredRun) (records, again int64) {
	slices.SortFunc(runs, func(a, b acquiredRun) int {
		if a.partition != b.partition {
			return int(a.partition - b.partition)
		}
		return int(min(max(a.first-b.first, -1), 1))
	})
	partition, next := int32(-1), int64(0)
	for _, r := range runs {
		if r.partition != partition {
			partition, next = r.partition, 0
		}
		fresh := max(0, r.last+1-max(next, r.first))
		records += fresh
		again += r.last + 1 - r.first - fresh
		next = max(next, r.last+1)
	}
	return records, again
}

func (x *sharer) heartbeat(ctx context.Context) (*kmsg.ShareGroupHeartbeatResponse, error) {
	r := kmsg.NewPtrShareGroupHeartbeatRequest()
	r.GroupID, r.MemberID, r.MemberEpoch = x.s.group, x.id, x.epoch
	if x.epoch == 0 {
		r.SubscribedTopicNames = []string{x.s.load.Topic}
	}
	res, err := r.RequestWith(ctx, x.s.cl)
	if err == nil && res.ErrorCode != 0 {
		err = fmt.Errorf("join the share group: error code %d", res.ErrorCode)
	}
	if err == nil {
		x.epoch = res.MemberEpoch
	}
	return res, err
}

// join waits until the member is assigned something, which says that the broker knows the group's partitions.
func (x *sharer) join(ctx context.Context) error {
	for {
		res, err := x.heartbeat(ctx)
		if err != nil {
			return err
		}
		if res.Assignment != nil && len(res.Assignment.TopicPartitions) > 0 {
			return nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (x *sharer) beat(ctx context.Context) {
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		x.epoch = -1
		_, _ = x.heartbeat(ctx) // it is over either way
	}()
	for {
		select {
		case <-time.After(shareBeat):
			_, _ = x.heartbeat(ctx) // its fetches say when it is not a member
		case <-ctx.Done():
			return
		}
	}
}

func (x *sharer) run() error {
	empty := 0
	for x.s.left.Load() > 0 || len(x.runs) > 0 {
		before := len(x.all)
		if err := x.fetch(); err != nil {
			return err
		}
		if empty++; len(x.all) > before {
			empty = 0
			time.Sleep(x.s.hold)
		}
		if empty > 10*emptyLimit {
			return fmt.Errorf("%d records are not there", x.s.left.Load())
		}
	}
	x.session = -1
	return x.fetch()
}

// fetch accepts what the last one acquired, and acquires more.
func (x *sharer) fetch() error {
	q := kmsg.NewPtrShareFetchRequest()
	q.Version = versionShareFetch
	q.GroupID, q.MemberID, q.ShareSessionEpoch = &x.s.group, &x.id, x.session
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.MaxRecords, q.BatchSize = 50, 1, int32(x.s.load.FetchBytes), shareRecords, shareRecords
	if x.session == -1 {
		q.MaxRecords, q.BatchSize, q.MaxBytes = 0, 0, 0
	}
	if x.session == 0 || len(x.runs) > 0 {
		t := kmsg.NewShareFetchRequestTopic()
		t.TopicID = x.s.topic
		for n := range int32(x.s.load.Partitions) {
			p := kmsg.NewShareFetchRequestTopicPartition()
			p.Partition = n
			for _, r := range x.runs {
				if r.partition == n {
					b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
					b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = r.first, r.last, []int8{1}
					p.AcknowledgementBatches = append(p.AcknowledgementBatches, b)
				}
			}
			if x.session == 0 || p.AcknowledgementBatches != nil {
				t.Partitions = append(t.Partitions, p)
			}
		}
		q.Topics = append(q.Topics, t)
	}
	x.request = q.AppendTo(append(newRequest(keyShareFetch, versionShareFetch), 0)) // no tagged fields
	binary.BigEndian.PutUint32(x.request, uint32(len(x.request)-4))
	if _, err := x.conn.Write(x.request); err != nil {
		return err
	}
	var err error
	if x.answer, err = readAnswer(x.conn, x.answer); err != nil {
		return err
	}
	x.fetches++
	if x.session >= 0 {
		x.session++
	}
	x.runs = x.runs[:0]
	return x.acquired(x.answer)
}

// acquired reads an answer as far as it says what was acquired.
func (x *sharer) acquired(b []byte) error {
	a := answer{b: b}
	a.i32() // correlation
	a.tags()
	a.i32() // throttle
	if code := a.i16(); code != 0 {
		return fmt.Errorf("share fetch refused: error code %d", code)
	}
	a.compact() // why
	a.i32()     // for how long they are locked
	for range a.many() {
		a.take(16)
		for range a.many() {
			partition := a.i32()
			for range 2 {
				if code := a.i16(); code != 0 && a.err == nil {
					return fmt.Errorf("share fetch of partition %d refused: error code %d", partition, code)
				}
				a.compact()
			}
			a.i32() // leader
			a.i32()
			a.tags()
			x.bytes += int64(a.compact())
			for range a.many() {
				r := acquiredRun{partition, a.i64(), a.i64()}
				a.i16()
				a.tags()
				if a.err == nil {
					x.runs = append(x.runs, r)
					x.s.left.Add(r.first - r.last - 1)
				}
			}
			a.tags()
		}
		a.tags()
	}
	x.all = append(x.all, x.runs...)
	return a.err
}

// many is how many of a compact list follow.
func (a *answer) many() int {
	n := a.uvarint()
	return int(max(n, 1) - 1)
}

// compact passes over a compact string or bytes, and says how long it is.
func (a *answer) compact() int {
	n := a.many()
	a.take(n)
	return n
}

func (a *answer) tags() {
	for range a.uvarint() {
		a.uvarint()
		a.take(int(a.uvarint()))
	}
}

func (a *answer) uvarint() uint64 {
	n, size := binary.Uvarint(a.b)
	if size <= 0 || n > maxAnswerBytes {
		a.err, a.b = errAnswer, nil
		return 0
	}
	a.b = a.b[size:]
	return n
}
