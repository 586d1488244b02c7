package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// GroupOffset is how far a group has come in one partition of a topic.
type GroupOffset struct {
	Group       string
	Topic       string
	TopicID     [16]byte // the topic it was committed for, not another of that name
	Partition   int32
	Offset      int64
	LeaderEpoch int32
	Committed   time.Time
	Metadata    string
}

// Committed offsets are kept in the store's table "groups", an entry each:
//
//	key    o/VHOST/GROUP/TOPIC/PARTITION     parts escaped as in a URL's path
//	value  0         1          9            13              21         37
//	      +---------+----------+------------+---------------+----------+------------ ...
//	      | version | offset   | leader     | committed at  | topic id | metadata,
//	      | 2, u8   | int64    | epoch i32  | ms, int64     | 16 bytes | UTF-8
//	      +---------+----------+------------+---------------+----------+------------ ...
//
// Version 1 has no topic id: it is taken to be for the topic that bears the name.
// Integers are big-endian. A version that is not known refuses to start, since
// a group that begins anew would work everything off twice.
const (
	offsetsTable    = "groups"
	offsetsPrefix   = "o/"
	offsetVersion   = 2
	offsetV1Bytes   = 21
	offsetMinBytes  = offsetV1Bytes + 16
	offsetV1Version = 1
)

var errOffsetRecord = errors.New("malformed committed offset")

func (o *GroupOffset) key(vhost string) string {
	return offsetsPrefix + url.PathEscape(vhost) + "/" + url.PathEscape(o.Group) + "/" + url.PathEscape(o.Topic) +
		"/" + strconv.Itoa(int(o.Partition))
}

func (o *GroupOffset) append(dst []byte) []byte {
	dst = append(dst, offsetVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.LeaderEpoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Committed.UnixMilli()))
	dst = append(dst, o.TopicID[:]...)
	return append(dst, o.Metadata...)
}

// parseOffset reads an entry back.
func parseOffset(key string, value []byte) (vhost string, o GroupOffset, err error) {
	parts := strings.Split(strings.TrimPrefix(key, offsetsPrefix), "/")
	if len(parts) != 4 {
		return "", o, fmt.Errorf("%w: key %q", errOffsetRecord, key)
	}
	var names [3]string
	for i := range names {
		if names[i], err = url.PathUnescape(parts[i]); err != nil {
			return "", o, fmt.Errorf("%w: key %q: %w", errOffsetRecord, key, err)
		}
	}
	partition, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil {
		return "", o, fmt.Errorf("%w: key %q: %w", errOffsetRecord, key, err)
	}
	o = GroupOffset{Group: names[1], Topic: names[2], Partition: int32(partition)}
	return names[0], o, o.parse(key, value)
}

func (o *GroupOffset) parse(key string, value []byte) error {
	least := offsetMinBytes
	if len(value) > 0 && value[0] == offsetV1Version {
		least = offsetV1Bytes
	}
	switch {
	case len(value) > 0 && (value[0] == 0 || value[0] > offsetVersion):
		return fmt.Errorf("committed offset %q has version %d: was it written by a newer version?", key, value[0])
	case len(value) < least:
		return fmt.Errorf("%w: %q has %d bytes", errOffsetRecord, key, len(value))
	}
	o.Offset = int64(binary.BigEndian.Uint64(value[1:]))
	o.LeaderEpoch = int32(binary.BigEndian.Uint32(value[9:]))
	o.Committed = time.UnixMilli(int64(binary.BigEndian.Uint64(value[13:])))
	copy(o.TopicID[:], value[offsetV1Bytes:least])
	o.Metadata = string(value[least:])
	return nil
}

// GroupOffsets calls fn with everything that groups have committed. What was
// committed for a topic that is gone is forgotten: a kill may have come between the
// topic's end and that of its offsets.
func (b *Broker) GroupOffsets(fn func(v *VHost, o GroupOffset)) error {
	var stale []store.Entry
	ctx, cancel := asking()
	defer cancel()
	err := b.groups.Load(ctx, func(e store.Entry) error {
		if !strings.HasPrefix(e.Key, offsetsPrefix) {
			return nil
		}
		vhost, o, err := parseOffset(e.Key, e.Value)
		if err != nil {
			return err
		}
		v, err := b.VHost(vhost)
		if err != nil || !v.holds(&o) {
			stale = append(stale, store.Entry{Key: e.Key})
			return nil
		}
		fn(v, o)
		return nil
	})
	if err != nil || len(stale) == 0 {
		return err
	}
	b.opts.Log.Info("forgot what groups had committed for topics that are gone", "offsets", len(stale))
	return b.groups.Put(ctx, stale...)
}

// holds says whether the topic for which that was committed is there. An offset that
// does not say which topic it was is given the one of that name.
func (v *VHost) holds(o *GroupOffset) bool {
	q, err := v.Queue(o.Topic)
	if err != nil {
		return false
	}
	if o.TopicID == ([16]byte{}) {
		o.TopicID = q.TopicID
	}
	return o.TopicID == q.TopicID
}

// CommitOffsets keeps how far a group has come. It returns when that is durable.
func (s *Session) CommitOffsets(group string, list []GroupOffset) error {
	if err := s.May(Consume, OnGroup, group); err != nil {
		return err
	}
	entries := make([]store.Entry, len(list))
	for i := range list {
		o := &list[i]
		o.Group = group
		entries[i] = store.Entry{Key: o.key(s.vhost.Name), Value: o.append(nil)}
	}
	return s.vhost.putGroups(entries)
}

// DeleteOffsets forgets how far a group has come.
func (s *Session) DeleteOffsets(group string, list []GroupOffset) error {
	if err := s.May(Delete, OnGroup, group); err != nil {
		return err
	}
	return s.vhost.ForgetOffsets(group, list)
}

// ForgetOffsets is DeleteOffsets for what no client asked for: offsets that are too
// old, or whose topic is gone.
func (v *VHost) ForgetOffsets(group string, list []GroupOffset) error {
	entries := make([]store.Entry, len(list))
	for i := range list {
		o := &list[i]
		o.Group = group
		entries[i] = store.Entry{Key: o.key(v.Name)}
	}
	return v.putGroups(entries)
}

func (v *VHost) putGroups(entries []store.Entry) error {
	if !v.open.enter() {
		return v.goneErr()
	}
	defer v.open.leave()
	ctx, cancel := asking()
	defer cancel()
	return v.b.groups.Put(ctx, entries...)
}

// GroupReset says where a Kafka group that has no members is to go on.
type GroupReset struct {
	Group, Topic string
	// Partition is the one that is meant; -1 is all of the topic's.
	Partition int
	To        ResetTo
	// At is the offset, or the time in milliseconds since 1970.
	At int64
}

// ResetTo is a place in a topic.
type ResetTo uint8

// The places: the first message that is there, behind the last one, the first message of a time or later, an offset.
const (
	ResetToFirst ResetTo = iota
	ResetToLast
	ResetToTime
	ResetToOffset
)
