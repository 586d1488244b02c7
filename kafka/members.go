package kafka

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ref is s, or nil for the empty string.
func ref(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

var errGone = errors.New("the client closed the connection while its request waited")

// await waits for the answer of a request that may be parked until other clients
// have done their part. A client that is gone is waited for no longer. When the
// server stops its coordinators answer everybody. A client that may not read the group any more leaves it, which
// is an answer.
func await[T any](c *conn, name string, answer <-chan T, parked *group.Parked) (got T, err error) {
	defer c.frames.Touch()
	select {
	case got = <-answer:
		return got, nil
	default:
	}
	if err = c.out.send(); err != nil {
		parked.Abandon()
		return got, err
	}
	// What it waits with is not needed any more: the group has what it wants to keep.
	c.frames.releaseBig()
	c.releaseBill()
	for waits := true; waits; {
		changed := c.session.PolicyChange()
		if c.mayGroup(broker.Consume, name) != wire.None {
			parked.Expel()
			return <-answer, nil
		}
		select {
		case got = <-answer:
			return got, nil
		case <-changed:
		case <-c.frames.gone():
			waits = false
		}
	}
	if c.s.closed.Load() {
		return <-answer, nil // it was us who cut the connection
	}
	parked.Abandon()
	return got, errGone
}

// maxProtocols bounds the assignment strategies of one member. Clients bring up to
// four.
const maxProtocols = 100

// Key 11, JoinGroup, versions 0 to 9. The connection waits until the group's
// next generation stands.
func (c *conn) joinGroup(h wire.Header, r *kmsg.JoinGroupRequest) (kmsg.Response, error) {
	if code := c.mayGroup(broker.Consume, r.Group); code != wire.None {
		res := kmsg.NewPtrJoinGroupResponse()
		res.ErrorCode = int16(code)
		return res, nil
	}
	if len(r.Protocols) > maxProtocols {
		res := kmsg.NewPtrJoinGroupResponse()
		res.ErrorCode, res.MemberID = int16(wire.InconsistentGroupProtocol), r.MemberID
		return res, nil
	}
	host, _, _ := net.SplitHostPort(c.nc.RemoteAddr().String())
	join := group.JoinRequest{
		Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID),
		ClientID: string(h.ClientID), ClientHost: "/" + host, ProtocolType: r.ProtocolType,
		SessionTimeout:   time.Duration(r.SessionTimeoutMillis) * time.Millisecond,
		RebalanceTimeout: time.Duration(r.RebalanceTimeoutMillis) * time.Millisecond,
		MustKnowID:       r.Version >= 4, MaySkipAssignment: r.Version >= 9,
	}
	if r.Version == 0 {
		join.RebalanceTimeout = join.SessionTimeout
	}
	for _, p := range r.Protocols {
		join.Protocols = append(join.Protocols, group.Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)})
	}
	answer := make(chan group.JoinReply, 1)
	parked := c.groups.Join(join, func(reply group.JoinReply) { answer <- reply })
	got, err := await(c, r.Group, answer, parked)
	if err != nil {
		return nil, err
	}
	if code := c.stillMember(r.Group, got.MemberID, got.Err); code != wire.None { // the right may have gone while it waited
		got = group.JoinReply{Err: code, Generation: -1, MemberID: got.MemberID}
	}
	size := 0
	for _, m := range got.Members {
		size += memberBytes + 2*(len(m.ID)+len(m.InstanceID)+len(m.Metadata))
	}
	if err := c.charge(size); err != nil {
		got = group.JoinReply{Err: groupCode(err), Generation: -1, MemberID: got.MemberID}
	}
	res := kmsg.NewPtrJoinGroupResponse()
	res.ErrorCode, res.Generation, res.MemberID = int16(got.Err), got.Generation, got.MemberID
	res.LeaderID, res.SkipAssignment = got.Leader, got.SkipAssignment
	if got.Err == wire.None {
		res.ProtocolType, res.Protocol = &got.ProtocolType, &got.Protocol
	}
	for _, m := range got.Members {
		one := kmsg.NewJoinGroupResponseMember()
		one.MemberID, one.InstanceID, one.ProtocolMetadata = m.ID, ref(m.InstanceID), m.Metadata
		res.Members = append(res.Members, one)
	}
	return res, nil
}

// stillMember is what a group said, or that the client may not be in it: who was let in is noted, and leaves
// the group when it loses the right (it could not come to say so). Whoever acts for a member may lose it.
func (c *conn) stillMember(name, member string, said wire.Code) wire.Code {
	if said != wire.None && said != wire.RebalanceInProgress || member == "" {
		return c.mayGroup(broker.Consume, name)
	}
	groups := c.groups
	expel := func() { groups.Expel(name, member) }
	err := c.session.Stand(broker.Consume, broker.OnGroup, name, member, expel)
	if err != nil {
		expel()
	}
	return codeOf(err)
}

// left forgets members that have left.
func (c *conn) left(r *kmsg.LeaveGroupRequest) {
	c.session.Stopped(broker.Consume, broker.OnGroup, r.Group, r.MemberID)
	for _, m := range r.Members {
		c.session.Stopped(broker.Consume, broker.OnGroup, r.Group, m.MemberID)
	}
}

// memory is what groups may hold. It may be short for as long as a large request waits
// for its own, and no member must end of that.
type memory struct{ *budget.Account }

// Try implements group.Memory.
func (m memory) Try(n int64) error {
	err := m.Account.Try(n)
	if errors.Is(err, budget.ErrFull) {
		return fmt.Errorf("%w: %w", group.ErrLater, err)
	}
	return err
}

// Key 14, SyncGroup, versions 0 to 5. The connection waits until the leader has
// brought the assignments.
func (c *conn) syncGroup(r *kmsg.SyncGroupRequest) (kmsg.Response, error) {
	if code := c.mayGroup(broker.Consume, r.Group); code != wire.None {
		res := kmsg.NewPtrSyncGroupResponse()
		res.ErrorCode = int16(code)
		return res, nil
	}
	named := r.Version >= 5 // older ones do not say what they take the group for
	if named && (r.ProtocolType == nil || r.Protocol == nil) {
		res := kmsg.NewPtrSyncGroupResponse()
		res.ErrorCode = int16(wire.InconsistentGroupProtocol)
		return res, nil
	}
	s := group.SyncRequest{
		Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation,
		ProtocolType: deref(r.ProtocolType), Protocol: deref(r.Protocol), Named: named, Assignments: map[string][]byte{},
	}
	for _, a := range r.GroupAssignment {
		s.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	answer := make(chan group.SyncReply, 1)
	parked := c.groups.Sync(s, func(reply group.SyncReply) { answer <- reply })
	got, err := await(c, r.Group, answer, parked)
	if err != nil {
		return nil, err
	}
	if code := c.stillMember(r.Group, r.MemberID, got.Err); code != wire.None {
		got = group.SyncReply{Err: code}
	}
	if err := c.charge(2 * len(got.Assignment)); err != nil {
		got = group.SyncReply{Err: groupCode(err)}
		if got.Err == wire.CoordinatorLoadInProgress {
			got.Err = wire.CoordinatorNotAvailable // clients do not expect the other of a sync
		}
	}
	res := kmsg.NewPtrSyncGroupResponse()
	res.ErrorCode, res.MemberAssignment = int16(got.Err), got.Assignment
	if got.Err == wire.None {
		res.ProtocolType, res.Protocol = &got.ProtocolType, &got.Protocol
	}
	return res, nil
}

// Key 12, Heartbeat, versions 0 to 4.
func (c *conn) heartbeat(r *kmsg.HeartbeatRequest) kmsg.Response {
	res := kmsg.NewPtrHeartbeatResponse()
	code := c.mayGroup(broker.Consume, r.Group)
	if code == wire.None {
		code = c.groups.Heartbeat(group.Identity{
			Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation,
		})
		code = cmp.Or(c.stillMember(r.Group, r.MemberID, code), code)
	}
	res.ErrorCode = int16(code)
	return res
}

// Key 13, LeaveGroup, versions 0 to 5; from 3 on several members at once.
func (c *conn) leaveGroup(r *kmsg.LeaveGroupRequest) kmsg.Response {
	res := kmsg.NewPtrLeaveGroupResponse()
	if code := c.mayGroup(broker.Consume, r.Group); code != wire.None {
		res.ErrorCode = int16(code)
		return res
	}
	defer c.left(r)
	if r.Version < 3 {
		leaver := []group.Leaver{{MemberID: r.MemberID}}
		code := c.groups.Leave(r.Group, leaver)
		if code == wire.None {
			code = leaver[0].Err
		}
		res.ErrorCode = int16(code)
		return res
	}
	leavers := make([]group.Leaver, len(r.Members))
	for i, m := range r.Members {
		leavers[i] = group.Leaver{MemberID: m.MemberID, InstanceID: deref(m.InstanceID)}
	}
	if code := c.groups.Leave(r.Group, leavers); code != wire.None {
		res.ErrorCode = int16(code)
		return res
	}
	for i, m := range r.Members {
		one := kmsg.NewLeaveGroupResponseMember()
		one.MemberID, one.InstanceID, one.ErrorCode = m.MemberID, m.InstanceID, int16(leavers[i].Err)
		res.Members = append(res.Members, one)
	}
	return res
}
