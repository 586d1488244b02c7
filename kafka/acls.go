package kafka

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/acl"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// mayACLs asks whether the client may do that with access lists, if there are any.
func (c *conn) mayACLs(verb broker.Verb) error {
	if err := c.session.May(verb, broker.OnCluster, ""); err != nil {
		return err
	}
	if c.s.opts.ACLs == nil {
		return faultf(wire.SecurityDisabled, "nobody is asked who they are")
	}
	return nil
}

// aclOutcome is outcome, for what access lists refuse too.
func aclOutcome(err error) (int16, *string) {
	var refused *acl.Refused
	if errors.As(err, &refused) {
		err = faultf(wire.InvalidRequest, "%s", refused)
	}
	return outcome(err)
}

// actor is who acts.
func (c *conn) actor() acl.Actor {
	return acl.Actor{User: c.who.Name, From: c.nc.RemoteAddr().String(), Protocol: "kafka"}
}

// Key 29, DescribeAcls, versions 1 to 3: what users may do in the client's virtual
// host, as package acl shows it. Entries of one resource stand together.
func (c *conn) describeACLs(r *kmsg.DescribeACLsRequest) kmsg.Response {
	res := kmsg.NewPtrDescribeACLsResponse()
	err := c.mayACLs(broker.Look)
	if err == nil {
		type resource struct {
			kind    kmsg.ACLResourceType
			name    string
			pattern kmsg.ACLResourcePatternType
		}
		at := map[resource]int{}
		err = c.s.opts.ACLs.Describe(c.vhost.Name, filterOf(r), func(b acl.Binding) error {
			if err := c.charge(aclBytes + 2*len(b.Name) + 2*len(b.Principal)); err != nil {
				return err
			}
			of := resource{b.ResourceType, b.Name, b.PatternType}
			i, known := at[of]
			if !known {
				i = len(res.Resources)
				at[of] = i
				one := kmsg.NewDescribeACLsResponseResource()
				one.ResourceType, one.ResourceName, one.ResourcePatternType = b.ResourceType, b.Name, b.PatternType
				res.Resources = append(res.Resources, one)
			}
			one := kmsg.NewDescribeACLsResponseResourceACL()
			one.Principal, one.Host, one.Operation, one.PermissionType = b.Principal, acl.AnyHost, b.Operation, kmsg.ACLPermissionTypeAllow
			res.Resources[i].ACLs = append(res.Resources[i].ACLs, one)
			return nil
		})
	}
	if err != nil {
		res.Resources = nil
		res.ErrorCode, res.ErrorMessage = aclOutcome(err)
	}
	return res
}

func filterOf(r *kmsg.DescribeACLsRequest) acl.Filter {
	return acl.Filter{ResourceType: r.ResourceType, Name: r.ResourceName, PatternType: r.ResourcePatternType,
		Principal: r.Principal, Host: r.Host, Operation: r.Operation, Permission: r.PermissionType}
}

// Key 30, CreateAcls, versions 1 to 3. Answered when the permissions are stored, and hold.
func (c *conn) createACLs(r *kmsg.CreateACLsRequest) kmsg.Response {
	res := kmsg.NewPtrCreateACLsResponse()
	err := c.mayACLs(broker.Alter)
	var each []error
	if err == nil {
		list := make([]acl.Creation, len(r.Creations))
		for i := range r.Creations {
			one := &r.Creations[i]
			list[i] = acl.Creation{Host: one.Host, Permission: one.PermissionType, Binding: acl.Binding{ResourceType: one.ResourceType, Name: one.ResourceName,
				PatternType: one.ResourcePatternType, Principal: one.Principal, Operation: one.Operation}}
		}
		each, err = c.s.opts.ACLs.Create(c.actor(), c.vhost.Name, list)
	}
	for i := range r.Creations {
		one := kmsg.NewCreateACLsResponseResult()
		if err == nil {
			one.ErrorCode, one.ErrorMessage = aclOutcome(each[i])
		} else {
			one.ErrorCode, one.ErrorMessage = aclOutcome(err)
		}
		res.Results = append(res.Results, one)
	}
	return res
}

// Key 31, DeleteAcls, versions 1 to 3: what filters choose, and with it what was
// allowed by the same.
func (c *conn) deleteACLs(r *kmsg.DeleteACLsRequest) kmsg.Response {
	res := kmsg.NewPtrDeleteACLsResponse()
	err := c.mayACLs(broker.Alter)
	var each []acl.Deleted
	if err == nil {
		list := make([]acl.Filter, len(r.Filters))
		for i := range r.Filters {
			f := &r.Filters[i]
			list[i] = acl.Filter{ResourceType: f.ResourceType, Name: f.ResourceName, PatternType: f.ResourcePatternType,
				Principal: f.Principal, Host: f.Host, Operation: f.Operation, Permission: f.PermissionType}
		}
		each, err = c.s.opts.ACLs.Delete(c.actor(), c.vhost.Name, list)
	}
	for i := range r.Filters {
		one := kmsg.NewDeleteACLsResponseResult()
		if err != nil {
			one.ErrorCode, one.ErrorMessage = aclOutcome(err)
			res.Results = append(res.Results, one)
			continue
		}
		one.ErrorCode, one.ErrorMessage = aclOutcome(each[i].Err)
		for _, b := range each[i].Bindings {
			if err := c.charge(aclBytes + 2*len(b.Name) + 2*len(b.Principal)); err != nil {
				one.MatchingACLs = nil // they are gone; who wants to know looks
				break
			}
			gone := kmsg.NewDeleteACLsResponseResultMatchingACL()
			gone.ResourceType, gone.ResourceName, gone.ResourcePatternType = b.ResourceType, b.Name, b.PatternType
			gone.Principal, gone.Host, gone.Operation, gone.PermissionType = b.Principal, acl.AnyHost, b.Operation, kmsg.ACLPermissionTypeAllow
			one.MatchingACLs = append(one.MatchingACLs, gone)
		}
		res.Results = append(res.Results, one)
	}
	return res
}
