package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// consumers is a group whose members the broker assigns (KIP-848), one of them static: they beat, leave for now or for good, come
// again, subscribe to one topic or two, and commit. After a kill each goes on in the epoch that it was answered last, without joining, also one
// whose last answer was lost; no epoch goes back; who has a wrong one is fenced; what was committed is there.
type consumers struct {
	watched
	members   [3]consumerMember // the first is static
	topics    [2]string
	group     int32 // the largest epoch that any was answered
	serial    int
	committed int64
	trying    int64

	beats, joins, commits, wentOn int
}

// consumerMember is what a member knows of itself.
type consumerMember struct {
	id     string
	epoch  int32 // 0: it is to join
	doubt  bool  // its last heartbeat was not answered
	leaves bool  // and with that it left
	owned  map[[16]byte][]int32
}

const consumersGroup = "crash.consumers"

func newConsumers() *consumers {
	return &consumers{topics: [2]string{"crash.consumers.a", "crash.consumers.b"}}
}

func (c *consumers) summary() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("consumer group: epoch %d, %d heartbeats, %d joins, %d commits, members went on %d times", c.group, c.beats, c.joins, c.commits, c.wentOn)
}

func (c *consumers) declare(a *asker) error {
	for _, name := range c.topics {
		_, code, err := newTopic(a, name, 3, nil)
		if err != nil {
			return err
		}
		if err := must("create topic "+name, code); err != nil {
			return err
		}
	}
	return nil
}

func (c *consumers) load(l *life) error {
	rng := l.h.fork()
	return l.work(&c.watched, "consumer group", func(a *asker) error {
		for {
			if err := c.act(a, rng); err != nil {
				return err
			}
		}
	})
}

func (c *consumers) act(a *asker, rng *rand.Rand) error {
	i := rng.IntN(len(c.members))
	m := &c.members[i]
	switch dice := rng.IntN(20); {
	case m.epoch == 0:
		return c.join(a, i, rng)
	case dice == 0:
		return c.leave(a, i)
	case dice < 4:
		return c.commit(a, m)
	case dice < 6: // with another subscription
		return c.beat(a, i, c.topics[:1+rng.IntN(2)])
	default:
		return c.beat(a, i, nil)
	}
}

func (c *consumers) request(i int, epoch int32) *kmsg.ConsumerGroupHeartbeatRequest {
	q := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	q.Group, q.MemberID, q.MemberEpoch, q.RebalanceTimeoutMillis = consumersGroup, c.members[i].id, epoch, -1
	if i == 0 {
		q.InstanceID = kmsg.StringPtr("crash.c")
	}
	return q
}

// join has a member come, with a new id.
func (c *consumers) join(a *asker, i int, rng *rand.Rand) error {
	m := &c.members[i]
	c.mu.Lock()
	c.serial++
	*m = consumerMember{id: fmt.Sprintf("crash-%d-%d", i, c.serial)}
	c.mu.Unlock()
	q := c.request(i, 0)
	q.RebalanceTimeoutMillis, q.SubscribedTopicNames, q.Topics = 20_000, c.topics[:1+rng.IntN(2)], []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	res, err := c.send(a, i, q)
	if err != nil {
		return err
	}
	if i == 0 && res.ErrorCode == kerr.UnreleasedInstanceID.Code {
		// A join of this member, or its leaving, was not answered: its last self has the name still.
		c.mu.Lock()
		m.epoch = 0
		c.mu.Unlock()
		return c.expel(a)
	}
	if err := must(fmt.Sprintf("member %d joins", i), res.ErrorCode); err != nil {
		return err
	}
	c.answered(m, res)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.joins++
	return nil
}

// expel takes the static member out of the group, as an administrator does.
func (c *consumers) expel(a *asker) error {
	q := kmsg.NewPtrLeaveGroupRequest()
	q.Group = consumersGroup
	q.Members = append(q.Members, kmsg.LeaveGroupRequestMember{InstanceID: kmsg.StringPtr("crash.c")})
	res, err := process.Ask[*kmsg.LeaveGroupResponse](a, q, 4)
	if err != nil {
		return err
	}
	return must("take the static member out", res.ErrorCode)
}

// send notes that a member asks, and that it is answered.
func (c *consumers) send(a *asker, i int, q *kmsg.ConsumerGroupHeartbeatRequest) (*kmsg.ConsumerGroupHeartbeatResponse, error) {
	m := &c.members[i]
	c.mu.Lock()
	m.doubt, m.leaves = true, q.MemberEpoch < 0
	c.mu.Unlock()
	res, err := process.Ask[*kmsg.ConsumerGroupHeartbeatResponse](a, q, 1)
	if err == nil {
		c.mu.Lock()
		m.doubt = false
		c.beats++
		c.mu.Unlock()
	}
	return res, err
}

func (c *consumers) answered(m *consumerMember, res *kmsg.ConsumerGroupHeartbeatResponse) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.epoch, c.heard = res.MemberEpoch, true
	c.group = max(c.group, m.epoch)
	if res.Assignment != nil {
		m.owned = map[[16]byte][]int32{}
		for _, t := range res.Assignment.Topics {
			m.owned[t.TopicID] = t.Partitions
		}
	}
}

// beat says what the member has, and takes what it is given.
func (c *consumers) beat(a *asker, i int, names []string) error {
	m := &c.members[i]
	before := m.epoch
	q := c.request(i, before)
	q.SubscribedTopicNames, q.Topics = names, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	for id, list := range m.owned {
		q.Topics = append(q.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: id, Partitions: list})
	}
	res, err := c.send(a, i, q)
	if err != nil {
		return err
	}
	if err := must(fmt.Sprintf("member %d (%s) goes on in epoch %d", i, m.id, before), res.ErrorCode); err != nil {
		return err
	}
	if res.MemberEpoch < before {
		return wrongf("member %d is in epoch %d, and was in %d", i, res.MemberEpoch, before)
	}
	c.answered(m, res)
	return nil
}

// leave ends a member, the static one for a while.
func (c *consumers) leave(a *asker, i int) error {
	m := &c.members[i]
	epoch := int32(-1)
	if i == 0 {
		epoch = -2
	}
	res, err := c.send(a, i, c.request(i, epoch))
	if err != nil {
		return err
	}
	if err := must(fmt.Sprintf("member %d leaves", i), res.ErrorCode); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.epoch = 0
	return nil
}

func (c *consumers) commit(a *asker, m *consumerMember) error {
	c.mu.Lock()
	c.trying++
	at := c.trying
	c.mu.Unlock()
	code, err := c.commitAs(a, m.id, m.epoch, at)
	if err == nil {
		err = must("a member's commit", code)
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed = at
	c.commits++
	return nil
}

func (c *consumers) commitAs(a *asker, member string, epoch int32, at int64) (int16, error) {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID, q.Generation = consumersGroup, member, epoch
	return commitOne(a, q, c.topics[0], at)
}

func (c *consumers) verify(a *asker) error {
	at, err := committedAt(a, consumersGroup, c.topics[0])
	if err != nil {
		return err
	}
	at = max(at, 0) // the first commit is of 1; before it there is none
	if at < c.committed || at > c.trying {
		return wrongf("group %s stands at %d, %d was committed and %d tried", consumersGroup, at, c.committed, c.trying)
	}
	c.committed, c.trying = at, at
	d := kmsg.NewPtrConsumerGroupDescribeRequest()
	d.Groups = []string{consumersGroup}
	described, err := process.Ask[*kmsg.ConsumerGroupDescribeResponse](a, d, 1)
	if err != nil {
		return err
	}
	if g := &described.Groups[0]; c.group > 0 && (g.ErrorCode != 0 || g.Epoch < c.group) {
		return wrongf("group %s is in epoch %d (%s), a member was in %d", consumersGroup, g.Epoch, kmsgText(g.ErrorMessage), c.group)
	}
	for i := range c.members {
		m := &c.members[i]
		if m.epoch == 0 || m.doubt && m.leaves {
			m.epoch, m.doubt = 0, false
			continue
		}
		if err := c.zombies(a, i); err != nil {
			return err
		}
		m.doubt = false // in that it may be further than it knows
		if err := c.beat(a, i, nil); err != nil {
			return err
		}
		c.wentOn++
	}
	return nil
}

// zombies are refused: members with epochs that are not theirs.
func (c *consumers) zombies(a *asker, i int) error {
	m := &c.members[i]
	q := c.request(i, m.epoch+100)
	q.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	res, err := process.Ask[*kmsg.ConsumerGroupHeartbeatResponse](a, q, 1)
	if err != nil {
		return err
	}
	if err := must("a heartbeat of an epoch to come", res.ErrorCode, kerr.FencedMemberEpoch); err != nil {
		return err
	}
	code, err := c.commitAs(a, m.id, m.epoch-1, 1<<40)
	if err == nil {
		err = must("a commit of the epoch before", code, kerr.StaleMemberEpoch)
	}
	return err
}

func kmsgText(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
