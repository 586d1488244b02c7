package wire

import "math"

// shape is a field of a request as Measure has to know it.
type shape struct {
	kind       shapeKind
	bytes      int   // of a fixedSize
	from, upto int16 // versions that have it
	of         []shape
	plain      bool // a list of values, not of structures
}

type shapeKind uint8

const (
	fixedSize shapeKind = iota
	textual             // a string
	binary32            // bytes with a length of 32 bits
	listed
	optional // a structure behind a byte that says whether it is there
)

func fixed(bytes int) shape { return shape{kind: fixedSize, bytes: bytes, upto: math.MaxInt16} }

var (
	i8, i16, i32, i64 = fixed(1), fixed(2), fixed(4), fixed(8)
	uuid              = fixed(16)
	text              = shape{kind: textual, upto: math.MaxInt16}
	blob              = shape{kind: binary32, upto: math.MaxInt16}
)

// list is an array of structures.
func list(of ...shape) shape { return shape{kind: listed, of: of, upto: math.MaxInt16} }

// perhaps is a structure that may be null.
func perhaps(of ...shape) shape { return shape{kind: optional, of: of, upto: math.MaxInt16} }

// plain is an array of values.
func plain(of shape) shape {
	return shape{kind: listed, of: []shape{of}, upto: math.MaxInt16, plain: true}
}

// from is a field that version v added, upto one that v had as the last.
func from(v int16, s shape) shape { s.from = v; return s }
func upto(v int16, s shape) shape { s.upto = v; return s }

// shapes are the layouts of all requests but Produce and Fetch, in the versions
// that are served (https://kafka.apache.org/protocol#protocol_messages). Tagged
// fields stand behind every structure of a flexible version and are not named.
var shapes = map[Key][]shape{
	ListOffsets: {i32, from(2, i8), list(text, list(i32, from(4, i32), i64, upto(0, i32))), from(10, i32)},
	Metadata:    {list(from(10, uuid), text), from(4, i8), from(8, upto(10, i8)), from(8, i8)},
	OffsetCommit: {text, from(1, i32), from(1, text), from(7, text), from(2, upto(4, i64)),
		list(upto(9, text), from(10, uuid), list(i32, i64, from(1, upto(1, i64)), from(6, i32), text))},
	OffsetFetch: {upto(7, text), upto(7, list(text, plain(i32))),
		from(8, list(text, from(9, text), from(9, i32), list(upto(9, text), from(10, uuid), plain(i32)))), from(7, i8)},
	FindCoordinator:      {upto(3, text), from(1, i8), from(4, plain(text))},
	JoinGroup:            {text, i32, from(1, i32), text, from(5, text), text, list(text, blob), from(8, text)},
	Heartbeat:            {text, i32, text, from(3, text)},
	LeaveGroup:           {text, upto(2, text), from(3, list(text, text, from(5, text)))},
	SyncGroup:            {text, i32, text, from(3, text), from(5, text), from(5, text), list(text, blob)},
	DescribeGroups:       {plain(text), from(3, i8)},
	ListGroups:           {from(4, plain(text)), from(5, plain(text))},
	SASLHandshake:        {text},
	APIVersions:          {from(3, text), from(3, text), from(5, text), from(5, i32)},
	CreateTopics:         {list(text, i32, i16, list(i32, plain(i32)), list(text, text)), i32, from(1, i8)},
	DeleteTopics:         {upto(5, plain(text)), from(6, list(text, uuid)), i32},
	DeleteRecords:        {list(text, list(i32, i64)), i32},
	InitProducerID:       {text, i32, from(3, i64), from(3, i16)},
	OffsetForLeaderEpoch: {from(3, i32), list(text, list(i32, from(2, i32), i32))},
	AddPartitionsToTxn: {upto(3, text), upto(3, i64), upto(3, i16), upto(3, list(text, plain(i32))),
		from(4, list(text, i64, i16, i8, list(text, plain(i32))))},
	AddOffsetsToTxn: {text, i64, i16, text},
	EndTxn:          {text, i64, i16, i8},
	WriteTxnMarkers: {list(i64, i16, i8, list(text, plain(i32)), i32, from(2, i8))},
	TxnOffsetCommit: {text, text, i64, i16, from(3, i32), from(3, text), from(3, text),
		list(upto(5, text), from(6, uuid), list(i32, i64, from(2, i32), text))},
	DescribeProducers:       {list(text, plain(i32))},
	DescribeTransactions:    {plain(text)},
	ListTransactions:        {plain(text), plain(i64), from(1, i64), from(2, text)},
	DescribeACLs:            {i8, text, i8, text, text, i8, i8},
	CreateACLs:              {list(i8, text, i8, text, text, i8, i8)},
	DeleteACLs:              {list(i8, text, i8, text, text, i8, i8)},
	DescribeConfigs:         {list(i8, text, plain(text)), from(1, i8), from(3, i8)},
	AlterConfigs:            {list(i8, text, list(text, text)), i8},
	AlterReplicaLogDirs:     {list(text, list(text, plain(i32)))},
	DescribeLogDirs:         {list(text, plain(i32))},
	CreateToken:             {from(3, text), from(3, text), list(text, text), i64},
	RenewToken:              {blob, i64},
	ExpireToken:             {blob, i64},
	DescribeTokens:          {list(text, text)},
	ElectLeaders:            {from(1, i8), list(text, plain(i32)), i32},
	AlterReassignments:      {i32, from(1, i8), list(text, list(i32, plain(i32)))},
	ListReassignments:       {i32, list(text, plain(i32))},
	DescribeQuorum:          {list(text, list(i32))},
	ListConfigResources:     {from(1, plain(i8))},
	DescribeTopicPartitions: {list(text), i32, perhaps(text, i32)},
	SASLAuthenticate:        {blob},
	CreatePartitions:        {list(text, i32, list(plain(i32))), i32, i8},
	DeleteGroups:            {plain(text)},
	IncrementalAlterConfigs: {list(i8, text, list(text, i8, text)), i8},
	OffsetDelete:            {text, list(text, list(i32))},
	DescribeClientQuotas:    {list(text, i8, text), i8},
	AlterClientQuotas:       {list(list(text, text), list(text, i64, i8)), i8},
	DescribeUserSCRAM:       {list(text)},
	AlterUserSCRAM:          {list(text, i8), list(text, i8, i32, blob, blob)},
	UpdateFeatures:          {i32, list(text, i16, i8), from(1, i8)},
	DescribeCluster:         {i8, from(1, i8), from(2, i8)},
	ConsumerGroupHeartbeat: {text, text, i32, text, text, i32, plain(text), from(1, text), text,
		list(uuid, plain(i32))},
	ConsumerGroupDescribe: {plain(text), i8},
	ShareGroupHeartbeat:   {text, text, i32, text, plain(text)},
	ShareGroupDescribe:    {plain(text), i8},
	ShareFetch: {text, text, i32, i32, i32, i32, i32, i32, from(2, i8), from(2, i8),
		list(uuid, list(i32, list(i64, i64, plain(i8)))), list(uuid, plain(i32))},
	DescribeShareGroupOffsets: {list(text, list(text, plain(i32)))},
	AlterShareGroupOffsets:    {text, list(text, list(i32, i64))},
	DeleteShareGroupOffsets:   {text, list(text)},
	ShareAcknowledge:          {text, text, i32, from(2, i8), list(uuid, list(i32, list(i64, i64, plain(i8))))},
}
