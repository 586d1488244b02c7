package wire

import "encoding/binary"

// ProduceRequest is a Produce request, versions 0 to 13, parsed in place. It is
// meant to be reused: Parse keeps the slices' memory, so that a steady stream
// of requests allocates nothing.
//
// Layout (s = string, a = array, t = tags; compact from version 9 on; numbers in
// brackets: from that version on):
//
//	txn id s(null) [3], acks i16, timeout i32,
//	a[ name s, or topic id [13], a[ partition i32, records bytes(null), t ], t ], t
type ProduceRequest struct {
	Version       int16
	TransactionID []byte // nil when not transactional
	Acks          int16
	TimeoutMillis int32
	Topics        []ProduceTopic
	Partitions    []ProducePartition // of all topics, in request order

	ThrottleMillis int32 // of the response: how long the connection is not read
}

// TopicID names a topic, and no other that has its name later.
type TopicID [16]byte

// idsInProduce and IDsInFetch are the first versions that name topics by ids.
const (
	idsInProduce = 13
	IDsInFetch   = 13
)

// ProduceTopic is one topic's run inside ProduceRequest.Partitions.
type ProduceTopic struct {
	Name       []byte // aliases the frame; nil where the topic is named by its id
	ID         TopicID
	First, Len int // its partitions are Partitions[First : First+Len]
}

// ProducePartition is what is produced to one partition, and its outcome,
// which the handler fills in before AppendResponse.
type ProducePartition struct {
	Index   int32
	Records []byte // aliases the frame; nil for null

	Err                 Code
	BaseOffset          int64
	LogAppendTimeMillis int64
	LogStartOffset      int64
	Message             string // for people, sent from version 8 on; empty = none
	Faults              []RecordFault
}

// RecordFault says of one record of a batch that was refused why it was (KIP-467, from version 8 on).
type RecordFault struct {
	Record  int32 // of its batch, from 0 on
	Message string
}

// Smallest encodings of one topic and one partition in a request.
const (
	minProduceTopicBytes     = 3 // empty compact name, empty array, tags
	minProducePartitionBytes = 6 // index, records length, tags
	minRecordFaultBytes      = 6
	minFetchTopicBytes       = 3
	minFetchPartitionBytes   = 16
)

// Parse reads body as a request of the given version, replacing q's content.
func (q *ProduceRequest) Parse(version int16, body []byte) error {
	flexible := version >= 9
	r := decoder{src: body}
	q.Version, q.ThrottleMillis = version, 0
	q.Topics, q.Partitions = q.Topics[:0], q.Partitions[:0]
	q.TransactionID = nil
	if version >= 3 {
		q.TransactionID, _ = r.str(flexible)
	}
	q.Acks, q.TimeoutMillis = r.int16(), r.int32()
	for topics := r.array(flexible, minProduceTopicBytes); topics > 0 && !r.bad; topics-- {
		t := ProduceTopic{First: len(q.Partitions)}
		t.Name, t.ID = r.topic(flexible, version >= idsInProduce)
		for n := r.array(flexible, minProducePartitionBytes); n > 0 && !r.bad; n-- {
			q.Partitions = append(q.Partitions, ProducePartition{Index: r.int32(), Records: r.bytes(flexible)})
			r.tags(flexible)
		}
		r.tags(flexible)
		t.Len = len(q.Partitions) - t.First
		q.Topics = append(q.Topics, t)
		r.bound(len(q.Topics), len(q.Partitions))
	}
	r.tags(flexible)
	return r.done()
}

// Of returns the partitions of one topic of the request.
func (q *ProduceRequest) Of(t ProduceTopic) []ProducePartition {
	return q.Partitions[t.First : t.First+t.Len]
}

// AppendResponse appends the response body that reports each partition's
// outcome.
func (q *ProduceRequest) AppendResponse(dst []byte) []byte {
	flexible := q.Version >= 9
	dst = appendArray(dst, flexible, len(q.Topics))
	for _, t := range q.Topics {
		dst = appendTopic(dst, flexible, q.Version >= idsInProduce, t.Name, t.ID)
		dst = appendArray(dst, flexible, t.Len)
		for i := range q.Of(t) {
			dst = q.Partitions[t.First+i].appendTo(dst, q.Version, flexible)
		}
		dst = appendTags(dst, flexible)
	}
	if q.Version >= 1 {
		dst = appendInt32(dst, q.ThrottleMillis)
	}
	return appendTags(dst, flexible)
}

func (p *ProducePartition) appendTo(dst []byte, version int16, flexible bool) []byte {
	dst = appendInt32(dst, p.Index)
	dst = appendInt16(dst, int16(p.Err))
	dst = appendInt64(dst, p.BaseOffset)
	if version >= 2 {
		dst = appendInt64(dst, p.LogAppendTimeMillis)
	}
	if version >= 5 {
		dst = appendInt64(dst, p.LogStartOffset)
	}
	if version >= 8 {
		dst = appendArray(dst, flexible, len(p.Faults))
		for i := range p.Faults {
			dst = appendString(appendInt32(dst, p.Faults[i].Record), flexible, p.Faults[i].Message)
			dst = appendTags(dst, flexible)
		}
		if p.Message == "" {
			dst = appendNullString(dst, flexible)
		} else {
			dst = appendString(dst, flexible, p.Message)
		}
	}
	return appendTags(dst, flexible)
}

// Fail sets the outcome of a partition to an error, with the values Kafka
// sends beside one.
func (p *ProducePartition) Fail(code Code, message string) {
	p.Err, p.Message = code, Text(message)
	p.BaseOffset, p.LogAppendTimeMillis, p.LogStartOffset = -1, -1, -1
}

// FailResponse turns an encoded Produce response body (without the header) into
// one that reports code for every partition that had succeeded. It is for what
// fails after the request's own bytes are gone: the flush that acks=all waits for.
func FailResponse(body []byte, version int16, code Code) {
	flexible := version >= 9
	r := decoder{src: body}
	at := func() int { return len(body) - len(r.src) }
	for topics := r.array(flexible, 1); topics > 0 && !r.bad; topics-- {
		r.topic(flexible, version >= idsInProduce)
		for n := r.array(flexible, 1); n > 0 && !r.bad; n-- {
			r.int32()
			start := at()
			if r.int16() == 0 {
				binary.BigEndian.PutUint16(body[start:], uint16(code))
				binary.BigEndian.PutUint64(body[start+2:], ^uint64(0))
			}
			skipProducedRest(&r, version, flexible)
		}
		r.tags(flexible)
	}
}

// skipProducedRest passes what stands behind a partition's error code.
func skipProducedRest(r *decoder, version int16, flexible bool) {
	r.int64()
	if version >= 2 {
		r.int64()
	}
	if version >= 5 {
		r.int64()
	}
	if version >= 8 {
		for n := r.array(flexible, minRecordFaultBytes); n > 0 && !r.bad; n-- {
			r.int32()
			r.str(flexible)
			r.tags(flexible)
		}
		r.str(flexible)
	}
	r.tags(flexible)
}
