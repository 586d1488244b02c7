package kafka

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/message"
)

const (
	// maxShareBytes bounds what one ShareFetch is answered, but for one message that is larger.
	maxShareBytes = 4 << 20
	// maxShareRecords bounds how many records that are.
	maxShareRecords = 50_000
)

// shareRequest is what a ShareFetch and a ShareAcknowledge have in common.
type shareRequest struct {
	group, member *string
	epoch         int32
	renews        bool // verdicts may be to renew
	fetch         bool
	parts         []shareAsked
}

// shareAsked is a partition that a request names.
type shareAsked struct {
	id       wire.TopicID
	n        int32
	verdicts []shareVerdict
	last     int64 // offset of those before
	err      error // what became of them
	settled  bool  // there were any
	bad      bool
	twice    bool // two batches have a message in common
}

// verdictsOf reads what is said of a batch of messages, a shareVerdict each or one for all. Equal ones that follow each other become one.
func (a *shareAsked) verdictsOf(first, last int64, kinds []int8, renews bool) {
	n := last - first + 1
	if first < a.last || n <= 0 || len(kinds) != 1 && int64(len(kinds)) != n {
		a.bad = true
		return
	}
	a.twice = a.twice || a.settled && first == a.last // neighbours: what goes down is no request
	a.settled, a.last = true, last
	for i, kind := range kinds {
		if kind < shareGap || kind > shareRenew || kind == shareRenew && !renews {
			a.bad = true
			return
		}
		v := shareVerdict{message.Offset(first + int64(i)), message.Offset(first + int64(i)), kind}
		if len(kinds) == 1 {
			v.last = message.Offset(last)
		}
		if k := len(a.verdicts); k > 0 && a.verdicts[k-1].kind == kind && a.verdicts[k-1].last+1 == v.first {
			a.verdicts[k-1].last = v.last
			continue
		}
		a.verdicts = append(a.verdicts, v)
	}
}

// enterShare finds or makes the session of a request, and settles what it says of messages.
func (c *conn) enterShare(r *shareRequest) (*shareSession, wire.Code) {
	if deref(r.group) == "" || deref(r.member) == "" || group.LongMember(*r.member) || len(r.parts) > maxShareParts {
		return nil, wire.InvalidRequest
	}
	if code := c.mayGroup(broker.Consume, *r.group); code != wire.None {
		return nil, code
	}
	settles := slices.ContainsFunc(r.parts, func(a shareAsked) bool { return a.settled || a.bad })
	name := shareName{c.vhost, *r.group, *r.member}
	var x *shareSession
	switch {
	case r.epoch == 0 && !r.fetch:
		return nil, wire.InvalidShareSessionEpoch
	case r.epoch == 0 && settles:
		return nil, wire.InvalidRequest
	case r.epoch == 0:
		var code wire.Code
		if x, code = c.s.shares.open(c, name); code != wire.None {
			return nil, code
		}
	default:
		if x = c.s.shares.find(name); x == nil {
			return nil, wire.ShareSessionNotFound
		}
	}
	if !x.enter(r.epoch) {
		return nil, wire.InvalidShareSessionEpoch
	}
	for i := range r.parts {
		a := &r.parts[i]
		switch {
		case a.bad:
			a.err, a.settled = faultf(wire.InvalidRequest, "batches have to go up, with one kind of acknowledgement for all or one for each record, of those that there are"), true
		case a.twice:
			a.err = faultf(wire.InvalidRecordState, "two batches have a record in common: the second does not find it acquired")
		case a.settled:
			a.err = c.settleShare(x, a)
		}
	}
	return x, wire.None
}

func (c *conn) settleShare(x *shareSession, a *shareAsked) error {
	t, err := c.topicNamed(broker.Consume, nil, a.id)
	if err == nil && t.partition(a.n) == nil {
		err = noPartition(t, a.n)
	}
	if err != nil {
		return err
	}
	x.mu.Lock()
	p := x.find(a.id, a.n)
	x.mu.Unlock()
	code := wire.InvalidRecordState
	if p != nil {
		code = x.settle(p, a.verdicts)
	}
	switch code {
	case wire.None:
		return nil
	case wire.InvalidRecordState:
		return faultf(code, "not all of these records of '%s' are held by this member", t.name)
	}
	return faultf(code, "what is said of these records of '%s' can't be kept: they may come again if the broker is killed", t.name)
}

func noPartition(t *topic, n int32) error {
	return faultf(wire.UnknownTopicOrPartition, "topic '%s' has no partition %d", t.name, n)
}

// Key 79, ShareAcknowledge, versions 1 and 2: what became of messages, outside of a fetch.
func (c *conn) shareAcknowledge(r *kmsg.ShareAcknowledgeRequest) kmsg.Response {
	set := c.groups.Settings(deref(r.GroupID))
	q := shareRequest{group: r.GroupID, member: r.MemberID, epoch: r.ShareSessionEpoch, renews: r.IsRenewAck && !set.NoRenewals}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			a := shareAsked{id: t.TopicID, n: p.Partition}
			for _, b := range p.AcknowledgementBatches {
				a.verdictsOf(b.FirstOffset, b.LastOffset, b.AcknowledgeTypes, q.renews)
			}
			q.parts = append(q.parts, a)
		}
	}
	res := kmsg.NewPtrShareAcknowledgeResponse()
	x, code := c.enterShare(&q)
	if code != wire.None {
		res.ErrorCode = int16(code)
		return res
	}
	res.AcquisitionLockTimeoutMillis = int32(set.ShareLock.Milliseconds())
	if r.ShareSessionEpoch == -1 {
		c.s.shares.end(x)
	}
	at := 0
	for _, t := range r.Topics {
		out := kmsg.NewShareAcknowledgeResponseTopic()
		out.TopicID = t.TopicID
		for _, p := range t.Partitions {
			if a := &q.parts[at]; a.settled {
				one := kmsg.NewShareAcknowledgeResponseTopicPartition()
				one.Partition = p.Partition
				one.ErrorCode, one.ErrorMessage = outcome(a.err)
				out.Partitions = append(out.Partitions, one)
			}
			at++
		}
		if len(out.Partitions) > 0 {
			res.Topics = append(res.Topics, out)
		}
	}
	return res
}

// Key 78, ShareFetch, versions 1 and 2 (KIP-932): verdicts on messages that the member holds, then others for it, off the work cursor
// that serves AMQP consumers too. Nothing is handed out beyond what was asked for. Batches hold the records that were acquired, and
// no others.
func (c *conn) shareFetch(r *kmsg.ShareFetchRequest) (kmsg.Response, error) {
	set := c.groups.Settings(deref(r.GroupID))
	q := shareRequest{group: r.GroupID, member: r.MemberID, epoch: r.ShareSessionEpoch, renews: r.IsRenewAck && !set.NoRenewals, fetch: true}
	for _, t := range r.Topics {
		for _, p := range t.Partitions {
			a := shareAsked{id: t.TopicID, n: p.Partition}
			for _, b := range p.AcknowledgementBatches {
				a.verdictsOf(b.FirstOffset, b.LastOffset, b.AcknowledgeTypes, q.renews)
			}
			q.parts = append(q.parts, a)
		}
	}
	res := kmsg.NewPtrShareFetchResponse()
	asks := r.MaxBytes != 0 || r.MinBytes != 0 || r.MaxRecords != 0 || r.MaxWaitMillis != 0 // which who renews must not
	if len(r.ForgottenTopicsData) > maxShareParts || r.IsRenewAck && asks || r.ShareAcquireMode < 0 || r.ShareAcquireMode > 1 {
		res.ErrorCode = int16(wire.InvalidRequest)
		return res, nil
	}
	x, code := c.enterShare(&q)
	if code != wire.None {
		res.ErrorCode = int16(code)
		return res, nil
	}
	res.AcquisitionLockTimeoutMillis = int32(set.ShareLock.Milliseconds())
	out := shareAnswer{res: res}
	for i := range q.parts {
		if a := &q.parts[i]; a.settled {
			p := out.part(a.id, a.n)
			p.AcknowledgeErrorCode, p.AcknowledgeErrorMessage = outcome(a.err)
		}
	}
	if r.ShareSessionEpoch == -1 {
		c.s.shares.end(x)
		return res, nil
	}
	if code := x.begin(); code != wire.None {
		res.ErrorCode = int16(code)
		return res, nil
	}
	defer x.fetching.Unlock()
	if code := x.shape(&q, r.ForgottenTopicsData); code != wire.None {
		res.ErrorCode = int16(code)
		return res, nil
	}
	if r.MaxRecords <= 0 || r.MaxBytes <= 0 || r.IsRenewAck {
		return res, nil
	}
	defer x.pause()
	err := c.awaitShare(x, r, &out)
	return res, err
}

// begin locks fetching for a ShareFetch, unless another is under way or the session is over.
func (x *shareSession) begin() wire.Code {
	if !x.fetching.TryLock() {
		return wire.InvalidShareSessionEpoch
	}
	if x.over() { // else close waits
		x.fetching.Unlock()
		return wire.ShareSessionNotFound
	}
	return wire.None
}

// shape forgets and adds partitions of a session, as far as it may have them; what is both is not there then. fetching is held.
func (x *shareSession) shape(q *shareRequest, forgotten []kmsg.ShareFetchRequestForgottenTopicsData) wire.Code {
	x.mu.Lock()
	gone := x.forget(forgotten)
	code := wire.None
	for i := range q.parts {
		a := &q.parts[i]
		if x.find(a.id, a.n) != nil {
			continue
		}
		if len(x.parts) >= maxShareParts || x.memory.Try(sharePartBytes) != nil {
			code = wire.ShareSessionLimitReached
			break
		}
		p := &sharePart{id: a.id, n: a.n}
		x.parts = append(x.parts, p)
		x.byID[partName{a.id, a.n}] = p
	}
	x.forget(forgotten) // those that were just added, of which nothing is held
	x.mu.Unlock()
	for _, p := range gone {
		x.part(p)
	}
	return code
}

// forget takes partitions off the session's lists, and returns those that were there. mu is held.
func (x *shareSession) forget(list []kmsg.ShareFetchRequestForgottenTopicsData) (gone []*sharePart) {
	for _, t := range list {
		for _, n := range t.Partitions {
			if p := x.find(t.TopicID, n); p != nil {
				delete(x.byID, partName{p.id, p.n})
				p.forgotten = true
				gone = append(gone, p)
			}
		}
	}
	if len(gone) > 0 {
		x.parts = slices.DeleteFunc(slices.Clone(x.parts), func(p *sharePart) bool { return p.forgotten }) // who fetches has the old list
	}
	x.memory.Give(int64(len(gone)) * sharePartBytes)
	return gone
}

func (x *shareSession) pause() {
	x.mu.Lock()
	parts := x.parts
	x.mu.Unlock()
	for _, p := range parts {
		if p.sub != nil {
			p.sub.Pause()
		}
	}
}

// shareAnswer is an answer that is built.
type shareAnswer struct {
	res    *kmsg.ShareFetchResponse
	failed bool // some partition has an error that the client is to hear now
	n      int  // records
	topics map[wire.TopicID]int
	parts  map[partName]int // where they stand in their topic
}

// part is what the answer says of a partition.
func (s *shareAnswer) part(id wire.TopicID, n int32) *kmsg.ShareFetchResponseTopicPartition {
	at := s.place(id, n)
	return &s.res.Topics[at.topic].Partitions[at.part]
}

// place is where the answer says it.
func (s *shareAnswer) place(id wire.TopicID, n int32) sharePlace {
	if s.parts == nil {
		s.topics, s.parts = map[wire.TopicID]int{}, map[partName]int{}
	}
	at, named := s.topics[id]
	if !named {
		t := kmsg.NewShareFetchResponseTopic()
		t.TopicID = id
		at = len(s.res.Topics)
		s.topics[id] = at
		s.res.Topics = append(s.res.Topics, t)
	}
	t := &s.res.Topics[at]
	if part, named := s.parts[partName{id, n}]; named {
		return sharePlace{at, part}
	}
	p := kmsg.NewShareFetchResponseTopicPartition()
	p.Partition, p.Records = n, []byte{}
	part := len(t.Partitions)
	s.parts[partName{id, n}] = part
	t.Partitions = append(t.Partitions, p)
	return sharePlace{at, part}
}

// awaitShare acquires, and waits as long as the request allows while there is nothing.
func (c *conn) awaitShare(x *shareSession, r *kmsg.ShareFetchRequest, out *shareAnswer) error {
	var timer *time.Timer
	for {
		changed := c.session.PolicyChange()
		if c.acquire(x, r, out); out.n > 0 || out.failed || r.MaxWaitMillis <= 0 {
			return nil
		}
		if timer == nil {
			defer c.frames.Touch()
			if err := c.out.send(); err != nil {
				return err
			}
			timer = time.NewTimer(min(time.Duration(r.MaxWaitMillis)*time.Millisecond, c.s.opts.IdleTimeout))
			defer timer.Stop()
		}
		select {
		case <-changed: // what it may read is looked at anew
		case <-x.wake:
		case <-timer.C:
			return nil
		case <-x.ended:
			out.res.ErrorCode = int16(wire.ShareSessionNotFound)
			return nil
		case <-c.s.stop:
			return errStopping
		case <-c.frames.gone():
			return errGone
		}
	}
}

// acquire takes what there is for the member, from one partition after the other.
func (c *conn) acquire(x *shareSession, r *kmsg.ShareFetchRequest, out *shareAnswer) {
	if x.short() {
		return // until it settles some of what it holds
	}
	bytes := int(min(r.MaxBytes, maxShareBytes))
	if c.memory.Try(int64(2*bytes)) != nil {
		if bytes = min(bytes, smallFetchBytes/2); c.memory.Try(int64(2*bytes)) != nil {
			return // the next wake-up or the request's time is when it is tried again
		}
	}
	c.bill.taken += int64(2 * bytes)
	c.share.begin(bytes)
	records := int(min(r.MaxRecords, maxShareRecords))
	x.mu.Lock()
	parts := x.parts
	x.mu.Unlock()
	first := x.turn
	for i := range parts {
		if records <= out.n || bytes <= 0 {
			break
		}
		at := (first + i) % len(parts)
		p := parts[at]
		took, err := c.acquireFrom(x, p, records-out.n, bytes, out)
		if err != nil {
			one := out.part(p.id, p.n)
			one.ErrorCode, one.ErrorMessage = outcome(err)
			out.failed = true
			continue
		}
		if took > 0 {
			x.turn = at + 1
		}
		bytes -= took
	}
	if out.n == 0 {
		c.share.done()
		c.releaseBill()
	}
}

// acquireFrom takes what a partition has for the member, and says how many bytes of batches that are.
func (c *conn) acquireFrom(x *shareSession, p *sharePart, records, bytes int, out *shareAnswer) (int, error) {
	t, err := c.topicNamed(broker.Consume, nil, p.id)
	if err == nil && t.partition(p.n) == nil {
		err = noPartition(t, p.n)
	}
	if err != nil {
		p.leave()
		return 0, err
	}
	if p.sub == nil {
		if p.sub, err = x.session.SubscribePartition(t.partition(p.n), x.notify, x.notify); err != nil {
			return 0, err
		}
	}
	a := &c.share.acquired
	begins, before := a.Pieces(), a.Bytes()
	a.Runs = a.Runs[:0]
	n, err := p.sub.Acquire(records, bytes, a)
	if n == 0 {
		return 0, err
	}
	at := out.place(p.id, p.n)
	c.share.took(at, begins, a.Bytes()-before)
	one := &out.res.Topics[at.topic].Partitions[at.part]
	one.AcquiredRecords = make([]kmsg.ShareFetchResponseTopicPartitionAcquiredRecord, len(a.Runs))
	for i := range a.Runs {
		run := &one.AcquiredRecords[i]
		run.FirstOffset, run.LastOffset, run.DeliveryCount = int64(a.Runs[i].First), int64(a.Runs[i].Last), int16(min(a.Runs[i].Deliveries, 1<<15-1))
	}
	x.hold(p, a.Runs)
	out.n += n
	return max(a.Bytes()-before, 1), nil
}
