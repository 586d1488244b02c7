package amqp

import "testing"

func TestALargeBodyDoesNotStayWithItsConnection(t *testing.T) {
	r := newRig(t, rigOptions{})
	c := newConn(r.server, r.pipe())
	ch := &channel{c: c}
	ch.content.size = keptBodyBytes + 1
	if err := c.keep(&ch.content, make([]byte, keptBodyBytes+1)); err != nil {
		t.Fatal(err)
	}
	c.in.Body = ch.content.body
	if held := c.memory.Held(); held < keptBodyBytes {
		t.Errorf("a body of %d bytes counts for %d", keptBodyBytes+1, held)
	}
	ch.dropContent()
	if c.in.Body != nil || ch.content.body != nil || c.memory.Held() != 0 {
		t.Errorf("%d and %d bytes are kept, %d counted", len(c.in.Body), cap(ch.content.body), c.memory.Held())
	}
	c.nc.Close()
}
