package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// replicas are what is asked of where partitions are and who leads them.
func replicas(t *talk) {
	name := t.topic(t.n("t"), 2)
	t.fill(name, 0, "a")
	elect := func(kind int8, topic string, partitions ...int32) func(int16) *kmsg.ElectLeadersRequest {
		return func(int16) *kmsg.ElectLeadersRequest {
			r := kmsg.NewPtrElectLeadersRequest()
			r.ElectionType, r.TimeoutMillis = kind, 5000
			r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: topic, Partitions: partitions}}
			return r
		}
	}
	ask(t, "that are preferred", elect(0, name, 0, 1))
	ask(t, "that are unclean", elect(1, name, 0), from(1))
	ask(t, "of another kind", elect(9, name, 0), from(1))
	ask(t, "of a partition that is not there", elect(0, name, 7))
	ask(t, "of a topic that is not there", elect(0, t.n("none"), 0))
	ask(t, "of a bad name", elect(0, "a b", 0))
	ask(t, "twice", elect(0, name, 0, 0))
	ask(t, "of no topic", func(int16) *kmsg.ElectLeadersRequest {
		r := elect(0, name)(0)
		r.Topics = []kmsg.ElectLeadersRequestTopic{}
		return r
	})
	ask(t, "of all", func(int16) *kmsg.ElectLeadersRequest {
		r := elect(0, name)(0)
		r.Topics = nil
		return r
	}, mine)

	assign := func(topic string, partition int32, replicas []int32) func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		return func(int16) *kmsg.AlterPartitionAssignmentsRequest {
			r := kmsg.NewPtrAlterPartitionAssignmentsRequest()
			r.TimeoutMillis = 5000
			r.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: partition, Replicas: replicas}}}}
			return r
		}
	}
	ask(t, "to where it is", assign(name, 0, []int32{1}))
	ask(t, "to a broker that is not there", assign(name, 0, []int32{2}))
	ask(t, "to two brokers", assign(name, 0, []int32{1, 2}))
	ask(t, "to one broker twice", assign(name, 0, []int32{1, 1}))
	ask(t, "to a broker below zero", assign(name, 0, []int32{-1}))
	ask(t, "to none", assign(name, 0, []int32{}))
	ask(t, "that is none", assign(name, 0, nil))
	ask(t, "of a partition that is not there", assign(name, 7, []int32{1}))
	ask(t, "of a topic that is not there", assign(t.n("none"), 0, []int32{1}))
	ask(t, "of a topic that is not there, that is none", assign(t.n("none"), 0, nil))
	ask(t, "with as many replicas as before", func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		r := assign(name, 0, []int32{1})(0)
		r.AllowReplicationFactorChange = false
		return r
	}, from(1))
	ask(t, "with other replicas than before", func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		r := assign(name, 0, []int32{1, 2})(0)
		r.AllowReplicationFactorChange = false
		return r
	}, from(1))
	ask(t, "of no topic", func(int16) *kmsg.AlterPartitionAssignmentsRequest {
		return kmsg.NewPtrAlterPartitionAssignmentsRequest()
	})
	list := func(topics ...string) func(int16) *kmsg.ListPartitionReassignmentsRequest {
		return func(int16) *kmsg.ListPartitionReassignmentsRequest {
			r := kmsg.NewPtrListPartitionReassignmentsRequest()
			for _, n := range topics {
				r.Topics = append(r.Topics, kmsg.ListPartitionReassignmentsRequestTopic{Topic: n, Partitions: []int32{0, 7}})
			}
			return r
		}
	}
	ask(t, "of a topic", list(name))
	ask(t, "of one that is not there", list(t.n("none")))
	ask(t, "of all", list())

	sizes := func(topic string, partitions ...int32) func(int16) *kmsg.DescribeLogDirsRequest {
		return func(int16) *kmsg.DescribeLogDirsRequest {
			r := kmsg.NewPtrDescribeLogDirsRequest()
			r.Topics = []kmsg.DescribeLogDirsRequestTopic{{Topic: topic, Partitions: partitions}}
			return r
		}
	}
	ask(t, "of a topic", sizes(name, 0, 1))
	ask(t, "of a partition that is not there", sizes(name, 0, 7))
	ask(t, "of a topic that is not there", sizes(t.n("none"), 0))
	ask(t, "of no partition", sizes(name))
	ask(t, "of no topic", func(int16) *kmsg.DescribeLogDirsRequest {
		r := kmsg.NewPtrDescribeLogDirsRequest()
		r.Topics = []kmsg.DescribeLogDirsRequestTopic{}
		return r
	})
	move := func(dir, topic string, partition int32) func(int16) *kmsg.AlterReplicaLogDirsRequest {
		return func(int16) *kmsg.AlterReplicaLogDirsRequest {
			r := kmsg.NewPtrAlterReplicaLogDirsRequest()
			r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: dir, Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: topic, Partitions: []int32{partition}}}}}
			return r
		}
	}
	dirs := quietly[*kmsg.DescribeLogDirsResponse](t, sizes(name, 0)(0), 4)
	if len(dirs.Dirs) != 1 {
		panic(lost{fmt.Errorf("%d directories", len(dirs.Dirs))})
	}
	ask(t, "to where it is", move(dirs.Dirs[0].Dir, name, 0))
	ask(t, "to a directory that is not there", move("/nowhere/at/all", name, 0))
	ask(t, "to a directory that is none", move("nowhere", name, 0))
	ask(t, "of a partition that is not there", move(dirs.Dirs[0].Dir, name, 7))
	ask(t, "of a topic that is not there", move(dirs.Dirs[0].Dir, t.n("none"), 0))
	ask(t, "of a partition that is not there, to a directory that is not there", move("/nowhere/at/all", name, 7))
	ask(t, "of none", func(int16) *kmsg.AlterReplicaLogDirsRequest { return kmsg.NewPtrAlterReplicaLogDirsRequest() })
}

func tokens(t *talk) {
	ask(t, "for oneself", func(int16) *kmsg.CreateDelegationTokenRequest {
		r := kmsg.NewPtrCreateDelegationTokenRequest()
		r.MaxLifetimeMillis = -1
		return r
	})
	ask(t, "for another", func(int16) *kmsg.CreateDelegationTokenRequest {
		r := kmsg.NewPtrCreateDelegationTokenRequest()
		r.OwnerPrincipalType, r.OwnerPrincipalName = ptr("User"), ptr("tokens-other")
		r.Renewers = []kmsg.CreateDelegationTokenRequestRenewer{{PrincipalType: "Robot", PrincipalName: "x"}}
		return r
	})
	ask(t, "of an unknown key", func(int16) *kmsg.RenewDelegationTokenRequest {
		r := kmsg.NewPtrRenewDelegationTokenRequest()
		r.HMAC = []byte("none")
		return r
	})
	ask(t, "of an unknown key", func(int16) *kmsg.ExpireDelegationTokenRequest {
		r := kmsg.NewPtrExpireDelegationTokenRequest()
		r.HMAC = []byte("none")
		return r
	})
	ask(t, "of all", func(int16) *kmsg.DescribeDelegationTokenRequest { return kmsg.NewPtrDescribeDelegationTokenRequest() })
	ask(t, "of one", func(int16) *kmsg.DescribeDelegationTokenRequest {
		r := kmsg.NewPtrDescribeDelegationTokenRequest()
		r.Owners = []kmsg.DescribeDelegationTokenRequestOwner{{PrincipalType: "User", PrincipalName: "guest"}}
		return r
	})
}

// resources are those that may have settings.
func resources(t *talk) {
	t.topic(t.n("t"), 1)
	list := func(types ...int8) func(int16) *kmsg.ListConfigResourcesRequest {
		return func(int16) *kmsg.ListConfigResourcesRequest {
			r := kmsg.NewPtrListConfigResourcesRequest()
			r.ResourceTypes = types
			return r
		}
	}
	ask(t, "of all types", list(), mine)
	ask(t, "of topics", list(2), mine)
	ask(t, "of brokers", list(4))
	ask(t, "of loggers", list(8))
	ask(t, "of metrics", list(16))
	ask(t, "of groups", list(32), mine)
	ask(t, "of an unknown type", list(7))
	ask(t, "of topics and an unknown type", list(2, 7), mine)
	ask(t, "of topics twice", list(2, 2), mine)
	features := func(dry bool, name string, level int16, kind int8) func(int16) *kmsg.UpdateFeaturesRequest {
		return func(int16) *kmsg.UpdateFeaturesRequest {
			r := kmsg.NewPtrUpdateFeaturesRequest()
			r.TimeoutMillis, r.ValidateOnly = 5000, dry
			r.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: name, MaxVersionLevel: level, UpgradeType: kind}}
			return r
		}
	}
	ask(t, "to where it is", features(true, "group.version", 1, 1), from(1))
	ask(t, "too high", features(true, "group.version", 99, 1), from(1))
	ask(t, "that is not known", features(true, "no.such.version", 1, 1), from(1))
	ask(t, "of none", func(int16) *kmsg.UpdateFeaturesRequest { return kmsg.NewPtrUpdateFeaturesRequest() })
	ask(t, "that is not there", func(int16) *kmsg.UnregisterBrokerRequest {
		r := kmsg.NewPtrUnregisterBrokerRequest()
		r.BrokerID = 77
		return r
	})
}

func configs(t *talk) {
	name := t.topic(t.n("t"), 1, "retention.ms", "5000", "cleanup.policy", "delete")
	of := func(kind kmsg.ConfigResourceType, resource string, keys ...string) func(int16) *kmsg.DescribeConfigsRequest {
		return func(v int16) *kmsg.DescribeConfigsRequest {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kind, ResourceName: resource, ConfigNames: keys}}
			return r
		}
	}
	full := func(f func(int16) *kmsg.DescribeConfigsRequest) func(int16) *kmsg.DescribeConfigsRequest {
		return func(v int16) *kmsg.DescribeConfigsRequest {
			r := f(v)
			r.IncludeSynonyms, r.IncludeDocumentation = true, true
			return r
		}
	}
	const topic, broker, logger, metrics, group = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger, 16, kmsg.ConfigResourceTypeGroupConfig
	ask(t, "of a topic", of(topic, name), without("ConfigSynonyms"))
	ask(t, "of two settings", full(of(topic, name, "retention.ms", "cleanup.policy")), without("Documentation"))
	ask(t, "of all settings with where they come from", full(of(topic, name)), without("Documentation", "Value"), last)
	ask(t, "of a setting by default", full(of(topic, name, "flush.ms", "max.message.bytes")), without("Documentation"))
	ask(t, "of a setting that there is not", of(topic, name, "nothing", "retention.ms"))
	ask(t, "of no setting", func(int16) *kmsg.DescribeConfigsRequest {
		r := of(topic, name)(0)
		r.Resources[0].ConfigNames = []string{}
		return r
	}, without("ConfigSynonyms"), last)
	ask(t, "of a topic that is not there", of(topic, t.n("none")))
	ask(t, "of a bad name", of(topic, "a b"))
	ask(t, "of no name", of(topic, ""))
	ask(t, "of a topic twice", func(int16) *kmsg.DescribeConfigsRequest {
		r := of(topic, name, "retention.ms")(0)
		r.Resources = append(r.Resources, r.Resources[0])
		return r
	})
	ask(t, "of a broker", of(broker, "1", "advertised.listeners", "auto.create.topics.enable", "broker.id", "compression.type", "default.replication.factor", "log.cleanup.policy", "log.retention.ms", "log.retention.hours",
		"message.max.bytes", "min.insync.replicas", "num.partitions", "offsets.topic.replication.factor", "log.dirs", "inter.broker.protocol.version", "transaction.state.log.replication.factor", "delete.topic.enable",
		"group.initial.rebalance.delay.ms", "offsets.retention.minutes", "max.connections", "log.segment.bytes"), without("ConfigSynonyms", "Value"))
	ask(t, "of all brokers", of(broker, ""))
	ask(t, "of a broker that is not there", of(broker, "2"))
	ask(t, "of a broker without a number", of(broker, "x"))
	ask(t, "of loggers", of(logger, "1", "root"), without("Configs"))
	ask(t, "of loggers of another broker", of(logger, "2"))
	ask(t, "of metrics", of(metrics, t.n("m")))
	ask(t, "of metrics without a name", of(metrics, ""))
	ask(t, "of a group", full(of(group, t.n("g"))), without("Documentation"), last)
	ask(t, "of a group", of(group, t.n("g")))
	ask(t, "of a group without a name", of(group, ""))
	ask(t, "of an unknown type", of(99, "x"))
	ask(t, "of no type", of(0, "x"))
	ask(t, "of none", func(int16) *kmsg.DescribeConfigsRequest { return kmsg.NewPtrDescribeConfigsRequest() })
}

func alterConfigs(t *talk) {
	name := t.topic(t.n("t"), 1)
	const topic, broker, logger, metrics, group = kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger, 16, kmsg.ConfigResourceTypeGroupConfig
	type op = kmsg.IncrementalAlterConfigsRequestResourceConfig
	with := func(kind kmsg.ConfigResourceType, resource string, dry bool, ops ...op) func(int16) *kmsg.IncrementalAlterConfigsRequest {
		return func(int16) *kmsg.IncrementalAlterConfigsRequest {
			r := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r.ValidateOnly = dry
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kind, ResourceName: resource, Configs: ops}}
			return r
		}
	}
	now := func(title string, keys ...string) {
		t.rest()
		ask(t, title, func(int16) *kmsg.DescribeConfigsRequest {
			r := kmsg.NewPtrDescribeConfigsRequest()
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: topic, ResourceName: name, ConfigNames: keys}}
			return r
		}, last)
	}
	const set, del, app, sub = kmsg.IncrementalAlterConfigOpSet, kmsg.IncrementalAlterConfigOpDelete, kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract
	ask(t, "set", with(topic, name, false, op{Name: "retention.ms", Op: set, Value: ptr("7000")}))
	now("after a set", "retention.ms")
	ask(t, "set, to see", with(topic, name, true, op{Name: "retention.ms", Op: set, Value: ptr("9000")}))
	now("after one to see", "retention.ms")
	ask(t, "append", with(topic, name, false, op{Name: "cleanup.policy", Op: app, Value: ptr("compact")}))
	now("after an append", "cleanup.policy")
	ask(t, "append what is there", with(topic, name, false, op{Name: "cleanup.policy", Op: app, Value: ptr("compact")}))
	now("after that", "cleanup.policy")
	ask(t, "subtract", with(topic, name, false, op{Name: "cleanup.policy", Op: sub, Value: ptr("delete")}))
	now("after a subtract", "cleanup.policy")
	ask(t, "subtract what is not there", with(topic, name, false, op{Name: "cleanup.policy", Op: sub, Value: ptr("delete")}))
	ask(t, "subtract all", with(topic, name, false, op{Name: "cleanup.policy", Op: sub, Value: ptr("compact")}))
	now("after all is gone", "cleanup.policy")
	ask(t, "delete", with(topic, name, false, op{Name: "cleanup.policy", Op: del}, op{Name: "retention.ms", Op: del}))
	now("after a delete", "cleanup.policy", "retention.ms")
	ask(t, "delete what is not set", with(topic, name, false, op{Name: "retention.ms", Op: del}))
	ask(t, "delete with a value", with(topic, name, false, op{Name: "retention.ms", Op: del, Value: ptr("5")}))
	ask(t, "set to null", with(topic, name, false, op{Name: "retention.ms", Op: set}))
	ask(t, "append null", with(topic, name, false, op{Name: "cleanup.policy", Op: app}))
	ask(t, "append to what is no list", with(topic, name, false, op{Name: "retention.ms", Op: app, Value: ptr("1")}))
	ask(t, "subtract from what is no list", with(topic, name, false, op{Name: "retention.ms", Op: sub, Value: ptr("1")}))
	ask(t, "append what is not known", with(topic, name, false, op{Name: "cleanup.policy", Op: app, Value: ptr("keep")}))
	ask(t, "of an unknown kind", with(topic, name, false, op{Name: "retention.ms", Op: 9, Value: ptr("1")}))
	ask(t, "one setting twice", with(topic, name, false, op{Name: "retention.ms", Op: set, Value: ptr("1")}, op{Name: "retention.ms", Op: set, Value: ptr("2")}))
	ask(t, "one good and one bad", with(topic, name, false, op{Name: "retention.ms", Op: set, Value: ptr("1234")}, op{Name: "max.message.bytes", Op: set, Value: ptr("x")}))
	now("after one good and one bad", "retention.ms", "max.message.bytes")
	ask(t, "an unknown setting", with(topic, name, false, op{Name: "nothing", Op: set, Value: ptr("1")}))
	ask(t, "delete an unknown setting", with(topic, name, false, op{Name: "nothing", Op: del}))
	ask(t, "append to an unknown setting", with(topic, name, false, op{Name: "nothing", Op: app, Value: ptr("1")}))
	ask(t, "no setting", with(topic, name, false))
	ask(t, "a topic that is not there", with(topic, t.n("none"), false, op{Name: "retention.ms", Op: set, Value: ptr("1")}))
	ask(t, "a bad name", with(topic, "a b", false, op{Name: "retention.ms", Op: set, Value: ptr("1")}))
	ask(t, "no name", with(topic, "", false, op{Name: "retention.ms", Op: set, Value: ptr("1")}))
	ask(t, "one topic twice", func(int16) *kmsg.IncrementalAlterConfigsRequest {
		r := with(topic, name, false, op{Name: "retention.ms", Op: set, Value: ptr("1")})(0)
		r.Resources = append(r.Resources, r.Resources[0])
		return r
	})
	for _, s := range []struct{ name, value string }{{"log.cleaner.threads", "2"}, {"num.partitions", "3"}, {"message.max.bytes", "x"}, {"nothing", "1"}, {"log.retention.ms", "100000000000"}, {"advertised.listeners", "PLAINTEXT://x:1"}} {
		ask(t, "a broker's "+s.name, with(broker, "1", true, op{Name: s.name, Op: set, Value: ptr(s.value)}), last)
		ask(t, "all brokers' "+s.name, with(broker, "", true, op{Name: s.name, Op: set, Value: ptr(s.value)}), last)
	}
	ask(t, "a broker that is not there", with(broker, "2", false, op{Name: "log.cleaner.threads", Op: set, Value: ptr("1")}))
	ask(t, "a broker without a number", with(broker, "x", false, op{Name: "log.cleaner.threads", Op: set, Value: ptr("1")}))
	ask(t, "a logger", with(logger, "1", true, op{Name: "root", Op: set, Value: ptr("WARN")}))
	ask(t, "a logger's level that there is not", with(logger, "1", true, op{Name: "root", Op: set, Value: ptr("LOUD")}))
	ask(t, "metrics", with(metrics, t.n("m"), true, op{Name: "interval.ms", Op: set, Value: ptr("1000")}))
	for _, s := range []struct{ name, value string }{{"consumer.session.timeout.ms", "45000"}, {"consumer.session.timeout.ms", "1"}, {"consumer.session.timeout.ms", "50000"}, {"consumer.heartbeat.interval.ms", "5000"}, {"share.auto.offset.reset", "earliest"}, {"share.auto.offset.reset", "latest"},
		{"share.auto.offset.reset", "none"}, {"share.record.lock.duration.ms", "30000"}, {"share.record.lock.duration.ms", "20000"}, {"share.isolation.level", "read_committed"}, {"share.isolation.level", "x"}, {"nothing", "1"}} {
		ask(t, "a group's "+s.name+" to "+s.value, with(group, t.n("g"), true, op{Name: s.name, Op: set, Value: ptr(s.value)}), last)
	}
	ask(t, "a group without a name", with(group, "", true, op{Name: "share.auto.offset.reset", Op: set, Value: ptr("earliest")}))
	ask(t, "an unknown type", with(99, "x", false, op{Name: "a", Op: set, Value: ptr("1")}))
	ask(t, "none", func(int16) *kmsg.IncrementalAlterConfigsRequest { return kmsg.NewPtrIncrementalAlterConfigsRequest() })

	all := func(kind kmsg.ConfigResourceType, resource string, dry bool, pairs ...string) func(int16) *kmsg.AlterConfigsRequest {
		return func(int16) *kmsg.AlterConfigsRequest {
			r := kmsg.NewPtrAlterConfigsRequest()
			r.ValidateOnly = dry
			one := kmsg.AlterConfigsRequestResource{ResourceType: kind, ResourceName: resource}
			for i := 0; i+1 < len(pairs); i += 2 {
				one.Configs = append(one.Configs, kmsg.AlterConfigsRequestResourceConfig{Name: pairs[i], Value: &pairs[i+1]})
			}
			r.Resources = append(r.Resources, one)
			return r
		}
	}
	ask(t, "two", all(topic, name, false, "retention.ms", "3000", "segment.bytes", "2000000"))
	now("after two", "retention.ms", "segment.bytes")
	ask(t, "one of them", all(topic, name, false, "retention.ms", "4000"))
	now("after one of them", "retention.ms", "segment.bytes")
	ask(t, "to see", all(topic, name, true, "retention.ms", "x"))
	ask(t, "one setting twice", all(topic, name, false, "retention.ms", "1", "retention.ms", "2"))
	ask(t, "an unknown one", all(topic, name, false, "nothing", "1"))
	ask(t, "to null", func(int16) *kmsg.AlterConfigsRequest {
		r := all(topic, name, true, "retention.ms", "1")(0)
		r.Resources[0].Configs[0].Value = nil
		return r
	})
	ask(t, "to nothing", all(topic, name, false))
	now("after nothing", "retention.ms", "segment.bytes")
	ask(t, "a topic that is not there", all(topic, t.n("none"), false, "retention.ms", "1"))
	ask(t, "one topic twice", func(int16) *kmsg.AlterConfigsRequest {
		r := all(topic, name, false, "retention.ms", "1")(0)
		r.Resources = append(r.Resources, r.Resources[0])
		return r
	})
	ask(t, "a broker", all(broker, "1", true, "log.cleaner.threads", "2"))
	ask(t, "an unknown type", all(99, "x", true, "a", "b"))
}
