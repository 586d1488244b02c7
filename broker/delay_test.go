package broker

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// delaying declares a durable exchange that delays, routes as a kind, and may have more arguments.
func (r *rig) delaying(name, kind string, args ...string) *Exchange {
	r.t.Helper()
	r.exchangeWith(name, typeDelayed, append([]string{argDelayedType, kind}, args...)...)
	x, err := r.v.Exchange(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// header is a message with one header, of a tagged value.
func header(x, key, body, name string, value []byte) Inbound {
	headers := append(field.AppendName(nil, name), value...)
	props := field.Properties{Headers: headers, DeliveryMode: 2}
	raw := props.AppendTo(nil)
	return Inbound{Exchange: []byte(x), Key: []byte(key), Body: []byte(body), Properties: raw, Headers: headers, Persistent: true}
}

func delayedBy(x, key, body string, ms int64) Inbound {
	return header(x, key, body, headerDelay, field.AppendInt(nil, ms))
}

// at sends messages that come now by the broker's clock.
func (r *rig) at(p *Publisher, list ...Inbound) {
	r.t.Helper()
	for _, in := range list {
		in.TimestampMs = r.opts.Now().UnixMilli()
		if routed, err := p.Publish(&in); err != nil || !routed {
			r.t.Fatal(routed, err)
		}
	}
	flush(r.t, p)
}

// delayRig is a delaying exchange with a queue bound by any key.
func delayRig(r *rig) (*Exchange, *Queue, *Publisher) {
	x := r.delaying("later", "topic")
	q := r.queue("q", QueueOptions{Durable: true})
	r.bind("later", "q", "#")
	return x, q, r.s.NewPublisher()
}

func TestLanesTakeEveryDelay(t *testing.T) {
	if lanes != 70 || laneWaitMs(0) != 16 || laneWaitMs(6) != 112 || laneWaitMs(7) != 128 || laneWaitMs(lanes-1) != 7<<27*16 {
		t.Errorf("%d lanes from %d to %d", lanes, laneWaitMs(0), laneWaitMs(lanes-1))
	}
	for _, left := range []int64{0, 1, 15, 16, 17, 31, 32, 127, 128, 129, 1000, 5000, 60_000, 3_600_000, 86_400_000, 365 * 86_400_000, maxDelayMs, math.MaxInt64} {
		n := laneOf(left)
		if wait := laneWaitMs(n); wait > max(left, laneUnitMs) {
			t.Errorf("%d ms stand for %d", left, wait)
		}
		if n+1 < lanes && laneWaitMs(n+1) <= left {
			t.Errorf("%d ms stand in lane %d, which is short", left, n)
		}
		hops := 0
		for rest := left; rest >= laneUnitMs && left <= 365*86_400_000; hops++ {
			rest -= laneWaitMs(laneOf(rest))
		}
		if hops > laneLevels+2 {
			t.Errorf("%d ms are written %d times", left, hops)
		}
	}
	for n := 1; n < lanes; n++ {
		if laneWaitMs(n) <= laneWaitMs(n-1) {
			t.Errorf("lane %d is no longer than the one before", n)
		}
	}
}

func TestDelayedMessagesComeWhenTheyAreDue(t *testing.T) {
	for _, ms := range []int64{1, 15, 16, 17, 100, 127, 128, 999, 1000, 5000, 61_234, 1_000_000} {
		bubble(t, func(t *testing.T, r *rig) {
			x, q, p := delayRig(r)
			r.at(p, delayedBy("later", "k", "late", ms), delayedBy("later", "k", "now", 0))
			want(t, "at once", drain(t, q), []string{"now"})
			if n := x.delays.waiting(); n != 1 {
				t.Errorf("%d wait", n)
			}
			time.Sleep(time.Duration(ms-1) * time.Millisecond)
			want(t, "before its time", drain(t, q), []string{})
			time.Sleep((2+laneUnitMs)*time.Millisecond + 2*movePause)
			want(t, fmt.Sprint(ms, " ms later"), drain(t, q), []string{"late"})
			if n := x.delays.waiting(); n != 0 {
				t.Errorf("%d wait afterwards", n)
			}
			if c := r.Counters(); c.Published.Load() != 2 || c.Routed.Load() != 2 || c.PublishedBytes.Load() != 7 {
				t.Errorf("two messages count as %d, %d routed, %d bytes", c.Published.Load(), c.Routed.Load(), c.PublishedBytes.Load())
			}
		})
	}
}

func TestADelayIsReadHoweverItIsSent(t *testing.T) {
	tagged := func(tag byte, b ...byte) []byte { return append([]byte{tag}, b...) }
	now := int64(1_700_000_000_000)
	for _, tc := range []struct {
		name   string
		header string
		value  []byte
		due    int64 // from now; 0 is at once
		after  bool
		bad    string
	}{
		{"a byte", headerDelay, tagged(field.TagInt8, 100), 100, true, ""},
		{"a short", headerDelay, tagged(field.TagInt16, 1, 0), 256, true, ""},
		{"an integer", headerDelay, field.AppendInt32(nil, 5000), 5000, true, ""},
		{"a long", headerDelay, field.AppendInt(nil, 31_536_000_000), 31_536_000_000, true, ""},
		{"a text", headerDelay, field.AppendString(nil, []byte("5000")), 5000, true, ""},
		{"a double", headerDelay, tagged(field.TagFloat64, 0x40, 0xb3, 0x88, 0xcc, 0xcc, 0xcc, 0xcc, 0xcd), 5000, true, ""},
		{"zero", headerDelay, field.AppendInt(nil, 0), 0, false, ""},
		{"negative", headerDelay, field.AppendInt32(nil, -5000), 0, false, ""},
		{"a boolean", headerDelay, field.AppendBool(nil, true), 0, false, ""},
		{"void", headerDelay, field.AppendVoid(nil), 0, false, ""},
		{"another header", "delay", field.AppendInt(nil, 5), 0, false, ""},
		{"no number", headerDelay, field.AppendString(nil, []byte("5s")), 0, false, "invalid x-delay '5s': no integer"},
		{"not a number", headerDelay, tagged(field.TagFloat64, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0), 0, false, "invalid x-delay: no such time"},
		{"longest", headerDelay, field.AppendInt(nil, maxDelayMs), maxDelayMs, true, ""},
		{"too long", headerDelay, field.AppendInt(nil, maxDelayMs+1), 0, false, "invalid x-delay 3153600000001: more than 3153600000000"},
		{"a time", headerDeliverAt, field.AppendInt(nil, now+7), 7, false, ""},
		{"a timestamp", headerDeliverAt, tagged(field.TagTimestamp, 0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x0a), 10_000, false, ""},
		{"a time as text", headerDeliverAt, field.AppendString(nil, []byte("1700000000009")), 9, false, ""},
		{"a time that is over", headerDeliverAt, field.AppendInt(nil, now), 0, false, ""},
		{"a time far away", headerDeliverAt, field.AppendInt(nil, now+maxDelayMs+1), 0, false, "more than 3153600000000 ms from now"},
		{"a timestamp far away", headerDeliverAt, tagged(field.TagTimestamp, 0xff, 0, 0, 0, 0, 0, 0, 0), 0, false, "more than 3153600000000 ms from now"},
	} {
		due, after, err := delayOf(append(field.AppendName(nil, tc.header), tc.value...), now)
		got := after
		if due != 0 {
			got = due - now
		}
		if tc.bad != "" {
			if err == nil || KindOf(err) != Precondition || !strings.Contains(err.Error(), tc.bad) {
				t.Errorf("%s: %v", tc.name, err)
			}
			continue
		}
		if err != nil || got != tc.due || (after != 0) != tc.after {
			t.Errorf("%s: due %d, after %d, %v", tc.name, due, after, err)
		}
	}
	both := append(field.AppendInt(field.AppendName(nil, headerDeliverAt), now+5), field.AppendInt(field.AppendName(nil, headerDelay), 9)...)
	if due, after, err := delayOf(both, now); due != 0 || after != 9 || err != nil {
		t.Errorf("of both: %d, %d, %v", due, after, err)
	}
}

func TestWhatWasDelayedComesWithAllItHad(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.delaying("later", "direct")
		for _, name := range []string{"to", "cc", "bcc", "other"} {
			r.queue(name, QueueOptions{Durable: true})
			r.bind("later", name, name)
		}
		p := r.s.NewPublisher()
		headers := append(field.AppendInt32(field.AppendName(nil, headerDelay), 3000), field.AppendString(field.AppendName(nil, "user"), []byte("x"))...)
		props := field.Properties{Headers: headers, DeliveryMode: 2, Priority: 3, MessageID: []byte("id"), Expiration: []byte("2000")}
		in := Inbound{Exchange: []byte("later"), Key: []byte("to"), MoreKeys: [][]byte{[]byte("cc"), []byte("bcc")}, Properties: props.AppendTo(nil), Headers: headers,
			Body: []byte("m"), Persistent: true}
		r.at(p, in, in)
		time.Sleep(4 * time.Second) // longer than it lives in a queue
		for _, name := range []string{"to", "cc", "bcc"} {
			for range 2 {
				g, err := r.s.Get(name, true)
				if err != nil || g == nil {
					t.Fatalf("%s: %v, %v", name, g, err)
				}
				var got field.Properties
				if err := got.Parse(g.Properties); err != nil {
					t.Fatal(err)
				}
				delay, _ := field.Find(got.Headers, headerDelay)
				user, _ := field.Find(got.Headers, "user")
				if n, _ := delay.Int(); n != -3000 || delay.Tag() != field.TagInt32 || string(user.Text()) != "x" {
					t.Errorf("%s: headers %q", name, got.Headers)
				}
				if string(g.Exchange) != "later" || string(g.Key) != "to" || got.Priority != 3 || string(got.MessageID) != "id" || string(got.Expiration) != "2000" {
					t.Errorf("%s: %s %s %+v", name, g.Exchange, g.Key, got)
				}
			}
		}
		if q, _ := r.v.Queue("other"); q.Ready() != 0 {
			t.Error("a queue of another key got it")
		}
		r.at(p, in)
		time.Sleep(4 * time.Second)
		time.Sleep(2 * time.Second)
		if q, _ := r.v.Queue("to"); q.Ready() != 0 {
			t.Error("its own time to live does not count from its arrival in the queue")
		}
	})
}

func TestEqualDelaysKeepTheOrder(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		var sent []string
		for i := range 400 {
			for j := range 5 {
				body := fmt.Sprint(i, ".", j)
				sent = append(sent, body)
				in := delayedBy("later", fmt.Sprint("k", j%2), body, 1234)
				r.at(p, in)
			}
			time.Sleep(time.Duration(1+i%7) * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		want(t, "q", drain(t, q), sent)
	})
}

// However late what moves them is: many that came together move in several rounds, each with another time left.
func TestEqualDelaysKeepTheOrderWhenTheyAreLate(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 3))
			clockRig(t, func(t *testing.T, r *rig, set func(by time.Duration)) {
				_, q, p := delayRig(r)
				var sent []string
				for i := range 4 {
					in := delayedBy("later", "k", "", 1000)
					for j := range 2 * moveMessages {
						sent = append(sent, fmt.Sprint(i, ".", j))
						in.Body, in.TimestampMs, in.SameHead = []byte(sent[len(sent)-1]), r.opts.Now().UnixMilli(), j > 0
						if _, err := p.Publish(&in); err != nil {
							t.Fatal(err)
						}
					}
					flush(t, p)
					for range 20 { // others, in the same lanes
						r.at(p, delayedBy("later", "k", "-", rnd.Int64N(1200)))
					}
					set(time.Duration(rnd.IntN(60)) * time.Millisecond)
				}
				for range 400 { // a round, and time goes by as it does when a round takes long
					time.Sleep(movePause)
					set(time.Duration(rnd.IntN(40)) * time.Millisecond)
				}
				time.Sleep(2 * time.Second)
				got := slices.DeleteFunc(drain(t, q), func(body string) bool { return body == "-" })
				if len(got) != len(sent) {
					t.Errorf("%d of %d came", len(got), len(sent))
				}
				for i := range min(len(got), len(sent)) {
					if got[i] != sent[i] {
						t.Fatalf("%s is number %d, where %s belongs", got[i], i, sent[i])
					}
				}
			})
		})
	}
}

func TestTheShorterDelayComesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		var all []string
		for i := range 300 {
			ms := int64(100 + (i*7919)%30_000)
			all = append(all, fmt.Sprintf("%06d", ms))
			r.at(p, delayedBy("later", "k", all[i], ms))
		}
		for range 40 {
			time.Sleep(time.Second)
		}
		got := drain(t, q)
		slices.Sort(all)
		if len(got) != len(all) {
			t.Fatalf("%d of %d came", len(got), len(all))
		}
		for i := range got {
			var a, b int64
			fmt.Sscan(strings.TrimLeft(got[i], "0"), &a)
			fmt.Sscan(strings.TrimLeft(all[i], "0"), &b)
			if a-b > laneUnitMs || b-a > laneUnitMs {
				t.Errorf("%d ms is number %d, where %d ms belongs", a, i, b)
			}
		}
	})
}

func TestDelayedMessagesSurviveARestart(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, _, p := delayRig(r)
		r.delaying("other", "fanout")
		r.at(p, delayedBy("later", "k", "short", 2000), delayedBy("later", "k", "long", 100_000), delayedBy("later", "k", "down", 5000))
		time.Sleep(3 * time.Second)
		r.restart()
		time.Sleep(time.Second)
		q, _ := r.v.Queue("q")
		want(t, "q", drain(t, q), []string{"short"})
		if err := errors.Join(r.Close(), r.store.Close()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		r.open()
		time.Sleep(time.Second)
		q, _ = r.v.Queue("q")
		want(t, "what was due meanwhile", drain(t, q), []string{"down"})
		time.Sleep(100 * time.Second)
		want(t, "the rest", drain(t, q), []string{"long"})
		x, _ := r.v.Exchange("later")
		if n := x.delays.waiting(); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

// TestDelayedMessagesSurviveAPowerCut has the power cut at moments at which messages are in every lane
// of their way: what was confirmed comes, once more if need be.
func TestDelayedMessagesSurviveAPowerCut(t *testing.T) {
	const messages = 60
	twice := 0
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, seed))
		fakeclock.Test(t, func(t *testing.T) {
			disk := fs.NewMem(seed)
			r := &rig{t: t, dir: "data", files: disk, mode: store.ModeGroup}
			r.open()
			_, _, p := delayRig(r)
			for i := range messages {
				r.at(p, delayedBy("later", "k", fmt.Sprint(i), rng.Int64N(2000)))
			}
			time.Sleep(time.Duration(rng.Int64N(2000)) * time.Millisecond)
			after := &rig{t: t, dir: "data", files: disk.Crash(rng), mode: store.ModeGroup}
			if err := errors.Join(r.Close(), r.store.Close()); err != nil {
				t.Error(err)
			}
			after.open()
			time.Sleep(3 * time.Second)
			q, _ := after.v.Queue("q")
			seen := map[string]int{}
			for _, body := range drain(t, q) {
				seen[body]++
				twice += min(seen[body]-1, 1)
			}
			if len(seen) != messages {
				t.Errorf("seed %d: %d of %d messages are left", seed, len(seen), messages)
			}
			if err := errors.Join(after.Close(), after.store.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	if twice > 30*messages/4 { // what moved in the last second, of two
		t.Errorf("%d of %d messages came twice", twice, 30*messages)
	}
}

func TestDelayedMessagesGoWithTheirExchange(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, _, p := delayRig(r)
		r.at(p, delayedBy("later", "k", "gone", 3000), delayedBy("later", "k", "soon", 500))
		time.Sleep(100 * time.Millisecond)
		logs := logsOf(x.lanesOf())
		if err := r.s.DeleteExchange("later", false); err != nil {
			t.Fatal(err)
		}
		select {
		case <-x.delays.stop:
		default:
			t.Error("its mover goes on")
		}
		time.Sleep(time.Second)
		if defs := r.keys(prefixRemoval); len(defs) != 0 {
			t.Errorf("logs are left: %v", defs)
		}
		x, _, p = delayRig(r)
		if slices.Equal(logs, logsOf(x.lanesOf())) || x.delays.waiting() != 0 {
			t.Error("an exchange of the same name has them")
		}
		r.at(p, delayedBy("later", "k", "stays", 3000))
		time.Sleep(time.Second)
		if n := r.Counters().Unroutable.Load(); n != 0 {
			t.Errorf("%d were routed nowhere", n)
		}
		r.restart() // nothing is left that keeps the broker from starting
		time.Sleep(3 * time.Second)
		q, _ := r.v.Queue("q")
		want(t, "q", drain(t, q), []string{"stays"})
	})
}

// keys are those of the definitions that begin so.
func (r *rig) keys(prefix string) (keys []string) {
	r.t.Helper()
	err := r.defs.Load(r.t.Context(), func(e store.Entry) error {
		if strings.HasPrefix(e.Key, prefix) {
			keys = append(keys, e.Key)
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return keys
}

func TestWhatWaitsDoesNotExpire(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, _, p := delayRig(r)
		in := delayedBy("later", "k", "m", 5000)
		props := field.Properties{Headers: in.Headers, Expiration: []byte("1000")}
		in.Properties = props.AppendTo(nil)
		r.at(p, in)
		time.Sleep(4 * time.Second)
		r.restart()
		time.Sleep(1100 * time.Millisecond)
		q, _ := r.v.Queue("q")
		want(t, "q", drain(t, q), []string{"m"})
	})
}

func TestATimeThatIsNearIsNoLongerAwaitedThanOneFarAway(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		other := r.s.NewPublisher()
		at := header("later", "k", "at", headerDeliverAt, field.AppendInt(nil, time.Now().UnixMilli()+1000))
		r.at(p, at)
		time.Sleep(800 * time.Millisecond)
		r.at(other, delayedBy("later", "k", "other", 1000)) // in the lane of the first
		at.SameHead = true
		r.at(p, at)
		time.Sleep(230 * time.Millisecond)
		want(t, "at the time", drain(t, q), []string{"at", "at"})
		time.Sleep(time.Second)
		want(t, "later", drain(t, q), []string{"other"})
	})
}

func TestATransientExchangeForgetsItsMessagesWithItself(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		args := field.AppendString(field.AppendName(nil, argDelayedType), []byte("fanout"))
		if _, err := r.s.DeclareExchange("x", ExchangeOptions{Type: typeDelayed, Args: args}); err != nil {
			t.Fatal(err)
		}
		q := r.queue("q", QueueOptions{})
		r.bind("x", "q", "")
		r.at(r.s.NewPublisher(), delayedBy("x", "", "m", 100), delayedBy("x", "", "n", 10_000))
		time.Sleep(time.Second)
		want(t, "q", drain(t, q), []string{"m"})
		r.restart()
		if _, err := r.v.Exchange("x"); KindOf(err) != NotFound {
			t.Error(err)
		}
	})
}

// The second message of the front finds the lanes of both exchanges split, since one has a message alone.
func TestMessagesAlikeWaitInEveryLane(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.exchange("front", "fanout")
		var queues []*Queue
		for _, name := range []string{"one", "two"} {
			r.delaying(name, "fanout")
			if err := r.s.Bind(Binding{Source: "front", Dest: name, ToExchange: true}); err != nil {
				t.Fatal(err)
			}
			queues = append(queues, r.queue(name, QueueOptions{}))
			r.bind(name, name, "")
		}
		second := delayedBy("front", "", "n", 2000)
		second.SameHead = true
		r.at(r.s.NewPublisher(), delayedBy("one", "", "alone", 2000), delayedBy("front", "", "m", 2000), second)
		time.Sleep(2100 * time.Millisecond)
		want(t, "one", drain(t, queues[0]), []string{"alone", "m", "n"})
		want(t, "two", drain(t, queues[1]), []string{"m", "n"})
	})
}

func TestDelaysOnTheWayThroughExchanges(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.exchange("front", "fanout")
		r.delaying("one", "fanout")
		r.delaying("two", "fanout", argAlternate, "lost")
		r.exchange("lost", "fanout")
		for _, b := range [][2]string{{"front", "one"}, {"one", "two"}} {
			if err := r.s.Bind(Binding{Source: b[0], Dest: b[1], ToExchange: true}); err != nil {
				t.Fatal(err)
			}
		}
		now, once, lost := r.queue("now", QueueOptions{}), r.queue("once", QueueOptions{}), r.queue("lost", QueueOptions{})
		r.bind("front", "now", "")
		r.bind("one", "once", "")
		r.bind("lost", "lost", "")
		p := r.s.NewPublisher()
		second := delayedBy("front", "", "n", 2000)
		second.SameHead = true
		r.at(p, delayedBy("front", "", "m", 2000), second)
		want(t, "what is bound before it", drain(t, now), []string{"m", "n"})
		want(t, "behind it", drain(t, once), []string{})
		want(t, "the alternate exchange", drain(t, lost), []string{})
		time.Sleep(2100 * time.Millisecond)
		want(t, "behind it", drain(t, once), []string{"m", "n"})
		want(t, "behind both, to nobody", drain(t, lost), []string{"m", "n"})
	})
}

func TestManyTimesAreSentInOneBatch(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		in := delayedBy("later", "k", "", 1000)
		for i := range 5 {
			in.Body, in.SameHead, in.TimestampMs = fmt.Append(nil, i), i > 0, time.Now().UnixMilli()
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		in = header("later", "k", "", headerDeliverAt, field.AppendInt(nil, time.Now().UnixMilli()+1000)) // in 1.5 s from the start
		for i := range 3 {                                                                                // as long-lived publishers send: the later ones have less time left
			in.Body, in.SameHead, in.TimestampMs = fmt.Append(nil, "at", i), i > 0, time.Now().UnixMilli()
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
		}
		flush(t, p)
		time.Sleep(300 * time.Millisecond) // 1.25 s from the start
		want(t, "after 1.25 s", drain(t, q), []string{"0", "1", "2"})
		time.Sleep(245 * time.Millisecond)
		want(t, "just before 1.5 s", drain(t, q), []string{"3", "4"})
		time.Sleep(30 * time.Millisecond)
		got := drain(t, q)
		slices.Sort(got) // due at one time
		want(t, "at 1.52 s", got, []string{"at0", "at1", "at2"})
	})
}

// clockRig is a rig whose clock can be set.
func clockRig(t *testing.T, test func(t *testing.T, r *rig, set func(by time.Duration))) {
	var skew atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
	bubble(t, func(t *testing.T, r *rig) {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := Open(r.store, Options{Log: r.lines, Now: now})
		if err != nil {
			t.Fatal(err)
		}
		r.Broker = b
		r.v, _ = b.VHost("/")
		r.s = r.v.NewSession(auth.Identity{Name: "guest"})
		test(t, r, func(by time.Duration) { skew.Add(int64(by)) })
	})
}

func TestADelayOfAYearIsOver(t *testing.T) {
	clockRig(t, func(t *testing.T, r *rig, set func(time.Duration)) {
		_, q, p := delayRig(r)
		const year = 365 * 24 * time.Hour
		r.at(p, delayedBy("later", "k", "year", year.Milliseconds()))
		for left := year - time.Minute; left > 0; left -= 10 * 24 * time.Hour {
			set(min(left, 10*24*time.Hour))
			time.Sleep(1100 * time.Millisecond)
			left -= 1100 * time.Millisecond
		}
		if got := drain(t, q); len(got) != 0 {
			t.Fatalf("a minute early: %v", got)
		}
		time.Sleep(2 * time.Minute)
		want(t, "after a year", drain(t, q), []string{"year"})
	})
}

func TestTheClockSetBackHoldsNobodyUp(t *testing.T) {
	clockRig(t, func(t *testing.T, r *rig, set func(time.Duration)) {
		_, q, p := delayRig(r)
		set(365 * 24 * time.Hour) // by mistake
		r.at(p, delayedBy("later", "k", "wrong", 5000), header("later", "k", "at", headerDeliverAt, field.AppendInt(nil, r.opts.Now().UnixMilli()+5000)))
		time.Sleep(time.Second)
		set(-365 * 24 * time.Hour)
		r.at(p, delayedBy("later", "k", "right", 5000))
		time.Sleep(4900 * time.Millisecond)
		want(t, "before their time", drain(t, q), []string{})
		time.Sleep(1200 * time.Millisecond)
		got := drain(t, q)
		slices.Sort(got)
		want(t, "5 s later", got, []string{"right", "wrong"})
		set(365*24*time.Hour + 10*time.Second)
		time.Sleep(1200 * time.Millisecond)
		want(t, "at the time asked for", drain(t, q), []string{"at"})
	})
}

func TestTheClockSetForthIsNoticed(t *testing.T) {
	clockRig(t, func(t *testing.T, r *rig, set func(time.Duration)) {
		_, q, p := delayRig(r)
		r.at(p, delayedBy("later", "k", "m", 3_600_000))
		time.Sleep(time.Second)
		set(time.Hour)
		time.Sleep(1100 * time.Millisecond)
		want(t, "q", drain(t, q), []string{"m"})
	})
}

func TestDelayedMessagesWaitForADiskThatIsFull(t *testing.T) {
	var full atomic.Bool
	files := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if full.Load() && (op == fs.OpAllocate || op == fs.OpWrite) {
			return errors.New("no space left on device")
		}
		return nil
	})
	bubbleOn(t, files, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		for i := range 10 {
			r.at(p, delayedBy("later", "k", fmt.Sprint(i), 2000))
		}
		full.Store(true)
		time.Sleep(10 * time.Second)
		if got := drain(t, q); len(got) != 0 {
			t.Fatalf("stored on a full disk: %v", got)
		}
		full.Store(false)
		time.Sleep(2 * time.Minute)
		got := drain(t, q)
		slices.Sort(got)
		want(t, "once there is room", slices.Compact(got), []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"})
	})
}

func TestAQueueAtItsLimitDropsWhatIsDue(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, q, p := delayRig(r)
		full := r.queue("full", QueueOptions{Durable: true, Args: arguments("x-max-length", 1, "x-overflow", "reject-publish")})
		r.bind("later", "full", "#")
		r.at(p, delayedBy("later", "k", "1", 1000), delayedBy("later", "k", "2", 1000), delayedBy("later", "k", "3", 1000))
		time.Sleep(5 * time.Second)
		want(t, "full", drain(t, full), []string{"1"})
		want(t, "q", drain(t, q), []string{"1", "2", "3"})
		if n := r.Counters().DelayedLost[LostRefused].Load(); n != 2 || x.delays.waiting() != 0 {
			t.Errorf("%d were refused; %d wait", n, x.delays.waiting())
		}
	})
}

func TestMessagesDelayedSideBySideStayThemselves(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		r.queue("copies", QueueOptions{Durable: true})
		r.exchange("front", "fanout")
		if err := r.s.Bind(Binding{Source: "front", Dest: "later", ToExchange: true}); err != nil {
			t.Fatal(err)
		}
		plain := delayedBy("later", "k", "plain", 1000)
		var sent []Inbound
		for _, change := range []func(in *Inbound){
			func(in *Inbound) {},
			func(in *Inbound) { in.Key = []byte("other") },
			func(in *Inbound) {},
			func(in *Inbound) {
				in.Properties = append([]byte{in.Properties[0] | field.FlagPriority>>8}, append(slices.Clone(in.Properties[1:]), 7)...)
			},
			func(in *Inbound) {},
			func(in *Inbound) { in.Exchange = []byte("front") },
			func(in *Inbound) {},
			func(in *Inbound) { in.Raw = message.Headers{Count: 1, Raw: []byte("\x02n\x02v")} },
			func(in *Inbound) {},
		} {
			in := plain
			change(&in)
			in.Body = fmt.Append(nil, len(sent))
			sent = append(sent, in)
		}
		r.at(p, sent...)
		time.Sleep(1100 * time.Millisecond)
		for i, in := range sent {
			g, err := r.s.Get("q", true)
			if err != nil || g == nil {
				t.Fatal(g, err)
			}
			var got, want field.Properties
			if err := errors.Join(got.Parse(g.Properties), want.Parse(in.Properties)); err != nil {
				t.Fatal(err)
			}
			if string(g.Body) != fmt.Sprint(i) || string(g.Key) != string(in.Key) || string(g.Exchange) != string(in.Exchange) || got.Priority != want.Priority {
				t.Errorf("message %d: %s from %s by %s, priority %d", i, g.Body, g.Exchange, g.Key, got.Priority)
			}
		}
		raws := 0
		v, err := q.Partitions()[0].log.Read(0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Done()
		_ = v.Use(func(data []byte) error { raws = strings.Count(string(data), "\x02n\x02v"); return nil })
		if raws != 1 {
			t.Errorf("%d messages have the record header of one", raws)
		}
	})
}

func TestKeysOfMessagesDelayedSideBySide(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		r.delaying("later", "direct")
		for _, name := range []string{"to", "cc"} {
			r.queue(name, QueueOptions{Durable: true})
			r.bind("later", name, name)
		}
		one := delayedBy("later", "to", "1", 1000)
		two, three := one, one
		two.MoreKeys, two.Body, three.Body = [][]byte{[]byte("cc")}, []byte("2"), []byte("3")
		r.at(r.s.NewPublisher(), one, two, three)
		time.Sleep(1100 * time.Millisecond)
		to, _ := r.v.Queue("to")
		cc, _ := r.v.Queue("cc")
		want(t, "to", drain(t, to), []string{"1", "2", "3"})
		want(t, "cc", drain(t, cc), []string{"2"})
	})
}

// TestABatchMovesOnPieceByPiece has a batch whose messages are due seconds apart, over pauses in which
// its memory is given back and a restart.
func TestABatchMovesOnPieceByPiece(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		_, q, p := delayRig(r)
		in := delayedBy("later", "k", "", 9000)
		for i := range 4 {
			in.Body, in.TimestampMs = fmt.Append(nil, i), time.Now().UnixMilli()
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
		}
		flush(t, p)
		var got []string
		for i := range 4 {
			time.Sleep(1100 * time.Millisecond)
			got = append(got, drain(t, q)...)
			if len(got) != i+1 {
				t.Errorf("%v after %d", got, i)
			}
			time.Sleep(900 * time.Millisecond)
			if i == 1 {
				r.restart()
				q, _ = r.v.Queue("q")
			}
		}
		want(t, "all", got, []string{"0", "1", "2", "3"})
	})
}

func TestManyThatAreDueAtOnceComeWithoutPauses(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, q, p := delayRig(r)
		const messages = 20*moveMessages + 1
		in := delayedBy("later", "k", "m", 1000)
		for i := range messages {
			in.TimestampMs, in.SameHead = time.Now().UnixMilli(), i > 0
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
		time.Sleep(1000*time.Millisecond + 5*movePause)
		if n := q.Ready(); n != messages {
			t.Errorf("%d of %d have come", n, messages)
		}
		for _, part := range x.lanesOf() {
			if f := part.log.Figures(); f.Waiting != 0 || f.Segments > 2 {
				t.Errorf("lane %d keeps %d messages in %d segments", part.Index(), f.Waiting, f.Segments)
			}
		}
	})
}

func TestABatchOfNothingIsNotInTheWay(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, q, p := delayRig(r)
		r.at(p, delayedBy("later", "k", "before", 1000))
		lane := x.lanesOf()[laneOf(1000)]
		empty := batch.Batch(make([]byte, batch.HeaderBytes))
		empty.Seal(batch.Header{LastOffsetDelta: 4, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
		if _, err := lane.log.Append(empty); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond)
		want(t, "q", drain(t, q), []string{"before"})
		r.at(p, delayedBy("later", "k", "behind", 1000))
		time.Sleep(1100 * time.Millisecond)
		want(t, "q", drain(t, q), []string{"behind"})
	})
}

func TestADelayedMessageThatIsNoneIsDroppedAndTold(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x, q, p := delayRig(r)
		r.at(p, delayedBy("later", "k", "good", 1000))
		var b message.Builder
		b.Add(&message.Publish{Exchange: []byte("later"), Key: []byte("k"), Body: []byte("without its note"), TimestampMs: time.Now().UnixMilli()})
		foreign := message.Publish{Key: []byte("k")}
		b.Add(&foreign)
		data := b.Seal()
		i := bytes.LastIndex(data, []byte(message.EnvelopeName))
		data[i] = 'x' // no envelope any more
		batch.Batch(data).Seal(batch.Header{LastOffsetDelta: 1, BaseTimestamp: time.Now().UnixMilli(), MaxTimestamp: time.Now().UnixMilli(),
			ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1, Count: 2})
		if _, err := x.lanesOf()[laneOf(1000)].log.Append(data); err != nil {
			t.Fatal(err)
		}
		r.at(p, delayedBy("later", "k", "better", 1000))
		time.Sleep(1100 * time.Millisecond)
		want(t, "q", drain(t, q), []string{"without its note", "good", "better"})
		if n := r.Counters().Left[Damaged].Load(); n != 1 {
			t.Errorf("%d are told of as damaged", n)
		}
	})
}

func TestDeclaringADelayingExchange(t *testing.T) {
	r := start(t)
	text := func(name, value string) []byte { return field.AppendString(field.AppendName(nil, name), []byte(value)) }
	const missing = "Invalid argument, 'x-delayed-type' must be an existing exchange type"
	for _, tc := range []struct {
		name string
		args []byte
		kind Kind
		text string
	}{
		{"without a type", nil, Precondition, missing},
		{"with a number for a type", field.AppendInt(field.AppendName(nil, argDelayedType), 1), Precondition, missing},
		{"of its own type", text(argDelayedType, typeDelayed), Precondition, missing},
		{"of an unknown type", text(argDelayedType, "x-nothing"), UnknownType, "unknown exchange type 'x-nothing'"},
		{"with what its type refuses", append(text(argDelayedType, "x-consistent-hash"), text("hash-property", "app_id")...), Precondition, "Unsupported property: app_id"},
	} {
		if _, err := r.s.DeclareExchange("x", ExchangeOptions{Type: typeDelayed, Args: tc.args}); KindOf(err) != tc.kind || err.Error() != tc.text {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	x := r.delaying("x", "x-consistent-hash")
	if again := r.delaying("x", "x-consistent-hash"); again != x {
		t.Error("declared again it is another")
	}
	r.queue("q", QueueOptions{})
	if err := r.s.Bind(Binding{Source: "x", Dest: "q", Key: "half"}); KindOf(err) != Precondition {
		t.Errorf("a binding that its type refuses: %v", err)
	}
	if _, err := r.s.DeclareExchange("plain", ExchangeOptions{Type: "direct", Args: text(argDelayedType, "direct")}); err != nil {
		t.Errorf("the argument of another type: %v", err)
	}
	in := header("x", "k", "", headerDelay, field.AppendString(nil, []byte("soon")))
	if _, err := r.s.NewPublisher().Publish(&in); KindOf(err) != Precondition {
		t.Errorf("a delay that is none: %v", err)
	}
}

func TestKafkaRecordsAreDelayed(t *testing.T) {
	bubble(t, func(t *testing.T, r *rig) {
		x := r.delaying("later", "topic", argFeed, "in")
		q := r.queue("q", QueueOptions{Durable: true})
		r.bind("later", "q", "#")
		p := r.s.NewPublisher()
		var b message.Builder
		for _, in := range []Inbound{delayedBy("", "", "m", 1000), delayedBy("", "", "far", 365*86_400_000),
			header("", "", "n", headerDeliverAt, field.AppendInt(nil, time.Now().UnixMilli()+1000))} {
			b.Add(&message.Publish{Key: []byte("k"), Properties: in.Properties, Body: in.Body, TimestampMs: 1_000}) // long ago
		}
		if _, err := publishBatch(p, x, b.Seal()); err != nil {
			t.Fatal(err)
		}
		flush(t, p)
		time.Sleep(900 * time.Millisecond)
		want(t, "q", drain(t, q), []string{})
		time.Sleep(200 * time.Millisecond)
		got := drain(t, q)
		slices.Sort(got)
		want(t, "q", got, []string{"m", "n"})
	})
}

// TestMessagesThatWaitTakeNoMemory is of few of them, since each would show.
func TestMessagesThatWaitTakeNoMemory(t *testing.T) {
	r := startWith(t, 0)
	x, _, p := delayRig(r)
	fill := func(messages int) {
		for i := range messages {
			in := delayedBy("later", "k", "body", laneWaitMs(30+i%40)+int64(i))
			in.TimestampMs = time.Now().UnixMilli()
			if _, err := p.Publish(&in); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, p)
	}
	fill(1000) // makes what there is once
	before := heapBytes()
	fill(100_000)
	if n := x.delays.waiting(); n != 101_000 {
		t.Errorf("%d wait", n)
	}
	if grown := heapBytes() - before; grown > 4<<20 {
		t.Errorf("100000 messages take %d bytes", grown)
	}
	x, p = nil, nil
	r.restart() // after which every lane is read
	time.Sleep(time.Second)
	if grown := heapBytes() - before; grown > 4<<20 {
		t.Errorf("100000 messages take %d bytes after a restart", grown)
	}
}
