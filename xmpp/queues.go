package xmpp

import (
	"strconv"
	"strings"
	"sync"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// queueService is queues.DOMAIN: QUEUE@queues.DOMAIN is the address of a queue.
type queueService struct{ s *Server }

func (*queueService) Label() string          { return "queues" }
func (*queueService) Open(*Server)           {}
func (*queueService) Presence(*Client, bool) {}

// exchangeService is exchanges.DOMAIN: EXCHANGE@exchanges.DOMAIN/KEY and KEY@EXCHANGE.exchanges.DOMAIN are addresses
// of what is published to an exchange with a routing key.
type exchangeService struct{ s *Server }

func (*exchangeService) Label() string          { return "exchanges" }
func (*exchangeService) Open(*Server)           {}
func (*exchangeService) Presence(*Client, bool) {}
func (*exchangeService) deep()                  {}

// Stanza implements Service.
func (q *queueService) Stanza(k *Client, to stanza.JID, e *stanza.Element) error {
	name := stanza.Unescape(to.Local)
	switch e.Local {
	case "message":
		if name == "" {
			return errUnserved
		}
		return q.message(k, name, to, e)
	case "presence":
		if name == "" {
			return nil
		}
		return q.presence(k, name, to, e)
	}
	if !asks(e) {
		return nil
	}
	if name == "" {
		return q.ask(k, e)
	}
	return q.askQueue(k, name, e)
}

// message publishes to a queue, or settles what came from it.
func (q *queueService) message(k *Client, name string, to stanza.JID, e *stanza.Element) error {
	if e.Attr("type") == "error" {
		if n, err := strconv.ParseUint(to.Resource, 10, 64); err == nil {
			q.settle(k, name, n, true)
		}
		return nil
	}
	if r := e.Child(nsReceipts, "received"); r != nil {
		n, err := strconv.ParseUint(to.Resource, 10, 64)
		if err != nil {
			n, err = strconv.ParseUint(r.Attr("id"), 10, 64)
		}
		if err == nil {
			q.settle(k, name, n, false)
		}
		return nil
	}
	if !hasContent(e) {
		return nil // that somebody is writing, and the like
	}
	if len(name) > 255 {
		return errTooLong
	}
	return k.publish("", name, e, errNoQueue)
}

// hasContent tells whether there is something in a message that is worth a place in a queue.
func hasContent(e *stanza.Element) bool {
	for _, c := range e.Children() {
		switch {
		case c.Space == "http://jabber.org/protocol/chatstates", c.Space == nsReceipts, c.Space == "urn:xmpp:hints", c.Is(stanza.NSClient, "thread"):
		default:
			return true
		}
	}
	return false
}

// publish publishes a message of the client's. unrouted is what it is told of one that no queue gets; nil is nothing.
// When a receipt is asked for it comes when the message is stored.
func (k *Client) publish(exchange, key string, e *stanza.Element, unrouted error) error {
	in := inboundOf(e, k.user)
	in.Exchange, in.Key, in.Persistent, in.TimestampMs = []byte(exchange), []byte(key), true, k.Now()
	routed, err := k.Publish(in, func(err error) {
		switch {
		case err != nil:
			k.Refuse(e, err)
		case e.Child(nsReceipts, "request") != nil && e.Attr("id") != "":
			answer := stanza.New(stanza.NSClient, "message", "from", e.Attr("to"), "to", k.full, "id", randomResource())
			k.Send(answer.Add(stanza.New(nsReceipts, "received", "id", e.Attr("id"))))
		}
	})
	if err == nil && !routed {
		err = unrouted
	}
	return err
}

// Stanza implements Service.
func (x *exchangeService) Stanza(k *Client, to stanza.JID, e *stanza.Element) error {
	below := strings.TrimSuffix(to.Domain, "."+k.domain.name)
	name, key := strings.TrimSuffix(below, ".exchanges"), stanza.Unescape(to.Local)
	if below == "exchanges" {
		name, key = key, to.Resource
	}
	switch {
	case e.Local == "message":
		if name == "" {
			return errUnserved
		}
		if e.Attr("type") == "error" || !hasContent(e) {
			return nil
		}
		if len(name) > 255 || len(key) > 255 {
			return errTooLong
		}
		return k.publish(name, key, e, nil)
	case !asks(e):
		return nil
	}
	return x.ask(k, name, e)
}

// toExchange publishes to an exchange that is addressed as a user of the domain would be; false is that there is none.
func (c *conn) toExchange(k *Client, name, key string, e *stanza.Element) bool {
	if e.Attr("type") == "error" || !hasContent(e) || len(name) > 255 || len(key) > 255 {
		return false
	}
	if _, err := k.Session().Exchange(broker.Publish, name); err != nil {
		return false
	}
	if err := k.publish(name, key, e, nil); err != nil {
		k.Refuse(e, err)
	}
	return true
}

// consumption is what a client consumes by presence to a queue.
type consumption struct {
	consumer *Consumer
	byHand   bool

	mu   sync.Mutex
	tags map[uint64]uint64 // by offset, with receipts
}

// consumptionKey is that of a queue's in Client.Set.
type consumptionKey string

// presence begins and ends consuming. What is asked for stands in <consume xmlns='urn:leveret:0' prefetch='N'
// ack='receipt'/>; without it messages are settled by stream management.
func (q *queueService) presence(k *Client, name string, to stanza.JID, e *stanza.Element) error {
	switch e.Attr("type") {
	case "":
	case "unavailable":
		if c, ok := k.Set(consumptionKey(name), nil).(*consumption); ok {
			c.consumer.Close()
			k.Send(stanza.New(stanza.NSClient, "presence", "type", "unavailable", "from", to.Bare().String(), "to", k.full))
		}
		return nil
	case "subscribe", "unsubscribe", "subscribed", "unsubscribed":
		return q.subscribe(k, name, to, e.Attr("type"))
	default:
		return nil
	}
	if old, ok := k.Set(consumptionKey(name), nil).(*consumption); ok {
		k.Set(consumptionKey(name), old) // it goes on: presence comes again when something of it changes
		return nil
	}
	c := &consumption{}
	o := ConsumerOptions{Queue: name}
	if with := e.Child(NSLeveret, "consume"); with != nil {
		c.byHand = with.Attr("ack") == "receipt"
		if text := with.Attr("prefetch"); text != "" {
			n, err := strconv.ParseUint(text, 10, 16)
			if err != nil || n == 0 {
				return stanza.Fail("bad-request", "prefetch is a number from 1 to 65535")
			}
			o.Prefetch = int(n)
		}
	}
	out := &outbound{to: k.full, from: to.Bare().String(), receipt: c.byHand}
	o.ByHand = c.byHand
	if c.byHand {
		c.tags = map[uint64]uint64{}
	}
	o.Append = func(buf []byte, d *broker.Delivery, tag uint64) []byte {
		if c.byHand {
			c.mu.Lock()
			c.tags[uint64(d.Offset)] = tag
			c.mu.Unlock()
		}
		return out.append(buf, d)
	}
	o.Cancelled = func(*Consumer) {
		k.Set(consumptionKey(name), nil)
		k.Send(stanza.New(stanza.NSClient, "presence", "type", "unavailable", "from", out.from, "to", k.full).Add(
			stanza.New(stanza.NSClient, "status").AddText("the queue was deleted, or may not be read any more")))
	}
	consumer, err := k.Consume(o)
	if err != nil {
		return err
	}
	c.consumer = consumer
	k.Set(consumptionKey(name), c)
	k.Send(stanza.New(stanza.NSClient, "presence", "from", out.from, "to", k.full))
	return nil
}

// settle settles a message for which the client has sent a receipt, or an error.
func (q *queueService) settle(k *Client, name string, offset uint64, back bool) {
	c, ok := k.Get(consumptionKey(name)).(*consumption)
	if !ok || !c.byHand {
		return
	}
	c.mu.Lock()
	tag, held := c.tags[offset]
	delete(c.tags, offset)
	c.mu.Unlock()
	if held {
		c.consumer.Settle(tag, back)
	}
}

// ask serves an iq to the service itself.
func (q *queueService) ask(k *Client, e *stanza.Element) error {
	query := e.First()
	set := e.Attr("type") == "set"
	switch {
	case query.Is(nsInfo, "query") && !set && query.Attr("node") == "":
		k.Reply(e, Info("", "component", "generic", "Queues", nsInfo, nsItems, nsPing, nsReceipts, nsSHIM))
	case query.Is(nsItems, "query") && !set && query.Attr("node") == "":
		items := stanza.New(nsItems, "query")
		for n, queue := range k.Session().Queues() {
			if n == maxItems {
				break
			}
			if stanza.Carries([]byte(queue.Name)) {
				items.Add(stanza.New(nsItems, "item", "jid", stanza.Escape(queue.Name)+"@queues."+k.domain.name, "name", queue.Name))
			}
		}
		k.Reply(e, items)
	default:
		return k.domain.anywhere(k, e, set, query)
	}
	return nil
}

// maxItems is how many items a list has at most.
const maxItems = 1000

// askQueue serves an iq to a queue.
func (q *queueService) askQueue(k *Client, name string, e *stanza.Element) error {
	if _, err := k.Session().Queue(broker.Look, name); err != nil {
		return err
	}
	query := e.First()
	set := e.Attr("type") == "set"
	switch {
	case query.Is(nsInfo, "query") && !set && query.Attr("node") == "":
		k.Reply(e, Info("", "automation", "queue", name, nsInfo, nsItems, nsPing, nsReceipts, nsSHIM))
	case query.Is(nsItems, "query") && !set && query.Attr("node") == "":
		k.Reply(e, stanza.New(nsItems, "query"))
	default:
		return k.domain.anywhere(k, e, set, query)
	}
	return nil
}

// ask serves an iq to the service or an exchange.
func (x *exchangeService) ask(k *Client, name string, e *stanza.Element) error {
	query := e.First()
	set := e.Attr("type") == "set"
	if name != "" {
		if _, err := k.Session().Exchange(broker.Look, name); err != nil {
			return err
		}
	}
	switch {
	case query.Is(nsInfo, "query") && !set && query.Attr("node") == "":
		if name == "" {
			name = "Exchanges"
		}
		k.Reply(e, Info("", "component", "generic", name, nsInfo, nsItems, nsPing, nsReceipts, nsSHIM))
	case query.Is(nsItems, "query") && !set && query.Attr("node") == "":
		k.Reply(e, stanza.New(nsItems, "query"))
	default:
		return k.domain.anywhere(k, e, set, query)
	}
	return nil
}
