package wire

// Key is a Kafka API key: which request this is.
type Key int16

// The API keys this server answers.
const (
	Produce                 Key = 0
	Fetch                   Key = 1
	ListOffsets             Key = 2
	Metadata                Key = 3
	OffsetCommit            Key = 8
	OffsetFetch             Key = 9
	FindCoordinator         Key = 10
	JoinGroup               Key = 11
	Heartbeat               Key = 12
	LeaveGroup              Key = 13
	SyncGroup               Key = 14
	DescribeGroups          Key = 15
	ListGroups              Key = 16
	SASLHandshake           Key = 17
	APIVersions             Key = 18
	CreateTopics            Key = 19
	DeleteTopics            Key = 20
	DeleteRecords           Key = 21
	InitProducerID          Key = 22
	OffsetForLeaderEpoch    Key = 23
	AddPartitionsToTxn      Key = 24
	AddOffsetsToTxn         Key = 25
	EndTxn                  Key = 26
	WriteTxnMarkers         Key = 27
	TxnOffsetCommit         Key = 28
	DescribeACLs            Key = 29
	CreateACLs              Key = 30
	DeleteACLs              Key = 31
	DescribeConfigs         Key = 32
	AlterConfigs            Key = 33
	AlterReplicaLogDirs     Key = 34
	DescribeLogDirs         Key = 35
	SASLAuthenticate        Key = 36
	CreatePartitions        Key = 37
	CreateToken             Key = 38
	RenewToken              Key = 39
	ExpireToken             Key = 40
	DescribeTokens          Key = 41
	DeleteGroups            Key = 42
	ElectLeaders            Key = 43
	IncrementalAlterConfigs Key = 44
	AlterReassignments      Key = 45
	ListReassignments       Key = 46
	OffsetDelete            Key = 47
	DescribeClientQuotas    Key = 48
	AlterClientQuotas       Key = 49
	DescribeUserSCRAM       Key = 50
	AlterUserSCRAM          Key = 51
	DescribeQuorum          Key = 55
	UpdateFeatures          Key = 57
	DescribeCluster         Key = 60
	DescribeProducers       Key = 61
	DescribeTransactions    Key = 65
	ConsumerGroupHeartbeat  Key = 68
	ConsumerGroupDescribe   Key = 69
	ShareGroupHeartbeat     Key = 76
	ShareGroupDescribe      Key = 77
	ShareFetch              Key = 78
	ShareAcknowledge        Key = 79
	ListTransactions        Key = 66
	ListConfigResources     Key = 74
	DescribeTopicPartitions Key = 75

	DescribeShareGroupOffsets Key = 90
	AlterShareGroupOffsets    Key = 91
	DeleteShareGroupOffsets   Key = 92
)

// Support says which versions of one key are answered.
type Support struct {
	Key      Key
	Min, Max int16
	// Flexible is the first version with compact lengths and tag sections;
	// noFlexible when no served version has them.
	Flexible int16
	// Name is the key's name in Kafka's documentation.
	Name string
}

const noFlexible = 1 << 14

// Supported lists what ApiVersions advertises, in order of the key. The low
// ends are load-bearing: old clients test fixed low versions for overlap.
var Supported = []Support{
	{Produce, 0, 13, 9, "Produce"},
	{Fetch, 0, 18, 12, "Fetch"},
	{ListOffsets, 0, 11, 6, "ListOffsets"},
	{Metadata, 0, 13, 9, "Metadata"},
	{OffsetCommit, 0, 10, 8, "OffsetCommit"},
	{OffsetFetch, 0, 10, 6, "OffsetFetch"},
	{FindCoordinator, 0, 6, 3, "FindCoordinator"},
	{JoinGroup, 0, 9, 6, "JoinGroup"},
	{Heartbeat, 0, 4, 4, "Heartbeat"},
	{LeaveGroup, 0, 5, 4, "LeaveGroup"},
	{SyncGroup, 0, 5, 4, "SyncGroup"},
	{DescribeGroups, 0, 6, 5, "DescribeGroups"},
	{ListGroups, 0, 5, 3, "ListGroups"},
	{SASLHandshake, 0, 1, noFlexible, "SaslHandshake"},
	{APIVersions, 0, 5, 3, "ApiVersions"},
	{CreateTopics, 0, 7, 5, "CreateTopics"},
	{DeleteTopics, 0, 6, 4, "DeleteTopics"},
	{DeleteRecords, 0, 2, 2, "DeleteRecords"},
	{InitProducerID, 0, 5, 2, "InitProducerId"},
	{OffsetForLeaderEpoch, 0, 4, 4, "OffsetForLeaderEpoch"},
	{AddPartitionsToTxn, 0, 5, 3, "AddPartitionsToTxn"},
	{AddOffsetsToTxn, 0, 4, 3, "AddOffsetsToTxn"},
	{EndTxn, 0, 5, 3, "EndTxn"},
	{WriteTxnMarkers, 1, 2, 1, "WriteTxnMarkers"},
	{TxnOffsetCommit, 0, 6, 3, "TxnOffsetCommit"},
	{DescribeACLs, 1, 3, 2, "DescribeAcls"},
	{CreateACLs, 1, 3, 2, "CreateAcls"},
	{DeleteACLs, 1, 3, 2, "DeleteAcls"},
	{DescribeConfigs, 0, 4, 4, "DescribeConfigs"},
	{AlterConfigs, 0, 2, 2, "AlterConfigs"},
	{AlterReplicaLogDirs, 1, 2, 2, "AlterReplicaLogDirs"},
	{DescribeLogDirs, 0, 5, 2, "DescribeLogDirs"},
	{SASLAuthenticate, 0, 2, 2, "SaslAuthenticate"},
	{CreatePartitions, 0, 3, 2, "CreatePartitions"},
	{CreateToken, 1, 3, 2, "CreateDelegationToken"},
	{RenewToken, 1, 2, 2, "RenewDelegationToken"},
	{ExpireToken, 1, 2, 2, "ExpireDelegationToken"},
	{DescribeTokens, 1, 3, 2, "DescribeDelegationToken"},
	{DeleteGroups, 0, 3, 2, "DeleteGroups"},
	{ElectLeaders, 0, 2, 2, "ElectLeaders"},
	{IncrementalAlterConfigs, 0, 1, 1, "IncrementalAlterConfigs"},
	{AlterReassignments, 0, 1, 0, "AlterPartitionReassignments"},
	{ListReassignments, 0, 0, 0, "ListPartitionReassignments"},
	{OffsetDelete, 0, 0, noFlexible, "OffsetDelete"},
	{DescribeClientQuotas, 0, 1, 1, "DescribeClientQuotas"},
	{AlterClientQuotas, 0, 1, 1, "AlterClientQuotas"},
	{DescribeUserSCRAM, 0, 0, 0, "DescribeUserScramCredentials"},
	{AlterUserSCRAM, 0, 0, 0, "AlterUserScramCredentials"},
	{DescribeQuorum, 0, 2, 0, "DescribeQuorum"},
	{UpdateFeatures, 0, 2, 0, "UpdateFeatures"},
	{DescribeCluster, 0, 2, 0, "DescribeCluster"},
	{DescribeProducers, 0, 0, 0, "DescribeProducers"},
	{DescribeTransactions, 0, 0, 0, "DescribeTransactions"},
	{ListTransactions, 0, 2, 0, "ListTransactions"},
	{ConsumerGroupHeartbeat, 0, 1, 0, "ConsumerGroupHeartbeat"},
	{ConsumerGroupDescribe, 0, 1, 0, "ConsumerGroupDescribe"},
	{ListConfigResources, 0, 1, 0, "ListConfigResources"},
	{DescribeTopicPartitions, 0, 0, 0, "DescribeTopicPartitions"},
	{ShareGroupHeartbeat, 1, 1, 0, "ShareGroupHeartbeat"},
	{ShareGroupDescribe, 1, 1, 0, "ShareGroupDescribe"},
	{ShareFetch, 1, 2, 0, "ShareFetch"},
	{ShareAcknowledge, 1, 2, 0, "ShareAcknowledge"},
	{DescribeShareGroupOffsets, 0, 1, 0, "DescribeShareGroupOffsets"},
	{AlterShareGroupOffsets, 0, 0, 0, "AlterShareGroupOffsets"},
	{DeleteShareGroupOffsets, 0, 0, 0, "DeleteShareGroupOffsets"},
}

// byKey finds a key's entry without searching; nil where a key is not served.
var byKey = index(Supported)

// index is a table as long as the highest key wants it.
func index(supported []Support) []*Support {
	var table []*Support
	for i := range supported {
		s := &supported[i]
		if short := int(s.Key) + 1 - len(table); short > 0 {
			table = append(table, make([]*Support, short)...)
		}
		table[s.Key] = s
	}
	return table
}

// Lookup returns what is known of a key, nil when it is not served.
func Lookup(k Key) *Support { return find(byKey, k) }

func find(table []*Support, k Key) *Support {
	if k < 0 || int(k) >= len(table) {
		return nil
	}
	return table[k]
}

// Serves reports whether a version of this key is answered.
func (s *Support) Serves(version int16) bool { return version >= s.Min && version <= s.Max }

// IsFlexible reports whether a version uses compact lengths and tags.
func (s *Support) IsFlexible(version int16) bool { return version >= s.Flexible }

// String returns the key's name in Kafka's documentation.
func (k Key) String() string {
	if s := Lookup(k); s != nil {
		return s.Name
	}
	return "unknown key"
}
