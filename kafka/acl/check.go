package acl

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxNameBytes is how long a name may be that there is an entry for.
const maxNameBytes = 255

// operation is what the entry's operation stands for; nil if its kind of resource has none of that name.
func (b *Binding) operation() *operation {
	list := operations[b.ResourceType]
	if i := slices.IndexFunc(list, func(o operation) bool { return o.op == b.Operation }); i >= 0 {
		return &list[i]
	}
	return nil
}

// implied says that the entry comes with others.
func (b *Binding) implied() bool {
	o := b.operation()
	return b.ResourceType == kmsg.ACLResourceTypeCluster || o != nil && o.implied()
}

// check refuses by its name what permissions can't say.
func (c *Creation) check() error {
	user, isUser := strings.CutPrefix(c.Principal, userPrincipal)
	switch {
	case c.Permission == kmsg.ACLPermissionTypeDeny:
		return refused("there are no rules that deny: take away what allows it")
	case c.Permission != kmsg.ACLPermissionTypeAllow:
		return refused("an unknown permission type (%d)", c.Permission)
	case c.Host != AnyHost:
		return refused("there are no rules for hosts: leave the host '%s' out", c.Host)
	case c.Principal == everybody:
		return refused("there are no rules for all users at once: name them")
	case !isUser || user == "":
		return refused("the principal '%s' is no user: only 'User:NAME' can be allowed something", c.Principal)
	case len(c.Name) > maxNameBytes && !strings.HasPrefix(c.Name, regexPrefix):
		return refused("a resource name of %d bytes is longer than the maximum of %d", len(c.Name), maxNameBytes)
	}
	switch c.ResourceType {
	case kmsg.ACLResourceTypeTransactionalId:
		return refused("there are no rules for transactional ids: who may write to topics of that name may use it")
	case kmsg.ACLResourceTypeDelegationToken, kmsg.ACLResourceTypeUser:
		return refused("there are no rules for delegation tokens: there are none")
	case kmsg.ACLResourceTypeCluster:
		if c.Name != clusterName || c.PatternType != kmsg.ACLResourcePatternTypeLiteral {
			return refused("the one resource of type cluster is literally '%s'", clusterName)
		}
		return nil
	case kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup:
		if c.operation() == nil {
			return refused("%s is no operation on resources of type %s", c.Operation, c.ResourceType)
		}
		return nil
	}
	return refused("an unknown resource type (%d)", c.ResourceType)
}

// hasOfCluster takes an entry for the broker as a whole that holds already: they can't be given.
func (r *row) hasOfCluster(c *Creation) error {
	if slices.ContainsFunc(r.ofCluster(), func(b Binding) bool { return b.Operation == c.Operation }) {
		return nil
	}
	return refused("%s on the cluster comes with %s: it can't be given by itself", c.Operation, comesWith(c.Operation))
}

// comesWith is where an operation on the cluster comes from.
func comesWith(op kmsg.ACLOperation) string {
	switch op {
	case kmsg.ACLOperationIdempotentWrite:
		return "any Write on a topic"
	case kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs:
		return "the user's tags administrator and monitoring"
	}
	return "the user's tag administrator"
}
