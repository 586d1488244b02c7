package wire

import "math"

// FetchRequest is a Fetch request, versions 0 to 18, parsed in place and meant
// to be reused as ProduceRequest is.
//
// Layout (numbers in brackets: from that version on; compact from 12 on):
//
//	replica i32 [to 14], max wait i32, min bytes i32, max bytes i32 [3], isolation i8 [4],
//	session i32 + epoch i32 [7],
//	a[ name s, or topic id [13], a[ partition i32, leader epoch i32 [9], offset i64,
//	   last fetched epoch i32 [12], log start i64 [5], max bytes i32, t ], t ],
//	forgotten a[ name s, or topic id [13], a[ partition i32 ], t ] [7], rack s [11], t
type FetchRequest struct {
	Version       int16
	MaxWaitMillis int32
	MinBytes      int32
	MaxBytes      int32
	Isolation     int8
	SessionID     int32
	SessionEpoch  int32 // -1 when the client wants no session
	Topics        []FetchTopic
	Partitions    []FetchPartition // of all topics, in request order
	Forgotten     []FetchTopic     // what leaves the session: runs inside ForgottenOf
	ForgottenOf   []int32          // partitions, by their numbers
}

// FetchTopic is one topic's run inside FetchRequest.Partitions.
type FetchTopic struct {
	Name       []byte // aliases the frame; nil where the topic is named by its id
	ID         TopicID
	First, Len int
}

// FetchPartition is one partition asked for.
type FetchPartition struct {
	Index       int32
	LeaderEpoch int32 // -1: no check
	Offset      int64
	MaxBytes    int32
}

// Parse reads body as a request of the given version, replacing q's content.
func (q *FetchRequest) Parse(version int16, body []byte) error {
	flexible := version >= 12
	r := decoder{src: body}
	q.Version = version
	q.Topics, q.Partitions = q.Topics[:0], q.Partitions[:0]
	q.Forgotten, q.ForgottenOf = q.Forgotten[:0], q.ForgottenOf[:0]
	if version <= 14 {
		r.int32() // replica, which is a tagged field later
	}
	q.MaxWaitMillis, q.MinBytes, q.MaxBytes, q.Isolation = r.int32(), r.int32(), math.MaxInt32, 0
	if version >= 3 {
		q.MaxBytes = r.int32()
	}
	if version >= 4 {
		q.Isolation = r.int8()
	}
	q.SessionID, q.SessionEpoch = 0, -1
	if version >= 7 {
		q.SessionID, q.SessionEpoch = r.int32(), r.int32()
	}
	for n := r.array(flexible, minFetchTopicBytes); n > 0 && !r.bad; n-- {
		t := FetchTopic{First: len(q.Partitions)}
		t.Name, t.ID = r.topic(flexible, version >= IDsInFetch)
		q.parsePartitions(&r, flexible)
		t.Len = len(q.Partitions) - t.First
		q.Topics = append(q.Topics, t)
		r.bound(len(q.Topics), len(q.Partitions))
	}
	if version >= 7 {
		q.parseForgotten(&r, flexible)
	}
	if version >= 11 {
		r.str(flexible) // rack
	}
	r.tags(flexible)
	return r.done()
}

func (q *FetchRequest) parsePartitions(r *decoder, flexible bool) {
	for n := r.array(flexible, minFetchPartitionBytes); n > 0 && !r.bad; n-- {
		p := FetchPartition{Index: r.int32(), LeaderEpoch: -1}
		if q.Version >= 9 {
			p.LeaderEpoch = r.int32()
		}
		p.Offset = r.int64()
		if q.Version >= 12 {
			r.int32() // last fetched epoch: there is one epoch only
		}
		if q.Version >= 5 {
			r.int64() // log start, sent by followers
		}
		p.MaxBytes = r.int32()
		r.tags(flexible)
		q.Partitions = append(q.Partitions, p)
	}
	r.tags(flexible)
}

// parseForgotten reads the partitions to be dropped from a session.
func (q *FetchRequest) parseForgotten(r *decoder, flexible bool) {
	for n := r.array(flexible, minFetchTopicBytes); n > 0 && !r.bad; n-- {
		t := FetchTopic{First: len(q.ForgottenOf)}
		t.Name, t.ID = r.topic(flexible, q.Version >= IDsInFetch)
		for m := r.array(flexible, 4); m > 0 && !r.bad; m-- {
			q.ForgottenOf = append(q.ForgottenOf, r.int32())
		}
		r.tags(flexible)
		t.Len = len(q.ForgottenOf) - t.First
		q.Forgotten = append(q.Forgotten, t)
		r.bound(len(q.Forgotten), len(q.ForgottenOf))
	}
}

// Of returns the partitions of one topic of the request.
func (q *FetchRequest) Of(t FetchTopic) []FetchPartition {
	return q.Partitions[t.First : t.First+t.Len]
}
