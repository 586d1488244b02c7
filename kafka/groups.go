package kafka

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/txn"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// Key 10, FindCoordinator, versions 0 to 6. This node coordinates every group and
// every transaction.
func (c *conn) findCoordinator(r *kmsg.FindCoordinatorRequest) kmsg.Response {
	res := kmsg.NewPtrFindCoordinatorResponse()
	host, port := c.address()
	if r.Version < 4 {
		code, why := c.mayFind(r, r.CoordinatorKey)
		res.ErrorCode, res.NodeID, res.Host, res.Port = int16(code), NodeID, host, port
		res.ErrorMessage = kmsg.StringPtr(meaning(code)) // of none, too, as Kafka has it
		if code != wire.None {
			res.ErrorMessage, res.NodeID, res.Host, res.Port = cmp.Or(why, kmsg.StringPtr(meaning(code))), -1, "", -1
		}
		return res
	}
	for _, key := range onlyOnce(r.CoordinatorKeys, itself) {
		one := kmsg.NewFindCoordinatorResponseCoordinator()
		code, why := c.mayFind(r, key)
		one.Key, one.ErrorCode, one.NodeID, one.Host, one.Port = key, int16(code), NodeID, host, port
		if code != wire.None {
			one.ErrorMessage, one.NodeID, one.Host, one.Port = cmp.Or(why, kmsg.StringPtr(meaning(code))), -1, "", -1
		}
		res.Coordinators = append(res.Coordinators, one)
	}
	return res
}

// mayFind is the answer about one coordinator.
//
//	type 0, a group             found, if the client may see it
//	type 1, a transactional id  the same
//	others                      42
func (c *conn) mayFind(r *kmsg.FindCoordinatorRequest, key string) (wire.Code, *string) {
	switch r.CoordinatorType {
	case 0:
		return c.mayGroup(broker.Look, key), nil
	case 1:
		if !c.s.broker.Transactional() { // all that a transaction takes begins with this, and clients show the reason
			why := noTransactions
			return wire.UnsupportedVersion, &why
		}
		return c.mayTransact(broker.Look, key), nil
	}
	return wire.InvalidRequest, nil
}

// maxGroupBytes bounds the names of groups. Kafka keeps them with 16 bits for their length; in a compact string a request
// may carry one of a thousand times that, which patterns would be held against.
const maxGroupBytes = 1<<15 - 1

// mayGroup asks whether the client may do that with a group.
func (c *conn) mayGroup(verb broker.Verb, name string) wire.Code {
	if len(name) > maxGroupBytes {
		return wire.InvalidGroupID
	}
	return codeOf(c.session.May(verb, broker.OnGroup, name))
}

// Key 15, DescribeGroups, versions 0 to 6. A group that is not there is "Dead", from version 6 on
// with error 69.
func (c *conn) describeGroups(r *kmsg.DescribeGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeGroupsResponse()
	for _, name := range onlyOnce(r.Groups, itself) {
		out := kmsg.NewDescribeGroupsResponseGroup()
		out.Group = name
		out.ErrorCode, out.AuthorizedOperations = c.describing(name, r.IncludeAuthorizedOperations, func() wire.Code { return c.describeGroup(r.Version, name, &out) })
		res.Groups = append(res.Groups, out)
	}
	return res
}

// describing has a group described, if it may be. What the client may do with it is said only when it asks for that.
func (c *conn) describing(name string, operations bool, describe func() wire.Code) (code int16, may int32) {
	failed := c.mayGroup(broker.Look, name)
	if failed == wire.None {
		failed = describe()
	}
	if failed != wire.None || !operations {
		return int16(failed), notAsked
	}
	return 0, c.operations(groupOperations, broker.OnGroup, name)
}

func (c *conn) describeGroup(version int16, name string, out *kmsg.DescribeGroupsResponseGroup) wire.Code {
	d := c.groups.Describe(name)
	size := 0
	for _, m := range d.Members {
		size += memberBytes + 2*(len(m.ID)+len(m.InstanceID)+len(m.ClientID)+len(m.Metadata)+len(m.Assignment))
	}
	if err := c.charge(size); err != nil {
		return groupCode(err)
	}
	out.State, out.ProtocolType, out.Protocol = string(d.State), d.ProtocolType, d.Protocol
	for _, m := range d.Members {
		one := kmsg.NewDescribeGroupsResponseGroupMember()
		one.MemberID, one.InstanceID, one.ClientID, one.ClientHost = m.ID, ref(m.InstanceID), m.ClientID, m.ClientHost
		one.ProtocolMetadata, one.MemberAssignment = m.Metadata, m.Assignment
		out.Members = append(out.Members, one)
	}
	kind, known := c.groups.TypeOf(name)
	if version < 6 || kind == group.Classic {
		return wire.None
	}
	why := "Group " + name + " not found."
	if known {
		why = "Group " + name + " is not a classic group."
	}
	out.ErrorMessage = kmsg.StringPtr(wire.Text(why))
	return wire.GroupIDNotFound
}

// Key 16, ListGroups, versions 0 to 5; version 4 may ask for some states only, version 5 for
// some types.
func (c *conn) listGroups(r *kmsg.ListGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrListGroupsResponse()
	groups := c.groups.List()
	if err := c.charge(groupBytes * len(groups)); err != nil {
		res.ErrorCode = int16(groupCode(err))
		return res
	}
	all := c.session.May(broker.Look, broker.OnCluster, "") == nil
	for _, g := range groups {
		if !among(r.StatesFilter, string(g.State)) || !among(r.TypesFilter, string(g.Type)) {
			continue
		}
		if !all && c.mayGroup(broker.Look, g.Group) != wire.None {
			continue
		}
		out := kmsg.NewListGroupsResponseGroup()
		out.Group, out.ProtocolType, out.GroupState, out.GroupType = g.Group, g.ProtocolType, string(g.State), strings.ToLower(string(g.Type))
		res.Groups = append(res.Groups, out)
	}
	return res
}

// among says whether a filter lets something through.
func among(filter []string, it string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, it) })
}

// DeleteGroup removes a group that has no members, with what it has committed, for whoever the session is of. Its errors are
// the broker's.
func (s *Server) DeleteGroup(session *broker.Session, name string) error {
	if err := session.May(broker.Delete, broker.OnGroup, name); err != nil {
		return err
	}
	v := session.VHost()
	switch code := deleteGroup(s.groupsOf(v), s.txnsOf(v), journal{session, s.log}, name); code {
	case wire.None:
		return nil
	case wire.GroupIDNotFound:
		return noGroup(name, v.Name)
	case wire.GroupNotEmpty:
		return hasMembers(name, v.Name)
	default:
		return &broker.Error{Kind: broker.Unavailable, Text: fmt.Sprintf("group '%s' in vhost '%s' can't be deleted now: %s", name, v.Name, code)}
	}
}

// deleteGroup removes a group, and what transactions that are not decided would commit for it.
func deleteGroup(groups *group.Coordinator, txns *txn.Coordinator, j group.Journal, name string) wire.Code {
	code := groups.Delete(j, name)
	if code != wire.None && code != wire.GroupIDNotFound {
		return code
	}
	if c := txns.ForgetGroup(name); c != wire.None { // who asks again, for it could not be written, finds no group any more
		return c
	}
	return code
}

// Key 42, DeleteGroups, versions 0 to 3.
func (c *conn) deleteGroups(r *kmsg.DeleteGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteGroupsResponse()
	for _, name := range onlyOnce(r.Groups, itself) {
		out := kmsg.NewDeleteGroupsResponseGroup()
		code := c.mayGroup(broker.Delete, name)
		if code == wire.None {
			code = deleteGroup(c.groups, c.txns, c.journal(), name)
		}
		out.Group, out.ErrorCode = name, int16(code)
		if code != wire.None {
			out.ErrorMessage = kmsg.StringPtr(meaning(code))
		}
		res.Groups = append(res.Groups, out)
	}
	return res
}
