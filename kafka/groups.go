package kafka

import (
	"bytes"
	"net"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 10, FindCoordinator, versions 0 to 4. This node coordinates everything.
// It is told for transactions too, so that their error comes from
// InitProducerId, where clients take it as final.
func (c *conn) findCoordinator(r *kmsg.FindCoordinatorRequest) kmsg.Response {
	res := kmsg.NewPtrFindCoordinatorResponse()
	host, port := c.s.address(c.nc.LocalAddr())
	code := wire.None
	if r.CoordinatorType != 0 && r.CoordinatorType != 1 {
		code = wire.InvalidRequest
	}
	if r.Version < 4 {
		res.ErrorCode, res.NodeID, res.Host, res.Port = int16(c.mayFind(code, r.CoordinatorType, r.CoordinatorKey)), NodeID, host, port
		return res
	}
	for _, key := range r.CoordinatorKeys {
		one := kmsg.NewFindCoordinatorResponseCoordinator()
		one.Key, one.ErrorCode, one.NodeID, one.Host, one.Port = key, int16(c.mayFind(code, r.CoordinatorType, key)), NodeID, host, port
		res.Coordinators = append(res.Coordinators, one)
	}
	return res
}

// mayFind is the answer about one coordinator, code before the client was known.
func (c *conn) mayFind(code wire.Code, kind int8, key string) wire.Code {
	if code != wire.None || kind != 0 {
		return code
	}
	return c.mayGroup(broker.Look, key)
}

// mayGroup asks whether the client may do that with a group.
func (c *conn) mayGroup(verb broker.Verb, name string) wire.Code {
	return codeOf(c.session.May(verb, broker.OnGroup, name))
}

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

// park runs fn, which may wait for other clients, after sending what is ready.
func (c *conn) park(fn func()) {
	_ = c.out.flush() // a broken connection shows when this answer is written
	fn()
	c.frames.now = time.Now()
}

// maxProtocols bounds the assignment strategies of one member, which are compared
// with those of all others. Clients bring up to four.
const maxProtocols = 100

// Key 11, JoinGroup, versions 0 to 9. The connection waits until the group's
// next generation stands.
func (c *conn) joinGroup(h wire.Header, r *kmsg.JoinGroupRequest) kmsg.Response {
	code := c.mayGroup(broker.Consume, r.Group)
	if code == wire.None && len(r.Protocols) > maxProtocols {
		code = wire.InconsistentGroupProtocol
	}
	if code != wire.None {
		res := kmsg.NewPtrJoinGroupResponse()
		res.ErrorCode, res.MemberID = int16(code), r.MemberID
		return res
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
	var got group.JoinReply
	c.park(func() {
		c.groups.Join(join, func(reply group.JoinReply) { answer <- reply })
		got = <-answer
	})
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
	return res
}

// Key 14, SyncGroup, versions 0 to 5. The connection waits until the leader has
// brought the assignments.
func (c *conn) syncGroup(r *kmsg.SyncGroupRequest) kmsg.Response {
	if code := c.mayGroup(broker.Consume, r.Group); code != wire.None {
		res := kmsg.NewPtrSyncGroupResponse()
		res.ErrorCode = int16(code)
		return res
	}
	s := group.SyncRequest{
		Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation,
		ProtocolType: deref(r.ProtocolType), Protocol: deref(r.Protocol), Assignments: map[string][]byte{},
	}
	for _, a := range r.GroupAssignment {
		s.Assignments[a.MemberID] = bytes.Clone(a.MemberAssignment)
	}
	answer := make(chan group.SyncReply, 1)
	var got group.SyncReply
	c.park(func() {
		c.groups.Sync(s, func(reply group.SyncReply) { answer <- reply })
		got = <-answer
	})
	res := kmsg.NewPtrSyncGroupResponse()
	res.ErrorCode, res.MemberAssignment = int16(got.Err), got.Assignment
	if got.Err == wire.None {
		res.ProtocolType, res.Protocol = &got.ProtocolType, &got.Protocol
	}
	return res
}

// Key 12, Heartbeat, versions 0 to 4.
func (c *conn) heartbeat(r *kmsg.HeartbeatRequest) kmsg.Response {
	res := kmsg.NewPtrHeartbeatResponse()
	code := c.mayGroup(broker.Consume, r.Group)
	if code == wire.None {
		code = c.groups.Heartbeat(group.Identity{
			Group: r.Group, MemberID: r.MemberID, InstanceID: deref(r.InstanceID), Generation: r.Generation,
		})
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
	res.ErrorCode = int16(c.groups.Leave(r.Group, leavers))
	for i, m := range r.Members {
		one := kmsg.NewLeaveGroupResponseMember()
		one.MemberID, one.InstanceID, one.ErrorCode = m.MemberID, m.InstanceID, int16(leavers[i].Err)
		res.Members = append(res.Members, one)
	}
	return res
}

// Key 15, DescribeGroups, versions 0 to 5. A group that is not there is "Dead".
func (c *conn) describeGroups(r *kmsg.DescribeGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeGroupsResponse()
	for _, name := range r.Groups {
		out := kmsg.NewDescribeGroupsResponseGroup()
		if code := c.mayGroup(broker.Look, name); code != wire.None {
			out.Group, out.ErrorCode, out.AuthorizedOperations = name, int16(code), notAsked
			res.Groups = append(res.Groups, out)
			continue
		}
		d := c.groups.Describe(name)
		out.Group, out.State, out.ProtocolType, out.Protocol = name, string(d.State), d.ProtocolType, d.Protocol
		out.AuthorizedOperations = notAsked
		if r.IncludeAuthorizedOperations {
			out.AuthorizedOperations = c.operations(groupOperations, broker.OnGroup, name)
		}
		for _, m := range d.Members {
			one := kmsg.NewDescribeGroupsResponseGroupMember()
			one.MemberID, one.InstanceID, one.ClientID, one.ClientHost = m.ID, ref(m.InstanceID), m.ClientID, m.ClientHost
			one.ProtocolMetadata, one.MemberAssignment = m.Metadata, m.Assignment
			out.Members = append(out.Members, one)
		}
		res.Groups = append(res.Groups, out)
	}
	return res
}

// Key 16, ListGroups, versions 0 to 4; version 4 may ask for some states only.
func (c *conn) listGroups(r *kmsg.ListGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrListGroupsResponse()
	for _, g := range c.groups.List() {
		if len(r.StatesFilter) > 0 && !slices.Contains(r.StatesFilter, string(g.State)) {
			continue
		}
		if c.mayGroup(broker.Look, g.Group) != wire.None {
			continue
		}
		out := kmsg.NewListGroupsResponseGroup()
		out.Group, out.ProtocolType, out.GroupState = g.Group, g.ProtocolType, string(g.State)
		res.Groups = append(res.Groups, out)
	}
	return res
}

// Key 42, DeleteGroups, versions 0 to 2.
func (c *conn) deleteGroups(r *kmsg.DeleteGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteGroupsResponse()
	for _, name := range r.Groups {
		out := kmsg.NewDeleteGroupsResponseGroup()
		code := c.mayGroup(broker.Delete, name)
		if code == wire.None {
			code = c.groups.Delete(journal{c}, name)
		}
		out.Group, out.ErrorCode = name, int16(code)
		res.Groups = append(res.Groups, out)
	}
	return res
}
