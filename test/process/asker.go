package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// askTimeout bounds an answer.
const askTimeout = 15 * time.Second

// Asker is a connection to the broker's Kafka listener that asks one thing at a time, and asks nothing twice: what was not answered is known to be in doubt. It
// belongs to one goroutine.
type Asker struct {
	nc    net.Conn
	frame *kmsg.RequestFormatter
	next  int32
}

// DialKafka connects.
func DialKafka(addr string) (*Asker, error) {
	nc, err := net.DialTimeout("tcp", addr, askTimeout)
	if err != nil {
		return nil, err
	}
	return &Asker{nc: nc, frame: kmsg.NewRequestFormatter(kmsg.FormatterClientID("hurt"))}, nil
}

// Close ends the connection, and what is asked over it.
func (a *Asker) Close() error { return a.nc.Close() }

// Ask sends a request and returns its answer. Any error is that there is none, and with ErrAnswer that it makes no sense.
func Ask[R kmsg.Response](a *Asker, q kmsg.Request, version int16) (res R, err error) {
	q.SetVersion(version)
	a.next++
	_ = a.nc.SetDeadline(time.Now().Add(askTimeout))
	if _, err = a.nc.Write(a.frame.AppendRequest(nil, q, a.next)); err != nil {
		return res, err
	}
	var head [4]byte
	if _, err = io.ReadFull(a.nc, head[:]); err != nil {
		return res, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:]))
	if _, err = io.ReadFull(a.nc, body); err != nil {
		return res, err
	}
	r := kbin.Reader{Src: body}
	if got := r.Int32(); got != a.next {
		return res, fmt.Errorf("%w: answer %d for request %d", ErrAnswer, got, a.next)
	}
	kind := q.ResponseKind()
	if kind.IsFlexible() {
		kmsg.SkipTags(&r)
	}
	if err = kind.ReadFrom(r.Src); err != nil {
		return res, fmt.Errorf("%w: %s: %w", ErrAnswer, kmsg.NameForKey(q.Key()), err)
	}
	return kind.(R), nil
}

// ErrAnswer says that an answer makes no sense.
var ErrAnswer = errors.New("malformed answer")
