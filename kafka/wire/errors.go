package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Code is a Kafka error code as it stands in responses
// (https://kafka.apache.org/protocol#protocol_error_codes).
type Code int16

// The codes this server answers with.
const (
	UnknownServerError         Code = -1
	None                       Code = 0
	OffsetOutOfRange           Code = 1
	CorruptMessage             Code = 2
	UnknownTopicOrPartition    Code = 3
	LeaderNotAvailable         Code = 5
	RequestTimedOut            Code = 7
	InvalidCommitOffsetSize    Code = 28
	MessageTooLarge            Code = 10
	OffsetMetadataTooLarge     Code = 12
	CoordinatorLoadInProgress  Code = 14
	CoordinatorNotAvailable    Code = 15
	InvalidTopic               Code = 17
	InvalidRequiredAcks        Code = 21
	IllegalGeneration          Code = 22
	InconsistentGroupProtocol  Code = 23
	InvalidGroupID             Code = 24
	UnknownMemberID            Code = 25
	InvalidSessionTimeout      Code = 26
	RebalanceInProgress        Code = 27
	TopicAuthorizationFailed   Code = 29
	GroupAuthorizationFailed   Code = 30
	ClusterAuthorizationFailed Code = 31
	InvalidTimestamp           Code = 32
	UnsupportedSASLMechanism   Code = 33
	IllegalSASLState           Code = 34
	UnsupportedVersion         Code = 35
	TopicAlreadyExists         Code = 36
	InvalidPartitions          Code = 37
	InvalidReplicationFactor   Code = 38
	InvalidReplicaAssignment   Code = 39
	InvalidConfig              Code = 40
	InvalidRequest             Code = 42
	OutOfOrderSequence         Code = 45
	InvalidProducerEpoch       Code = 47
	InvalidTxnState            Code = 48
	InvalidProducerIDMapping   Code = 49
	InvalidTransactionTimeout  Code = 50
	ConcurrentTransactions     Code = 51
	TransactionalIDAuthFailed  Code = 53
	OperationNotAttempted      Code = 55
	UnstableOffsetCommit       Code = 88
	ProducerFenced             Code = 90
	TransactionalIDNotFound    Code = 105
	TransactionAbortable       Code = 120
	InvalidRegularExpression   Code = 128
	SecurityDisabled           Code = 54
	StorageError               Code = 56
	LogDirNotFound             Code = 57
	SASLAuthenticationFailed   Code = 58
	TokensDisabled             Code = 61
	TokenAuthFailed            Code = 65
	InvalidPrincipalType       Code = 67
	GroupNotEmpty              Code = 68
	GroupIDNotFound            Code = 69
	FetchSessionIDNotFound     Code = 70
	InvalidFetchSessionEpoch   Code = 71
	FetchSessionTopicIDError   Code = 106
	FencedLeaderEpoch          Code = 74
	UnknownLeaderEpoch         Code = 75
	UnsupportedCompression     Code = 76
	UnknownTopicID             Code = 100
	MemberIDRequired           Code = 79
	GroupMaxSizeReached        Code = 81
	FencedInstanceID           Code = 82
	ElectionNotNeeded          Code = 84
	NoReassignment             Code = 85
	GroupSubscribedToTopic     Code = 86
	InvalidRecord              Code = 87
	ResourceNotFound           Code = 91
	DuplicateResource          Code = 92
	UnacceptableCredential     Code = 93
	InvalidUpdateVersion       Code = 95
	PolicyViolation            Code = 44
	MismatchedEndpointType     Code = 114
	UnsupportedEndpointType    Code = 115
	RebootstrapRequired        Code = 129
	InvalidRecordState         Code = 121
	ShareSessionNotFound       Code = 122
	InvalidShareSessionEpoch   Code = 123
	ShareSessionLimitReached   Code = 133
	FencedMemberEpoch          Code = 110
	UnreleasedInstanceID       Code = 111
	UnsupportedAssignor        Code = 112
	StaleMemberEpoch           Code = 113
)

// MaxTextBytes bounds what is said of an error. A string of the older versions has a
// length of 16 bits, and an error may quote a client's names.
const MaxTextBytes = 1000

// Text makes text for people of what may quote any bytes: valid UTF-8, cut between
// characters.
func Text(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxTextBytes {
		return s
	}
	end := MaxTextBytes - len("...")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// Error makes a Code usable as a Go error; None must not be used as one.
func (c Code) Error() string { return "kafka error code " + strconv.Itoa(int(c)) }
