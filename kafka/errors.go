package kafka

import (
	"errors"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// refusedCode is what Kafka answers by what was refused. An exchange is known to
// its clients as a topic.
var refusedCode = map[broker.ResourceKind]wire.Code{
	0: wire.TopicAuthorizationFailed, broker.OnExchange: wire.TopicAuthorizationFailed, broker.OnQueue: wire.TopicAuthorizationFailed,
	broker.OnKey: wire.TopicAuthorizationFailed, broker.OnGroup: wire.GroupAuthorizationFailed,
	broker.OnCluster: wire.ClusterAuthorizationFailed, broker.OnVHost: wire.ClusterAuthorizationFailed,
	broker.OnTransaction: wire.TransactionalIDAuthFailed,
}

// codeOf is the one place where the broker's errors become Kafka's codes.
func codeOf(err error) wire.Code {
	if err == nil {
		return wire.None
	}
	if code, ok := budgetCode(err); ok {
		return code
	}
	var f *fault
	switch {
	case errors.As(err, &f):
		return f.code
	case errors.Is(err, broker.ErrOutOfOrderSequence):
		return wire.OutOfOrderSequence
	case errors.Is(err, broker.ErrInTransaction):
		return wire.InvalidTxnState
	case errors.Is(err, broker.ErrProducerFenced):
		return wire.InvalidProducerEpoch
	}
	switch broker.KindOf(err) {
	case broker.NotFound, broker.Closed:
		return wire.UnknownTopicOrPartition
	case broker.Refused, broker.Locked:
		return refusedCode[broker.RefusedOn(err)]
	case broker.Precondition, broker.UnknownType, broker.Unsupported:
		return wire.InvalidRequest
	case broker.Exists:
		return wire.TopicAlreadyExists
	case broker.BadSetting:
		return wire.InvalidConfig
	case broker.Collides:
		return wire.InvalidTopic
	case broker.TooLarge:
		return wire.MessageTooLarge
	case broker.Full, broker.Unreadable:
		return wire.StorageError
	case broker.LimitReached:
		return wire.PolicyViolation
	case broker.Unavailable:
		return wire.LeaderNotAvailable
	case broker.Timeout:
		return wire.RequestTimedOut
	case broker.OutOfRange:
		return wire.OffsetOutOfRange
	}
	return wire.UnknownServerError
}
