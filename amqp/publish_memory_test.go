package amqp

import "testing"

func TestALargeBodyDoesNotStayWithItsConnection(t *testing.T) {
	c := &conn{}
	ch := &channel{c: c}
	ch.content.body = make([]byte, keptBodyBytes+1)
	c.in.Body = ch.content.body
	ch.dropContent()
	if c.in.Body != nil || cap(ch.content.body) != 0 {
		t.Errorf("%d and %d bytes are kept", len(c.in.Body), cap(ch.content.body))
	}
}
