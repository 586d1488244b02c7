package txn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leveret-mq/leveret/kafka/group"
)

// What is kept of a transactional id, version 1; integers are big-endian, a text is its length as u16 and its bytes:
//
//	0         1       2          10      12        14         22        26        34
//	┌─────────┬───────┬──────────┬───────┬─────────┬──────────┬─────────┬─────────┬───────┐
//	│ version │ state │ producer │ epoch │ decided │ next     │ timeout │ used at │ count │
//	│ 1, u8   │ u8    │ i64      │ i16   │ i16     │ producer │ ms, i32 │ ms, i64 │ u32   │
//	└─────────┴───────┴──────────┴───────┴─────────┴──────────┴─────────┴─────────┴───────┘
//	count times an offset that is committed with it:
//	group text · topic text · topic id 16 bytes · partition i32 · offset i64 · leader epoch i32 · metadata text
//
// decided is the epoch up to which the state PrepareCommit or PrepareAbort holds, -1 if there is none. next producer is
// the id that the producer goes on with when its epochs are used up, else -1.
const (
	stateVersion = 1
	stateBytes   = 38
)

var errState = errors.New("malformed state of a transactional id")

func (t *txn) appendState(dst []byte, state State) []byte {
	dst = append(dst, stateVersion, byte(state))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.producer))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.epoch))
	dst = binary.BigEndian.AppendUint16(dst, uint16(t.decided))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.next))
	dst = binary.BigEndian.AppendUint32(dst, uint32(t.timeout/time.Millisecond))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.used.UnixMilli()))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(t.offsets)))
	for _, ch := range t.offsets {
		dst = appendText(appendText(dst, ch.Group), ch.Topic)
		dst = append(dst, ch.Offset.TopicID[:]...)
		dst = binary.BigEndian.AppendUint32(dst, uint32(ch.Partition))
		dst = binary.BigEndian.AppendUint64(dst, uint64(ch.Offset.Offset))
		dst = binary.BigEndian.AppendUint32(dst, uint32(ch.Offset.LeaderEpoch))
		dst = appendText(dst, ch.Offset.Metadata)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// parseState reads a state back.
func parseState(b []byte) (*txn, error) {
	switch {
	case len(b) > 0 && b[0] > stateVersion:
		return nil, fmt.Errorf("%w: version %d: was it written by a newer version?", errState, b[0])
	case len(b) < stateBytes || b[0] != stateVersion:
		return nil, fmt.Errorf("%w: %d bytes", errState, len(b))
	}
	t := newTxn()
	t.state = State(b[1])
	t.producer = int64(binary.BigEndian.Uint64(b[2:]))
	t.epoch, t.decided = int16(binary.BigEndian.Uint16(b[10:])), int16(binary.BigEndian.Uint16(b[12:]))
	t.next = int64(binary.BigEndian.Uint64(b[14:]))
	t.timeout = time.Duration(int32(binary.BigEndian.Uint32(b[22:]))) * time.Millisecond
	t.used = time.UnixMilli(int64(binary.BigEndian.Uint64(b[26:])))
	count := binary.BigEndian.Uint32(b[34:])
	t.committed = t.state == PrepareCommit
	if t.state > CompleteAbort || t.producer < 0 || t.epoch < 0 || t.decided < -1 || t.timeout < 0 || uint64(count) > uint64(len(b)) {
		return nil, fmt.Errorf("%w: state %d of producer %d with epoch %d", errState, t.state, t.producer, t.epoch)
	}
	r := texts{rest: b[stateBytes:]}
	for range count {
		ch := group.Change{Group: r.text(), Topic: r.text()}
		copy(ch.Offset.TopicID[:], r.take(16))
		ch.Partition = int32(r.number(4))
		ch.Offset.Offset = int64(r.number(8))
		ch.Offset.LeaderEpoch = int32(r.number(4))
		ch.Offset.Metadata = r.text()
		t.groups[ch.Group] = struct{}{}
		t.offsets[place(&ch)] = ch
	}
	if r.bad || len(r.rest) > 0 || len(t.offsets) != int(count) {
		return nil, fmt.Errorf("%w: %d offsets do not fill %d bytes", errState, count, len(b))
	}
	return t, nil
}

// texts reads what follows the head.
type texts struct {
	rest []byte
	bad  bool
}

func (r *texts) take(n int) []byte {
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return nil
	}
	v := r.rest[:n]
	r.rest = r.rest[n:]
	return v
}

func (r *texts) number(bytes int) (n uint64) {
	for _, b := range r.take(bytes) {
		n = n<<8 | uint64(b)
	}
	return n
}

func (r *texts) text() string { return string(r.take(int(r.number(2)))) }

// maxText is the longest name or metadata that is kept.
const maxText = math.MaxUint16
