package message

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/leveret-mq/leveret/internal/field"
)

func died(queue, reason string) *Death {
	return &Death{Queue: []byte(queue), Reason: []byte(reason), Exchange: []byte("x"), Keys: [][]byte{[]byte("k"), []byte("cc")}, Seconds: 7}
}

// deathsIn are `queue/reason/count` of what properties tell of, the newest first.
func deathsIn(properties []byte) (out []string) {
	var p field.Properties
	if p.Parse(properties) == nil {
		var d death
		for list := earlierDeaths(p.Headers, true); list.next(&d); {
			out = append(out, fmt.Sprintf("%s/%s/%d", d.queue, d.reason, d.count))
		}
	}
	return out
}

func TestADeathIsWrittenAsRabbitMQDoes(t *testing.T) {
	var w DeathWriter
	user := field.AppendInt(field.AppendName(nil, "mine"), 5)
	user = field.AppendString(field.AppendName(user, "x-death"), []byte("a client's"))
	user = field.AppendString(field.AppendName(user, "x-first-death-queue"), []byte("a client's"))
	p := field.Properties{Flags: 0xFFFC, ContentType: []byte("t"), DeliveryMode: 2, Headers: user, Expiration: []byte("0050"), Timestamp: 9, MessageID: []byte("i")}
	out := w.Append([]byte("before"), p.Append(nil), false, died("q", "expired"))
	if string(out[:6]) != "before" {
		t.Fatalf("%q", out)
	}
	var got field.Properties
	if err := field.RawProperties(out[6:]).Parse(&got); err != nil {
		t.Fatal(err)
	}
	if got.Flags != 0xFFFC&^field.FlagExpiration || string(got.ContentType) != "t" || got.Timestamp != 9 || string(got.MessageID) != "i" || got.DeliveryMode != 2 {
		t.Errorf("%+v", got)
	}
	for name, want := range map[string]string{
		"x-first-death-queue": "q", "x-first-death-reason": "expired", "x-first-death-exchange": "x",
		"x-last-death-queue": "q", "x-last-death-reason": "expired", "x-last-death-exchange": "x", "mine": "\x00\x00\x00\x00\x00\x00\x00\x05",
	} {
		if f, ok := got.Headers.Get(name); !ok || string(f.Value) != want {
			t.Errorf("%s is %q", name, f.Value)
		}
	}
	n := 0
	for r := field.NewIterator(got.Headers); r.Next(); {
		n++
	}
	if n != 8 {
		t.Errorf("%d headers", n)
	}
	f, _ := got.Headers.Get("x-death")
	e, rest, ok := field.NextElement(f.Value)
	table, isTable := e.Table()
	if !ok || !isTable || len(rest) > 0 {
		t.Fatalf("x-death %q", f.Value)
	}
	for name, want := range map[string]string{"count": "l\x00\x00\x00\x00\x00\x00\x00\x01", "reason": "Sexpired", "queue": "Sq", "exchange": "Sx",
		"time": "T\x00\x00\x00\x00\x00\x00\x00\x07", "original-expiration": "S50", "routing-keys": "AS\x00\x00\x00\x01kS\x00\x00\x00\x02cc"} {
		if v, ok := table.Get(name); !ok || string(v.Tag)+string(v.Value) != want {
			t.Errorf("%s is %c %q", name, v.Tag, v.Value)
		}
	}
}

func TestDeathsAreKeptByQueueAndReasonTheNewestFirst(t *testing.T) {
	var w DeathWriter
	props := []byte(field.NoProperties)
	for i, s := range [][3]string{
		{"a", "expired", "[a/expired/1]"},
		{"b", "rejected", "[b/rejected/1 a/expired/1]"},
		{"a", "expired", "[a/expired/2 b/rejected/1]"},
		{"a", "rejected", "[a/rejected/1 a/expired/2 b/rejected/1]"},
		{"b", "rejected", "[b/rejected/2 a/rejected/1 a/expired/2]"},
	} {
		props = w.Append(nil, props, i > 0, died(s[0], s[1]))
		if got := fmt.Sprint(deathsIn(props)); got != s[2] {
			t.Errorf("step %d: %s, want %s", i, got, s[2])
		}
	}
	var p field.Properties
	if err := field.RawProperties(props).Parse(&p); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"x-first-death-queue": "a", "x-first-death-reason": "expired", "x-last-death-queue": "b", "x-last-death-reason": "rejected"} {
		if f, _ := p.Headers.Get(name); string(f.Value) != want {
			t.Errorf("%s is %q", name, f.Value)
		}
	}
}

func TestACycleIsOneWithoutARejection(t *testing.T) {
	var w DeathWriter
	props := []byte(field.NoProperties)
	for i, d := range []*Death{died("a", "expired"), died("b", "maxlen"), died("c", "rejected"), died("d", "expired"), died("e", "delivery_limit")} {
		props = w.Append(nil, props, i > 0, d)
	}
	for queue, want := range map[string]bool{"e": true, "d": true, "c": false, "b": false, "a": false, "f": false} {
		if got := Cycles(props, queue); got != want {
			t.Errorf("back to %s: a circle %v", queue, got)
		}
	}
}

// TestDeathsAreBounded: a message that dies in ever more queues stays deliverable.
func TestDeathsAreBounded(t *testing.T) {
	var w DeathWriter
	props := []byte(field.NoProperties)
	for i := range 2000 {
		d := died(fmt.Sprintf("queue-%d", i), "expired")
		d.Keys = append(d.Keys, bytes.Repeat([]byte("k"), 200))
		props = w.Append(nil, props, i > 0, d)
	}
	if len(props) > maxDeathsBytes+2000 {
		t.Errorf("%d bytes", len(props))
	}
	list := deathsIn(props)
	if len(list) < 100 || list[0] != "queue-1999/expired/1" || list[1] != "queue-1998/expired/1" {
		t.Errorf("%d deaths, first %v", len(list), list[:2])
	}
	many := died("q", "rejected")
	for range 5000 {
		many.Keys = append(many.Keys, bytes.Repeat([]byte("k"), 200))
	}
	if props = w.Append(nil, field.NoProperties, false, many); len(props) > maxDeathsBytes {
		t.Errorf("%d bytes of one death", len(props))
	}
}

// TestADeadLetterFitsIntoAFrame when the message itself does, with its newest deaths.
func TestADeadLetterFitsIntoAFrame(t *testing.T) {
	const frame, around = 128 << 10, 8 + 14 // of a header frame
	for _, tc := range []struct {
		own    int // bytes of the message's own headers
		most   int
		deaths int // told of at least
	}{
		{0, maxDeathsBytes + endsBytes, 50},
		{70 << 10, 70<<10 + maxDeathsBytes + endsBytes, 50},
		{100 << 10, frame - around, 30},
		{120 << 10, frame - around, 7},
		{127 << 10, 127<<10 + minDeathsBytes + endsBytes, 6},
	} {
		own := field.Properties{Headers: field.AppendString(field.AppendName(nil, "own"), bytes.Repeat([]byte("o"), tc.own))}
		props := own.AppendTo(nil)
		var w DeathWriter
		for i := range 300 {
			d := &Death{Queue: fmt.Appendf(nil, "queue-%d-%s", i, bytes.Repeat([]byte("q"), 100)), Reason: []byte("expired"), Exchange: bytes.Repeat([]byte("x"), 255)}
			if i%50 == 49 { // with many keys
				for range 300 {
					d.Keys = append(d.Keys, bytes.Repeat([]byte("k"), 200))
				}
			}
			props = w.Append(nil, props, i > 0, d)
			if len(props) > tc.most {
				t.Fatalf("%d bytes of headers become %d after %d deaths, at most %d should be", tc.own, len(props), i+1, tc.most)
			}
		}
		list := deathsIn(props)
		if len(list) < tc.deaths || !bytes.HasPrefix([]byte(list[0]), []byte("queue-299-")) {
			t.Errorf("%d bytes of headers leave room for %d deaths", tc.own, len(list))
		}
	}
}

func TestADeathCostsNoAllocation(t *testing.T) {
	var w DeathWriter
	d := died("q", "expired")
	first := w.Append(nil, field.NoProperties, false, died("p", "rejected"))
	buf := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() { buf = w.Append(buf[:0], first, true, d) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzDeaths(f *testing.F) {
	var w DeathWriter
	f.Add([]byte(field.NoProperties), "q", "expired", true)
	f.Add(w.Append(nil, w.Append(nil, field.NoProperties, false, died("a", "expired")), true, died("b", "rejected")), "a", "expired", true)
	f.Fuzz(func(t *testing.T, raw []byte, queue, reason string, earlier bool) {
		var w DeathWriter
		var p, q field.Properties
		if p.Parse(raw) != nil || p.Headers.Check() != nil || len(queue) > 255 {
			w.Append(nil, raw, earlier, died(queue, reason)) // of a record that a Kafka producer made
			FurtherKeys(nil, raw, nil, earlier)
			Cycles(raw, queue)
			return
		}
		out := w.Append(nil, raw, earlier, died(queue, reason))
		if err := field.RawProperties(out).Parse(&q); err != nil {
			t.Fatalf("what was written can't be read: %v", err)
		}
		if list := deathsIn(out); len(list) == 0 || earlier == false && list[0] != fmt.Sprintf("%s/%s/1", queue, reason) {
			t.Fatalf("died of %v", list)
		}
		if Cycles(out, queue) != (reason != Rejected) {
			t.Fatal("the newest death is no circle, or one by a rejection")
		}
		FurtherKeys(nil, out, []byte("k"), true)
		if q.Flags&field.FlagExpiration != 0 || string(q.CorrelationID) != string(p.CorrelationID) {
			t.Fatalf("%+v of %+v", q, p)
		}
	})
}
