package main

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"hash"

	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type creation1 = kmsg.CreateACLsRequestCreation

func acls(t *talk) {
	const (
		literal, prefixed     = kmsg.ACLResourcePatternTypeLiteral, kmsg.ACLResourcePatternTypePrefixed
		topic, group, cluster = kmsg.ACLResourceTypeTopic, kmsg.ACLResourceTypeGroup, kmsg.ACLResourceTypeCluster
		allow, deny           = kmsg.ACLPermissionTypeAllow, kmsg.ACLPermissionTypeDeny
		read, write           = kmsg.ACLOperationRead, kmsg.ACLOperationWrite
	)
	t.user("acls-ann", "ann")
	good := creation1{ResourceType: topic, ResourceName: "acls-t", ResourcePatternType: literal, Principal: "User:acls-ann", Host: "*", Operation: read, PermissionType: allow}
	create := func(title string, change func(*creation1), options ...option) {
		ask(t, title, func(int16) *kmsg.CreateACLsRequest {
			r := kmsg.NewPtrCreateACLsRequest()
			one := good
			if change != nil {
				change(&one)
			}
			r.Creations = append(r.Creations, one)
			return r
		}, options...)
	}
	list := func(title string, change func(*kmsg.DescribeACLsRequest)) {
		t.rest()
		ask(t, title, func(int16) *kmsg.DescribeACLsRequest {
			r := kmsg.NewPtrDescribeACLsRequest()
			r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = kmsg.ACLResourceTypeAny, kmsg.ACLResourcePatternTypeAny, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny
			r.Principal = ptr("User:acls-ann")
			if change != nil {
				change(r)
			}
			return r
		})
	}
	create("to read a topic", nil)
	list("after one", nil)
	create("to write to topics by their first letters", func(c *creation1) { c.ResourceName, c.ResourcePatternType, c.Operation = "acls-p", prefixed, write })
	create("to read a group", func(c *creation1) { c.ResourceType, c.ResourceName = group, "acls-g" })
	list("after three", nil)
	list("of a topic", func(r *kmsg.DescribeACLsRequest) { r.ResourceType, r.ResourceName = topic, ptr("acls-t") })
	list("that match a topic", func(r *kmsg.DescribeACLsRequest) {
		r.ResourceType, r.ResourceName, r.ResourcePatternType = topic, ptr("acls-pq"), kmsg.ACLResourcePatternTypeMatch
	})
	list("of groups", func(r *kmsg.DescribeACLsRequest) { r.ResourceType = group })
	list("to write", func(r *kmsg.DescribeACLsRequest) { r.Operation = write })
	list("that deny", func(r *kmsg.DescribeACLsRequest) { r.PermissionType = deny })
	list("of nobody", func(r *kmsg.DescribeACLsRequest) { r.Principal = ptr("User:acls-none") })
	list("of a principal without a type", func(r *kmsg.DescribeACLsRequest) { r.Principal = ptr("acls-ann") })
	list("of a host", func(r *kmsg.DescribeACLsRequest) { r.Host = ptr("10.0.0.1") })
	list("of an unknown type", func(r *kmsg.DescribeACLsRequest) { r.ResourceType = 0 })
	list("of a type to come", func(r *kmsg.DescribeACLsRequest) { r.ResourceType = 99 })
	list("of an unknown pattern", func(r *kmsg.DescribeACLsRequest) { r.ResourcePatternType = 0 })
	list("of an unknown operation", func(r *kmsg.DescribeACLsRequest) { r.Operation = 0 })
	list("of an unknown permission", func(r *kmsg.DescribeACLsRequest) { r.PermissionType = 0 })
	create("which is there", nil)
	create("to any topic", func(c *creation1) { c.ResourceName = "*" })
	create("without a name", func(c *creation1) { c.ResourceName = "" })
	create("without a principal", func(c *creation1) { c.Principal = "" })
	create("for a principal without a type", func(c *creation1) { c.Principal = "acls-ann" })
	create("for a principal of another type", func(c *creation1) { c.Principal = "Group:acls-ann" })
	create("for somebody who is not there", func(c *creation1) { c.Principal = "User:acls-none" })
	create("for all", func(c *creation1) { c.Principal = "User:*" }, last)
	create("without a host", func(c *creation1) { c.Host = "" })
	create("from a host", func(c *creation1) { c.Host = "10.0.0.1" }, last)
	create("that denies", func(c *creation1) { c.PermissionType = deny }, last)
	create("of any resource", func(c *creation1) { c.ResourceType = kmsg.ACLResourceTypeAny })
	create("of an unknown resource", func(c *creation1) { c.ResourceType = 0 })
	create("of any pattern", func(c *creation1) { c.ResourcePatternType = kmsg.ACLResourcePatternTypeAny })
	create("of a matching pattern", func(c *creation1) { c.ResourcePatternType = kmsg.ACLResourcePatternTypeMatch })
	create("of any operation", func(c *creation1) { c.Operation = kmsg.ACLOperationAny })
	create("of an unknown operation", func(c *creation1) { c.Operation = 0 })
	create("of any permission", func(c *creation1) { c.PermissionType = kmsg.ACLPermissionTypeAny })
	create("of an unknown permission", func(c *creation1) { c.PermissionType = 0 })
	create("of an operation that the resource has not", func(c *creation1) {
		c.ResourceType, c.ResourceName, c.Operation = group, "acls-h", kmsg.ACLOperationClusterAction
	}, last)
	create("of another cluster", func(c *creation1) { c.ResourceType, c.ResourceName = cluster, "acls-c" })
	ask(t, "none", func(int16) *kmsg.CreateACLsRequest { return kmsg.NewPtrCreateACLsRequest() })
	remove := func(title string, change func(*kmsg.DeleteACLsRequestFilter), options ...option) {
		ask(t, title, func(int16) *kmsg.DeleteACLsRequest {
			r := kmsg.NewPtrDeleteACLsRequest()
			f := kmsg.DeleteACLsRequestFilter{ResourceType: kmsg.ACLResourceTypeAny, ResourcePatternType: kmsg.ACLResourcePatternTypeAny, Operation: kmsg.ACLOperationAny, PermissionType: kmsg.ACLPermissionTypeAny, Principal: ptr("User:acls-ann")}
			if change != nil {
				change(&f)
			}
			r.Filters = append(r.Filters, f)
			return r
		}, options...)
	}
	remove("of what is not there", func(f *kmsg.DeleteACLsRequestFilter) { f.ResourceName = ptr("acls-none") })
	remove("of an unknown type", func(f *kmsg.DeleteACLsRequestFilter) { f.ResourceType = 0 })
	remove("of an unknown operation", func(f *kmsg.DeleteACLsRequestFilter) { f.Operation = 0 })
	remove("of a group", func(f *kmsg.DeleteACLsRequestFilter) { f.ResourceType = group }, last)
	remove("of a topic", func(f *kmsg.DeleteACLsRequestFilter) {
		f.ResourceName, f.ResourcePatternType, f.PermissionType, f.Host = ptr("acls-t"), literal, allow, ptr("*")
	}, last)
	ask(t, "none", func(int16) *kmsg.DeleteACLsRequest { return kmsg.NewPtrDeleteACLsRequest() })
	list("after all", nil)
}

func quotas(t *talk) {
	t.user("quotas-ann", "ann")
	type entity = kmsg.AlterClientQuotasRequestEntryEntity
	type change = kmsg.AlterClientQuotasRequestEntryOp
	alter := func(title string, dry bool, who []entity, ops ...change) {
		ask(t, title, func(int16) *kmsg.AlterClientQuotasRequest {
			r := kmsg.NewPtrAlterClientQuotasRequest()
			r.ValidateOnly = dry
			r.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: who, Ops: ops}}
			return r
		})
	}
	type component = kmsg.DescribeClientQuotasRequestComponent
	list := func(title string, strict bool, of ...component) {
		t.rest()
		ask(t, title, func(int16) *kmsg.DescribeClientQuotasRequest {
			r := kmsg.NewPtrDescribeClientQuotasRequest()
			r.Strict, r.Components = strict, of
			return r
		})
	}
	ann := []entity{{Type: "user", Name: ptr("quotas-ann")}}
	exact := component{EntityType: "user", Match: ptr("quotas-ann")}
	list("of a user without", true, exact)
	alter("of a user, to see", true, ann, change{Key: "producer_byte_rate", Value: 1e6})
	alter("of a user", false, ann, change{Key: "producer_byte_rate", Value: 1e6}, change{Key: "consumer_byte_rate", Value: 2e6})
	list("of a user", true, exact)
	list("of a user, not strictly", false, exact)
	list("of the default user", true, component{EntityType: "user", MatchType: 1})
	list("of another user", true, component{EntityType: "user", Match: ptr("quotas-none")})
	list("of a client", true, component{EntityType: "client-id", Match: ptr("quotas-none")})
	list("of an address", true, component{EntityType: "ip", Match: ptr("10.9.8.7")})
	list("of a user and a client", true, exact, component{EntityType: "client-id", Match: ptr("x")})
	list("of two users", true, exact, exact)
	list("of an unknown type", true, component{EntityType: "robot", Match: ptr("x")})
	list("of no type", true, component{EntityType: "", Match: ptr("x")})
	list("of an unknown match", true, component{EntityType: "user", MatchType: 7})
	list("of an exact match with nothing", true, component{EntityType: "user"})
	list("of a default match with a name", true, component{EntityType: "user", MatchType: 1, Match: ptr("x")})
	list("of an address and a user", true, exact, component{EntityType: "ip", MatchType: 2})
	alter("that is taken away", false, ann, change{Key: "consumer_byte_rate", Remove: true})
	list("without one", true, exact)
	alter("that is not there, taken away", false, ann, change{Key: "request_percentage", Remove: true})
	alter("of an unknown key", false, ann, change{Key: "nothing", Value: 1})
	alter("of zero", false, ann, change{Key: "producer_byte_rate", Value: 0})
	alter("below zero", false, ann, change{Key: "producer_byte_rate", Value: -1})
	alter("of half a byte", false, ann, change{Key: "producer_byte_rate", Value: 1.5})
	alter("of requests", true, ann, change{Key: "request_percentage", Value: 50})
	alter("of changes", true, ann, change{Key: "controller_mutation_rate", Value: 50})
	alter("of connections", true, ann, change{Key: "connection_creation_rate", Value: 5})
	alter("of one key twice", false, ann, change{Key: "producer_byte_rate", Value: 5}, change{Key: "producer_byte_rate", Value: 6})
	alter("of nothing", false, ann)
	alter("of nobody", false, nil, change{Key: "producer_byte_rate", Value: 5})
	alter("of an unknown type", false, []entity{{Type: "robot", Name: ptr("x")}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of no type", false, []entity{{Type: "", Name: ptr("x")}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of an empty name", false, []entity{{Type: "user", Name: ptr("")}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of a user twice", false, append(ann, ann...), change{Key: "producer_byte_rate", Value: 5})
	alter("of an address and a user", true, append(ann, entity{Type: "ip", Name: ptr("10.9.8.7")}), change{Key: "connection_creation_rate", Value: 5})
	alter("of bytes of an address", true, []entity{{Type: "ip", Name: ptr("10.9.8.7")}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of what is no address", true, []entity{{Type: "ip", Name: ptr("not an address")}}, change{Key: "connection_creation_rate", Value: 5})
	alter("of the default user", true, []entity{{Type: "user"}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of a client", true, []entity{{Type: "client-id", Name: ptr("quotas-c")}}, change{Key: "producer_byte_rate", Value: 5})
	alter("of a user and a client", true, append(ann, entity{Type: "client-id", Name: ptr("quotas-c")}), change{Key: "producer_byte_rate", Value: 5})
	alter("of a user who is not there", true, []entity{{Type: "user", Name: ptr("quotas-none")}}, change{Key: "producer_byte_rate", Value: 5})
	ask(t, "of none", func(int16) *kmsg.AlterClientQuotasRequest { return kmsg.NewPtrAlterClientQuotasRequest() })
	alter("all taken away", false, ann, change{Key: "producer_byte_rate", Remove: true})
	list("in the end", true, exact)
}

const salt = "salt-of-sixteen."

func saltedPassword(h func() hash.Hash, size int, password string) []byte {
	key, err := pbkdf2.Key(h, password, []byte(salt), 4096, size)
	if err != nil {
		panic(lost{err})
	}
	return key
}

// user makes one with a password for SCRAM.
func (t *talk) user(name, password string) {
	r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	r.Upsertions = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion{{Name: name, Mechanism: 1, Iterations: 4096, Salt: []byte(salt), SaltedPassword: saltedPassword(sha256.New, sha256.Size, password)}}
	quietly[*kmsg.AlterUserSCRAMCredentialsResponse](t, r, 0)
	t.rest()
}

func credentials(t *talk) {
	type up = kmsg.AlterUserSCRAMCredentialsRequestUpsertion
	type down = kmsg.AlterUserSCRAMCredentialsRequestDeletion
	ann, bob := t.n("ann"), t.n("bob")
	sha256ed := up{Name: ann, Mechanism: 1, Iterations: 4096, Salt: []byte(salt), SaltedPassword: saltedPassword(sha256.New, sha256.Size, "secret")}
	sha512ed := up{Name: ann, Mechanism: 2, Iterations: 8192, Salt: []byte(salt), SaltedPassword: saltedPassword(sha512.New, sha512.Size, "secret")}
	alter := func(title string, downs []down, ups ...up) {
		ask(t, title, func(int16) *kmsg.AlterUserSCRAMCredentialsRequest {
			r := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
			r.Upsertions, r.Deletions = ups, downs
			return r
		})
	}
	list := func(title string, names ...string) {
		t.rest()
		ask(t, title, func(int16) *kmsg.DescribeUserSCRAMCredentialsRequest {
			r := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
			for _, n := range names {
				r.Users = append(r.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: n})
			}
			return r
		}, mine)
	}
	changed := func(u up, f func(*up)) up { f(&u); return u }
	list("of one who is not there", ann)
	alter("put both at once", nil, sha256ed, sha512ed)
	alter("put", nil, sha256ed)
	alter("put the other", nil, sha512ed)
	list("of one", ann)
	list("of one twice", ann, ann)
	list("of one and none", ann, bob)
	list("of all")
	alter("of too few iterations", nil, changed(sha256ed, func(u *up) { u.Iterations = 4095 }))
	alter("of too many iterations", nil, changed(sha256ed, func(u *up) { u.Iterations = 16385 }))
	alter("of an unknown mechanism", nil, changed(sha256ed, func(u *up) { u.Mechanism = 0 }))
	alter("of a mechanism to come", nil, changed(sha256ed, func(u *up) { u.Mechanism = 3 }))
	alter("without a name", nil, changed(sha256ed, func(u *up) { u.Name = "" }))
	alter("without a salt", nil, changed(sha256ed, func(u *up) { u.Salt = nil }))
	alter("without a password", nil, changed(sha256ed, func(u *up) { u.SaltedPassword = nil }))
	alter("of one twice", nil, sha256ed, sha256ed)
	alter("put and deleted", []down{{Name: ann, Mechanism: 1}}, sha256ed)
	alter("deleted of nobody", []down{{Name: bob, Mechanism: 1}})
	alter("deleted of an unknown mechanism", []down{{Name: ann, Mechanism: 9}})
	alter("one good and one bad", nil, changed(sha256ed, func(u *up) { u.Name = bob }), changed(sha256ed, func(u *up) { u.Iterations = 1 }))
	list("after one good and one bad", ann, bob)
	alter("deleted", []down{{Name: ann, Mechanism: 2}, {Name: bob, Mechanism: 1}})
	list("after deletions", ann, bob)
	alter("none", nil)
	alter("deleted at last", []down{{Name: ann, Mechanism: 1}})
}

// logins are those of people with few rights.
func logins(t *talk) {
	t.user("logins-ann", "secret")
	name := t.topic(t.n("t"), 1)
	t.fill(name, 0, "a")
	t.as(1, nil)
	t.on(1)
	shake := func(mechanism string) func(int16) *kmsg.SASLHandshakeRequest {
		return func(int16) *kmsg.SASLHandshakeRequest {
			r := kmsg.NewPtrSASLHandshakeRequest()
			r.Mechanism = mechanism
			return r
		}
	}
	ask(t, "of an unknown mechanism", shake("GSSAPI"), only(1))
	t.hangUp(1)
	ask(t, "of a mechanism", shake("PLAIN"), only(1))
	auth := func(bytes string) func(int16) *kmsg.SASLAuthenticateRequest {
		return func(int16) *kmsg.SASLAuthenticateRequest {
			r := kmsg.NewPtrSASLAuthenticateRequest()
			r.SASLAuthBytes = []byte(bytes)
			return r
		}
	}
	for v := range int16(3) {
		t.hangUp(1)
		quietly[*kmsg.SASLHandshakeResponse](t, shake("PLAIN")(0), 1)
		ask(t, "with a password", auth("\x00guest\x00guest"), only(v), without("SessionLifetimeMillis"))
		ask(t, "and a topic", func(int16) *kmsg.ListOffsetsRequest {
			r := kmsg.NewPtrListOffsetsRequest()
			r.ReplicaID = -1
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp = -1
			r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
			return r
		}, last)
	}
	t.hangUp(1)
	quietly[*kmsg.SASLHandshakeResponse](t, shake("PLAIN")(0), 1)
	ask(t, "with a wrong password", auth("\x00guest\x00wrong"), only(2))
	t.hangUp(1)
	quietly[*kmsg.SASLHandshakeResponse](t, shake("PLAIN")(0), 1)
	ask(t, "with what is no login", auth("xyz"), only(2))
	t.hangUp(1)
	ask(t, "without a handshake", auth("\x00guest\x00guest"), only(2))
	t.hangUp(1)
	ask(t, "without a login", func(int16) *kmsg.ApiVersionsRequest { return kmsg.NewPtrApiVersionsRequest() }, only(0), without("ApiKeys"))

	// So that she may enter at all.
	grant := kmsg.NewPtrCreateACLsRequest()
	grant.Creations = []creation1{{ResourceType: kmsg.ACLResourceTypeTopic, ResourceName: "another", ResourcePatternType: kmsg.ACLResourcePatternTypeLiteral, Principal: "User:logins-ann", Host: "*", Operation: kmsg.ACLOperationRead, PermissionType: kmsg.ACLPermissionTypeAllow}}
	t.on(0)
	quietly[*kmsg.CreateACLsResponse](t, grant, 3)
	t.rest()
	t.as(2, scram.Auth{User: "logins-ann", Pass: "secret"}.AsSha256Mechanism())
	t.on(2)
	ask(t, "by one who may not", func(int16) *kmsg.ProduceRequest { return t.produce(name, 0, -1, t.batch(batch{records: values("a")})) }, from(3))
	ask(t, "by one who may not", func(int16) *kmsg.FetchRequest { return t.fetch(name, 0, 0) })
	ask(t, "by one who may not", func(int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{Topic: ptr(name)}, {Topic: ptr(t.n("none"))}}
		return r
	})
	ask(t, "of all by one who may not", func(int16) *kmsg.MetadataRequest { return kmsg.NewPtrMetadataRequest() }, from(1), mine)
	ask(t, "of an id by one who may not", func(int16) *kmsg.MetadataRequest {
		r := kmsg.NewPtrMetadataRequest()
		r.Topics = []kmsg.MetadataRequestTopic{{TopicID: t.ids[name]}}
		return r
	}, from(12))
	ask(t, "by one who may not", func(int16) *kmsg.ListOffsetsRequest {
		r := kmsg.NewPtrListOffsetsRequest()
		r.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{{Timestamp: -1}}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.CreateTopicsRequest { return creation(newTopic(t.n("new"), 1, 1)) })
	ask(t, "by one who may not", func(int16) *kmsg.DeleteTopicsRequest {
		r := kmsg.NewPtrDeleteTopicsRequest()
		r.TopicNames = []string{name}
		r.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: &name}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.DescribeConfigsRequest {
		r := kmsg.NewPtrDescribeConfigsRequest()
		r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: 2, ResourceName: name}, {ResourceType: 4, ResourceName: "1"}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.IncrementalAlterConfigsRequest {
		r := kmsg.NewPtrIncrementalAlterConfigsRequest()
		r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: 2, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("1")}}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.CreatePartitionsRequest {
		r := kmsg.NewPtrCreatePartitionsRequest()
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 3}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.DeleteRecordsRequest {
		r := kmsg.NewPtrDeleteRecordsRequest()
		r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: name, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 1}}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.FindCoordinatorRequest {
		r := kmsg.NewPtrFindCoordinatorRequest()
		r.CoordinatorKey, r.CoordinatorKeys = t.n("g"), []string{t.n("g")}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.InitProducerIDRequest {
		r := kmsg.NewPtrInitProducerIDRequest()
		r.TransactionalID, r.TransactionTimeoutMillis, r.ProducerID, r.ProducerEpoch = ptr(t.n("x")), 1000, -1, -1
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.OffsetCommitRequest {
		r := kmsg.NewPtrOffsetCommitRequest()
		r.Group, r.Generation = t.n("g"), -1
		r.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: name, TopicID: t.ids[name], Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.DescribeGroupsRequest {
		r := kmsg.NewPtrDescribeGroupsRequest()
		r.Groups = []string{t.n("g")}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.ListGroupsRequest { return kmsg.NewPtrListGroupsRequest() }, mine)
	ask(t, "by one who may not", func(int16) *kmsg.DescribeClusterRequest { return kmsg.NewPtrDescribeClusterRequest() })
	ask(t, "by one who may not", func(int16) *kmsg.DescribeLogDirsRequest { return kmsg.NewPtrDescribeLogDirsRequest() })
	ask(t, "by one who may not", func(int16) *kmsg.DescribeUserSCRAMCredentialsRequest {
		return kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	})
	ask(t, "by one who may not", func(int16) *kmsg.DescribeClientQuotasRequest { return kmsg.NewPtrDescribeClientQuotasRequest() })
	ask(t, "by one who may not", func(int16) *kmsg.DescribeQuorumRequest { return kmsg.NewPtrDescribeQuorumRequest() })
	ask(t, "by one who may not", func(int16) *kmsg.DescribeACLsRequest {
		r := kmsg.NewPtrDescribeACLsRequest()
		r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.CreateACLsRequest {
		r := kmsg.NewPtrCreateACLsRequest()
		r.Creations = []creation1{{ResourceType: 2, ResourceName: "x", ResourcePatternType: 3, Principal: "User:logins-ann", Host: "*", Operation: 3, PermissionType: 3}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.ElectLeadersRequest {
		r := kmsg.NewPtrElectLeadersRequest()
		r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: name, Partitions: []int32{0}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.ListPartitionReassignmentsRequest {
		return kmsg.NewPtrListPartitionReassignmentsRequest()
	})
	ask(t, "by one who may not", func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		return kmsg.NewPtrAlterPartitionAssignmentsRequest()
	})
	ask(t, "by one who may not", func(int16) *kmsg.ListConfigResourcesRequest { return kmsg.NewPtrListConfigResourcesRequest() })
	ask(t, "by one who may not", func(int16) *kmsg.DescribeTopicPartitionsRequest {
		r := kmsg.NewPtrDescribeTopicPartitionsRequest()
		r.Topics = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: name}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.DescribeProducersRequest {
		r := kmsg.NewPtrDescribeProducersRequest()
		r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: name, Partitions: []int32{0}}}
		return r
	})
	ask(t, "by one who may not", func(int16) *kmsg.OffsetForLeaderEpochRequest {
		r := kmsg.NewPtrOffsetForLeaderEpochRequest()
		r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: name, Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{}}}}
		return r
	})
}
