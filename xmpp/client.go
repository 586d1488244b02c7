package xmpp

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

const (
	// maxOutBytes is what may wait to be written before the read loop stops reading, before what others send is
	// refused, and before deliveries wait.
	maxOutBytes = 1 << 20
	// keptBytes is the largest buffer that a client keeps while there is nothing to write.
	keptBytes = 1 << 10
)

// Client is a resource that is bound: what has a full address. It outlives its connection where its stream can be
// resumed. Its methods may be called from any goroutine, unless it is said otherwise.
type Client struct {
	s       *Server
	domain  *domain
	jid     stanza.JID
	full    string // the same
	account *account
	user    string
	memory  *budget.Account // of what waits for it

	session atomic.Pointer[broker.Session]
	live    atomic.Pointer[conn] // conn, for who must not take mu
	smID    string               // by which its stream is found; guarded by registry.mu
	taken   bool                 // another connection is about to have it; guarded by registry.mu

	mu         sync.Mutex      // guards the fields below, and every Consumer
	conn       *conn           // nil while its stream is broken and may be resumed
	leaving    bool            // its stream ends, and it with it
	gone       bool            // it has ended for good
	out        []byte          // for the writer, in order
	alone      int             // of out, what is written by a call of its own
	unwritten  []func(ok bool) // of events in out, without stream management
	sm         *managed        // nil without stream management
	charged    int64           // of memory
	present    bool            // it has sent presence
	priority   int
	seen       *stanza.Element         // that presence
	directed   map[stanza.JID]struct{} // others who were sent presence; a resource or a bare address
	interested bool                    // it has asked for its contacts, and is told of changes
	consumers  map[*Consumer]struct{}
	dirty      []*Consumer // with verdicts that the broker was not told
	parked     []*Consumer // that wait for room
	delivered  uint64      // messages of consumers
	extra      map[any]any // of services

	noteMu sync.Mutex // guards the field below; a leaf
	ready  []*Consumer
}

// JID is the client's full address.
func (k *Client) JID() stanza.JID { return k.jid }

// User is the name of the client's user, which its address has in escaped form.
func (k *Client) User() string { return k.user }

// Domain is the domain to which it has signed in.
func (k *Client) Domain() string { return k.domain.name }

// Session is what the client does all that it does through. A stream that is resumed has another one: ask for it
// each time, and only while the client's stanza is handled or for a Consumer.
func (k *Client) Session() *broker.Session { return k.session.Load() }

// Available tells whether the client has sent presence, and its priority.
func (k *Client) Available() (priority int, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.priority, k.present && !k.gone && !k.leaving
}

// Send sends a stanza to the client, whatever else waits to be sent: an answer to what it asked for. It does not
// wait. It says no only when the client is gone. e is not kept.
func (k *Client) Send(e *stanza.Element) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.put(e, entry{})
}

// Offer is Send of what the client did not ask for: it says no as well when too much waits for the client.
func (k *Client) Offer(e *stanza.Element) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isFull() {
		return false
	}
	return k.put(e, entry{})
}

// offerMessage is Offer of what goes to the account's offline messages when it gets lost with the stream.
func (k *Client) offerMessage(e *stanza.Element) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.isFull() {
		return false
	}
	return k.put(e, entry{kept: true})
}

// isFull tells whether so much waits for the client that it gets nothing more, or its stream ends. mu is held.
func (k *Client) isFull() bool {
	return k.leaving || len(k.out) > maxOutBytes || k.sm != nil && k.sm.full()
}

// put has a stanza sent. mu is held.
func (k *Client) put(e *stanza.Element, as entry) bool {
	if k.gone || k.conn == nil && k.sm == nil {
		return false
	}
	k.buffer()
	start := len(k.out)
	k.out = e.AppendTo(k.out, stanza.NSClient)
	k.done(start, as)
	return true
}

// buffer sees to it that there is a buffer to append a stanza to. mu is held.
func (k *Client) buffer() {
	if k.out == nil {
		k.out = takeBuffer()
	}
}

// done ends the stanza that begins in out at start. mu is held.
func (k *Client) done(start int, as entry) {
	if k.sm != nil {
		k.sm.push(k.out[start:], as)
		if k.conn == nil {
			k.out = k.out[:start]
		}
	} else if as.settled != nil {
		k.unwritten = append(k.unwritten, as.settled)
	}
	if c := k.conn; c != nil {
		c.written.Add(1)
		c.signal()
	} else if len(k.out) == 0 {
		giveBuffer(k.out)
		k.out = nil
	}
	k.count()
}

// raw has something sent that is no stanza. mu is held.
func (k *Client) raw(text string) {
	if k.conn == nil {
		return
	}
	k.buffer()
	k.out = append(k.out, text...)
	k.conn.signal()
}

var errUnread = errors.New("too much waits for the client, which does not read or does not acknowledge it")

// count counts what waits for the client against the memory of requests. mu is held.
func (k *Client) count() {
	held := int64(len(k.out))
	if k.sm != nil {
		held += int64(k.sm.bytes())
	}
	n := held - k.charged
	switch {
	case n >= chargeStep:
		if err := k.memory.Try(n); err != nil || k.sm != nil && k.sm.overfull() {
			if k.conn != nil {
				k.conn.cut(&stanza.StreamError{Condition: "resource-constraint", Text: errUnread.Error()})
			}
			return
		}
	case n <= -chargeStep, n < 0 && held == 0:
		k.memory.Give(-n)
	default:
		return
	}
	k.charged = held
}

// Reply answers an iq with what stands in the result.
func (k *Client) Reply(iq *stanza.Element, payload ...*stanza.Element) {
	k.Send(stanza.Result(iq, payload...))
}

// Refuse answers a stanza that could not be served: err is a *stanza.Error or one of the broker's. What must not be
// answered, an error or the result of an iq, is not.
func (k *Client) Refuse(s *stanza.Element, err error) {
	switch kind := s.Attr("type"); {
	case kind == "error", kind == "result" && s.Local == "iq":
		return
	}
	k.Send(stanza.Refusal(s, k.asError(err)))
}

// Set keeps a value of a service's with the client, and returns the one that was kept under that key; nil takes it
// away.
func (k *Client) Set(key, value any) (old any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	old = k.extra[key]
	if value == nil {
		delete(k.extra, key)
		return old
	}
	if k.extra == nil {
		k.extra = map[any]any{}
	}
	k.extra[key] = value
	return old
}

// Get is the value that Set has kept.
func (k *Client) Get(key any) any {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.extra[key]
}

// Publish publishes through the client's session, as broker.Publisher.Publish does. then, unless it is nil, is called
// when the message is as durable as its queues promise, or with the error for which it is not in all of them: by
// another goroutine, in the order of the calls, and not at all when Publish returns an error. in.Ref is its own.
// Publish belongs to who handles a stanza of the client's.
func (k *Client) Publish(in *broker.Inbound, then func(error)) (routed bool, err error) {
	return k.connection().feed.publish(in, then)
}

// Flush stores what was published, so that what is looked at next has it. It belongs to who handles a stanza of the
// client's, and need not be called before a verb of the session's when the stanza is an iq.
func (k *Client) Flush() { k.connection().feed.store() }

// Now is when the stanza under way came, in ms since 1970, for Inbound.TimestampMs. It belongs to who handles it.
func (k *Client) Now() int64 { return k.connection().rb().NowMs() }

// connection is the client's; its read loop, which asks, is the one that has it.
func (k *Client) connection() *conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.conn
}

var bufferPool sync.Pool // of *[]byte

func takeBuffer() []byte {
	if b, ok := bufferPool.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, 8<<10)
}

func giveBuffer(b []byte) {
	if cap(b) > 0 && cap(b) <= 256<<10 {
		bufferPool.Put(&b)
	}
}
