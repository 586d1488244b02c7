package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/group"
)

// Committed offsets are kept in the store's table "groups", an entry each:
//
//	key    o/VHOST/GROUP/TOPIC/PARTITION     parts escaped as in a URL's path
//	value  0         1          9            13              21
//	      +---------+----------+------------+---------------+------------ ...
//	      | version | offset   | leader     | committed at  | metadata,
//	      | 1, u8   | int64    | epoch i32  | ms, int64     | UTF-8
//	      +---------+----------+------------+---------------+------------ ...
//
// Integers are big-endian. A version that is not known refuses to start, since
// a group that begins anew would work everything off twice.
const (
	offsetsTable   = "groups"
	offsetsPrefix  = "o/"
	offsetVersion  = 1
	offsetMinBytes = 21
)

var errOffsetRecord = errors.New("malformed committed offset")

func offsetKey(vhost string, ch *group.Change) string {
	return offsetsPrefix + url.PathEscape(vhost) + "/" + url.PathEscape(ch.Group) + "/" + url.PathEscape(ch.Topic) +
		"/" + strconv.Itoa(int(ch.Partition))
}

func appendOffset(dst []byte, o group.Offset) []byte {
	dst = append(dst, offsetVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Offset))
	dst = binary.BigEndian.AppendUint32(dst, uint32(o.LeaderEpoch))
	dst = binary.BigEndian.AppendUint64(dst, uint64(o.Committed.UnixMilli()))
	return append(dst, o.Metadata...)
}

// parseOffset reads an entry back.
func parseOffset(key string, value []byte) (vhost string, ch group.Change, err error) {
	parts := strings.Split(strings.TrimPrefix(key, offsetsPrefix), "/")
	if len(parts) != 4 {
		return "", ch, fmt.Errorf("%w: key %q", errOffsetRecord, key)
	}
	var names [3]string
	for i := range names {
		if names[i], err = url.PathUnescape(parts[i]); err != nil {
			return "", ch, fmt.Errorf("%w: key %q: %w", errOffsetRecord, key, err)
		}
	}
	partition, err := strconv.ParseInt(parts[3], 10, 32)
	if err != nil {
		return "", ch, fmt.Errorf("%w: key %q: %w", errOffsetRecord, key, err)
	}
	switch {
	case len(value) > 0 && value[0] != offsetVersion:
		return "", ch, fmt.Errorf("committed offset %q has version %d: was it written by a newer version?", key, value[0])
	case len(value) < offsetMinBytes:
		return "", ch, fmt.Errorf("%w: %q has %d bytes", errOffsetRecord, key, len(value))
	}
	ch = group.Change{Group: names[1], Topic: names[2], Partition: int32(partition), Offset: group.Offset{
		Offset:      int64(binary.BigEndian.Uint64(value[1:])),
		LeaderEpoch: int32(binary.BigEndian.Uint32(value[9:])),
		Committed:   time.UnixMilli(int64(binary.BigEndian.Uint64(value[13:]))),
		Metadata:    string(value[offsetMinBytes:]),
	}}
	return names[0], ch, nil
}

// restoreOffsets fills the coordinators with what was committed before.
func (s *Server) restoreOffsets() error {
	t, err := s.broker.Store().Table(offsetsTable)
	if err != nil {
		return err
	}
	s.offsets = t
	return t.Load(func(e broker.TableEntry) error {
		if !strings.HasPrefix(e.Key, offsetsPrefix) {
			return nil
		}
		vhost, ch, err := parseOffset(e.Key, e.Value)
		if err != nil {
			return err
		}
		s.groupsOf(vhost).Restore(ch)
		return nil
	})
}

// journal keeps the offsets of one virtual host's groups.
type journal struct {
	s     *Server
	vhost string
}

// Save implements group.Journal.
func (j *journal) Save(changes []group.Change) error {
	entries := make([]broker.TableEntry, len(changes))
	for i := range changes {
		ch := &changes[i]
		entries[i].Key = offsetKey(j.vhost, ch)
		if !ch.Delete {
			entries[i].Value = appendOffset(nil, ch.Offset)
		}
	}
	if err := j.s.offsets.Put(entries...); err != nil {
		j.s.opts.Logger.Error("can't store committed offsets", "listener", "kafka", "group", changes[0].Group, "error", err)
		return err
	}
	return nil
}
