package kafka

import (
	"errors"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxFetchBytes bounds one answer whatever the client asks for.
	maxFetchBytes = 64 << 20
	// leaderEpoch never changes: there is one node.
	leaderEpoch = 0
)

// pin holds bytes of a mapping in place.
type pin interface{ Release() }

// piece is a run of whole batches, borrowed from a log.
type piece struct {
	data []byte
	pin  pin
}

// fetched is what was found for one partition: pieces[first : first+n].
type fetched struct {
	state    wire.FetchState
	first, n int
}

// fetcher is a connection's memory for fetching. The zero value is ready.
type fetcher struct {
	req    wire.FetchRequest
	res    wire.FetchResponse
	found  []fetched // of all partitions, in request order
	pieces []piece
	bytes  int
	count  int64 // of records in pieces
	failed bool  // an answer that must not wait
	wake   chan struct{}
	notify func()
	stops  []func()
}

// Key 1, Fetch, versions 4 to 12.
//
// Whole batches leave as they are stored, by reference to the mapping. The
// first batch of an answer is always whole, even beyond the limits; otherwise
// the answer is cut at batch borders. With fewer than min bytes it waits for
// appends, up to max wait; an error of any partition, or no partition, answers at once. Fetch
// sessions are declined by answering id 0. Offsets are readable once appended;
// there are no transactions, so both isolation levels read the same.
func (c *conn) serveFetch(h wire.Header, body []byte) error {
	f := &c.fetch
	if err := f.req.Parse(h.Version, body); err != nil {
		return err
	}
	code := wire.None
	if f.req.SessionID != 0 && f.req.SessionEpoch > 0 {
		code = wire.FetchSessionIDNotFound
		f.req.Topics, f.req.Partitions = f.req.Topics[:0], f.req.Partitions[:0]
	}
	defer c.releaseFetched()
	c.collect()
	if code == wire.None && !c.enough() && f.req.MaxWaitMillis > 0 {
		if err := c.waitForMore(); err != nil {
			return err
		}
	}
	counters := c.s.broker.Counters()
	counters.Fetched.Add(uint64(f.count))
	counters.FetchedBytes.Add(uint64(f.bytes))
	return c.out.vector(c.encodeFetch(h, code))
}

// enough reports whether the answer need not wait.
func (c *conn) enough() bool {
	f := &c.fetch
	return f.failed || f.bytes >= int(f.req.MinBytes) || len(f.req.Partitions) == 0
}

// collect reads what is there for every partition asked for.
func (c *conn) collect() {
	c.releaseFetched()
	f := &c.fetch
	left := maxFetchBytes
	if f.req.MaxBytes >= 0 {
		left = min(left, int(f.req.MaxBytes))
	}
	for _, t := range f.req.Topics {
		known, err := c.topicOf(broker.Consume, t.Name)
		for _, p := range f.req.Of(t) {
			got := fetched{state: wire.FetchState{Index: p.Index, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1}, first: len(f.pieces)}
			if got.state.Err = codeOf(err); err == nil {
				got.state.Err = c.readPartition(known, p, left, &got.state)
			}
			got.n = len(f.pieces) - got.first
			f.failed = f.failed || got.state.Err != wire.None
			left -= got.state.Records
			f.bytes += got.state.Records
			f.found = append(f.found, got)
		}
	}
}

// readPartition borrows the batches of one partition and fills in its state.
func (c *conn) readPartition(t *topic, p wire.FetchPartition, left int, state *wire.FetchState) wire.Code {
	part := t.partition(p.Index)
	switch {
	case t.feed != nil:
		return wire.TopicAuthorizationFailed // it only leads into an exchange
	case part == nil:
		return wire.UnknownTopicOrPartition
	case p.LeaderEpoch > leaderEpoch:
		return wire.UnknownLeaderEpoch
	}
	log := part.Log()
	start, end, err := part.Bounds()
	if err != nil {
		return c.readFailed(part, p.Offset, state, err)
	}
	if p.Offset < int64(start) || p.Offset > int64(end) {
		return wire.OffsetOutOfRange
	}
	state.HighWatermark, state.LastStableOffset, state.LogStartOffset = int64(end), int64(end), int64(start)
	budget := min(int(p.MaxBytes), left)
	from := message.Offset(p.Offset)
	for first := true; from < end; first = false {
		room := budget - state.Records
		must := first && c.fetch.bytes == 0 // the first batch of an answer is sent whatever its size
		if room < batch.HeaderBytes && !must {
			return wire.None
		}
		n, next, err := c.borrow(log, from, max(room, 1), must)
		if err != nil {
			return c.readFailed(part, p.Offset, state, err)
		}
		if n == 0 {
			return wire.None
		}
		state.Records += n
		from = next
		if state.Records >= budget/2 {
			return wire.None
		}
	}
	return wire.None
}

// borrow takes the next run of batches into pieces. It takes none when the
// first of them is larger than room, unless it must.
func (c *conn) borrow(log broker.Log, from message.Offset, room int, must bool) (n int, next message.Offset, err error) {
	v, err := log.Read(from, room)
	if err != nil {
		return 0, from, err
	}
	if len(v.Data) == 0 || (len(v.Data) > room && !must) {
		v.Done()
		return 0, from, nil
	}
	next, count, err := lastOf(v.Data)
	if err != nil {
		v.Done()
		return 0, from, err
	}
	c.fetch.count += count
	c.fetch.pieces = append(c.fetch.pieces, piece{v.Data, v.Pin})
	return len(v.Data), next, nil
}

// lastOf walks the headers of whole batches: the offset behind the last one,
// and how many records there are.
func lastOf(data []byte) (next message.Offset, count int64, err error) {
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return 0, 0, err
		}
		next = message.Offset(b.LastOffset()) + 1
		count += int64(b.Count())
		data = rest
	}
	return next, count, nil
}

// readFailed tells an offset that retention took meanwhile from a broken log.
func (c *conn) readFailed(part *broker.Partition, offset int64, state *wire.FetchState, err error) wire.Code {
	if state.Records > 0 {
		return wire.None // what was read before is good; the client comes again
	}
	state.HighWatermark, state.LastStableOffset, state.LogStartOffset = -1, -1, -1
	if start, end, err := part.Bounds(); err == nil && (offset < int64(start) || offset > int64(end)) {
		return wire.OffsetOutOfRange
	}
	if part.Queue().Deleted() {
		return wire.UnknownTopicOrPartition
	}
	c.log.Warn("can't read a partition", "topic", part.Queue().Name, "partition", part.Index(), "offset", offset, "error", err)
	return wire.StorageError
}

var errStopping = errors.New("the server is stopping")

// waitForMore parks until enough was appended or the request's time is up.
func (c *conn) waitForMore() error {
	f := &c.fetch
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
		f.notify = func() {
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
	}
	if err := c.out.flush(); err != nil {
		return err
	}
	c.watch()
	defer c.unwatch()
	// A client that is gone is not seen while its request is parked.
	timer := time.NewTimer(min(time.Duration(f.req.MaxWaitMillis)*time.Millisecond, c.s.opts.IdleTimeout))
	defer timer.Stop()
	defer func() { c.frames.now = time.Now() }()
	for {
		c.collect() // after watching, so that no append falls between
		if c.enough() {
			return nil
		}
		c.releaseFetched()
		select {
		case <-f.wake:
		case <-timer.C:
			c.collect()
			return nil
		case <-c.s.stop:
			return errStopping
		}
	}
}

func (c *conn) watch() {
	f := &c.fetch
	for _, t := range f.req.Topics {
		known, err := c.topicOf(broker.Consume, t.Name)
		if err != nil {
			continue
		}
		for _, p := range f.req.Of(t) {
			if part := known.partition(p.Index); part != nil {
				f.stops = append(f.stops, part.Log().Watch(f.notify))
			}
		}
	}
}

func (c *conn) unwatch() {
	f := &c.fetch
	for _, stop := range f.stops {
		stop()
	}
	clear(f.stops)
	f.stops = f.stops[:0]
}

// encodeFetch builds the answer's pieces, valid until releaseFetched.
func (c *conn) encodeFetch(h wire.Header, code wire.Code) [][]byte {
	f := &c.fetch
	f.res.Begin(h, code, len(f.req.Topics))
	for _, t := range f.req.Topics {
		f.res.Topic(t.Name, t.Len)
		for _, got := range f.found[t.First : t.First+t.Len] {
			f.res.Partition(got.state)
			for _, p := range f.pieces[got.first : got.first+got.n] {
				f.res.Records(p.data)
			}
			f.res.EndPartition()
		}
		f.res.EndTopic()
	}
	return f.res.Finish()
}

// releaseFetched gives back everything that collect borrowed.
func (c *conn) releaseFetched() {
	f := &c.fetch
	for i := range f.pieces {
		if f.pieces[i].pin != nil {
			f.pieces[i].pin.Release()
		}
		f.pieces[i] = piece{}
	}
	f.pieces, f.found = f.pieces[:0], f.found[:0]
	f.bytes, f.count, f.failed = 0, 0, false
	f.res.Forget()
}
