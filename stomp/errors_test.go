package stomp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/netx"
)

func TestWhatIsSentIsDeliveredAndAcked(t *testing.T) {
	for version, c := range map[string]struct{ ack, head string }{
		"1.0": {"ACK\nmessage-id:%[1]s", "MESSAGE subscription:s message-id:1 redelivered:%s destination:/queue/a content-type:text/plain persistent:true x:y [hello]"},
		"1.1": {"ACK\nmessage-id:%[1]s\nsubscription:s", "MESSAGE subscription:s message-id:1 redelivered:%s destination:/queue/a content-type:text/plain persistent:true x:y [hello]"},
		"1.2": {"ACK\nid:%[1]s", "MESSAGE subscription:s message-id:1 ack:1 redelivered:%s destination:/queue/a content-type:text/plain persistent:true x:y [hello]"},
	} {
		t.Run(version, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.connect(version)
			p.send("SEND\ndestination:/queue/a\ncontent-type:text/plain\npersistent:true\nx:y\nreceipt:r\n\nhello")
			p.expect("RECEIPT receipt-id:r")
			q := r.connect(version)
			q.call("SUBSCRIBE\ndestination:/queue/a\nid:s\nack:client-individual")
			q.expect(fmt.Sprintf(c.head, "false"))
			q.nc.Close() // unacked: it comes again
			p.call("SUBSCRIBE\ndestination:/queue/a\nid:s\nack:client-individual")
			m := p.expect(fmt.Sprintf(c.head, "true"))
			p.call(fmt.Sprintf(c.ack, m.get("message-id")))
			p.send("DISCONNECT\nreceipt:bye\n\n")
			p.expect("RECEIPT receipt-id:bye")
			if g, ok := p.next(); ok {
				t.Errorf("behind the last receipt comes %s", g)
			}
			if n := r.ready("a"); n != 0 {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

func TestAnErrorSaysWhatWasWrongAndEndsTheConnection(t *testing.T) {
	connected := "CONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n"
	for name, c := range map[string]struct {
		frames        []string
		message, text string
	}{
		"another protocol":         {[]string{"GET / HTTP/1.1\r\n\r\n"}, "Bad command", "GET / HTTP/1.1"},
		"not signed in":            {[]string{"SEND\ndestination:/queue/a\n\n"}, "Illegal command", "CONNECT first"},
		"an old version":           {[]string{"CONNECT\naccept-version:0.9,3.0\nlogin:guest\npasscode:guest\n\n"}, "Version mismatch", "1.0,1.1,1.2"},
		"a wrong password":         {[]string{"CONNECT\nlogin:guest\npasscode:x\n\n"}, "Bad CONNECT", "Access refused for user 'guest'"},
		"no login":                 {[]string{"CONNECT\n\n"}, "Bad CONNECT", "login and passcode"},
		"no numbers of heart-beat": {[]string{"CONNECT\nheart-beat:x\nlogin:guest\npasscode:guest\n\n"}, "Bad CONNECT", "'heart-beat'"},
		"signed in twice":          {[]string{connected, connected}, "Illegal command", "CONNECT"},
		"no destination":           {[]string{connected, "SEND\n\n"}, "Missing destination", "SEND must include"},
		"an unknown destination":   {[]string{connected, "SEND\ndestination:/nowhere/x\n\n"}, "Unknown destination", "'/nowhere/x' is not a valid destination"},
		"an unknown exchange":      {[]string{connected, "SEND\ndestination:/exchange/x\n\n"}, "not_found", "no exchange 'x' in vhost '/'"},
		"an unknown queue":         {[]string{connected, "SUBSCRIBE\nid:1\ndestination:/amq/queue/x\n\n"}, "not_found", "no queue 'x' in vhost '/'"},
		"no id on NACK":            {[]string{connected, "NACK\n\n"}, "Missing header", "NACK must include the 'id' header"},
		"an id of nobody":          {[]string{connected, "ACK\nid:1@@x@@1\n\n"}, "Invalid header", "of no message of this connection"},
		"an unknown subscription":  {[]string{connected, "UNSUBSCRIBE\nid:x\n\n"}, "No subscription found", "'x' not found"},
		"an unknown transaction":   {[]string{connected, "COMMIT\ntransaction:x\n\n"}, "Bad transaction", "'x'"},
		"a selector":               {[]string{connected, "SUBSCRIBE\nid:1\ndestination:/queue/a\nselector:a = 1\n\n"}, "Invalid header", "'selector' is not supported"},
		"another's identity":       {[]string{connected, "SEND\ndestination:/queue/a\nuser-id:eve\n\n"}, "precondition_failed", "user_id property set to 'eve' but authenticated user was 'guest'"},
		"a bad expiration":         {[]string{connected, "SEND\ndestination:/queue/a\nexpiration:x\n\n"}, "precondition_failed", "invalid expiration 'x': no_integer"},
		"a priority of letters":    {[]string{connected, "SEND\ndestination:/queue/a\npriority:high\n\n"}, "Invalid header", "'priority'"},
		"an unknown ack mode":      {[]string{connected, "SUBSCRIBE\nid:1\nack:x\ndestination:/queue/a\n\n"}, "Invalid header", "'ack'"},
		"a body where none is":     {[]string{connected, "ACK\ncontent-length:300000\n\n" + strings.Repeat("x", 300000)}, "Invalid frame", "ACK with a body"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigOptions{})
			p := r.open()
			p.send(c.frames...)
			if len(c.frames) > 1 && c.frames[0] == connected {
				p.expect("CONNECTED version:1.2 heart-beat:0,0")
			}
			p.ended(c.message, c.text)
			if !strings.Contains(r.log.String(), `client refused`) && !strings.Contains(r.log.String(), "act=login") {
				t.Errorf("the log says nothing of it: %s", r.log)
			}
		})
	}
}

func TestAnErrorNamesTheReceiptThatIsNotGiven(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.send("SEND\ndestination:/queue/a\nreceipt:one\n\nhello", "SEND\ndestination:/exchange/none/k\nreceipt:two\n\nhello", "SEND\ndestination:/queue/a\nreceipt:three\n\nhello")
	p.expect("RECEIPT receipt-id:one")
	if g := p.ended("not_found", "no exchange 'none'"); g.get("receipt-id") != "two" {
		t.Errorf("receipt-id is %q", g.get("receipt-id"))
	}
	if n := r.ready("a"); n != 1 {
		t.Errorf("%d messages are there: what came before the error stands, and nothing behind it", n)
	}
}

// Who comes with TLS to the port without is told so, and an operator what to do about it.
func TestTLSIsKnownWhereThereIsNone(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.open()
	p.send("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	p.ended("Bad command", netx.ErrSpeaksTLS.Error())
	if text := r.log.Take(); !strings.Contains(text, netx.TLSAdvice) {
		t.Errorf("an operator reads %s", text)
	}
}
