package kafkaload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The requests that are sent raw, in their last versions without tagged fields.
const (
	keyProduce     = 0
	versionProduce = 8
	keyFetch       = 1
	versionFetch   = 11
	posCorrelation = 8 // in a request with its length, after key and version
	clientID       = "leveret-bench"
)

// maxAnswerBytes bounds what a broker may answer with.
const maxAnswerBytes = 256 << 20

var errAnswer = errors.New("answer cut short")

// request builds requests.
type request []byte

func newRequest(key, version int16) request {
	r := request(make([]byte, 4)) // the length comes last
	return r.i16(key).i16(version).i32(0).str(clientID)
}
func (r request) i8(v byte) request   { return append(r, v) }
func (r request) i16(v int16) request { return binary.BigEndian.AppendUint16(r, uint16(v)) }
func (r request) i32(v int32) request { return binary.BigEndian.AppendUint32(r, uint32(v)) }
func (r request) i64(v int64) request { return binary.BigEndian.AppendUint64(r, uint64(v)) }
func (r request) str(s string) request {
	return append(r.i16(int16(len(s))), s...)
}
func (r request) done() request {
	binary.BigEndian.PutUint32(r, uint32(len(r)-4))
	return r
}

// produceRequest wraps a batch; the batch is the request's end, so that Number can go on
// changing it in place.
func produceRequest(topic string, partition int32, acks int16, batchBytes int) request {
	return newRequest(keyProduce, versionProduce).i16(-1).i16(acks).i32(30_000).
		i32(1).str(topic).i32(1).i32(partition).i32(int32(batchBytes))
}

// answer reads answers: fields in turn, the first error sticks.
type answer struct {
	b   []byte
	err error
}

func (a *answer) take(n int) []byte {
	if a.err != nil || n < 0 || n > len(a.b) {
		a.err = errAnswer
		return make([]byte, 8)
	}
	f := a.b[:n]
	a.b = a.b[n:]
	return f
}
func (a *answer) i16() int16 { return int16(binary.BigEndian.Uint16(a.take(2))) }
func (a *answer) i32() int32 { return int32(binary.BigEndian.Uint32(a.take(4))) }
func (a *answer) i64() int64 { return int64(binary.BigEndian.Uint64(a.take(8))) }
func (a *answer) skipString() {
	if n := a.i16(); n > 0 {
		a.take(int(n))
	}
}

// produceAnswer is the correlation id and base offset of an answer to one batch.
func produceAnswer(b []byte) (correlation int32, base int64, err error) {
	a := answer{b: b}
	correlation = a.i32()
	topics := a.i32()
	a.skipString()
	partitions := a.i32()
	a.i32() // partition
	code := a.i16()
	base = a.i64()
	if a.err != nil {
		return 0, 0, a.err
	}
	if topics != 1 || partitions != 1 {
		return 0, 0, fmt.Errorf("answer for %d topics and %d partitions, 1 and 1 were asked", topics, partitions)
	}
	if code != 0 {
		return 0, 0, fmt.Errorf("produce refused: error code %d", code)
	}
	return correlation, base, nil
}

// readAnswer reads one length-prefixed answer into buf, growing it if need be.
func readAnswer(r io.Reader, buf []byte) ([]byte, error) {
	var l [4]byte
	if _, err := io.ReadFull(r, l[:]); err != nil {
		return buf, err
	}
	n := binary.BigEndian.Uint32(l[:])
	if n > maxAnswerBytes {
		return buf, fmt.Errorf("answer of %d bytes", n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	_, err := io.ReadFull(r, buf[:n])
	return buf[:n], err
}
