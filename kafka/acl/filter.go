package acl

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/pattern"
)

// Filter chooses entries. A nil text is any.
type Filter struct {
	ResourceType kmsg.ACLResourceType
	Name         *string
	PatternType  kmsg.ACLResourcePatternType
	Principal    *string
	Host         *string
	Operation    kmsg.ACLOperation
	Permission   kmsg.ACLPermissionType
}

// check refuses what is no filter.
func (f *Filter) check() error {
	switch {
	case f.ResourceType < kmsg.ACLResourceTypeAny || f.ResourceType > kmsg.ACLResourceTypeUser:
		return refused("an unknown resource type (%d)", f.ResourceType)
	case f.PatternType < kmsg.ACLResourcePatternTypeAny || f.PatternType > kmsg.ACLResourcePatternTypePrefixed:
		return refused("an unknown pattern type (%d)", f.PatternType)
	case f.Operation < kmsg.ACLOperationAny || f.Operation > kmsg.ACLOperationDescribeTokens:
		return refused("an unknown operation (%d)", f.Operation)
	case f.Permission < kmsg.ACLPermissionTypeAny || f.Permission > kmsg.ACLPermissionTypeAllow:
		return refused("an unknown permission type (%d)", f.Permission)
	}
	return nil
}

// nobody says that no entry of the user's is chosen.
func (f *Filter) nobody(user string) bool {
	return f.Principal != nil && *f.Principal != userPrincipal+user || f.Host != nil && *f.Host != AnyHost || f.Permission == kmsg.ACLPermissionTypeDeny
}

// chooses says whether an entry of a user who is not nobody is chosen.
func (f *Filter) chooses(b *Binding) bool {
	return (f.ResourceType == kmsg.ACLResourceTypeAny || f.ResourceType == b.ResourceType) &&
		(f.Operation == kmsg.ACLOperationAny || f.Operation == b.Operation) && f.choosesName(b)
}

func (f *Filter) choosesName(b *Binding) bool {
	switch f.PatternType {
	case kmsg.ACLResourcePatternTypeMatch: // all that hold for a resource of that name
		return f.Name == nil || b.isFor(*f.Name)
	case kmsg.ACLResourcePatternTypeAny:
	default:
		if f.PatternType != b.PatternType {
			return false
		}
	}
	return f.Name == nil || *f.Name == b.Name
}

// isFor says whether the entry holds for a resource.
func (b *Binding) isFor(name string) bool {
	switch {
	case b.PatternType == kmsg.ACLResourcePatternTypePrefixed:
		return strings.HasPrefix(name, b.Name)
	case b.Name == allNames, b.Name == name:
		return true
	}
	text, ok := strings.CutPrefix(b.Name, regexPrefix)
	if !ok {
		return false
	}
	n, err := pattern.NewNames(text)
	return err == nil && n.Match(name)
}
