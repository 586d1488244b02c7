package management

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/definitions"
	"github.com/leveret-mq/leveret/internal/field"
)

// messageRows are about single messages.
var messageRows = []row{
	{path: "queues/{vhost}/{name}/get", method: post, who: management, do: (*call).getMessages, body: getBody{}, about: "Takes messages of a queue, or looks at them and puts them back"},
}

// publishBody is a message.
type publishBody struct {
	Properties json.RawMessage `json:"properties" needed:"true"`
	RoutingKey string          `json:"routing_key" needed:"true"`
	Payload    string          `json:"payload" needed:"true"`
	Encoding   string          `json:"payload_encoding" needed:"true"`
}

// publishPatience is how long a publish may wait for its confirm.
const publishPatience = 30 * time.Second

func (c *call) publish() error {
	var b publishBody
	if err := c.body(&b); err != nil {
		return err
	}
	if len(b.RoutingKey) > 255 { // no client of AMQP could be handed it
		return badRequest("'routing_key' is longer than 255 bytes")
	}
	body := []byte(b.Payload)
	switch b.Encoding {
	case "string":
	case "base64":
		var err error
		if body, err = base64.StdEncoding.DecodeString(b.Payload); err != nil {
			return badRequest("the payload is not base64: %v", err)
		}
	default:
		return badRequest("unsupported_encoding: payload_encoding must be string or base64, it is %q", b.Encoding)
	}
	m, err := c.inbound(b.Properties)
	if err != nil {
		return err
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	x, err := c.exchange()
	if err != nil {
		return err
	}
	if alarm := c.s.opts.Broker.Alarm(); alarm != "" {
		return unavailable("no messages are taken now: " + alarm)
	}
	m.Exchange, m.Key, m.Body, m.TimestampMs, m.Ref = []byte(x.Name), []byte(b.RoutingKey), body, time.Now().UnixMilli(), 1
	routed, err := c.store(s, m)
	if err != nil {
		return err
	}
	return c.json(object{{"routed", routed}})
}

// store publishes a message and waits until it is as safe as a confirm says.
func (c *call) store(s *broker.Session, m *broker.Inbound) (routed bool, err error) {
	p := s.NewPublisher()
	if routed, err = p.Publish(m); err != nil {
		return false, err
	}
	p.Store()
	if len(p.Refused()) > 0 {
		_ = p.Commit(nil) // there is nothing in it
		return false, badRequest("Unable to publish message. Check queue limits.")
	}
	done := make(chan error, 1)
	if err := p.Commit(func(err error) { done <- err }); err != nil {
		return false, err
	}
	patience := time.NewTimer(publishPatience)
	defer patience.Stop()
	select {
	case err = <-done:
		if err == nil && !routed {
			s.CountReturned(1)
		}
		s.CountConfirmed(1)
		return routed, err
	case <-c.r.Context().Done():
		return false, unavailable("the client is gone")
	case <-patience.C:
		return false, unavailable("the disk did not confirm the message in time; it may be stored all the same")
	}
}

// inbound makes a message of its properties, without its body.
func (c *call) inbound(text json.RawMessage) (*broker.Inbound, error) {
	if s := string(bytes.TrimSpace(text)); s == "[]" {
		text = json.RawMessage("{}")
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return nil, badRequest("'properties' must be an object")
	}
	m := &broker.Inbound{}
	var p field.Properties
	shortString := func(name string, flag uint16, into *[]byte) error {
		v, ok := fields[name]
		if !ok {
			return nil
		}
		var s string
		if json.Unmarshal(v, &s) != nil || string(v) == "null" {
			return badRequest("property '%s' must be a string, it is %s", name, short(v))
		}
		if len(s) > 255 {
			return badRequest("property '%s' is longer than 255 bytes", name)
		}
		p.Flags |= flag
		*into = []byte(s)
		return nil
	}
	for _, f := range []struct {
		name string
		flag uint16
		into *[]byte
	}{
		{"content_type", field.FlagContentType, &p.ContentType}, {"content_encoding", field.FlagContentEncoding, &p.ContentEncoding},
		{"correlation_id", field.FlagCorrelationID, &p.CorrelationID}, {"reply_to", field.FlagReplyTo, &p.ReplyTo}, {"expiration", field.FlagExpiration, &p.Expiration},
		{"message_id", field.FlagMessageID, &p.MessageID}, {"type", field.FlagType, &p.Type}, {"user_id", field.FlagUserID, &p.UserID},
		{"app_id", field.FlagAppID, &p.AppID}, {"cluster_id", field.FlagClusterID, &p.ClusterID},
	} {
		if err := shortString(f.name, f.flag, f.into); err != nil {
			return nil, err
		}
	}
	for _, f := range []struct {
		name string
		flag uint16
		most uint64
		set  func(uint64)
	}{
		{"delivery_mode", field.FlagDeliveryMode, 2, func(n uint64) { p.DeliveryMode = uint8(n) }},
		{"priority", field.FlagPriority, 255, func(n uint64) { p.Priority = uint8(n) }},
		{"timestamp", field.FlagTimestamp, 1 << 62, func(n uint64) { p.Timestamp = n }},
	} {
		v, ok := fields[f.name]
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(string(v), 10, 64)
		if err != nil || n > f.most {
			return nil, badRequest("not_int: property '%s' must be a number up to %d, it is %s", f.name, f.most, short(v))
		}
		p.Flags |= f.flag
		f.set(n)
	}
	if p.Flags&field.FlagUserID != 0 && string(p.UserID) != c.user.Name {
		return nil, badRequest("user_id property set to '%s' but authenticated user was '%s'", p.UserID, c.user.Name)
	}
	if p.Flags&field.FlagExpiration != 0 {
		if err := broker.CheckExpiration(p.Expiration); err != nil {
			return nil, err
		}
	}
	if err := headers(fields["headers"], m, &p); err != nil {
		return nil, err
	}
	m.Persistent = p.DeliveryMode == 2
	m.Properties = p.Append(nil)
	return m, nil
}

// headers reads the headers, and the further routing keys among them.
func headers(text json.RawMessage, m *broker.Inbound, p *field.Properties) error {
	if text == nil {
		return nil
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &all); err != nil || all == nil {
		if string(text) == "[]" {
			return nil
		}
		return badRequest("property 'headers' must be an object, it is %s", short(text))
	}
	for _, name := range []string{"CC", "BCC"} {
		v, ok := all[name]
		if !ok {
			continue
		}
		var keys []string
		if err := json.Unmarshal(v, &keys); err != nil {
			return badRequest("header '%s' must be a list of routing keys, it is %s", name, short(v))
		}
		for _, key := range keys {
			m.MoreKeys = append(m.MoreKeys, []byte(key))
		}
	}
	if _, blind := all["BCC"]; blind {
		delete(all, "BCC")
		var err error
		if text, err = json.Marshal(all); err != nil {
			return badRequest("property 'headers': %v", err)
		}
	}
	table, err := definitions.ParseTable(text, "headers")
	if err != nil {
		return badRequest("%v", err)
	}
	p.Flags |= field.FlagHeaders
	p.Headers, m.Headers = table, table
	return nil
}

// getBody is how messages are asked for.
type getBody struct {
	Count    int64  `json:"count" needed:"true"`
	AckMode  string `json:"ackmode" needed:"true"`
	Encoding string `json:"encoding" needed:"true"`
	Truncate *int64 `json:"truncate"`
}

// What becomes of a message that was got.
var ackModes = map[string]func(*broker.Got) error{
	"ack_requeue_false":    func(g *broker.Got) error { return g.Lease.Ack(g.Offset, g.Offset) },
	"ack_requeue_true":     func(g *broker.Got) error { return g.Lease.Requeue(g.Offset, g.Offset) },
	"reject_requeue_true":  func(g *broker.Got) error { return g.Lease.Requeue(g.Offset, g.Offset) },
	"reject_requeue_false": func(g *broker.Got) error { return g.Lease.Reject(g.Offset, g.Offset) },
}

// gotBytes is what a message takes beside its bytes while it waits to be shown.
const gotBytes = 400

func (c *call) getMessages() error {
	var b getBody
	if err := c.body(&b); err != nil {
		return err
	}
	settle := ackModes[b.AckMode]
	if settle == nil {
		return badRequest("ackmode must be one of ack_requeue_true, ack_requeue_false, reject_requeue_true, reject_requeue_false, it is %q", b.AckMode)
	}
	if b.Encoding != "auto" && b.Encoding != "base64" {
		return badRequest("unsupported_encoding: encoding must be auto or base64, it is %q", b.Encoding)
	}
	s, err := c.session()
	if err != nil {
		return err
	}
	if _, err := c.queue(); err != nil {
		return err
	}
	var all []*broker.Got
	for b.Count < 0 || int64(len(all)) < b.Count {
		got, err := s.Get(c.arg("name"), false)
		if err == nil && got == nil {
			break
		}
		if err == nil {
			all = append(all, got)
			err = c.take(gotBytes + 2*int64(len(got.Body)+len(got.Properties)))
		}
		if err != nil && len(all) > 0 && got == nil {
			break // what there is is shown
		}
		if err != nil {
			for _, g := range all {
				_ = g.Lease.Requeue(g.Offset, g.Offset) // nobody has seen them
			}
			return err
		}
	}
	for _, g := range all { // those that go back do so all at once, after the last was got
		if err := settle(g); err != nil {
			c.log.Debug("a message that was got could not be settled", "queue", c.arg("name"), "error", err)
		}
	}
	return c.stream(200, "application/json", func(o *output) {
		o.buf = append(o.buf, '[')
		for i, g := range all {
			if i > 0 {
				o.buf = append(o.buf, ',')
			}
			o.buf = gotObject(g, b.Encoding, b.Truncate).append(o.buf)
			if !o.room() {
				return
			}
		}
		o.buf = append(o.buf, ']')
	})
}

func gotObject(g *broker.Got, encoding string, truncate *int64) object {
	o := object{{"payload_bytes", len(g.Body)}, {"redelivered", g.Redelivered}, {"exchange", readable(g.Exchange)}, {"routing_key", readable(g.Key)},
		{"message_count", g.Remaining}, {"properties", propertiesObject(g.Properties)}}
	return append(o, payload(g.Body, encoding, truncate)...)
}

// payload shows a body as it is asked for.
func payload(body []byte, encoding string, truncate *int64) object {
	if truncate != nil && *truncate >= 0 && *truncate < int64(len(body)) {
		body = body[:*truncate]
	}
	if encoding == "auto" && utf8.Valid(body) {
		return object{{"payload", string(body)}, {"payload_encoding", "string"}}
	}
	return object{{"payload", base64.StdEncoding.EncodeToString(body)}, {"payload_encoding", "base64"}}
}

// propertiesObject shows the properties of a message; none are an empty list, as RabbitMQ has it.
func propertiesObject(raw []byte) any {
	var p field.Properties
	if field.RawProperties(raw).Parse(&p) != nil || p.Flags == 0 {
		return []any{}
	}
	o := object{}
	add := func(flag uint16, name string, v func() any) {
		if p.Flags&flag != 0 {
			o = append(o, pair{name, v()})
		}
	}
	text := func(b []byte) func() any { return func() any { return readable(b) } }
	add(field.FlagContentType, "content_type", text(p.ContentType))
	add(field.FlagContentEncoding, "content_encoding", text(p.ContentEncoding))
	add(field.FlagHeaders, "headers", func() any { return tableObject(p.Headers) })
	add(field.FlagDeliveryMode, "delivery_mode", func() any { return int(p.DeliveryMode) })
	add(field.FlagPriority, "priority", func() any { return int(p.Priority) })
	add(field.FlagCorrelationID, "correlation_id", text(p.CorrelationID))
	add(field.FlagReplyTo, "reply_to", text(p.ReplyTo))
	add(field.FlagExpiration, "expiration", text(p.Expiration))
	add(field.FlagMessageID, "message_id", text(p.MessageID))
	add(field.FlagTimestamp, "timestamp", func() any { return p.Timestamp })
	add(field.FlagType, "type", text(p.Type))
	add(field.FlagUserID, "user_id", text(p.UserID))
	add(field.FlagAppID, "app_id", text(p.AppID))
	add(field.FlagClusterID, "cluster_id", text(p.ClusterID))
	return o
}
