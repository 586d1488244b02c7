// Package xmppload loads a broker over XMPP, faster than clients for users are: stanzas are made once and sent many at a time,
// and what comes is only looked at as far as it counts. It checks that each message comes once and in order.
package xmppload

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leveret-mq/leveret/bench/measure"
)

// Limits of a load.
const (
	dialTimeout = 10 * time.Second
	perWrite    = 50 // messages that a publisher sends with one call
)

// Load says what to do to a broker: one publisher, one queue or pubsub node, one consumer, each with a stream of its own over TLS,
// whose certificate is taken as it is. The consumer acknowledges by stream management.
type Load struct {
	Address        string // host:port, with TLS from the first byte or behind STARTTLS
	User, Password string
	Name           string // of the queue or node, in lower case
	Events         bool   // pubsub items and events in place of messages to the queue

	BodyBytes int // at least 24, for the number and the time of a message
	Window    int // messages under way that the broker has not acknowledged
	Messages  int64
	For       time.Duration // no message is sent later than this
}

// Result is what a load did. Elapsed goes from the first message sent to the last delivery.
type Result struct {
	Published, Delivered int64
	Elapsed              time.Duration
	Latency              *measure.Latencies // from sending to delivery
}

// client is a stream that is signed in, with stream management.
type client struct {
	nc net.Conn
	r  *bufio.Reader
	h  uint32 // stanzas that came
}

const header = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

func (l *Load) dial(ctx context.Context, resource string) (_ *client, err error) {
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: &tls.Config{InsecureSkipVerify: true}}
	nc, err := d.DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	c := &client{nc: nc, r: bufio.NewReaderSize(nc, 256<<10)}
	defer func() {
		if err != nil {
			nc.Close()
			err = fmt.Errorf("connect to the XMPP broker %s: %w", l.Address, err)
		}
	}()
	_ = nc.SetDeadline(time.Now().Add(dialTimeout))
	token := base64.StdEncoding.EncodeToString([]byte("\x00" + l.User + "\x00" + l.Password))
	for _, step := range [][2]string{
		{header, "</stream:features>"},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + token + "</auth>", "<success"},
		{header, "</stream:features>"},
		{"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" + resource + "</resource></bind></iq>", "</iq>"},
		{"<enable xmlns='urn:xmpp:sm:3'/>", "<enabled"},
	} {
		if err := c.ask(step[0], step[1]); err != nil {
			return nil, err
		}
	}
	_ = nc.SetDeadline(time.Time{})
	return c, nil
}

// ask sends something and reads on until a text came, to the end of its tag.
func (c *client) ask(send, until string) error {
	if _, err := c.nc.Write([]byte(send)); err != nil {
		return err
	}
	var got strings.Builder
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return fmt.Errorf("%w behind %.300q", err, got.String())
		}
		got.WriteByte(b)
		text := got.String()
		switch {
		case strings.Contains(text, "<failure") || strings.Contains(text, "type='error'") && b == '>':
			return fmt.Errorf("%.300q in answer to %.300q", text, send)
		case b == '>' && strings.Contains(text, until):
			return nil
		}
	}
}

// stanza reads the next element below the stream: its name, and all of it. It holds until the next one is read.
func (c *client) stanza() (name, all []byte, err error) {
	for want := 1; ; {
		if _, err := c.r.Peek(want); err != nil {
			return nil, nil, err
		}
		buf, _ := c.r.Peek(c.r.Buffered())
		name, n, bad := element(buf)
		if bad != nil {
			return nil, nil, bad
		}
		if n > 0 {
			_, err := c.r.Discard(n)
			return name, buf[:n], err
		}
		want = len(buf) + 1
	}
}

// element finds the element at the beginning; n is 0 when it is not all there. It relies on stanzas not standing in each other.
func element(b []byte) (name []byte, n int, err error) {
	if b[0] != '<' {
		return nil, 0, fmt.Errorf("%.100q where a stanza was to come", b)
	}
	tag := bytes.IndexByte(b, '>')
	if tag < 0 {
		return nil, 0, nil
	}
	name = b[1:tag]
	if i := bytes.IndexAny(name, " /"); i > 0 {
		name = name[:i]
	}
	if b[1] == '/' || bytes.HasPrefix(name, []byte("stream:")) {
		return nil, 0, fmt.Errorf("the stream has ended: %.300q", b)
	}
	if b[tag-1] == '/' {
		return name, tag + 1, nil
	}
	end := append(append([]byte("</"), name...), '>')
	if i := bytes.Index(b[tag:], end); i >= 0 {
		return name, tag + i + len(end), nil
	}
	return name, 0, nil
}

// next reads what is no part of stream management, and counts it.
func (c *client) next(acked func(h int64)) (all []byte, err error) {
	for all == nil && err == nil {
		all, err = c.step(acked)
	}
	return all, err
}

// step reads one element; all is nil for one of stream management: a question what came is answered, an answer is handed over.
func (c *client) step(acked func(h int64)) (all []byte, err error) {
	name, all, err := c.stanza()
	if err != nil {
		return nil, err
	}
	switch string(name) {
	case "r":
		return nil, c.acknowledge()
	case "a":
		_, text, _ := bytes.Cut(all, []byte("h='"))
		text, _, _ = bytes.Cut(text, []byte("'"))
		h, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%.100q", all)
		}
		if acked != nil {
			acked(h)
		}
		return nil, nil
	}
	c.h++
	return all, nil
}

func (c *client) acknowledge() error {
	_, err := c.nc.Write([]byte("<a xmlns='urn:xmpp:sm:3' h='" + strconv.FormatUint(uint64(c.h), 10) + "'/>"))
	return err
}

// Run is a load with its streams open.
type Run struct {
	load                Load
	publisher, consumer *client
	sent, moved         atomic.Int64
	heard               atomic.Bool // all answers that are waited for have come
	epoch               time.Time
	latency             *measure.Latencies

	mu    sync.Mutex // guards the rest
	room  sync.Cond
	acked int64 // of the publisher's stanzas; the first one made the queue
	wrong error
}

// Open connects, and makes the queue or node with its consumer. Close must follow.
func (l Load) Open(ctx context.Context) (_ *Run, err error) {
	r := &Run{load: l}
	r.room.L = &r.mu
	defer func() {
		if err != nil {
			r.Close()
		}
	}()
	if r.publisher, err = l.dial(ctx, "p"); err != nil {
		return nil, err
	}
	if r.consumer, err = l.dial(ctx, "c"); err != nil {
		return nil, err
	}
	if err := r.publisher.call(pubsub("create", nsPubsub, "<create node='"+l.Name+"'/>"), "id='create'"); err != nil {
		return nil, err
	}
	if l.Events {
		return r, r.consumer.call("<presence/>"+pubsub("subscribe", nsPubsub, "<subscribe node='"+l.Name+"' jid='"+l.User+"@localhost/c'/>"), "id='subscribe'")
	}
	return r, r.consumer.call("<presence to='"+l.Name+"@queues.localhost'/>", "from='"+l.Name+"@queues.localhost'")
}

// call sends something and reads stanzas until one has a text in it.
func (c *client) call(send, until string) error {
	_ = c.nc.SetDeadline(time.Now().Add(dialTimeout))
	defer func() { _ = c.nc.SetDeadline(time.Time{}) }()
	if _, err := c.nc.Write([]byte(send)); err != nil {
		return err
	}
	for {
		all, err := c.next(nil)
		switch {
		case err != nil:
			return err
		case bytes.Contains(all, []byte("type='error'")):
			return fmt.Errorf("%.300q in answer to %.300q", all, send)
		case bytes.Contains(all, []byte(until)):
			return nil
		}
	}
}

const nsPubsub = "http://jabber.org/protocol/pubsub"

func pubsub(id, space, act string) string {
	return "<iq type='set' id='" + id + "' to='pubsub.localhost'><pubsub xmlns='" + space + "'>" + act + "</pubsub></iq>"
}

// Close deletes the queue or node, if the streams can tell still, and ends them.
func (r *Run) Close() {
	if r.publisher != nil && r.wrong == nil {
		_ = r.publisher.call(pubsub("delete", nsPubsub+"#owner", "<delete node='"+r.load.Name+"'/>"), "id='delete'")
	}
	r.cut()
}

func (r *Run) cut() {
	for _, c := range []*client{r.publisher, r.consumer} {
		if c != nil {
			c.nc.Close()
		}
	}
}

// PublishAndConsume sends, and takes what was sent.
func (r *Run) PublishAndConsume(ctx context.Context) (out Result, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, r.cut)
	defer stop()
	go measure.WatchProgress(ctx, cancel, func() int64 { return r.moved.Load() + r.sent.Load() },
		func() string { return fmt.Sprintf("%d sent, %d came", r.sent.Load(), r.moved.Load()) })
	began := time.Now()
	r.epoch, r.latency = began, measure.NewLatencies()
	last := make(chan int64, 1)
	var taking, acks sync.WaitGroup
	var takeErr error
	taking.Go(func() {
		if takeErr = r.take(last); takeErr != nil {
			cancel(takeErr)
		}
	})
	acks.Go(r.hear)
	err = r.publish(began)
	out.Published = r.sent.Load()
	if last <- out.Published; err != nil {
		cancel(err)
	}
	taking.Wait()
	out.Elapsed, out.Delivered, out.Latency = time.Since(began), r.moved.Load(), r.latency
	r.heard.Store(true)
	_ = r.publisher.nc.SetReadDeadline(time.Now())
	acks.Wait()
	if err = errors.Join(err, takeErr); err != nil {
		return out, errors.Join(err, context.Cause(ctx))
	}
	return out, nil
}

// hear reads what the publisher is answered.
func (r *Run) hear() {
	for {
		all, err := r.publisher.next(func(h int64) {
			r.mu.Lock()
			r.acked = h - 1
			r.mu.Unlock()
			r.room.Broadcast()
		})
		if err == nil && bytes.Contains(all, []byte("type='error'")) {
			err = fmt.Errorf("refused: %.300q", all)
		}
		if err != nil {
			if r.heard.Load() {
				return
			}
			r.mu.Lock()
			r.wrong = err
			r.mu.Unlock()
			r.room.Broadcast()
			return
		}
	}
}

// publish sends until the time or the messages are over.
func (r *Run) publish(began time.Time) error {
	l := &r.load
	padding := strings.Repeat("x", l.BodyBytes)
	head, middle, tail := "<message to='"+l.Name+"@queues.localhost' id='", "'><body>!", "</body></message>"
	if l.Events {
		head = "<iq type='set' to='pubsub.localhost' id='p'><pubsub xmlns='" + nsPubsub + "'><publish node='" + l.Name + "'><item id='"
		middle, tail = "'><p xmlns='b'>!", "</p></item></publish></pubsub></iq>"
	}
	var buf []byte
	for n := int64(0); n < l.Messages && time.Since(began) < l.For; {
		buf = buf[:0]
		stamp := time.Since(r.epoch).Microseconds()
		for range min(perWrite, l.Messages-n) {
			n++
			buf = append(strconv.AppendInt(append(buf, head...), n, 10), middle...)
			body := len(buf) - 1
			buf = append(strconv.AppendInt(append(strconv.AppendInt(buf, n, 10), '.'), stamp, 10), '.')
			buf = append(append(buf, padding[:max(l.BodyBytes-len(buf)+body, 0)]...), tail...)
		}
		buf = append(buf, "<r xmlns='urn:xmpp:sm:3'/>"...)
		if _, err := r.publisher.nc.Write(buf); err != nil {
			return err
		}
		r.sent.Store(n)
		if err := r.await(n - int64(l.Window)); err != nil {
			return err
		}
	}
	return r.await(r.sent.Load())
}

// await waits until so many messages are acknowledged.
func (r *Run) await(n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.acked < n && r.wrong == nil {
		r.room.Wait()
	}
	return r.wrong
}

// take takes messages until all that were sent have come; last says how many these are, when it is known.
func (r *Run) take(last <-chan int64) error {
	all := int64(-1)
	for n := int64(0); n != all; {
		if all < 0 && r.consumer.r.Buffered() == 0 {
			select {
			case all = <-last:
				continue
			default:
			}
			_ = r.consumer.nc.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := r.consumer.r.Peek(1)
			_ = r.consumer.nc.SetReadDeadline(time.Time{})
			var late net.Error
			if errors.As(err, &late) && late.Timeout() {
				continue
			} else if err != nil {
				return err
			}
		}
		got, err := r.consumer.step(nil)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(got, []byte("<message")) {
			continue
		}
		n++
		_, text, _ := bytes.Cut(got, []byte(">!"))
		number, stamp, ok := bytes.Cut(text, []byte("."))
		stamp, _, _ = bytes.Cut(stamp, []byte("."))
		if !ok || string(number) != strconv.FormatInt(n, 10) {
			return fmt.Errorf("%.300q where message %d was to come", got, n)
		}
		r.moved.Store(n)
		if n%16 == 1 {
			if sent, err := strconv.ParseInt(string(stamp), 10, 64); err == nil {
				r.latency.AddDuration(max(time.Since(r.epoch)-time.Duration(sent)*time.Microsecond, 0))
			}
		}
	}
	return r.consumer.acknowledge()
}
