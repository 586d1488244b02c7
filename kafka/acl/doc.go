// Package acl shows permissions as Kafka's access lists, and changes them as these are
// changed: Kafka's calls DescribeAcls, CreateAcls and DeleteAcls.
//
// A permission is three patterns of names for each user and virtual host; an access list
// is entries, each of which allows or denies an operation on one name or on those that
// begin alike. Most patterns are such lists (package pattern takes them apart), so that
// what is stored stays RabbitMQ's permission and nothing else:
//
//	entry                                     permission
//	Read, on topic or group                   read
//	Write, on a topic                         write
//	Create, Delete, Alter, AlterConfigs       configure: all of them come together
//	Describe, DescribeConfigs                 any of the three: they come with the others
//	All                                       all three
//	literal "*", literal NAME, prefixed NAME  ".*", "^NAME$", "^NAME"
//	literal "regex:PATTERN"                   PATTERN, which says more than a list can
//	IdempotentWrite on the cluster            comes with any write
//	other operations on the cluster           come with the tags administrator and monitoring
//
// A name is that of a queue, an exchange and a group alike: who may read the topic "a" may
// be in the group "a". The lists say so: they show all that is allowed, however it came to
// be. What permissions can't say is refused by its name: rules that deny, hosts, principals
// that are no users, all users at once, transactional ids, delegation tokens.
//
// The package keeps nothing. It must not be asked for one who may not look at or change
// the cluster.
package acl
