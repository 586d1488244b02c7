package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/test/process"
)

// classic is a group of the classic protocol with a static member and another, who hold rebalances and commit. After a kill:
// the generation whose assignment was answered stands, members go on in it without joining, with the ids and the assignments that they had;
// who is of another generation, or somebody else, is refused; what was committed is there. Nobody leaves: as with Kafka, that is
// kept with the next generation only, and after a kill before it the others wait for who left, as long as a rebalance may take.
type classic struct {
	watched
	ids         [2]string // of the members; the first is static
	generation  int32     // that was answered to the leader last
	assigned    [2]string
	doubt       bool // a rebalance was under way
	committed   int64
	trying      int64
	rounds      int // rebalances
	commits     int
	wentOn      int // lives in which both went on
	generations int32
}

const (
	classicGroup = "crash.classic"
	classicTopic = "crash.members"
)

func newClassic() *classic { return &classic{doubt: true} }

func (c *classic) summary() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fmt.Sprintf("classic group: %d rebalances, %d commits, went on %d times", c.rounds, c.commits, c.wentOn)
}

func (c *classic) declare(a *asker) error {
	_, code, err := newTopic(a, classicTopic, 4, nil)
	return errors.Join(err, must("create topic "+classicTopic, code))
}

// instance is the name of the static member.
func (c *classic) instance(i int) *string {
	if i == 0 {
		return kmsg.StringPtr("crash.i")
	}
	return nil
}

func (c *classic) load(l *life) error {
	second, err := process.DialKafka(l.addr)
	if err != nil {
		return err
	}
	l.load.others = append(l.load.others, second)
	rng := l.h.fork()
	return l.work(&c.watched, "classic group", func(a *asker) error {
		for {
			c.mu.Lock()
			rejoin := c.doubt || rng.IntN(20) == 0
			c.mu.Unlock()
			var err error
			if rejoin {
				err = c.rebalance([2]*asker{a, second})
			} else {
				err = c.commit(a, rng)
			}
			if err != nil {
				return err
			}
		}
	})
}

// commit moves the offset on, as one of the members.
func (c *classic) commit(a *asker, rng *rand.Rand) error {
	who := rng.IntN(2)
	c.mu.Lock()
	c.trying++
	at := c.trying
	c.mu.Unlock()
	code, err := c.commitAs(a, c.ids[who], c.instance(who), c.generation, at)
	if err = errors.Join(err, must("a member's commit", code)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.committed, c.heard = at, true
	c.commits++
	return nil
}

func (c *classic) commitAs(a *asker, member string, instance *string, generation int32, at int64) (int16, error) {
	q := kmsg.NewPtrOffsetCommitRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation = classicGroup, member, instance, generation
	return commitOne(a, q, classicTopic, at)
}

// commitOne commits an offset of partition 0.
func commitOne(a *asker, q *kmsg.OffsetCommitRequest, topic string, at int64) (int16, error) {
	t := kmsg.NewOffsetCommitRequestTopic()
	t.Topic = topic
	p := kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset = at
	t.Partitions = append(t.Partitions, p)
	q.Topics = append(q.Topics, t)
	res, err := process.Ask[*kmsg.OffsetCommitResponse](a, q, 9)
	if err != nil {
		return 0, err
	}
	return res.Topics[0].Partitions[0].ErrorCode, nil
}

// committedAt is the offset of partition 0, 0 if there is none: the first that is committed is 1.
func committedAt(a *asker, group, topic string) (int64, error) {
	q := kmsg.NewPtrOffsetFetchRequest()
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	g.Topics = append(g.Topics, kmsg.OffsetFetchRequestGroupTopic{Topic: topic, Partitions: []int32{0}})
	q.Groups = append(q.Groups, g)
	res, err := process.Ask[*kmsg.OffsetFetchResponse](a, q, 8)
	if err != nil {
		return 0, err
	}
	if err := must("offsets of group "+group, res.Groups[0].ErrorCode); err != nil {
		return 0, err
	}
	return max(res.Groups[0].Topics[0].Partitions[0].Offset, 0), nil
}

// rebalance has both members join and takes their assignments to them.
func (c *classic) rebalance(conns [2]*asker) error {
	c.mu.Lock()
	c.doubt = true
	c.mu.Unlock()
	for {
		joined, err := c.joinBoth(conns)
		if err != nil {
			return err
		}
		again, err := c.syncBoth(conns, joined)
		if err != nil || !again {
			return err
		}
	}
}

// joinBoth has both members join until they are in one generation.
func (c *classic) joinBoth(conns [2]*asker) (joined [2]*kmsg.JoinGroupResponse, err error) {
	var wg sync.WaitGroup
	var in [2]atomic.Int32 // the generation of each, 0 while it joins, -1 when it failed
	var errs [2]error
	for i := range conns {
		wg.Go(func() {
			for {
				in[i].Store(0)
				if joined[i], errs[i] = c.join(conns[i], i); errs[i] == nil {
					in[i].Store(joined[i].Generation)
					errs[i] = c.awaitOther(conns[i], i, joined[i], &in[1-i])
				}
				switch {
				case errs[i] == errAgain:
				case errs[i] != nil:
					in[i].Store(-1)
					return
				default:
					return
				}
			}
		})
	}
	wg.Wait()
	return joined, errors.Join(errs[:]...)
}

var errAgain = errors.New("the group is in another rebalance")

// awaitOther waits until the other member is in the same generation, or has this one join again.
func (c *classic) awaitOther(a *asker, i int, joined *kmsg.JoinGroupResponse, other *atomic.Int32) error {
	for {
		switch other.Load() {
		case joined.Generation, -1:
			return nil
		}
		res, err := c.beat(a, i, joined.MemberID, joined.Generation)
		switch {
		case err != nil:
			return err
		case res.ErrorCode == kerr.RebalanceInProgress.Code || res.ErrorCode == kerr.IllegalGeneration.Code:
			return errAgain
		case res.ErrorCode != 0:
			return &said{"a member waits for the other", res.ErrorCode}
		}
	}
}

func (c *classic) beat(a *asker, i int, member string, generation int32) (*kmsg.HeartbeatResponse, error) {
	q := kmsg.NewPtrHeartbeatRequest()
	q.Group, q.MemberID, q.InstanceID, q.Generation = classicGroup, member, c.instance(i), generation
	return process.Ask[*kmsg.HeartbeatResponse](a, q, 4)
}

func (c *classic) join(a *asker, i int) (*kmsg.JoinGroupResponse, error) {
	for {
		c.mu.Lock()
		id := c.ids[i]
		c.generations++
		data := fmt.Appendf(nil, "\x00\x03\x00\x00\x00\x01\x00\x0d%s\x00\x00\x00\x04%04d\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff", classicTopic, c.generations%10000)
		c.mu.Unlock()
		q := kmsg.NewPtrJoinGroupRequest()
		q.Group, q.MemberID, q.InstanceID, q.ProtocolType = classicGroup, id, c.instance(i), "consumer"
		q.SessionTimeoutMillis, q.RebalanceTimeoutMillis = 60_000, 10_000
		q.Protocols = append(q.Protocols, kmsg.JoinGroupRequestProtocol{Name: "range", Metadata: data}) // other than before, or nobody would rebalance
		res, err := process.Ask[*kmsg.JoinGroupResponse](a, q, 9)
		switch {
		case err != nil:
			return nil, err
		case res.ErrorCode == kerr.MemberIDRequired.Code:
			c.mu.Lock()
			c.ids[i] = res.MemberID
			c.mu.Unlock()
			continue
		case res.ErrorCode == kerr.UnknownMemberID.Code && c.unsettled(i, id):
			c.mu.Lock()
			c.ids[i] = ""
			c.mu.Unlock()
			continue
		}
		if err := must(fmt.Sprintf("member %d (%s) joins", i, id), res.ErrorCode); err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case id != "" && res.MemberID != id:
			return nil, wrongf("member %s is called %s now", id, res.MemberID)
		case res.Generation <= c.generation:
			return nil, wrongf("generation %d is followed by %d", c.generation, res.Generation)
		}
		c.ids[i] = res.MemberID
		return res, nil
	}
}

// unsettled says that an id was not in the generation that was answered last, so that nobody promised to know it.
func (c *classic) unsettled(i int, id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.assigned[i] != "of "+id
}

// syncBoth takes the assignments to the members, the leader first.
func (c *classic) syncBoth(conns [2]*asker, joined [2]*kmsg.JoinGroupResponse) (again bool, err error) {
	leader := 0
	if joined[1].LeaderID == joined[1].MemberID {
		leader = 1
	}
	var assigned [2]string
	for i := range assigned {
		assigned[i] = "of " + joined[i].MemberID
	}
	for at, i := range []int{leader, 1 - leader} {
		q := kmsg.NewPtrSyncGroupRequest()
		if at == 0 {
			for i := range assigned {
				q.GroupAssignment = append(q.GroupAssignment, kmsg.SyncGroupRequestGroupAssignment{MemberID: joined[i].MemberID, MemberAssignment: []byte(assigned[i])})
			}
		}
		res, err := c.sync(conns[i], q, i, joined[i].MemberID, joined[i].Generation)
		if err != nil {
			return false, err
		}
		if res.ErrorCode == kerr.RebalanceInProgress.Code {
			return true, nil
		}
		if err := must(fmt.Sprintf("member %d syncs", i), res.ErrorCode); err != nil {
			return false, err
		}
		if string(res.MemberAssignment) != assigned[i] {
			return false, wrongf("member %d is assigned %q, not %q", i, res.MemberAssignment, assigned[i])
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation, c.assigned, c.doubt, c.heard = joined[0].Generation, assigned, false, true
	c.rounds++
	return false, nil
}

func (c *classic) sync(a *asker, q *kmsg.SyncGroupRequest, i int, member string, generation int32) (*kmsg.SyncGroupResponse, error) {
	q.Group, q.MemberID, q.InstanceID, q.Generation = classicGroup, member, c.instance(i), generation
	q.ProtocolType, q.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("range")
	return process.Ask[*kmsg.SyncGroupResponse](a, q, 5)
}

func (c *classic) verify(a *asker) error {
	at, err := committedAt(a, classicGroup, classicTopic)
	if err != nil {
		return err
	}
	at = max(at, 0) // the first commit is of 1; before it there is none
	if at < c.committed || at > c.trying {
		return wrongf("group %s stands at %d, %d was committed and %d tried", classicGroup, at, c.committed, c.trying)
	}
	c.committed, c.trying = at, at
	if c.doubt {
		return nil
	}
	c.wentOn++
	for i, id := range c.ids {
		res, err := c.beat(a, i, id, c.generation)
		if err != nil {
			return err
		}
		if err := must(fmt.Sprintf("member %d (%s) goes on in generation %d", i, id, c.generation), res.ErrorCode); err != nil {
			return err
		}
		synced, err := c.sync(a, kmsg.NewPtrSyncGroupRequest(), i, id, c.generation)
		if err != nil {
			return err
		}
		if err := must(fmt.Sprintf("member %d (%s) asks for what it has", i, id), synced.ErrorCode); err != nil {
			return err
		}
		if string(synced.MemberAssignment) != c.assigned[i] {
			return wrongf("member %d has %q, was assigned %q", i, synced.MemberAssignment, c.assigned[i])
		}
	}
	for _, z := range []struct {
		what       string
		member     string
		instance   *string
		generation int32
		want       *kerr.Error
	}{
		{"a member of the generation before", c.ids[1], nil, c.generation - 1, kerr.IllegalGeneration},
		{"a member that is not there", "nobody", nil, c.generation, kerr.UnknownMemberID},
		{"another with the static member's name", c.ids[1], c.instance(0), c.generation, kerr.FencedInstanceID},
	} {
		code, err := c.commitAs(a, z.member, z.instance, z.generation, 1<<40)
		if err = errors.Join(err, must(z.what+" commits", code, z.want)); err != nil {
			return err
		}
	}
	return nil
}
