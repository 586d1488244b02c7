package group

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// OffsetPartitions is how many partitions Kafka's topic of committed offsets has by default; a group is in one of them.
const OffsetPartitions = 50

// OffsetLog is what groups have committed, and their members, as Kafka's brokers write it to their topic __consumer_offsets: records
// of which the newest of a key counts. It is for tools that take lag from there. Nothing of it is stored: it is made of what groups
// have when it is first asked for, and follows them from then on, compacted all the time. Its offsets begin anew with each start of
// the broker, above all that there were before.
type OffsetLog struct {
	mu    sync.Mutex // a leaf
	parts [OffsetPartitions]offsetPart
	wakes map[*func()]struct{}
}

type offsetPart struct {
	start, next int64
	records     []LoggedOffset
	newest      map[string]int64 // by key, the offset of what counts
	compactAt   int              // records there are when it is compacted next
}

// LoggedOffset is a record of it. A nil value says that the key is gone. The bytes must not be changed.
type LoggedOffset struct {
	Offset     int64
	Time       time.Time
	Key, Value []byte
}

// keptTombstones is for how long it is said that a key is gone.
const keptTombstones = 24 * time.Hour

// OffsetLog is the log of what the coordinator's groups commit, made when it is first asked for.
func (c *Coordinator) OffsetLog() *OffsetLog {
	if l := c.log.Load(); l != nil {
		return l
	}
	l := &OffsetLog{wakes: map[*func()]struct{}{}}
	base := time.Now().UnixMilli() * 1000 // so many commits a second in one partition and no more
	for i := range l.parts {
		l.parts[i] = offsetPart{start: base, next: base, newest: map[string]int64{}}
	}
	if !c.log.CompareAndSwap(nil, l) {
		return c.log.Load()
	}
	for _, g := range c.all() { // what is committed from now on is logged by itself
		g.mu.Lock()
		if !g.dead {
			for topic, partitions := range g.offsets {
				for n, o := range partitions {
					l.committed(&Change{Group: g.id, Topic: topic, Partition: n, Offset: o})
				}
			}
			l.grouped(g)
		}
		g.mu.Unlock()
	}
	return l
}

// OffsetPartition is the partition that a group is in: Java's hash of its name.
func OffsetPartition(group string) int {
	h := int32(0)
	for _, r := range group { // UTF-16, as Java has it
		if r > 0xffff {
			r -= 0x10000
			h = 31*h + 0xd800 + r>>10
			r = 0xdc00 + r&0x3ff
		}
		h = 31*h + r
	}
	return int(h&0x7fffffff) % OffsetPartitions
}

// committed logs a commit, or that one was removed. The group's lock is held.
func (l *OffsetLog) committed(ch *Change) {
	key := binary.BigEndian.AppendUint16(nil, 1)
	key = appendShort(key, ch.Group)
	key = appendShort(key, ch.Topic)
	key = binary.BigEndian.AppendUint32(key, uint32(ch.Partition))
	var value []byte
	at := time.Now()
	if !ch.Delete {
		at = ch.Offset.Committed
		value = binary.BigEndian.AppendUint16(nil, 3)
		value = binary.BigEndian.AppendUint64(value, uint64(ch.Offset.Offset))
		value = binary.BigEndian.AppendUint32(value, uint32(ch.Offset.LeaderEpoch))
		value = appendShort(value, ch.Offset.Metadata)
		value = binary.BigEndian.AppendUint64(value, uint64(at.UnixMilli()))
	}
	l.add(ch.Group, key, value, at)
}

// grouped logs what a classic group is, as its coordinator keeps it. The group's lock is held.
func (l *OffsetLog) grouped(g *group) {
	if g.modern != nil {
		return // it has other records, which these tools do not read
	}
	key := appendShort(binary.BigEndian.AppendUint16(nil, 2), g.id)
	now := time.Now()
	value := binary.BigEndian.AppendUint16(nil, 3)
	value = appendShort(value, g.protocolType)
	value = binary.BigEndian.AppendUint32(value, uint32(g.generation))
	value = appendNullable(value, g.protocol)
	value = appendNullable(value, g.leader)
	value = binary.BigEndian.AppendUint64(value, uint64(now.UnixMilli()))
	value = binary.BigEndian.AppendUint32(value, uint32(len(g.members)))
	for _, m := range g.members {
		value = appendShort(value, m.id)
		value = appendNullable(value, m.instance)
		value = appendShort(value, m.clientID)
		value = appendShort(value, m.clientHost)
		value = binary.BigEndian.AppendUint32(value, uint32(m.rebalance.Milliseconds()))
		value = binary.BigEndian.AppendUint32(value, uint32(m.session.Milliseconds()))
		for _, b := range [2][]byte{m.metadata(g.protocol), m.assignment} {
			value = append(binary.BigEndian.AppendUint32(value, uint32(len(b))), b...)
		}
	}
	l.add(g.id, key, value, now)
}

// ungrouped logs that a group is gone.
func (l *OffsetLog) ungrouped(name string) {
	l.add(name, appendShort(binary.BigEndian.AppendUint16(nil, 2), name), nil, time.Now())
}

// appendShort appends a string with 16 bits for its length; what is longer is cut.
func appendShort(dst []byte, s string) []byte {
	s = s[:min(len(s), 1<<15-1)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, 0xff, 0xff)
	}
	return appendShort(dst, s)
}

func (l *OffsetLog) add(group string, key, value []byte, at time.Time) {
	l.mu.Lock()
	p := &l.parts[OffsetPartition(group)]
	p.newest[string(key)] = p.next
	p.records = append(p.records, LoggedOffset{p.next, at, key, value})
	p.next++
	if len(p.records) > p.compactAt {
		p.compact()
		p.compactAt = 2*len(p.records) + 100
	}
	for wake := range l.wakes {
		(*wake)()
	}
	l.mu.Unlock()
}

// compact drops what does not count any more.
func (p *offsetPart) compact() {
	limit := time.Now().Add(-keptTombstones)
	p.records = slices.DeleteFunc(p.records, func(r LoggedOffset) bool {
		if p.newest[string(r.Key)] != r.Offset {
			return true
		}
		if r.Value == nil && r.Time.Before(limit) {
			delete(p.newest, string(r.Key))
			return true
		}
		return false
	})
}

// Bounds are where a partition begins and ends.
func (l *OffsetLog) Bounds(partition int) (start, end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parts[partition].start, l.parts[partition].next
}

// Read returns records from an offset on, about so many bytes of them, and at least one if there is one.
func (l *OffsetLog) Read(partition int, from int64, maxBytes int) (out []LoggedOffset) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.parts[partition]
	at, _ := slices.BinarySearchFunc(p.records, from, func(r LoggedOffset, o int64) int { return cmp.Compare(r.Offset, o) })
	for bytes := 0; at < len(p.records) && (len(out) == 0 || bytes < maxBytes); at++ {
		r := p.records[at]
		if p.newest[string(r.Key)] != r.Offset {
			continue
		}
		bytes += len(r.Key) + len(r.Value) + 40
		out = append(out, r)
	}
	return out
}

// Watch has wake called after records were added, until stop is called. wake must not block, nor call back.
func (l *OffsetLog) Watch(wake func()) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wakes[&wake] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.wakes, &wake)
	}
}
