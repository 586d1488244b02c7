package stomp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/field"
)

// publish publishes as another protocol's listener does.
func (r *rig) publish(m *broker.Inbound) {
	r.t.Helper()
	m.TimestampMs = time.Now().UnixMilli()
	p := r.session.NewPublisher()
	if routed, err := p.Publish(m); err != nil || !routed {
		r.t.Fatal(routed, err)
	}
	p.Store()
	if err := p.Commit(nil); err != nil {
		r.t.Fatal(err)
	}
}

// take gets the first message of a queue with its properties.
func (r *rig) take(queue string) (*broker.Got, field.Properties) {
	r.t.Helper()
	got, err := r.session.Get(queue, true)
	if err != nil || got == nil {
		r.t.Fatal(got, err)
	}
	var p field.Properties
	if err := field.RawProperties(got.Properties).Parse(&p); err != nil {
		r.t.Fatal(err)
	}
	return got, p
}

func TestHeadersBecomeProperties(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	for range 2 { // the second is remembered
		p.send("SEND\ndestination:/queue/a\ncontent-type:text/plain\ncontent-encoding:utf-8\npersistent:true\npriority:3\ncorrelation-id:c\nreply-to:/reply-queue/r\n" +
			"expiration:60000\namqp-message-id:m\ntimestamp:1700000000\ntype:t\nuser-id:guest\napp-id:app\nx\\cy:a\\nb\nx\\cy:second\nmessage-id:no\nack:no\nreceipt:r1\ncontent-length:3\n\na\x00b")
		p.expect("RECEIPT receipt-id:r1")
		got, props := r.take("a")
		if string(got.Body) != "a\x00b" || string(got.Exchange) != "" || string(got.Key) != "a" {
			t.Errorf("%s %s %q", got.Exchange, got.Key, got.Body)
		}
		text := fmt.Sprintf("%s %s %d %d %s %s %s %s %d %s %s %s", props.ContentType, props.ContentEncoding, props.DeliveryMode, props.Priority, props.CorrelationID,
			props.ReplyTo, props.Expiration, props.MessageID, props.Timestamp, props.Type, props.UserID, props.AppID)
		if want := "text/plain utf-8 2 3 c r 60000 m 1700000000 t guest app"; text != want {
			t.Errorf("%s, want %s", text, want)
		}
		var table []string
		for it := field.NewIterator(props.Headers); it.Next(); {
			table = append(table, fmt.Sprintf("%s %c %q", it.Name(), it.Tag(), it.Text()))
		}
		if want := `[x:y S "a\nb"]`; fmt.Sprint(table) != want {
			t.Errorf("%v, want %s", table, want)
		}
	}
}

func TestPropertiesBecomeHeaders(t *testing.T) {
	r := newRig(t, rigOptions{})
	if _, err := r.session.DeclareQueue("a", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	var table []byte
	add := func(name string, value func([]byte) []byte) { table = value(field.AppendName(table, name)) }
	add("s:1", func(b []byte) []byte { return field.AppendString(b, []byte("a\r\n:\\")) })
	add("l", func(b []byte) []byte { return field.AppendInt(b, -5) })
	add("t", func(b []byte) []byte { return field.AppendBool(b, true) })
	add("table", func(b []byte) []byte { return field.AppendTable(b, nil) })
	add("content-length", func(b []byte) []byte { return field.AppendString(b, []byte("1")) })
	add("receipt", func(b []byte) []byte { return field.AppendString(b, []byte("x")) })
	props := field.Properties{ContentType: []byte("a/b"), DeliveryMode: 2, Priority: 9, CorrelationID: []byte("c"), ReplyTo: []byte("answers"), Expiration: []byte("60000"),
		MessageID: []byte("m"), Timestamp: 5, Type: []byte("t"), AppID: []byte("app"), Headers: table}
	for version, want := range map[string]string{
		"1.2": `a\r\n\c\\`, "1.1": "a\r\\n\\c\\\\", "1.0": `a\r\n:\`,
	} {
		r.publish(&broker.Inbound{Key: []byte("a"), Properties: props.AppendTo(nil), Headers: table, Body: []byte("one\x00two")})
		p := r.connect(version)
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
		p.expect("MESSAGE subscription:1 message-id:1 redelivered:false destination:/queue/a content-type:a/b persistent:true priority:9 correlation-id:c" +
			" reply-to:/reply-queue/answers expiration:60000 amqp-message-id:m timestamp:5 type:t app-id:app s\\c1:" + want + " l:-5 t:true [one\x00two]")
		p.call("DISCONNECT")
	}
}

// Messages that are alike, and some by turns, are sent without another look; what differs in a receipt alone is alike.
func TestMessagesThatAreAlikeKeepTheirHeaders(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	var frames []string
	for i := range 60 {
		frames = append(frames, fmt.Sprintf("SEND\ndestination:/queue/%c\nn:%d\nreceipt:%d\n\n%d", "ab"[i%2], i/2%3, i, i))
	}
	p.send(frames...)
	for i := range 60 {
		p.expect(fmt.Sprintf("RECEIPT receipt-id:%d", i))
	}
	for i := range 60 {
		got, props := r.take(string("ab"[i%2]))
		n, _ := field.Find(props.Headers, "n")
		if string(got.Body) != fmt.Sprint(i) || string(n.Text()) != fmt.Sprint(i/2%3) {
			t.Fatalf("message %d: %s, n %s", i, got.Body, n.Text())
		}
	}
}

func TestBodiesOfAnySize(t *testing.T) {
	r := newRig(t, rigOptions{broker: broker.Options{MaxMessageBytes: 3 << 20}})
	p, q := r.connect("1.2"), r.connect("1.2")
	q.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
	for _, size := range []int{0, 1, 15 << 10, 16 << 10, 256<<10 - 60, 256 << 10, 1 << 20, 3 << 20} {
		for _, head := range []string{"", fmt.Sprintf("content-length:%d\n", size)} {
			body := strings.Repeat("x", size)
			if head != "" {
				body = strings.Repeat("\x00", size)
			}
			p.send("SEND\ndestination:/queue/a\n" + head + "receipt:r\n\n" + body)
			p.expect("RECEIPT receipt-id:r")
			if m := q.messages(1)[0]; m.body != body {
				t.Fatalf("%d bytes of %d came back, or others", len(m.body), size)
			}
		}
	}
	p.send("SEND\ndestination:/queue/a\n\n" + strings.Repeat("x", 3<<20+1))
	p.ended("Message too large", "body is too large: ")
	if used := r.server.opts.Budget.Stats().Used; used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}
