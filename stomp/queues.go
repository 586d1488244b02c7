package stomp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/stomp/frame"
)

// queueArgs are the headers that are arguments of a queue, and what they are there: 's' text, 'l' a number, 't' yes
// or no.
var queueArgs = map[string]byte{
	"x-message-ttl": 'l', "x-expires": 'l', "x-max-length": 'l', "x-max-length-bytes": 'l', "x-overflow": 's',
	"x-dead-letter-exchange": 's', "x-dead-letter-routing-key": 's', "x-dead-letter-strategy": 's', "x-max-priority": 'l',
	"x-queue-type": 's', "x-queue-mode": 's', "x-queue-version": 'l', "x-single-active-consumer": 't', "x-delivery-limit": 'l',
	"x-max-age": 's', "x-stream-max-segment-size-bytes": 'l', "x-stream-filter-size-bytes": 'l',
	"x-queue-leader-locator": 's', "x-initial-cluster-size": 'l', "x-quorum-initial-group-size": 'l',
	"x-message-deduplication": 't', "x-consumer-timeout": 'l',
	"x-delayed-retry-type": 's', "x-delayed-retry-min": 'l', "x-delayed-retry-max": 'l',
}

// appendArg appends a header as an argument.
func appendArg(args []byte, name string, tag byte, value []byte) ([]byte, error) {
	args = field.AppendName(args, name)
	text := trim(value)
	switch tag {
	case 'l':
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return args, fail("Invalid header", "'%s' is not a number: '%s'", name, clip(value))
		}
		return field.AppendInt(args, n), nil
	case 't':
		if !isTrue(value) && !isFalse(value) {
			return args, fail("Invalid header", "'%s' is neither true nor false: '%s'", name, clip(value))
		}
		return field.AppendBool(args, isTrue(value)), nil
	}
	return field.AppendString(args, []byte(text)), nil
}

// readQueueArgs makes arguments of a queue of a frame's headers.
func readQueueArgs(f *frame.Frame) (args []byte, err error) {
	for i := range f.Headers {
		name := string(f.Headers[i].Name)
		tag, ok := queueArgs[name]
		if !ok || !strings.HasPrefix(name, "x-") {
			continue
		}
		if _, twice := field.Find(args, name); twice {
			continue
		}
		if args, err = appendArg(args, name, tag, f.Headers[i].Value); err != nil {
			return nil, err
		}
	}
	return args, nil
}

// readConsumeArgs makes arguments of a consumer of the headers of SUBSCRIBE.
func readConsumeArgs(f *frame.Frame) (args []byte, err error) {
	for name, tag := range map[string]byte{"x-priority": 'l', "x-consumer-timeout": 'l', "x-stream-match-unfiltered": 't'} {
		if value, ok := f.Get(name); ok {
			if args, err = appendArg(args, name, tag, value); err != nil {
				return nil, err
			}
		}
	}
	if value, ok := f.Get("x-stream-filter"); ok {
		var list []byte
		for one := range strings.SplitSeq(string(value), ",") {
			list = field.AppendString(list, []byte(one))
		}
		args = field.AppendArray(field.AppendName(args, "x-stream-filter"), list)
	}
	if value, ok := f.Get("x-stream-offset"); ok {
		args, err = appendOffset(field.AppendName(args, "x-stream-offset"), string(value))
	}
	return args, err
}

// appendOffset appends where reading a stream begins: offset=N, timestamp=S, or what AMQP's clients say in words.
// Older clients have a colon in the place of the equals sign.
func appendOffset(args []byte, text string) ([]byte, error) {
	name, digits, ok := strings.Cut(strings.Replace(text, ":", "=", 1), "=")
	if !ok {
		return field.AppendString(args, []byte(text)), nil
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil || n > math.MaxInt64:
	case name == "offset":
		return field.AppendInt(args, int64(n)), nil
	case name == "timestamp":
		return binary.BigEndian.AppendUint64(append(args, field.TagTimestamp), n), nil
	}
	return args, fail("Invalid header", "'x-stream-offset' is none of first, last, next, offset=N and timestamp=S: '%s'", clip([]byte(text)))
}

// maxEnsured bounds the names that a connection remembers.
const maxEnsured = 4096

// ensureQueue declares the queue of a destination /queue/N, once a connection. f is the frame that names it; nil: a
// queue that was there before.
func (c *conn) ensureQueue(name string, f *frame.Frame) error {
	if c.ensured[name] {
		return nil
	}
	o := broker.QueueOptions{Durable: true}
	if f != nil {
		args, err := readQueueArgs(f)
		if err != nil {
			return err
		}
		o = broker.QueueOptions{Durable: flag(f, "durable", true), AutoDelete: flag(f, "auto-delete", false), Exclusive: flag(f, "exclusive", false), Args: args}
	}
	if _, err := c.session.DeclareQueue(name, o); err != nil {
		return err
	}
	c.ensure(name)
	return nil
}

// ensure remembers that something was declared.
func (c *conn) ensure(name string) {
	if c.ensured == nil || len(c.ensured) >= maxEnsured {
		c.ensured = map[string]bool{}
	}
	c.ensured[name] = true
}

// ownQueue declares the queue of a subscription to an exchange and binds it: one of the connection's own, or with
// durable:true, an identifier and auto-delete:false one that stays, and that who subscribes so again finds.
func (c *conn) ownQueue(d *destination, f *frame.Frame, id string) (name string, err error) {
	args, err := readQueueArgs(f)
	if err != nil {
		return "", err
	}
	lasting := durable(f)
	if lasting && id == "" {
		return "", fail("Missing Header", "Header 'id' is required for durable subscriptions")
	}
	if d.kind == toExchange { // or the queue would be there although there is nothing to bind it to
		if _, err := c.session.Exchange(broker.BindSource, d.exchange); err != nil {
			return "", err
		}
	}
	if name, ok := subscriptionName(f); ok {
		return c.subscribeDurably(name, d, args)
	}
	given, _ := f.Get("x-queue-name")
	switch name = string(given); {
	case name != "":
	case lasting:
		name = lastingName(header(f, "destination"), id)
	default:
		name = "stomp-subscription-" + randomName()
	}
	_, err = c.session.DeclareQueue(name, broker.QueueOptions{
		Durable: lasting, AutoDelete: flag(f, "auto-delete", true), Exclusive: flag(f, "exclusive", !lasting && len(given) == 0), Args: args,
	})
	if err != nil {
		return "", err
	}
	return name, c.session.Bind(broker.Binding{Source: d.exchange, Dest: name, Key: d.key})
}

func randomName() string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// lastingName is the name of a subscription's queue that follows from what it is to, and its identifier.
func lastingName(destination, id string) string {
	sum := sha256.Sum256([]byte(destination + "\x00" + id))
	return "stomp-subscription-" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// replyTo is the address for replies of a message. The client's name for a queue of its own becomes that queue's.
func (c *conn) replyTo(to []byte) ([]byte, error) {
	name, ok := strings.CutPrefix(string(to), tempPrefix)
	if !ok {
		if queue, ok := strings.CutPrefix(string(to), replyPrefix); ok {
			return []byte(queue), nil // as AMQP's clients know it
		}
		return to, nil
	}
	queue, made, err := c.tempQueue(name)
	if made {
		k := c.newSubscription("T_" + tempPrefix + name)
		k.noAck = true
		err = c.consume(k, queue, nil, broker.SubscribeOptions{})
	}
	return []byte(queue), err
}

// endReplies ends the subscription that replyTo has made: the client has one of its own now.
func (c *conn) endReplies(name string) {
	c.mu.Lock()
	k := c.subs["T_"+tempPrefix+name]
	if k == nil {
		c.mu.Unlock()
		return
	}
	delete(c.subs, k.key)
	k.Close()
	c.forget(k)
	c.mu.Unlock()
	k.Sub.DeleteUnused()
}

// tempQueue is the queue that the connection calls so. The first use makes it; a subscription to it must follow.
func (c *conn) tempQueue(name string) (queue string, made bool, err error) {
	if queue, ok := c.temps[name]; ok {
		return queue, false, nil
	}
	if len(c.temps) >= maxEnsured {
		return "", false, fail("Too many temporary queues", "a connection may have %d", maxEnsured)
	}
	q, err := c.session.DeclareQueue("", broker.QueueOptions{AutoDelete: true, Exclusive: true})
	if err != nil {
		return "", false, err
	}
	if c.temps == nil {
		c.temps = map[string]string{}
	}
	c.temps[name] = q.Name
	return q.Name, true, nil
}

// forgetTemp drops the client's name for a queue of its own to which it has no subscription any more.
func (c *conn) forgetTemp(queue string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.subs {
		if k.queue == queue {
			return
		}
	}
	for name, of := range c.temps {
		if of == queue {
			delete(c.temps, name)
		}
	}
}
