package wire

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// FetchResponse builds a Fetch response as a list of pieces for one vectored
// write: small pieces that it encodes itself, and the records, which are
// passed by reference and never copied. It is reused: Begin forgets what was
// there.
//
// Layout (numbers in brackets: from that version on; compact from 12 on):
//
//	throttle i32 [1], error i16 + session i32 [7],
//	a[ name s, or topic id [13], a[ partition i32, error i16, high watermark i64,
//	   last stable i64 [4], log start i64 [5], aborted a(null)[ producer i64, first offset i64, t ] [4],
//	   preferred replica i32 [11], records bytes, t ], t ], t
type FetchResponse struct {
	Pieces
	version  int16
	flexible bool

	ThrottleMillis int32 // how long the connection is not read; set before Begin, which forgets it
}

// Pieces is a response with records as a list of pieces. The zero value is ready.
type Pieces struct {
	head    []byte   // everything but records
	cuts    []cut    // where records stand between the bytes of head
	records int      // bytes of records in all
	pieces  [][]byte // memory of the last Finish
}

// cut is a run of records behind head[:at].
type cut struct {
	at   int
	data []byte
}

// Begin starts a response to h with a number of topics, in a session or, with 0, in none.
func (b *FetchResponse) Begin(h Header, code Code, session int32, topics int) {
	b.version, b.flexible = h.Version, Lookup(Fetch).IsFlexible(h.Version)
	b.begin(h)
	if b.version >= 1 {
		b.head = appendInt32(b.head, b.ThrottleMillis)
	}
	b.ThrottleMillis = 0
	if b.version >= 7 {
		b.head = appendInt16(b.head, int16(code))
		b.head = appendInt32(b.head, session)
	}
	b.head = appendArray(b.head, b.flexible, topics)
}

// Topic starts the next topic, as the request named it, which has a number of partitions.
func (b *FetchResponse) Topic(name []byte, id TopicID, partitions int) {
	b.head = appendTopic(b.head, b.flexible, b.version >= IDsInFetch, name, id)
	b.head = appendArray(b.head, b.flexible, partitions)
}

// EndTopic ends what Topic began.
func (b *FetchResponse) EndTopic() { b.head = appendTags(b.head, b.flexible) }

// FetchState is what a response says of a partition beside its records.
type FetchState struct {
	Index            int32
	Err              Code
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	Records          int // bytes of records that Records calls will bring
	// Aborted are the transactions that were aborted among the records, by their first
	// offsets; nil for who does not ask for it.
	Aborted []Aborted
}

// Aborted is a transaction of which a reader of what is committed drops everything from an
// offset on up to the marker.
type Aborted struct {
	ProducerID int64
	First      int64
}

// Partition starts a partition. Calls of Records that bring exactly
// state.Records bytes follow, then EndPartition.
func (b *FetchResponse) Partition(state FetchState) {
	dst := appendInt32(b.head, state.Index)
	dst = appendInt16(dst, int16(state.Err))
	dst = appendInt64(dst, state.HighWatermark)
	if b.version >= 4 {
		dst = appendInt64(dst, state.LastStableOffset)
	}
	if b.version >= 5 {
		dst = appendInt64(dst, state.LogStartOffset)
	}
	if b.version >= 4 {
		dst = b.appendAborted(dst, state.Aborted)
	}
	if b.version >= 11 {
		dst = appendInt32(dst, -1) // no preferred replica
	}
	if b.flexible {
		dst = binary.AppendUvarint(dst, uint64(state.Records)+1)
	} else {
		dst = appendInt32(dst, int32(state.Records))
	}
	b.head = dst
}

func (b *FetchResponse) appendAborted(dst []byte, list []Aborted) []byte {
	if list == nil {
		return appendNullArray(dst, b.flexible)
	}
	dst = appendArray(dst, b.flexible, len(list))
	for _, a := range list {
		dst = appendInt64(appendInt64(dst, a.ProducerID), a.First)
		dst = appendTags(dst, b.flexible)
	}
	return dst
}

func (b *Pieces) begin(h Header) {
	clear(b.cuts) // no reference to a view may outlive its response
	b.cuts, b.records = b.cuts[:0], 0
	b.head = AppendResponseHeader(b.head[:0], h)
}

// Records adds bytes of records by reference: they must stay valid until the
// pieces returned by Finish have been written.
func (b *Pieces) Records(data []byte) {
	b.cuts = append(b.cuts, cut{len(b.head), data})
	b.records += len(data)
}

// EndPartition ends what Partition began.
func (b *FetchResponse) EndPartition() { b.head = appendTags(b.head, b.flexible) }

// Finish ends the response and returns its pieces in order. They are valid
// until Begin.
func (b *FetchResponse) Finish() [][]byte {
	b.head = appendTags(b.head, b.flexible)
	return b.finish()
}

func (b *Pieces) finish() [][]byte {
	Finish(b.head, 0, b.records)
	clear(b.pieces)
	b.pieces = b.pieces[:0]
	from := 0
	for _, c := range b.cuts {
		if c.at > from {
			b.pieces = append(b.pieces, b.head[from:c.at:c.at])
		}
		if len(c.data) > 0 {
			b.pieces = append(b.pieces, c.data)
		}
		from = c.at
	}
	b.pieces = append(b.pieces, b.head[from:])
	return b.pieces
}

// ShareFetch encodes a ShareFetch response, in which the records of partitions are not: add calls Records for those of one, named by the
// places of its topic and its own, which are size bytes. The pieces are valid until the next response.
func (b *Pieces) ShareFetch(h Header, res *kmsg.ShareFetchResponse, size func(topic, part int) int, add func(topic, part int)) [][]byte {
	b.begin(h)
	dst := appendInt32(b.head, res.ThrottleMillis)
	dst = appendInt16(dst, res.ErrorCode)
	dst = appendNullable(dst, res.ErrorMessage)
	dst = appendInt32(dst, res.AcquisitionLockTimeoutMillis)
	dst = appendArray(dst, true, len(res.Topics))
	for i := range res.Topics {
		t := &res.Topics[i]
		dst = append(dst, t.TopicID[:]...)
		dst = appendArray(dst, true, len(t.Partitions))
		for k := range t.Partitions {
			p := &t.Partitions[k]
			dst = appendInt32(dst, p.Partition)
			dst = appendNullable(appendInt16(dst, p.ErrorCode), p.ErrorMessage)
			dst = appendNullable(appendInt16(dst, p.AcknowledgeErrorCode), p.AcknowledgeErrorMessage)
			dst = appendTags(appendInt32(appendInt32(dst, p.CurrentLeader.LeaderID), p.CurrentLeader.LeaderEpoch), true)
			dst = binary.AppendUvarint(dst, uint64(size(i, k))+1)
			b.head = dst
			add(i, k)
			dst = appendArray(dst, true, len(p.AcquiredRecords))
			for n := range p.AcquiredRecords {
				run := &p.AcquiredRecords[n]
				dst = appendInt64(appendInt64(dst, run.FirstOffset), run.LastOffset)
				dst = appendTags(appendInt16(dst, run.DeliveryCount), true)
			}
			dst = appendTags(dst, true)
		}
		dst = appendTags(dst, true)
	}
	dst = appendArray(dst, true, 0) // nodes that lead elsewhere
	b.head = appendTags(dst, true)
	return b.finish()
}

func appendNullable(dst []byte, v *string) []byte {
	if v == nil {
		return appendNullString(dst, true)
	}
	return appendString(dst, true, *v)
}

// Forget drops the references to records once the response was written.
func (b *Pieces) Forget() {
	clear(b.cuts)
	clear(b.pieces[:cap(b.pieces)])
	b.cuts, b.pieces = b.cuts[:0], b.pieces[:0]
}
