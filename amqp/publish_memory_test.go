package amqp

import "testing"

func TestALargeBodyDoesNotStayWithItsConnection(t *testing.T) {
	const size = 2 << 20
	r := newRig(t, rigOptions{})
	c := newConn(r.server, r.pipe())
	ch := &channel{c: c}
	if err := c.spool.Append(&ch.content.body, make([]byte, size), size); err != nil {
		t.Fatal(err)
	}
	ch.content.got = size
	c.in.Body, _ = c.spool.Whole(&ch.content.body, nil)
	if held := c.memory.Held(); held < size {
		t.Errorf("a body of %d bytes counts for %d", size, held)
	}
	ch.dropContent()
	if c.in.Body != nil || c.memory.Held() != 0 {
		t.Errorf("%d bytes are kept, %d counted", len(c.in.Body), c.memory.Held())
	}
	c.nc.Close()
}
