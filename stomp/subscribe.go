package stomp

import (
	"strconv"
	"strings"
	"sync"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/deliver"
	"github.com/leveret-mq/leveret/internal/unacked"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// subscription is one SUBSCRIBE. It is used under conn.mu, by the writer to pull and by whoever ends it: nothing of
// that waits for a disk.
type subscription struct {
	deliver.Lane // guarded by conn.mu
	c            *conn
	key          string // what tells it apart
	number       uint64 // the same in the identifiers of its messages
	noAck        bool   // ack:auto
	upTo         bool   // ack:client: an ACK is for all messages before, too
	queue        string
	topic        bool // the queue is its own
	enc          *frame.DeliveryEncoder

	// Guarded by conn.mu.
	unacked unacked.Set
	near    unacked.Near
	isDirty bool // in conn.dirty
}

func (c *conn) newSubscription(key string) *subscription {
	c.lastSub++
	k := &subscription{c: c, key: key, number: c.lastSub}
	k.Open(&c.w.Writer, k, &c.mu)
	k.unacked.Failed = func(err error) {
		c.log.Error("can't settle messages", "error", err)
	}
	return k
}

// mark is what the identifiers of the subscription's messages begin with.
func (k *subscription) mark() string {
	return strconv.FormatUint(k.number, 10) + frame.Separator + k.c.id + frame.Separator
}

// subscribe is SUBSCRIBE.
func (c *conn) subscribe(f *frame.Frame) error {
	text, ok := f.Get("destination")
	if !ok {
		return fail("Missing destination", "SUBSCRIBE must include a 'destination' header")
	}
	if selector, ok := f.Get("selector"); ok {
		return fail("Invalid header", "'selector' is not supported: '%s'; bind with a pattern, or to a headers exchange", clip(selector))
	}
	d, err := destinationOf(f, string(text))
	if err != nil {
		return err
	}
	key, id, err := c.subscriptionKey(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	_, taken := c.subs[key]
	c.mu.Unlock()
	if taken {
		return fail("Duplicated subscription identifier", "A subscription identified by '%s' already exists.", id)
	}
	k := c.newSubscription(key)
	o, err := k.readMode(f)
	if err != nil {
		return err
	}
	switch d.kind {
	case toQueue:
		k.queue, err = d.key, c.ensureQueue(d.key, f)
	case toAmqQueue:
		k.queue = d.key
	case toTopic, toExchange:
		k.topic = true
		k.queue, err = c.ownQueue(&d, f, header(f, "id"))
		_, o.Exclusive = subscriptionName(f)
	case toTemp: // RabbitMQ refuses it; ActiveMQ's clients do it before they ask for replies there
		k.queue, _, err = c.tempQueue(d.key)
	default:
		err = fail("Invalid destination", "'%s' is not a valid destination for 'SUBSCRIBE'", text)
	}
	if err != nil {
		return err
	}
	err = c.consume(k, k.queue, f, o)
	if err == nil && d.kind == toTemp {
		c.endReplies(d.key)
	}
	if name, ok := subscriptionName(f); ok && k.topic && broker.KindOf(err) == broker.Refused && broker.RefusedOn(err) == 0 {
		return c.inUse(name)
	}
	return err
}

// subscriptionKey is what tells a subscription apart: its identifier, or in 1.0 its destination without one.
func (c *conn) subscriptionKey(f *frame.Frame) (key, id string, err error) {
	if value, ok := f.Get("id"); ok {
		id = string(value)
		if strings.HasPrefix(id, tempPrefix) {
			return "", "", fail("Invalid id", "%s 'id' may not start with %s", f.Command, tempPrefix)
		}
		return "T_" + id, id, nil
	}
	if value, ok := f.Get("destination"); ok {
		return "Q_" + string(value), string(value), nil
	}
	return "", "", fail("Missing destination or id", "%s must include a 'destination' or 'id' header", f.Command)
}

// readMode reads how a subscription is to be served.
func (k *subscription) readMode(f *frame.Frame) (o broker.SubscribeOptions, err error) {
	switch mode := header(f, "ack"); mode {
	case "", "auto":
		k.noAck = true
	case "client":
		k.upTo = true
	case "client-individual":
	default:
		return o, fail("Invalid header", "'ack' is none of auto, client and client-individual: '%s'", clip([]byte(mode)))
	}
	for _, name := range [...]string{"prefetch-count", "activemq.prefetchSize"} {
		if value, ok := f.Get(name); ok {
			n, err := strconv.ParseUint(trim(value), 10, 16)
			if err != nil {
				return o, fail("Invalid header", "'%s' is not a number from 0 to 65535: '%s'", name, clip(value))
			}
			o.Prefetch = int(n)
			break
		}
	}
	o.Args, err = readConsumeArgs(f)
	return o, err
}

// consume begins a subscription to a queue that is there, answers its frame and shows it to the writer.
func (c *conn) consume(k *subscription, queue string, f *frame.Frame, o broker.SubscribeOptions) (err error) {
	o.NoAck, o.Tag, o.Channel = k.noAck, k.key, 1
	o.Wake, o.Busy, o.Cancelled = k.Look, c.w.Busy, k.Gone
	id, _ := strings.CutPrefix(k.key, "T_")
	if id == k.key {
		id = ""
	}
	k.queue = queue
	k.enc = frame.NewDeliveryEncoder(c.version, id, k.mark(), !k.noAck && c.version == frame.V12)
	if k.Sub, err = c.session.Subscribe(queue, o); err != nil {
		return err
	}
	c.mu.Lock()
	if c.subs == nil {
		c.subs, c.byNumber = map[string]*subscription{}, map[uint64]*subscription{}
	}
	c.subs[k.key], c.byNumber[k.number] = k, k
	c.mu.Unlock()
	if f == nil {
		f = &frame.Frame{}
	}
	c.show(k, f)
	return nil
}

// unsubscribe is UNSUBSCRIBE. What the client holds it may still ack, as on RabbitMQ.
func (c *conn) unsubscribe(f *frame.Frame) error {
	if name, ok := subscriptionName(f); ok {
		if err := c.deleteDurable(name); err != nil {
			return err
		}
		c.done(f)
		return nil
	}
	if durable(f) && header(f, "id") == "" {
		return fail("Missing Header", "Header 'id' is required for durable subscriptions")
	}
	key, id, err := c.subscriptionKey(f)
	if err != nil {
		return err
	}
	c.mu.Lock()
	k := c.subs[key]
	if k == nil {
		c.mu.Unlock()
		return fail("No subscription found", "UNSUBSCRIBE must refer to an existing subscription.\nSubscription to '%s' not found.", id)
	}
	delete(c.subs, key)
	k.Close()
	c.forget(k)
	c.mu.Unlock()
	k.Sub.DeleteUnused()
	c.forgetTemp(k.queue)
	if k.topic && durable(f) {
		if _, err := c.session.DeleteQueue(k.queue, false, false); err != nil && broker.KindOf(err) != broker.NotFound {
			return err
		}
	}
	c.done(f)
	return nil
}

// done answers a frame that asked for a receipt.
func (c *conn) done(f *frame.Frame) {
	if id, ok := f.Get("receipt"); ok {
		c.receipt(id)
	}
}

// forget drops a subscription that was ended and of which nothing is held. mu is held.
func (c *conn) forget(k *subscription) {
	if k.Closed() && k.unacked.Len() == 0 {
		delete(c.byNumber, k.number)
	}
}

// endSubscriptions ends all of them, and what they hold goes back to its queues.
func (c *conn) endSubscriptions() {
	c.settled()
	c.mu.Lock()
	for _, k := range c.subs {
		k.Sub.Stop()
	}
	for _, k := range c.byNumber {
		k.unacked.SettleAll(unacked.Fail) // before one who waits for its turn gets it
		k.unacked.Tell()
	}
	var left []*subscription
	for _, k := range c.subs {
		k.Close()
		if k.Sub.Last() {
			left = append(left, k)
		}
	}
	c.subs, c.byNumber, c.dirty = nil, nil, nil
	c.mu.Unlock()
	var all sync.WaitGroup
	for _, k := range left { // who waits for the disk waits once
		all.Go(k.Sub.DeleteUnused)
	}
	all.Wait()
}
