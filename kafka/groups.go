package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
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
	for _, key := range onlyOnce(r.CoordinatorKeys, itself) {
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

// Key 15, DescribeGroups, versions 0 to 5. A group that is not there is "Dead".
func (c *conn) describeGroups(r *kmsg.DescribeGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeGroupsResponse()
	for _, name := range onlyOnce(r.Groups, itself) {
		out := kmsg.NewDescribeGroupsResponseGroup()
		out.Group, out.AuthorizedOperations = name, notAsked
		code := c.mayGroup(broker.Look, name)
		if code == wire.None {
			code = c.describeGroup(name, &out)
		}
		if out.ErrorCode = int16(code); code == wire.None && r.IncludeAuthorizedOperations {
			out.AuthorizedOperations = c.operations(groupOperations, broker.OnGroup, name)
		}
		res.Groups = append(res.Groups, out)
	}
	return res
}

func (c *conn) describeGroup(name string, out *kmsg.DescribeGroupsResponseGroup) wire.Code {
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
	return wire.None
}

// Key 16, ListGroups, versions 0 to 4; version 4 may ask for some states only.
func (c *conn) listGroups(r *kmsg.ListGroupsRequest) kmsg.Response {
	res := kmsg.NewPtrListGroupsResponse()
	groups := c.groups.List()
	if err := c.charge(groupBytes * len(groups)); err != nil {
		res.ErrorCode = int16(groupCode(err))
		return res
	}
	for _, g := range groups {
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
	for _, name := range onlyOnce(r.Groups, itself) {
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
