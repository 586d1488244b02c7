package broker

import "sync/atomic"

// Counters are running totals since the start. Their owners add to them once per
// batch; a scrape reads them.
type Counters struct {
	Published         atomic.Uint64 // messages that came in
	PublishedBytes    atomic.Uint64 // their bodies; of Kafka producers their batches
	Routed            atomic.Uint64 // messages that reached a queue
	Unroutable        atomic.Uint64 // messages that reached none
	Stored            atomic.Uint64 // copies in queues
	Delivered         atomic.Uint64 // messages handed to consumers, gets included
	DeliveredBytes    atomic.Uint64
	Redelivered       atomic.Uint64          // of these, not for the first time
	Compactions       atomic.Uint64          // of logs of compacted topics
	CompactedAway     atomic.Uint64          // records that these removed
	CompactionsFailed atomic.Uint64          // of logs that could not be compacted
	Duplicates        atomic.Uint64          // messages that an exchange did not route or a queue did not take, since it had seen them
	Passed            atomic.Uint64          // messages that retention took before a stream's consumer had got them
	Overdue           atomic.Uint64          // messages that went back because they were held for too long
	Left              [Reasons]atomic.Uint64 // messages that left their queues, by reason
	DeadLettered      [Reasons]atomic.Uint64 // of these, copied to where their queue sends dead letters
	DeadLettersLost   [Losses]atomic.Uint64  // dead letters that a queue they belong to does not have
	DelayedLost       [Losses]atomic.Uint64  // delayed messages that had no place when they were due
	Fetched           atomic.Uint64          // records read by offset
	FetchedBytes      atomic.Uint64
	Replies           atomic.Uint64 // handed to their requesters, and in no queue
	RepliesDropped    atomic.Uint64 // for which a requester had no room

	overLimit [countedKinds][2]atomic.Uint64 // see OverLimit
	// Throttled is for how many nanoseconds connections were to be left unread, or without deliveries, for
	// the rates of their users and virtual hosts: what they published, and what they got.
	Throttled [2]atomic.Uint64
}

// OverLimit calls fn with how many connections, channels, queues and consumers were refused for a limit, by its name and
// whose it is: "user" or "vhost".
func (c *Counters) OverLimit(fn func(limit, of string, n uint64)) {
	for k := range c.overLimit {
		fn(limitNames[k], "user", c.overLimit[k][0].Load())
		fn(limitNames[k], "vhost", c.overLimit[k][1].Load())
	}
}

// Counters are the broker's totals; listeners add what only they see.
func (b *Broker) Counters() *Counters { return &b.counters }

// QueueStats are one queue's figures at a moment.
type QueueStats struct {
	VHost, Name string
	Topic       bool
	Ready       int64
	Unacked     int64
	Retrying    int64 // messages that came back and wait to be ready again
	Consumers   int
	Bytes       int64
	Segments    int
	Partitions  int
	ReadOnly    string // why, if it is
	Flow        Flow
	Oldest      Age // of the message that Queue.Oldest is about; only in what Broker.QueueStats returns
}

// Age is how old a message is.
type Age struct {
	Known    bool  // else there is none, or nobody knows just now
	Ms       int64 // since it was stored
	Property int64 // its AMQP property timestamp, in seconds since 1970; 0 for none
}

// Stats is what a scrape reads.
type Stats struct {
	Store  StoreStats
	Err    string // why nothing can be written, if so
	Queues int    // that there are
	Delays []DelayStats
	Flow   Flow  // of all virtual hosts
	Churn  Churn // what came and went
	// Scratch is what unfinished messages take on disk, ScratchLimit the most that they may.
	Scratch, ScratchLimit int64
}

// DelayStats are the figures of one exchange that delays messages.
type DelayStats struct {
	VHost, Exchange string
	Waiting         int64 // messages whose time has not come
}

// StoreStats are the figures of the storage, running totals since it was opened.
type StoreStats struct {
	Mode          string // what a confirm means by default
	AppendedBytes uint64
	Syncs         uint64
	SyncErrors    uint64
	SyncBuckets   []SyncBucket // cumulative, as Prometheus wants them
	SyncSeconds   float64
}

// SyncBucket counts the flushes that took at most Le seconds.
type SyncBucket struct {
	Le    float64
	Count uint64
}

func (b *Broker) storeStats() StoreStats {
	s := b.store.Stats()
	out := StoreStats{Mode: s.Mode.String(), AppendedBytes: s.AppendedBytes, Syncs: s.Syncs, SyncErrors: s.SyncErrors, SyncSeconds: s.SyncSeconds}
	for _, k := range s.SyncBuckets {
		out.SyncBuckets = append(out.SyncBuckets, SyncBucket(k))
	}
	return out
}

// Stats collects the figures of the whole.
func (b *Broker) Stats() Stats {
	out := Stats{Store: b.storeStats(), Scratch: b.scratch.used.Load(), ScratchLimit: b.scratch.limit}
	if err := b.store.Err(); err != nil {
		out.Err = err.Error()
	}
	out.Queues = b.queueCount()
	out.Churn = b.Churn()
	for _, v := range b.VHosts() {
		out.Flow.Add(v.Flow())
		for _, x := range v.Exchanges() {
			if x.delays != nil {
				out.Delays = append(out.Delays, DelayStats{VHost: v.Name, Exchange: x.Name, Waiting: x.delays.waiting()})
			}
		}
	}
	return out
}

func (b *Broker) queueCount() (n int) {
	for _, v := range b.VHosts() {
		v.queues.all(func(*Queue) { n++ })
	}
	return n
}

// QueueStats collects the figures of every queue.
func (b *Broker) QueueStats() []QueueStats {
	out := make([]QueueStats, 0, b.queueCount())
	for _, v := range b.VHosts() {
		v.queues.all(func(q *Queue) {
			s := q.Stats()
			s.Oldest = b.ageOf(q.Oldest(false))
			out = append(out, s)
		})
	}
	return out
}

// Stats are the queue's figures. Nothing is opened, no cursor made and no disk waited for
// for them: what is ready may be a little off where that would have to be read.
func (q *Queue) Stats() QueueStats {
	s := QueueStats{VHost: q.vhost.Name, Name: q.Name, Topic: q.Topic, Consumers: q.Consumers(), Unacked: q.Unacked(), Partitions: len(q.inTurn()), Flow: q.Flow()}
	for _, p := range q.inTurn() {
		f := p.log.Figures()
		s.Bytes += f.Bytes
		s.Segments += f.Segments
		if c := p.cursor.Load(); c != nil {
			n, _ := c.ReadyNow()
			s.Ready += n
			s.Retrying += c.Retrying()
		} else {
			s.Ready += f.Waiting // all records, if nobody ever worked on it
		}
		if err := p.log.Err(); err != nil {
			s.ReadOnly = err.Error()
		}
	}
	return s
}

// GroupStats is how far a consumer group of Kafka's is.
type GroupStats struct {
	VHost, Name string
	Members     int
	Positions   []GroupPosition // what it has committed, by topic and partition
}

// GroupPosition is how far a group is in one partition.
type GroupPosition struct {
	Topic     string
	Partition int32
	Offset    int64 // the one that it reads next
	Lag       int64 // messages from there to the partition's end
	Age       Age   // of the first of these
}

// PartitionStats is where a partition of a queue or topic begins and ends.
type PartitionStats struct {
	VHost, Queue string
	Partition    int32
	Start, End   int64 // offsets of the first message and behind the last
}

// PartitionStats calls fn for every partition of every queue and topic. Nothing is opened for it.
func (b *Broker) PartitionStats(fn func(PartitionStats)) {
	for _, v := range b.VHosts() {
		v.queues.all(func(q *Queue) {
			for _, p := range q.Partitions() {
				s := PartitionStats{VHost: v.Name, Queue: q.Name, Partition: p.index}
				s.Start, s.End = p.Ends()
				fn(s)
			}
		})
	}
}

// Ends are the offsets of the first message and behind the last. Nothing is opened for them.
func (p *Partition) Ends() (start, end int64) {
	f := p.log.Figures()
	return int64(f.Start), int64(f.End)
}
