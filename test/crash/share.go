package main

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// share is a share group (KIP-932) with two members that accept, reject, release and keep what they are handed, out of order. What
// was answered as accepted or rejected is never handed out again; what was not is, until it is, and was delivered more often than it was
// answered as released; where the group is said to be does not go back; what the group was set to stays.
type share struct {
	watched
	topic, late [16]byte
	records     []shareRecord // by offset
	produced    int           // up to here acked
	epochs      [shareMembers]int32
	start       int64 // where the group was told to be
	began       bool  // the other group has begun at the end, as it was set to

	delivered, accepted, released, again int
}

// shareRecord is what is known of a record.
type shareRecord struct {
	deliveries, released int16
	settled              bool // answered so
	tried                bool // asked for, and not answered: it may be so
}

const (
	shareGroup   = "crash.share"
	shareTopic   = "crash.share"
	lateGroup    = "crash.share.late"
	lateTopic    = "crash.late.topic"
	shareMembers = 2
	shareLimit   = 10 // deliveries, the most that can be set
)

func newShare() *share { return new(share) }

func (s *share) summary() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("share group: %d records, %d deliveries (%d again), %d accepted, %d released", s.produced, s.delivered, s.again, s.accepted, s.released)
}

func (s *share) declare(a *asker) (err error) {
	for name, id := range map[string]*[16]byte{shareTopic: &s.topic, lateTopic: &s.late} {
		var code int16
		if *id, code, err = newTopic(a, name, 1, nil); err != nil {
			return err
		}
		if err := must("create topic "+name, code); err != nil {
			return err
		}
	}
	for _, set := range [][3]string{{shareGroup, "share.delivery.count.limit", fmt.Sprint(shareLimit)}, {lateGroup, "share.auto.offset.reset", "latest"}} {
		code, err := setConfig(a, kmsg.ConfigResourceTypeGroupConfig, set[0], set[1], set[2])
		if err != nil {
			return err
		}
		if err := must("set "+set[1], code); err != nil {
			return err
		}
	}
	for range 3 { // nobody is to see these
		if _, err := produceTo(a, lateTopic); err != nil {
			return err
		}
	}
	return nil
}

// produceTo appends one record and returns its offset.
func produceTo(a *asker, name string) (int64, error) {
	p, err := produce(a, 1, name, nil, process.Batch(process.Nobody, []byte("shared")))
	if err != nil {
		return 0, err
	}
	return p.BaseOffset, must("produce to "+name, p.ErrorCode)
}

func (s *share) load(l *life) error {
	err := l.work(&s.watched, "share group's producer", func(a *asker) error {
		for range produceMax {
			at, err := produceTo(a, shareTopic)
			if err != nil {
				return err
			}
			s.mu.Lock()
			s.known(at)
			s.produced = max(s.produced, int(at)+1)
			s.mu.Unlock()
		}
		return nil
	})
	for i := range shareMembers {
		rng := l.h.fork()
		if err == nil {
			err = l.work(&s.watched, fmt.Sprint("share group's member ", i), func(a *asker) error { return s.share(a, i, rng) })
		}
	}
	return err
}

// known makes room for a record.
func (s *share) known(at int64) *shareRecord {
	for int64(len(s.records)) <= at {
		s.records = append(s.records, shareRecord{})
	}
	return &s.records[at]
}

func member(i int) string { return fmt.Sprint("crash-member-", i) }

// beat has a member be in the group.
func (s *share) beat(a *asker, group, id string, epoch int32, topic string) (int32, error) {
	q := kmsg.NewPtrShareGroupHeartbeatRequest()
	q.GroupID, q.MemberID, q.MemberEpoch = group, id, epoch
	if epoch == 0 {
		q.SubscribedTopicNames = []string{topic}
	}
	res, err := process.Ask[*kmsg.ShareGroupHeartbeatResponse](a, q, 1)
	if err == nil {
		err = must(fmt.Sprintf("%s goes on in %s with epoch %d", id, group, epoch), res.ErrorCode)
	}
	if err != nil {
		return 0, err
	}
	if res.MemberEpoch < epoch {
		return 0, wrongf("%s is in epoch %d of %s, and was in %d", id, res.MemberEpoch, group, epoch)
	}
	return res.MemberEpoch, nil
}

// verdict is what a member says of one record.
type verdict struct {
	at   int64
	kind int8
}

const (
	accepts  = 1
	releases = 2
	rejects  = 3
)

// fetchShared fetches records with verdicts on others. epoch is the session's.
func (s *share) fetchShared(a *asker, group, id string, topic [16]byte, epoch int32, wait int32, verdicts []verdict) (p kmsg.ShareFetchResponseTopicPartition, err error) {
	q := kmsg.NewPtrShareFetchRequest()
	q.GroupID, q.MemberID, q.ShareSessionEpoch = &group, &id, epoch
	q.MaxRecords, q.BatchSize, q.MaxBytes, q.MaxWaitMillis = 40, 40, 1<<20, wait
	t := kmsg.NewShareFetchRequestTopic()
	t.TopicID = topic
	ask1 := kmsg.NewShareFetchRequestTopicPartition()
	for _, v := range verdicts {
		b := kmsg.NewShareFetchRequestTopicPartitionAcknowledgementBatch()
		b.FirstOffset, b.LastOffset, b.AcknowledgeTypes = v.at, v.at, []int8{v.kind}
		ask1.AcknowledgementBatches = append(ask1.AcknowledgementBatches, b)
	}
	t.Partitions = append(t.Partitions, ask1)
	q.Topics = append(q.Topics, t)
	res, err := process.Ask[*kmsg.ShareFetchResponse](a, q, 2)
	if err != nil {
		return p, err
	}
	if err := must("share fetch of "+id, res.ErrorCode); err != nil {
		return p, err
	}
	if len(res.Topics) == 0 || len(res.Topics[0].Partitions) == 0 {
		return p, nil
	}
	p = res.Topics[0].Partitions[0]
	if err := must("share fetch of "+id, p.ErrorCode); err != nil {
		return p, err
	}
	return p, must("verdicts of "+id, p.AcknowledgeErrorCode)
}

// share is a member's work in one life.
func (s *share) share(a *asker, i int, rng *rand.Rand) error {
	s.mu.Lock()
	epoch := s.epochs[i]
	s.mu.Unlock()
	epoch, err := s.beat(a, shareGroup, member(i), epoch, shareTopic)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.epochs[i] = epoch
	s.mu.Unlock()
	var held []int64
	for session := int32(0); ; session++ {
		verdicts := s.decide(&held, rng)
		p, err := s.fetchShared(a, shareGroup, member(i), s.topic, session, 20, verdicts)
		if err != nil {
			return err
		}
		s.settle(verdicts)
		for _, run := range p.AcquiredRecords {
			for at := run.FirstOffset; at <= run.LastOffset; at++ {
				if err := s.deliver(at, run.DeliveryCount); err != nil {
					return err
				}
				held = append(held, at)
			}
		}
	}
}

// decide draws verdicts on some of what a member holds, and notes them.
func (s *share) decide(held *[]int64, rng *rand.Rand) (verdicts []verdict) {
	var kept []int64
	slices.Sort(*held) // verdicts come in order
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, at := range *held {
		switch dice := rng.IntN(16); {
		case dice < 3:
			kept = append(kept, at)
		case dice < 5 && s.records[at].released < 5:
			verdicts = append(verdicts, verdict{at, releases})
		case dice == 5:
			verdicts = append(verdicts, verdict{at, rejects})
		default:
			verdicts = append(verdicts, verdict{at, accepts})
		}
	}
	for _, v := range verdicts {
		if v.kind != releases {
			s.records[v.at].tried = true
		}
	}
	*held = kept
	return verdicts
}

// settle notes verdicts that were answered.
func (s *share) settle(verdicts []verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range verdicts {
		s.heard = true
		if v.kind == releases {
			s.records[v.at].released++
			s.released++
			continue
		}
		s.records[v.at].settled = true
		s.accepted++
	}
}

func (s *share) deliver(at int64, count int16) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.known(at)
	s.delivered++
	if r.deliveries > 0 {
		s.again++
	}
	what := fmt.Sprintf("record %d, delivered %d times and released %d times before, is delivered for the time %d", at, r.deliveries, r.released, count)
	switch {
	case r.settled:
		return wrongf("%s though it was answered as settled", what)
	case count <= r.released:
		return wrongf("%s", what)
	}
	r.deliveries++
	return nil
}

func (s *share) verify(a *asker) error {
	q := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	g := kmsg.NewDescribeShareGroupOffsetsRequestGroup()
	g.GroupID = shareGroup
	t := kmsg.NewDescribeShareGroupOffsetsRequestGroupTopic()
	t.Topic, t.Partitions = shareTopic, []int32{0}
	g.Topics = append(g.Topics, t)
	q.Groups = append(q.Groups, g)
	res, err := process.Ask[*kmsg.DescribeShareGroupOffsetsResponse](a, q, 0)
	if err != nil {
		return err
	}
	if err := must("where the group is", res.Groups[0].ErrorCode); err != nil {
		return err
	}
	s.mu.Lock()
	for s.start < int64(len(s.records)) && s.records[s.start].settled {
		s.start++
	}
	start := s.start
	s.mu.Unlock()
	if at := res.Groups[0].Topics[0].Partitions[0].StartOffset; s.epochs[0] > 0 && at < start {
		return wrongf("share group %s begins with record %d, all below %d are settled", shareGroup, at, start)
	}
	if s.began {
		return nil
	}
	// The other group was set to begin at the end, before a kill.
	if _, err := s.beat(a, lateGroup, member(0), 0, lateTopic); err != nil {
		return err
	}
	want, err := produceTo(a, lateTopic)
	if err != nil {
		return err
	}
	p, err := s.fetchShared(a, lateGroup, member(0), s.late, 0, 1000, nil)
	if err != nil {
		return err
	}
	if n := len(p.AcquiredRecords); n != 1 || p.AcquiredRecords[0].FirstOffset != want {
		return wrongf("a share group that begins at the end is handed %+v, not record %d", p.AcquiredRecords, want)
	}
	s.began = true
	return nil
}

// finish takes all that is left.
func (s *share) finish(a *asker) error {
	var verdicts []verdict
	for session := int32(0); ; session++ {
		p, err := s.fetchShared(a, shareGroup, "crash-last", s.topic, session, 1, verdicts)
		if err != nil {
			return err
		}
		s.settle(verdicts)
		verdicts = verdicts[:0]
		for _, run := range p.AcquiredRecords {
			for at := run.FirstOffset; at <= run.LastOffset; at++ {
				if err := s.deliver(at, run.DeliveryCount); err != nil {
					return err
				}
				verdicts = append(verdicts, verdict{at, accepts})
			}
		}
		if len(verdicts) == 0 {
			break
		}
	}
	for at := range s.produced {
		if r := &s.records[at]; !r.settled && !r.tried {
			return wrongf("record %d, delivered %d times and released %d times, never came again", at, r.deliveries, r.released)
		}
	}
	return nil
}
