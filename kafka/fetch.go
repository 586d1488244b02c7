package kafka

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxFetchBytes bounds one answer whatever the client asks for.
	maxFetchBytes = 64 << 20
	// smallFetchBytes is an answer that is not counted, and that is always to be had.
	smallFetchBytes = 256 << 10
	// readCommitted is the isolation level of who reads what is committed only.
	readCommitted = 1
	// leaderEpoch never changes: there is one node.
	leaderEpoch = 0
)

// fetched is what was found for one partition: pieces[first : first+n].
type fetched struct {
	state    wire.FetchState
	first, n int
	sets     []byte // in place of pieces: the message set that a client of old gets
}

// fetcher is a connection's memory for fetching. The zero value is ready.
type fetcher struct {
	req     wire.FetchRequest
	res     wire.FetchResponse
	found   []fetched // of all partitions, in request order
	pieces  []broker.Batches
	bytes   int
	taken   int64 // of the connection's memory, for bytes
	count   int64 // of records in pieces
	failed  bool  // an answer that must not wait
	wake    chan struct{}
	notify  func()
	stops   []func()
	watched []*broker.Partition // what stops end the watching of
}

// Key 1, Fetch, versions 0 to 18: up to version 3 records leave as message sets (legacy.go), from version 13
// on topics are named by their ids.
//
// Whole batches leave as they are stored, by reference to the mapping. The
// first batch of an answer is always whole, even beyond the limits; otherwise
// the answer is cut at batch borders. With fewer than min bytes it waits for
// appends, up to max wait; an error of any partition, or no partition, answers at once. Fetch
// sessions are declined by answering id 0. Offsets are readable once appended, for who reads what is committed
// up to the last stable offset; what was aborted there the client leaves out by the list that it gets.
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
	if len(f.req.Partitions) > fewPartitions {
		defer c.releaseMany()
		if err := c.charge(len(f.req.Partitions) * fetchedBytes); err != nil {
			return fmt.Errorf("%s of %d partitions: %w", h.Key, len(f.req.Partitions), err)
		}
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
	var throttle time.Duration
	if p := c.session.Pacer(); p != nil {
		throttle = p.Left(f.bytes, time.Now())
		f.res.ThrottleMillis = throttleMillis(throttle)
	}
	err := c.out.vector(c.encodeFetch(h, code))
	if errors.Is(err, syscall.EFAULT) {
		c.unreadable()
	}
	if err != nil || throttle == 0 {
		return err
	}
	c.releaseFetched() // nothing is borrowed while the client waits
	return c.mute(throttle)
}

// unreadable finds out and says whose bytes the kernel could not read. Part of the
// answer is with the client, so the connection ends; when it asks again it is answered.
func (c *conn) unreadable() {
	for i := range c.fetch.pieces {
		if err := c.fetch.pieces[i].Check(); err != nil {
			c.log.Error("can't read what is being sent; the connection is closed", "error", err)
		}
	}
}

// enough reports whether the answer need not wait.
func (c *conn) enough() bool {
	f := &c.fetch
	return f.failed || f.bytes >= int(f.req.MinBytes) || len(f.req.Partitions) == 0
}

// collect reads what is there for every partition asked for. A large answer is
// counted, since it stays until its client has read it; when others hold the
// memory the answer is a small one.
func (c *conn) collect() {
	f := &c.fetch
	if f.req.Version < format2Since {
		c.collectLegacy()
		return
	}
	c.gather(int(min(maxFetchBytes, c.memory.Share()/2)))
	if f.bytes <= smallFetchBytes {
		return
	}
	if c.memory.Try(int64(f.bytes)) == nil {
		f.taken = int64(f.bytes)
	} else {
		c.gather(smallFetchBytes)
	}
}

// collectLegacy is collect for an answer that has to be made first: its memory is taken before.
func (c *conn) collectLegacy() {
	c.releaseFetched()
	left := legacyFetchBytes
	if c.memory.Try(legacyFetchBytes) == nil {
		c.fetch.taken = legacyFetchBytes
	} else {
		left = smallFetchBytes
	}
	c.look(left)
}

// gather is collect with a limit.
func (c *conn) gather(left int) {
	c.releaseFetched()
	c.look(left)
}

// look is gather once nothing is borrowed.
func (c *conn) look(left int) {
	f := &c.fetch
	if f.req.MaxBytes >= 0 {
		left = min(left, int(f.req.MaxBytes))
	}
	for _, t := range f.req.Topics {
		known, err := c.topicNamed(broker.Consume, t.Name, t.ID)
		for _, p := range f.req.Of(t) {
			got := fetched{state: wire.FetchState{Index: p.Index, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1}, first: len(f.pieces)}
			if got.state.Err = codeOf(err); err == nil {
				got.sets, got.state.Err = c.readPartition(known, p, left, &got.state)
			}
			if got.state.Err != wire.None {
				c.refused(wire.Fetch.String(), called(t.Name, t.ID), got.state.Err, "")
			}
			got.n = len(f.pieces) - got.first
			f.failed = f.failed || got.state.Err != wire.None
			left -= got.state.Records
			f.bytes += got.state.Records
			f.found = append(f.found, got)
		}
	}
}

// readPartition borrows the batches of one partition and fills in its state. The
// first batch of an answer is sent whatever its size. sets is what a client of old gets in their place.
func (c *conn) readPartition(t *topic, p wire.FetchPartition, left int, state *wire.FetchState) (sets []byte, code wire.Code) {
	part := t.partition(p.Index)
	if t.offsets {
		return c.readOffsets(p, left, state)
	}
	switch {
	case t.exchange != nil:
		return nil, wire.TopicAuthorizationFailed // it only leads into an exchange
	case part == nil:
		return nil, wire.UnknownTopicOrPartition
	case p.LeaderEpoch > leaderEpoch:
		return nil, wire.UnknownLeaderEpoch
	}
	f := &c.fetch
	if f.req.Version < format2Since {
		sets, err := c.readLegacy(part, p, left, state)
		return sets, legacyError(err)
	}
	var got broker.Fetched
	var err error
	got, f.pieces, err = c.session.Fetch(part, broker.Fetch{
		From: message.Offset(p.Offset), MaxBytes: min(int(p.MaxBytes), left), Whole: f.bytes == 0, Committed: f.req.Isolation == readCommitted,
	}, f.pieces)
	if err != nil {
		if broker.KindOf(err) == broker.Unreadable {
			c.log.Warn("can't fetch", "offset", p.Offset, "error", err)
		}
		return nil, codeOf(err)
	}
	state.HighWatermark, state.LastStableOffset, state.LogStartOffset = int64(got.End), int64(got.Stable), int64(got.Start)
	if f.req.Isolation == readCommitted {
		state.Aborted = make([]wire.Aborted, len(got.Aborted))
		for i, a := range got.Aborted {
			state.Aborted[i] = wire.Aborted{ProducerID: a.Producer, First: int64(a.First)}
		}
	}
	state.Records = got.Bytes
	f.count += got.Records
	return nil, wire.None
}

var errStopping = errors.New("the server is stopping")

// waitForMore parks until enough was appended, a topic changed so that there is an
// error to tell, the request's time is up, or the client is gone.
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
	if err := c.out.send(); err != nil {
		return err
	}
	c.watch()
	defer c.unwatch()
	timer := time.NewTimer(min(time.Duration(f.req.MaxWaitMillis)*time.Millisecond, c.s.opts.IdleTimeout))
	defer timer.Stop()
	gone := c.frames.gone()
	defer c.frames.Touch()
	for {
		changed := c.session.PolicyChange()
		c.collect() // after watching, so that no change falls between
		if c.enough() {
			return nil
		}
		c.releaseFetched()
		select {
		case <-changed: // what it may fetch is looked at anew
		case <-f.wake:
			if f.replaced() {
				c.collect()
				return nil
			}
		case <-timer.C:
			c.collect()
			return nil
		case <-c.s.stop:
			return errStopping
		case <-gone:
			return errGone
		}
	}
}

// watch has changes of the partitions asked for wake the connection, once for each
// however often it is named.
func (c *conn) watch() {
	f := &c.fetch
	var seen map[*broker.Partition]struct{} // of many
	if len(f.req.Partitions) > 16 {
		seen = make(map[*broker.Partition]struct{}, len(f.req.Partitions))
	}
	again := func(part *broker.Partition) bool {
		if seen == nil {
			return slices.Contains(f.watched, part)
		}
		had := len(seen)
		seen[part] = struct{}{}
		return len(seen) == had
	}
	for _, t := range f.req.Topics {
		known, err := c.topicNamed(broker.Consume, t.Name, t.ID)
		if err != nil {
			continue
		}
		if known.offsets {
			f.stops = append(f.stops, c.groups.OffsetLog().Watch(f.notify))
			continue
		}
		for _, p := range f.req.Of(t) {
			if part := known.partition(p.Index); part != nil && !again(part) {
				f.watched = append(f.watched, part)
				f.stops = append(f.stops, c.session.Watch(part, f.notify))
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
	clear(f.watched)
	f.stops, f.watched = f.stops[:0], f.watched[:0]
}

// replaced reports whether a topic that is waited for was deleted. One of the same
// name may be there already, of which nobody would hear.
func (f *fetcher) replaced() bool {
	return slices.ContainsFunc(f.watched, func(p *broker.Partition) bool { return p.Queue().Deleted() })
}

// encodeFetch builds the answer's pieces, valid until releaseFetched.
func (c *conn) encodeFetch(h wire.Header, code wire.Code) [][]byte {
	f := &c.fetch
	f.res.Begin(h, code, len(f.req.Topics))
	for _, t := range f.req.Topics {
		f.res.Topic(t.Name, t.ID, t.Len)
		for _, got := range f.found[t.First : t.First+t.Len] {
			f.res.Partition(got.state)
			if len(got.sets) > 0 {
				f.res.Records(got.sets)
			}
			for _, p := range f.pieces[got.first : got.first+got.n] {
				f.res.Records(p.Raw())
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
		f.pieces[i].Release()
	}
	if f.req.Version < format2Since {
		clear(f.found) // they hold what was made for the answer
	}
	f.pieces, f.found = f.pieces[:0], f.found[:0]
	f.bytes, f.count, f.failed = 0, 0, false
	c.memory.Give(f.taken)
	f.taken = 0
	f.res.Forget()
}
