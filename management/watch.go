package management

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/message"
)

// streamRows are answers that go on until the client has enough.
var streamRows = []row{
	{path: "queues/{vhost}/{name}/stream", method: get, who: management, scope: worked, free: true, do: (*call).watch,
		about: "The messages of a queue as server-sent events, as they come; from=first begins with those that are there. Nothing is taken, unless take=true"},
}

// Bounds of a stream of events.
const (
	watchBytes     = 1 << 20          // of bodies at a time
	watchBeat      = 15 * time.Second // after so long without a message a comment shows that the connection lives
	maxWatchTime   = 24 * time.Hour
	watchWriteTime = 30 * time.Second // a client that does not read for so long is cut off
)

// events writes server-sent events.
type events struct {
	c     *call
	flush *http.ResponseController
	buf   []byte
	large int64 // the size of the largest message that was larger than usual, whose memory is charged
}

// room charges the memory that a large message takes while it is shown.
func (e *events) room(d *broker.Delivery) error {
	n := int64(len(d.Body)+len(d.Properties)) * 2
	if n <= 2*watchBytes || n <= e.large {
		return nil
	}
	err := e.c.take(n - e.large)
	if err == nil {
		e.large = n
	}
	return err
}

// event appends one.
func (e *events) event(id string, data object) {
	e.buf = fmt.Appendf(e.buf, "id: %s\ndata: ", id)
	e.buf = append(data.append(e.buf), "\n\n"...)
}

// send writes what was appended; false when the client is gone.
func (e *events) send() bool {
	_ = e.flush.SetWriteDeadline(time.Now().Add(watchWriteTime)) // a test's recorder has none
	_, err := e.c.w.Write(e.buf)
	e.buf = e.buf[:0]
	return err == nil && e.flush.Flush() == nil
}

// watch is the stream of one queue.
func (c *call) watch() error {
	q, err := c.queue()
	if err != nil {
		return err
	}
	if list := c.r.Header.Values("Accept"); len(list) > 0 && !accepts(list, "text/event-stream", "text/*", "*/*") {
		return &failure{status: http.StatusNotAcceptable, err: "not_acceptable", reason: "the answer would be text/event-stream, which the header Accept leaves out"}
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := s.Queue(broker.Consume, q.Name); err != nil { // also one that is another connection's alone
		return err
	}
	if err := c.take(2 * watchBytes); err != nil {
		return err
	}
	if c.flag("take") {
		return c.watchTaking(s, q)
	}
	at, err := c.watchFrom(s, q)
	if err != nil {
		return err
	}
	e := c.beginEvents()
	wake := make(chan struct{}, 1)
	for _, p := range q.Partitions() {
		defer s.Watch(p, func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		})()
	}
	end := time.NewTimer(maxWatchTime)
	defer end.Stop()
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	for {
		more, err := c.watchOnce(s, q, at, e)
		if err != nil {
			e.event("error", object{{"error", err.Error()}})
			e.send()
			return nil
		}
		if more {
			if !e.send() {
				return nil
			}
			continue
		}
		select {
		case <-wake:
		case <-beat.C:
			e.buf = append(e.buf, ": nothing new\n\n"...)
			if !e.send() {
				return nil
			}
		case <-c.r.Context().Done():
			return nil
		case <-c.s.stopping.Done():
			return nil
		case <-end.C:
			return nil
		}
	}
}

// beginEvents starts the answer.
func (c *call) beginEvents() *events {
	c.w.Header().Set("Content-Type", "text/event-stream")
	c.w.Header().Set("X-Accel-Buffering", "no")
	c.begun = true
	e := &events{c: c, flush: http.NewResponseController(c.w)}
	_ = e.flush.SetReadDeadline(time.Time{}) // the request is read
	c.w.WriteHeader(http.StatusOK)
	e.buf = append(e.buf, ": messages follow\n\n"...)
	e.send()
	return e
}

// watchFrom is where each log is read from: behind what is there, from its beginning, or behind the event that the client had last.
func (c *call) watchFrom(s *broker.Session, q *broker.Queue) ([]message.Offset, error) {
	parts := q.Partitions()
	at := make([]message.Offset, len(parts))
	for i, p := range parts {
		first, end, err := s.Extent(p)
		if err != nil {
			return nil, err
		}
		at[i] = end
		if c.query("from") == "first" {
			at[i] = first
		}
	}
	if last := c.r.Header.Get("Last-Event-ID"); last != "" {
		var part int
		var offset int64
		if n, err := fmt.Sscanf(last, "%d-%d", &part, &offset); n != 2 || err != nil || part < 0 || part >= len(parts) || offset < 0 {
			return nil, badRequest("Last-Event-ID %q is none of this stream's", last)
		}
		at[part] = message.Offset(offset) + 1
	} else if from := c.query("offset"); from != "" {
		offset, err := strconv.ParseInt(from, 10, 64)
		if err != nil || offset < 0 || len(parts) != 1 {
			return nil, badRequest("offset must be a number, of a queue with one log")
		}
		at[0] = message.Offset(offset)
	}
	return at, nil
}

// watchOnce appends what each log has from where it is read.
func (c *call) watchOnce(s *broker.Session, q *broker.Queue, at []message.Offset, e *events) (more bool, err error) {
	for i, p := range q.Partitions() {
		if i == len(at) { // it has grown
			break
		}
		var full error
		next, _, err := s.Browse(p, at[i], watchBytes, func(d *broker.Delivery) bool {
			if full = e.room(d); full != nil {
				return false
			}
			e.event(fmt.Sprintf("%d-%d", i, d.Offset), watched(d))
			return len(e.buf) < watchBytes
		})
		if err == nil {
			err = full
		}
		if err != nil {
			return false, err
		}
		more = more || len(e.buf) > 0
		at[i] = next
	}
	return more, nil
}

// watched shows a message.
func watched(d *broker.Delivery) object {
	o := object{{"offset", int64(d.Offset)}, {"timestamp", d.TimestampMs}, {"exchange", readable(d.Exchange)}, {"routing_key", readable(d.Key)},
		{"payload_bytes", len(d.Body)}, {"properties", propertiesObject(d.Properties)}}
	return append(o, payload(d.Body, "auto", nil)...)
}

// watchTaking consumes the queue: each message is acked once it was written to the connection.
func (c *call) watchTaking(s *broker.Session, q *broker.Queue) error {
	wake := make(chan struct{}, 1)
	cancelled := make(chan struct{}, 1)
	signal := func(to chan struct{}) func() {
		return func() {
			select {
			case to <- struct{}{}:
			default:
			}
		}
	}
	sub, err := s.Subscribe(q.Name, broker.SubscribeOptions{Tag: "http " + c.r.RemoteAddr, Prefetch: 100, Wake: signal(wake), Cancelled: signal(cancelled)})
	if err != nil {
		return err
	}
	defer sub.Close()
	e := c.beginEvents()
	beat := time.NewTicker(watchBeat)
	defer beat.Stop()
	type held struct {
		lease  *broker.Lease
		offset message.Offset
	}
	for {
		var list, back []held
		_, err := sub.Pull(100, watchBytes, func(d *broker.Delivery) {
			if e.room(d) != nil {
				back = append(back, held{d.Lease, d.Offset})
				return
			}
			e.event(fmt.Sprint(d.Offset), watched(d))
			list = append(list, held{d.Lease, d.Offset})
		})
		sub.Release()
		for _, h := range back {
			_ = h.lease.Requeue(h.offset, h.offset) // for somebody who has room for it
		}
		if len(back) > 0 {
			err = unavailable("a message is larger than there is memory for now")
		}
		if len(list) > 0 {
			arrived := e.send()
			for _, h := range list {
				if arrived {
					_ = h.lease.Ack(h.offset, h.offset) // a queue that is gone has nothing to ack
				} else {
					_ = h.lease.Requeue(h.offset, h.offset)
				}
			}
			if !arrived {
				return nil
			}
			continue
		}
		pause := time.Duration(1<<62 - 1)
		if err != nil { // no wake-up need come
			pause = time.Second
		}
		again := time.NewTimer(pause)
		select {
		case <-wake:
		case <-again.C:
		case <-beat.C:
			e.buf = append(e.buf, ": nothing new\n\n"...)
			if !e.send() {
				again.Stop()
				return nil
			}
		case <-cancelled:
			again.Stop()
			return nil
		case <-c.r.Context().Done():
			again.Stop()
			return nil
		case <-c.s.stopping.Done():
			again.Stop()
			return nil
		}
		again.Stop()
	}
}
