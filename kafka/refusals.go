package kafka

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// advice is the codes that end a client's work, or at which it tries again for ever,
// with what an operator can do. What clients get over by themselves is not in it:
// rebalances, a leader or coordinator that is looked for, an offset out of range.
var advice = map[wire.Code]string{
	wire.UnknownServerError:         "look at the lines before",
	wire.CorruptMessage:             "mend or update the producer: what it sends is damaged",
	wire.UnknownTopicOrPartition:    "create the topic, or let clients create topics (--kafka-auto-create)",
	wire.MessageTooLarge:            "send smaller batches, or raise max.message.bytes of the topic or --kafka-max-batch-bytes",
	wire.OffsetMetadataTooLarge:     "commit less metadata with the offset",
	wire.InvalidTopic:               "use a name of letters, digits, '.', '_' and '-', and not both 'a.b' and 'a_b'",
	wire.InvalidRequiredAcks:        "set acks to 0, 1 or all",
	wire.InconsistentGroupProtocol:  "give all members of the group an assignor in common",
	wire.InvalidGroupID:             "give the consumer a group.id, of 32,767 bytes at most",
	wire.InvalidSessionTimeout:      "set session.timeout.ms within the broker's bounds",
	wire.TopicAuthorizationFailed:   "use a topic or a user for which it is allowed",
	wire.GroupAuthorizationFailed:   "use a group or a user for which it is allowed",
	wire.ClusterAuthorizationFailed: "use a user for which it is allowed",
	wire.InvalidTimestamp:           "set the producer's clock, or message.timestamp.*.max.ms of the topic",
	wire.UnsupportedSASLMechanism:   "set sasl.mechanism to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
	wire.IllegalSASLState:           "leave the login out, or mend the client",
	wire.UnsupportedVersion:         "do without it: it is not supported here",
	wire.TopicAlreadyExists:         "use the topic that is there, or another name",
	wire.InvalidPartitions:          "ask for another number of partitions",
	wire.InvalidReplicationFactor:   "ask for a replication factor of 1 or -1: there is one broker",
	wire.InvalidReplicaAssignment:   "leave the assignment to the broker",
	wire.InvalidConfig:              "correct the setting",
	wire.InvalidRequest:             "mend or update the client",
	wire.PolicyViolation:            "leave a work queue's messages to its consumers; a compacted topic's records can be deleted with cleanup.policy=compact,delete",
	wire.OutOfOrderSequence:         "start the producer anew: batches of it are missing",
	wire.InvalidProducerEpoch:       "let one producer use the id",
	wire.InvalidTxnState:            "mend or update the client: what it asks for does not fit its transaction",
	wire.InvalidProducerIDMapping:   "start the producer anew: its transactional id was not used for long, or is another's",
	wire.InvalidTransactionTimeout:  "set the producer's transaction.timeout.ms to --kafka-transaction-timeout (15m) or less, or raise that",
	wire.TransactionAbortable:       "produce to what was added to the transaction, and to exchanges without one",
	wire.ProducerFenced:             "let one producer at a time use the transactional id, and give its transactions time enough",
	wire.TransactionalIDAuthFailed:  "use a transactional id or a user for which it is allowed; give a producer of transactions a transactional id",
	wire.SecurityDisabled:           "give the broker users",
	wire.StorageError:               "look at the broker's disk, and at the lines before",
	wire.GroupMaxSizeReached:        "run fewer members",
	wire.FencedInstanceID:           "give each member a group.instance.id of its own",
	wire.UnsupportedCompression:     "update the client, or use another compression",
	wire.ResourceNotFound:           "name a user who has a credential for the mechanism",
	wire.DuplicateResource:          "ask for each user and mechanism once",
	wire.UnacceptableCredential:     "use 4096 to 16384 iterations, a salt of 8 bytes or more, and a name",
	wire.InvalidRecord:              "mend or update the producer: its batches do not hold together, or have records without a key for a compacted topic",
}

// refused logs a code that ends a client's work: what it asked, of which topic or
// group, and why.
func (c *conn) refused(what, name string, code wire.Code, why string) {
	do, final := advice[code]
	if !final {
		return
	}
	if why == "" {
		why = meaning(code)
	}
	if denies(code) {
		c.log.Denied(what, name, refusal(why), do, "code", int16(code))
		return
	}
	if name != "" {
		why = "'" + name + "': " + why
	}
	c.log.Refused(what, refusal(why), do, "code", int16(code))
}

// meaning is what Kafka calls a code.
func meaning(code wire.Code) string {
	if code == wire.None {
		return "NONE"
	}
	if e := kerr.TypedErrorForCode(int16(code)); e != nil {
		return e.Message
	}
	return "code " + fmt.Sprint(int16(code))
}

// unstored is called by the store, on any goroutine, when what an answer waits
// for went wrong.
func (c *conn) unstored(err error) {
	c.refused(wire.Produce.String(), "", wire.StorageError, err.Error())
}

// refusedIn logs what an answer refuses. Keys that are asked all the time and refuse
// nothing for good have no case.
func (c *conn) refusedIn(key wire.Key, res kmsg.Response) {
	one := func(name string, code int16, why *string) {
		if code != 0 {
			c.refused(key.String(), name, wire.Code(code), deref(why))
		}
	}
	switch r := res.(type) {
	case *kmsg.MetadataResponse:
		for i := range r.Topics {
			name := deref(r.Topics[i].Topic)
			if slices.Contains(internalTopics, name) {
				continue // who asks whether they are there is told so
			}
			if r.Topics[i].ErrorCode != int16(wire.UnknownTopicOrPartition) || !c.exists(name) {
				one(name, r.Topics[i].ErrorCode, nil)
			}
		}
	case *kmsg.FindCoordinatorResponse:
		one("", r.ErrorCode, r.ErrorMessage)
		for i := range r.Coordinators {
			one(r.Coordinators[i].Key, r.Coordinators[i].ErrorCode, r.Coordinators[i].ErrorMessage)
		}
	case *kmsg.JoinGroupResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.SyncGroupResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.InitProducerIDResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.EndTxnResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.AddOffsetsToTxnResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.AddPartitionsToTxnResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				one(r.Topics[i].Topic, r.Topics[i].Partitions[j].ErrorCode, nil)
			}
		}
		c.refusedWithin(key.String(), "", reflect.ValueOf(r.Transactions), denies)
	case *kmsg.TxnOffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				one(r.Topics[i].Topic, r.Topics[i].Partitions[j].ErrorCode, nil)
			}
		}
	case *kmsg.OffsetCommitResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				one(r.Topics[i].Topic, r.Topics[i].Partitions[j].ErrorCode, nil)
			}
		}
	case *kmsg.ListOffsetsResponse:
		for i := range r.Topics {
			for j := range r.Topics[i].Partitions {
				one(r.Topics[i].Topic, r.Topics[i].Partitions[j].ErrorCode, nil)
			}
		}
	case *kmsg.SASLHandshakeResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.HeartbeatResponse:
		one("", r.ErrorCode, nil)
	case *kmsg.OffsetFetchResponse:
		c.deniedOffsets(r)
	case *kmsg.CreateTopicsResponse, *kmsg.DeleteTopicsResponse, *kmsg.DeleteRecordsResponse, *kmsg.CreatePartitionsResponse, *kmsg.AlterConfigsResponse,
		*kmsg.IncrementalAlterConfigsResponse, *kmsg.DescribeACLsResponse, *kmsg.CreateACLsResponse, *kmsg.DeleteACLsResponse,
		*kmsg.DescribeClientQuotasResponse, *kmsg.AlterClientQuotasResponse, *kmsg.AlterUserSCRAMCredentialsResponse:
		c.refusedWithin(key.String(), "", reflect.ValueOf(res), func(wire.Code) bool { return true })
	default:
		c.refusedWithin(key.String(), "", reflect.ValueOf(res), denies)
	}
}

// exists tells whether there is a topic after all: one that was just made is answered as
// unknown once.
func (c *conn) exists(name string) bool {
	_, err := c.lookup(broker.Look, name)
	return err == nil
}

// denies tells whether a code says that a user has no right to something.
func denies(code wire.Code) bool {
	switch code {
	case wire.TopicAuthorizationFailed, wire.GroupAuthorizationFailed, wire.ClusterAuthorizationFailed, wire.TransactionalIDAuthFailed:
		return true
	}
	return false
}

// deniedOffsets logs groups whose offsets a user may not see; of what it sees nothing is refused for good.
func (c *conn) deniedOffsets(r *kmsg.OffsetFetchResponse) {
	all := append([]kmsg.OffsetFetchResponseGroup{{ErrorCode: r.ErrorCode}}, r.Groups...)
	for i := range all {
		if code := wire.Code(all[i].ErrorCode); denies(code) {
			c.refused(wire.OffsetFetch.String(), all[i].Group, code, "")
		}
	}
}

// refusedWithin logs the codes in any answer that are meant. It looks at all of it: answers that come
// often or are long have a case of their own.
func (c *conn) refusedWithin(what, name string, v reflect.Value, meant func(wire.Code) bool) {
	text := func(field string) (text string, ok bool) {
		f := reflect.Indirect(v.FieldByName(field))
		if ok = f.IsValid() && f.Kind() == reflect.String; ok {
			text = f.String()
		}
		return text, ok
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.refusedWithin(what, name, v.Elem(), meant)
		}
	case reflect.Slice:
		for i := range v.Len() {
			if v.Index(i).Kind() != reflect.Struct {
				return
			}
			c.refusedWithin(what, name, v.Index(i), meant)
		}
	case reflect.Struct:
		for _, field := range [...]string{"Topic", "Group", "ResourceName", "User"} {
			if own, ok := text(field); ok {
				name = own
			}
		}
		if f := v.FieldByName("ErrorCode"); f.IsValid() && f.Int() != 0 && meant(wire.Code(f.Int())) {
			why, _ := text("ErrorMessage")
			c.refused(what, name, wire.Code(f.Int()), why)
		}
		for i := range v.NumField() {
			c.refusedWithin(what, name, v.Field(i), meant)
		}
	}
}
