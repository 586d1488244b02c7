package wire

import "testing"

func TestAppendContentAllocatesOnceForALargeBody(t *testing.T) {
	body := make([]byte, 4<<20)
	m := &BasicGetOk{Exchange: "x", RoutingKey: "k"}
	if n := testing.AllocsPerRun(5, func() { AppendContent(nil, 1, m, nil, body, 128<<10) }); n > 6 {
		t.Errorf("%v allocations", n) // by the frame it would be dozens, five times the body in all
	}
}
