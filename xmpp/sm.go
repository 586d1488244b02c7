package xmpp

import (
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// XEP-0198, stream management.

const (
	nsSM = "urn:xmpp:sm:3"

	// maxUnacked and maxUnackedBytes are what may wait for the client's acknowledgement before it gets nothing from
	// queues and from others, and maxUnackedEver what ends its stream, when its own requests are answered still.
	maxUnacked      = 1000
	maxUnackedBytes = 1 << 20
	maxUnackedEver  = 16 * maxUnackedBytes
	// askAgain is when a client that has not acknowledged all is asked again.
	askAgain = 5 * time.Second
)

// entry is what a stanza that was sent waits with for its acknowledgement.
type entry struct {
	size     int
	kept     bool // a message to a user: it goes to the offline messages if it gets lost
	consumer *Consumer
	tag      uint64        // of the consumer's
	settled  func(ok bool) // of an event; nil: nobody wants to know
}

// managed is the stream management of a client. It is guarded by Client.mu.
type managed struct {
	id      string // by which it is resumed; "" if it can't be
	max     time.Duration
	in      uint32  // stanzas that were handled
	acked   uint32  // stanzas that the client has acknowledged
	entries []entry // of the others, in order
	head    int
	buf     []byte // these, as they were sent
	at      int    // in buf, the first of them
	asked   bool   // <r/> is under way
	timer   *time.Timer
}

func (m *managed) len() int       { return len(m.entries) - m.head }
func (m *managed) bytes() int     { return len(m.buf) - m.at }
func (m *managed) full() bool     { return m.len() >= maxUnacked || m.bytes() >= maxUnackedBytes }
func (m *managed) overfull() bool { return m.bytes() >= maxUnackedEver }

// push notes a stanza that is sent.
func (m *managed) push(b []byte, as entry) {
	as.size = len(b)
	m.entries = append(m.entries, as)
	m.buf = append(m.buf, b...)
}

// pop takes the first one out. Its bytes are valid until the next push or trim.
func (m *managed) pop() (e entry, b []byte) {
	e = m.entries[m.head]
	m.entries[m.head] = entry{}
	m.head++
	b = m.buf[m.at : m.at+e.size]
	m.at += e.size
	m.acked++
	return e, b
}

// trim gives back the room of what was taken out.
func (m *managed) trim() {
	if m.head == len(m.entries) {
		m.entries, m.head = m.entries[:0], 0
		if m.at, m.buf = 0, m.buf[:0]; cap(m.buf) > keptBytes {
			m.buf = nil
		}
		if cap(m.entries) > 32 {
			m.entries = nil
		}
		return
	}
	if m.head > len(m.entries)/2 {
		n := copy(m.entries, m.entries[m.head:])
		clear(m.entries[n:])
		m.entries, m.head = m.entries[:n], 0
	}
	if m.at > len(m.buf)/2 {
		m.buf = m.buf[:copy(m.buf, m.buf[m.at:])]
		m.at = 0
	}
}

// acknowledge takes the client's count; not ok says that it is of more than was sent. One of less than it has said
// before says nothing: what it lacks is sent again at worst. mu is held.
func (k *Client) acknowledge(h uint32) (progress, ok bool) {
	m := k.sm
	n := h - m.acked // modulo 2³²
	switch {
	case n >= 1<<31:
		return false, true
	case int64(n) > int64(m.len()):
		return false, false
	}
	for range n {
		if e, _ := m.pop(); e.consumer != nil {
			e.consumer.acked(e.tag)
		} else if e.settled != nil {
			e.settled(true)
		}
	}
	m.trim()
	k.tell()
	k.count()
	return n > 0, true
}

// enable is <enable/>.
func (k *Client) enable(e *stanza.Element) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.gone {
		return
	}
	if k.sm != nil {
		k.raw(smFailed("unexpected-request"))
		return
	}
	m := &managed{}
	text := "<enabled xmlns='" + nsSM + "'/>"
	if r := e.Attr("resume"); r == "true" || r == "1" {
		m.max = k.s.opts.ResumeTime
		if asked, err := strconv.ParseUint(e.Attr("max"), 10, 31); err == nil && asked > 0 {
			m.max = min(m.max, time.Duration(asked)*time.Second)
		}
		m.id = randomID()
		k.s.registry.resumable(m.id, k)
		text = "<enabled xmlns='" + nsSM + "' id='" + m.id + "' resume='true' max='" + strconv.Itoa(int(m.max/time.Second)) + "'/>"
	}
	k.raw(text)
	// What follows comes in another record of TLS. A client that reads both at once may begin to count behind what
	// follows: xmpp.js does, and would acknowledge less than it has.
	k.alone = len(k.out)
	k.sm = m
}

// smFailed is <failed/>.
func smFailed(condition string) string {
	return "<failed xmlns='" + nsSM + "'><" + condition + " xmlns='" + stanza.NSStanzas + "'/></failed>"
}

// smElement serves an element of stream management on a stream with a resource.
func (c *conn) smElement(e *stanza.Element) error {
	k := c.client.Load()
	switch e.Local {
	case "enable":
		k.enable(e)
	case "resume":
		k.mu.Lock()
		k.raw(smFailed("unexpected-request"))
		k.mu.Unlock()
	case "r":
		k.mu.Lock()
		managed := k.sm != nil
		h := uint32(0)
		if managed {
			h = k.sm.in
		}
		k.mu.Unlock()
		if managed {
			c.feed.after(func(error) { k.sendCount(h) })
		}
	case "a":
		return c.answered(k, e)
	}
	return nil
}

// sendCount tells the client how many of its stanzas were handled.
func (k *Client) sendCount(h uint32) {
	k.mu.Lock()
	k.raw("<a xmlns='" + nsSM + "' h='" + strconv.FormatUint(uint64(h), 10) + "'/>")
	k.mu.Unlock()
}

// answered is <a/>.
func (c *conn) answered(k *Client, e *stanza.Element) error {
	h, err := strconv.ParseUint(e.Attr("h"), 10, 32)
	k.mu.Lock()
	defer k.mu.Unlock()
	m := k.sm
	if m == nil {
		return nil
	}
	if err != nil {
		return &stanza.StreamError{Condition: "invalid-xml", Text: "the attribute h is not a number"}
	}
	m.asked = false
	sent := m.acked + uint32(m.len())
	progress, ok := k.acknowledge(uint32(h))
	if !ok {
		c.undefined = "<handled-count-too-high xmlns='" + nsSM + "' h='" + strconv.FormatUint(h, 10) + "' send-count='" + strconv.FormatUint(uint64(sent), 10) + "'/>"
		return &stanza.StreamError{Condition: "undefined-condition", Text: "more was acknowledged than was sent"}
	}
	if m.len() > 0 {
		if progress {
			c.signal() // it is asked again
		} else if m.timer == nil {
			m.asked = true
			m.timer = time.AfterFunc(askAgain, func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				m.timer, m.asked = nil, false
				if k.conn != nil {
					k.conn.signal()
				}
			})
		}
	}
	return nil
}

// ask asks the client what it has got, when it has not acknowledged all that was sent and is not asked already. mu
// is held.
func (k *Client) ask() {
	if m := k.sm; m != nil && m.len() > 0 && !m.asked {
		m.asked = true
		k.buffer()
		k.out = append(k.out, "<r xmlns='"+nsSM+"'/>"...)
	}
}
