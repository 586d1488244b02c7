package kafka

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxFetchBytes bounds one answer whatever the client asks for.
	maxFetchBytes = 64 << 20
	// smallFetchBytes is an answer that is not counted, and that is always to be had.
	smallFetchBytes = 256 << 10
	// fewFetches is how many large answers may be on their way at once as copies. More leave by reference to the pages of their files.
	// Copies of many fall out of the processor's cache before their readers come, and cost twice as much then; those of a few stay in
	// it, and are cheaper for the reader. And a file that was referred to is not used again.
	fewFetches = 8
	// readCommitted is the isolation level of who reads what is committed only.
	readCommitted = 1
	// sessionsSince is the first version that has sessions.
	sessionsSince = 7
	// leaderEpoch never changes: there is one node.
	leaderEpoch = 0
)

// fetched is what was found for one partition: pieces[first : first+n].
type fetched struct {
	state    wire.FetchState
	first, n int
	sets     []byte     // in place of pieces: the message set that a client of old gets
	of       *fetchPart // in a session
}

// fetcher is a connection's memory for fetching. The zero value is ready.
type fetcher struct {
	req     wire.FetchRequest
	res     wire.FetchResponse
	found   []fetched // of all partitions, in request order
	pieces  []broker.Batches
	bytes   int
	due     int   // bytes, with those that there is no room for: what is held against min bytes
	most    int   // bytes that an answer may have now
	taken   int64 // of the connection's memory, for bytes and found
	count   int64 // of records in pieces
	failed  bool  // an answer that must not wait
	wake    chan struct{}
	notify  func()
	stops   []func()
	watched []*broker.Partition // what stops end the watching of

	session  *fetchSession           // of the request under way; nil without one
	sessions map[int32]*fetchSession // of the connection
}

// Key 1, Fetch, versions 0 to 18: up to version 3 records leave as message sets (legacy.go), from version 13
// on topics are named by their ids.
//
// Whole batches leave as they are stored, from the mapping or the file under it. The
// first batch of an answer is always whole, even beyond the limits; otherwise
// the answer is cut at batch borders. With fewer than min bytes it waits for
// appends, up to max wait; an error of any partition, or no partition, answers at once. Fetch
// sessions: fetchsession.go. Offsets are readable once appended, for who reads what is committed
// up to the last stable offset; what was aborted there the client leaves out by the list that it gets.
// There is one node, so the rack of the client leads nowhere, and no other replica is preferred.
func (c *conn) serveFetch(h wire.Header, body []byte) error {
	f := &c.fetch
	if err := f.req.Parse(h.Version, body); err != nil {
		return h.Malformed(err)
	}
	if f.wake == nil {
		f.wake = make(chan struct{}, 1)
		f.notify = func() {
			select {
			case f.wake <- struct{}{}:
			default:
			}
		}
	}
	if n := len(f.req.Partitions) + len(f.req.ForgottenOf); n > fewPartitions {
		defer c.releaseMany()
		if err := c.charge(n * fetchedBytes); err != nil {
			return fmt.Errorf("%s of %d partitions: %w", h.Key, n, err)
		}
	}
	defer c.endFetch()
	var code wire.Code
	var opened int32
	f.session, code = c.enterFetchSession()
	if f.session != nil || code != wire.None {
		f.req.Topics, f.req.Partitions = f.req.Topics[:0], f.req.Partitions[:0]
	}
	if code == wire.None {
		if err := c.find(); err != nil {
			return err
		}
		switch {
		case f.session != nil && f.session.gone.Load() && len(f.found) == 0:
			c.endFetchSession(f.session.id)
			f.session, code = nil, wire.FetchSessionIDNotFound
		case f.session != nil:
			f.session.told(f.found)
		case f.req.Version >= sessionsSince && f.req.SessionEpoch == 0:
			opened = c.openFetchSession()
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
	err := c.writeFetched(c.encodeFetch(h, code, opened))
	if errors.Is(err, syscall.EFAULT) {
		c.unreadable()
	}
	if err != nil || throttle == 0 {
		return err
	}
	c.releaseFetched() // nothing is borrowed while the client waits
	return c.mute(throttle)
}

// writeFetched writes an answer.
func (c *conn) writeFetched(pieces [][]byte) error {
	f := &c.fetch
	if f.bytes <= smallFetchBytes {
		return c.out.vector(pieces)
	}
	defer c.s.largeFetches.Add(-1)
	if c.s.largeFetches.Add(1) <= fewFetches {
		return c.out.vector(pieces)
	}
	return c.out.placed(pieces, f.places())
}

// endFetch lets go of everything, of what is kept for the next one unless it is large, too.
func (c *conn) endFetch() {
	f := &c.fetch
	large := len(f.found) > fewPartitions
	c.releaseFetched()
	f.session = nil
	if large {
		c.releaseMany()
	}
}

// places says where the pieces of an answer lie which are what was found, when asked in their order.
func (f *fetcher) places() netx.Place {
	next := 0
	return func(piece []byte) (fd uintptr, at int64, ok bool) {
		for i := next; i < len(f.pieces); i++ {
			if found := f.pieces[i].Raw(); &found[0] == &piece[0] {
				next = i + 1
				return f.pieces[i].Place()
			}
		}
		return 0, 0, false // what was made for the answer
	}
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

// find collects what is there, and waits for more if that is not enough.
func (c *conn) find() error {
	f := &c.fetch
	c.collect()
	if c.enough() || f.req.MaxWaitMillis <= 0 {
		return nil
	}
	return c.waitForMore()
}

// enough reports whether the answer need not wait.
func (c *conn) enough() bool {
	f := &c.fetch
	least := min(int(f.req.MinBytes), f.most)
	if f.req.MaxBytes >= 0 {
		least = min(least, int(f.req.MaxBytes)) // more will not be answered, however long it waits
	}
	return f.failed || f.due >= least || f.session == nil && len(f.req.Partitions) == 0
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
		f.taken += int64(f.bytes)
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
	f.most = left
	if f.req.MaxBytes >= 0 {
		left = min(left, int(f.req.MaxBytes))
	}
	if f.session != nil {
		c.lookInSession(f.session, left)
		return
	}
	for _, t := range f.req.Topics {
		known, err := c.topicNamed(broker.Consume, t.Name, t.ID)
		for _, p := range f.req.Of(t) {
			got := c.lookAt(known, err, t, p, left)
			left -= got.state.Records
			f.found = append(f.found, got)
		}
	}
}

// lookAt reads what is there for one partition of a topic, or says what is in the way, as err is.
func (c *conn) lookAt(known *topic, err error, t wire.FetchTopic, p wire.FetchPartition, left int) fetched {
	f := &c.fetch
	got := fetched{state: wire.FetchState{Index: p.Index, HighWatermark: -1, LastStableOffset: -1, LogStartOffset: -1}, first: len(f.pieces)}
	if got.state.Err = codeOf(err); err == nil {
		got.sets, got.state.Err = c.readPartition(known, p, left, &got.state)
	}
	if got.state.Err == wire.UnknownTopicOrPartition && t.Name == nil && (known == nil || known.queue != nil && known.queue.Deleted()) {
		got.state.Err = wire.UnknownTopicID // it was deleted after it had been found by that
	}
	switch got.state.Err {
	case wire.UnknownTopicOrPartition, wire.UnknownTopicID, wire.TopicAuthorizationFailed:
		got.state.Aborted = []wire.Aborted{} // as Kafka has it of what there is nothing to read of
	}
	if got.state.Err != wire.None {
		c.refused(wire.Fetch.String(), called(t.Name, t.ID), got.state.Err, "")
		f.failed = true
	}
	got.n = len(f.pieces) - got.first
	f.bytes += got.state.Records
	f.due += got.state.Records
	return got
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
	if got.More {
		f.due += max(0, min(int(p.MaxBytes), left)-got.Bytes)
	}
	return nil, wire.None
}

var errStopping = errors.New("the server is stopping")

// moreAfter is how long a request waits that has found something, and not enough, before it looks again: with
// small batches it would go through all of them at each.
const moreAfter = 5 * time.Millisecond

// waitForMore parks until enough was appended, a topic changed so that there is an
// error to tell, the request's time is up, or the client is gone.
func (c *conn) waitForMore() error {
	f := &c.fetch
	if err := c.out.send(); err != nil {
		return err
	}
	if x := f.session; x != nil {
		x.waiting.Store(true)
		defer x.waiting.Store(false)
	} else {
		c.watch()
		defer c.unwatch()
	}
	end := time.Now().Add(min(time.Duration(f.req.MaxWaitMillis)*time.Millisecond, c.s.opts.IdleTimeout))
	timer := time.NewTimer(time.Until(end))
	defer timer.Stop()
	gone := c.frames.gone()
	defer c.frames.Touch()
	for {
		changed := c.session.PolicyChange()
		c.collect() // after watching, so that no change falls between
		if c.enough() {
			return nil
		}
		wake, pause := f.wake, f.bytes > 0
		c.releaseFetched()
		if pause {
			wake = nil
			timer.Reset(min(moreAfter, time.Until(end)))
		}
		select {
		case <-changed: // what it may fetch is looked at anew
		case <-wake:
			if f.replaced() {
				c.collect()
				return nil
			}
		case <-timer.C:
			if left := time.Until(end); left > 0 && !f.replaced() {
				timer.Reset(left)
				continue
			}
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

// encodeFetch builds the answer's pieces, valid until releaseFetched. opened is the session that begins with it.
func (c *conn) encodeFetch(h wire.Header, code wire.Code, opened int32) [][]byte {
	f := &c.fetch
	if f.session != nil {
		return c.encodeInSession(h)
	}
	f.res.Begin(h, code, opened, len(f.req.Topics))
	for _, t := range f.req.Topics {
		f.res.Topic(t.Name, t.ID, t.Len)
		for i := range f.found[t.First : t.First+t.Len] {
			c.encodePart(&f.found[t.First+i])
		}
		f.res.EndTopic()
	}
	return f.res.Finish()
}

// encodeInSession is encodeFetch for what was found in a session: neighbours of a topic stand together.
func (c *conn) encodeInSession(h wire.Header) [][]byte {
	f := &c.fetch
	begins := func(i int) bool { return i == 0 || f.found[i].of.of != f.found[i-1].of.of }
	topics := 0
	for i := range f.found {
		if begins(i) {
			topics++
		}
	}
	f.res.Begin(h, wire.None, f.session.id, topics)
	for i := 0; i < len(f.found); {
		n := 1
		for i+n < len(f.found) && !begins(i+n) {
			n++
		}
		t := f.found[i].of.of
		f.res.Topic(t.name, t.id, n)
		for range n {
			c.encodePart(&f.found[i])
			i++
		}
		f.res.EndTopic()
	}
	return f.res.Finish()
}

func (c *conn) encodePart(got *fetched) {
	f := &c.fetch
	f.res.Partition(got.state)
	if len(got.sets) > 0 {
		f.res.Records(got.sets)
	}
	for _, p := range f.pieces[got.first : got.first+got.n] {
		f.res.Records(p.Raw())
	}
	f.res.EndPartition()
}

// roomForFound says whether what is found may take more memory. What an answer of a session holds is not known before.
func (c *conn) roomForFound() bool {
	f := &c.fetch
	if n := len(f.found); n == 0 || n%fewPartitions != 0 {
		return true
	}
	if c.memory.Try(fewPartitions*fetchedBytes) != nil {
		return false
	}
	f.taken += fewPartitions * fetchedBytes
	return true
}

// releaseFetched gives back everything that collect borrowed.
func (c *conn) releaseFetched() {
	f := &c.fetch
	for i := range f.pieces {
		f.pieces[i].Release()
	}
	clear(f.found) // what was made for the answer, and partitions of sessions
	f.pieces, f.found = f.pieces[:0], f.found[:0]
	f.bytes, f.due, f.count, f.failed = 0, 0, 0, false
	c.memory.Give(f.taken)
	f.taken = 0
	f.res.Forget()
}
