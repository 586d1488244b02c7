package message

import (
	"encoding/binary"
	"errors"
)

// DelayName is the header, behind the envelope, of a message that an exchange keeps until
// its time has come. It is taken off when the message goes on to its queues.
//
//	 0        1           9            17
//	┌────────┬───────────┬────────────┬──────────────────────────────────────┐
//	│version │ due       │ after      │ { key length uvarint │ key }*         │
//	│ = 1    │ ms: i64   │ ms: i64    │ further routing keys, of CC and BCC    │
//	└────────┴───────────┴────────────┴──────────────────────────────────────┘
//
// due is a time of the wall clock, or 0: then the message is due so long after its own
// timestamp as after says. A message that was moved on its way has both: it is never to
// wait for longer than after, whatever the clock does.
const DelayName = "lv.d"

const (
	delayVersion    = 1
	delayFixedBytes = 17
)

// ErrDelay says that an lv.d header is missing or damaged.
var ErrDelay = errors.New("malformed lv.d header")

// Delay is the content of an lv.d header; its slices alias the input.
type Delay struct {
	DueMs   int64
	AfterMs int64  // 0: the time itself was asked for
	Keys    []byte // as AppendKey writes them
}

// AppendKey appends a further routing key to a Delay's Keys.
func AppendKey(dst, key []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(key))), key...)
}

// NextKey takes the first of Keys off; ok is false when there is none.
func (d *Delay) NextKey() (key []byte, ok bool) {
	n, w := binary.Uvarint(d.Keys)
	if w <= 0 || n > uint64(len(d.Keys)-w) {
		return nil, false
	}
	key = d.Keys[w : w+int(n)]
	d.Keys = d.Keys[w+int(n):]
	return key, true
}

// AppendTo appends the record header.
func (d *Delay) AppendTo(dst []byte) []byte {
	dst = appendBytes(dst, []byte(DelayName))
	dst = appendVarint(dst, int64(delayFixedBytes+len(d.Keys)))
	dst = append(dst, delayVersion)
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.DueMs))
	dst = binary.BigEndian.AppendUint64(dst, uint64(d.AfterMs))
	return append(dst, d.Keys...)
}

// Delay reads the record's lv.d header and returns the headers behind it.
func (rec *Record) Delay() (d Delay, rest Headers, err error) {
	rest = rec.Headers
	if _, _, ok := rest.Next(); !ok { // the envelope
		return d, rest, ErrDelay
	}
	name, v, ok := rest.Next()
	if !ok || string(name) != DelayName {
		return d, rest, ErrDelay
	}
	d, err = parseDelay(v)
	return d, rest, err
}

// parseDelay reads the value of an lv.d header and checks every length in it.
func parseDelay(v []byte) (d Delay, err error) {
	if len(v) < delayFixedBytes || v[0] != delayVersion {
		return d, ErrDelay
	}
	d.DueMs = int64(binary.BigEndian.Uint64(v[1:]))
	d.AfterMs = int64(binary.BigEndian.Uint64(v[9:]))
	d.Keys = v[delayFixedBytes:]
	for check := d; len(check.Keys) > 0; {
		if _, ok := check.NextKey(); !ok {
			return Delay{}, ErrDelay
		}
	}
	if d.DueMs < 0 || d.AfterMs < 0 || d.DueMs == 0 && d.AfterMs == 0 {
		return Delay{}, ErrDelay
	}
	return d, nil
}
