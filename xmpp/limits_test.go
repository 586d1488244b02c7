package xmpp

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

func TestWhoDoesNotSignInInTimeIsCutOff(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.ConnectTimeout = 10 * time.Second })
		r.piped = true
		for _, stage := range []func(*peer){func(*peer) {}, func(p *peer) { p.send("<stream:stream to='local") }, func(p *peer) { p.open() }, func(p *peer) { p.secure(); p.open() }, func(p *peer) { p.signIn("one") }} {
			p := r.dial()
			begun := time.Now()
			stage(p)
			if _, err := io.Copy(io.Discard, p.nc); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took != 10*time.Second {
				t.Errorf("cut off after %v", took)
			}
		}
	})
}

func TestAClientThatIsSilentIsAskedAndThenItsStreamEnds(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.PingAfter = 10 * time.Second })
		r.piped = true
		p := r.client("one", "a", "<presence/>")
		id := p.enable(" resume='true'").Attr("id")
		begun := time.Now()
		for range 2 {
			e := p.next()
			if !e.Is(stanza.NSClient, "iq") {
				e = p.next() // behind a question what was got
			}
			if e.Child(nsPing, "ping") == nil || e.Attr("from") != "localhost" {
				t.Fatal(e)
			}
			p.send("<iq type='result' id='" + e.Attr("id") + "'/>")
		}
		p.ends("connection-timeout")
		if took := time.Since(begun); took < 35*time.Second || took > 40*time.Second {
			t.Errorf("it ended after %v", took)
		}
		if _, e := r.resume("one", id, 3); !e.Is(nsSM, "resumed") {
			t.Error(e)
		}
	})
}

func TestTooManyStanzasWait(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, func(o *Options) { o.StanzaRate = 20 })
		r.piped = true
		p := r.client("one", "a", "")
		begun := time.Now()
		for range 45 {
			p.send("<message type='headline' to='one@localhost'><body>x</body></message>")
		}
		p.nothing()
		if took := time.Since(begun); took < time.Second || took > 3*time.Second {
			t.Errorf("45 stanzas at 20 a second took %v", took)
		}
	})
}

func TestLargeStanzasAreCountedAndRefused(t *testing.T) {
	memory := budget.New(budget.Options{Bytes: 16 << 20})
	r := newRig(t, func(o *Options) { o.MaxStanzaBytes, o.Budget = 8<<20, memory })
	p := r.client("one", "a", "")
	p.send("<message type='headline' to='one@localhost'><body>" + strings.Repeat("x", 100<<10) + "</body></message>")
	p.nothing()
	go func() {
		_, _ = io.WriteString(p.nc, "<message to='one@localhost'><body>"+strings.Repeat("x", 7<<20))
	}()
	p.ends("resource-constraint")
	p = r.client("one", "a", "")
	go func() {
		_, _ = io.WriteString(p.nc, "<message to='one@localhost'><body>"+strings.Repeat("<a/>", 1<<20))
	}()
	p.ends("policy-violation")
	p.nc.Close()
	r.wait(func() bool { return memory.Stats().Used == 0 }, func() any { return memory.Stats() })
}

func TestWhatThePolicySaysHolds(t *testing.T) {
	var denied atomic.Pointer[func(broker.Request) bool]
	r := newRigOver(t, broker.Options{Policy: func(q broker.Request) error {
		if f := denied.Load(); f != nil && (*f)(q) {
			return broker.ErrDenied
		}
		return nil
	}})
	deny := func(f func(broker.Request) bool) {
		denied.Store(&f)
		r.broker.PolicyChanged()
	}
	r.declare("q")
	p := r.client("one", "a", "")
	say(p, "q@queues.localhost", "1")
	p.send("<presence to='q@queues.localhost'/>")
	wantBodies(t, p.got(1), "1")
	deny(func(q broker.Request) bool { return q.User == "one" && q.Verb == broker.Consume })
	if e := p.next(); e.Attr("type") != "unavailable" {
		t.Fatal(e)
	}
	p.send("<presence id='x' to='q@queues.localhost'/>")
	p.refused(p.next(), "forbidden")
	deny(func(q broker.Request) bool { return q.User == "one" && q.Verb == broker.Publish })
	p.send("<message id='x' to='q@queues.localhost'><body>2</body></message>")
	p.refused(p.message(), "forbidden")
	deny(func(q broker.Request) bool { return q.User == "one" && q.Verb == broker.Enter })
	p.ends("not-authorized")
	p = r.dial()
	p.secure()
	p.open()
	p.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>")
	p.next()
	p.send(header)
	p.opened()
	p.ends("not-authorized")
}

func TestTheLimitsOfAVirtualHostHold(t *testing.T) {
	r := newRig(t)
	if err := r.broker.SetVHostLimit(audit.Actor{}, "/", broker.MaxConnections, 1); err != nil {
		t.Fatal(err)
	}
	r.client("one", "a", "")
	p := r.dial()
	p.secure()
	p.open()
	p.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>")
	p.next()
	p.send(header)
	p.opened()
	p.ends("resource-constraint")
}

func TestAServerThatStopsSaysSo(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	early := r.dial()
	early.open()
	r.server.CloseAll("the broker is stopping")
	if e := p.ends("system-shutdown"); e.ChildText(stanza.NSStreams, "text") == "" {
		t.Error(e)
	}
	if _, err := io.Copy(io.Discard, early.nc); err != nil {
		t.Error(err)
	}
}

func TestAClientThatDoesNotReadHoldsUpNobodyElse(t *testing.T) {
	r := newRig(t)
	deaf := r.client("one", "deaf", "<presence/>")
	sender := r.client("two", "s", "")
	text := strings.Repeat("x", 100<<10)
	refused := false
	for i := 0; i < 300 && !refused; i++ {
		sender.send("<message id='m' type='normal' to='" + deaf.jid + "'><body>" + text + "</body></message><iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
		for {
			e := sender.next()
			if e.Attr("id") == "p" {
				break
			}
			sender.refused(e, "service-unavailable")
			refused = true
		}
	}
	if !refused {
		t.Error("30 MB were taken for a client that does not read")
	}
}

func TestAConnectionIsDescribed(t *testing.T) {
	r := newRig(t)
	r.declare("q")
	p := r.client("one", "a", "<presence/>")
	p.enable("")
	say(p, "q@queues.localhost", "1")
	p.send("<presence to='q@queues.localhost'/>")
	p.message()
	list := r.broker.Connections()
	if len(list) != 1 {
		t.Fatal(list)
	}
	i := list[0]
	if i.Protocol != "xmpp" || i.User != "one" || i.VHost != "/" || i.Name != p.jid || i.TLS == nil || i.Traffic.FramesIn < 3 || i.Traffic.BytesOut == 0 {
		t.Errorf("%+v", i)
	}
	if c := i.Channels[0]; c.Consumers != 1 || c.Published != 1 || c.Delivered != 1 || c.Unacked != 1 {
		t.Errorf("%+v", c)
	}
}

func TestADomainStandsForAVirtualHost(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Domains = []Domain{{Name: "localhost"}, {Name: "prod.example", VHost: "prod"}} })
	if _, err := r.broker.PutVHost(audit.Actor{}, "prod", broker.VHostMeta{}); err != nil {
		t.Fatal(err)
	}
	v, err := r.broker.VHost("prod")
	if err != nil {
		t.Fatal(err)
	}
	s := v.NewInnerSession()
	defer s.Close()
	if _, err := s.DeclareQueue("q", broker.QueueOptions{Durable: true}); err != nil {
		t.Fatal(err)
	}
	p := r.dial()
	p.secure()
	there := strings.Replace(header, "localhost", "prod.example", 1)
	p.send(there)
	p.opened()
	p.next()
	p.send("<auth xmlns='" + nsSASL + "' mechanism='PLAIN'>" + plainToken("one", "one") + "</auth>")
	p.next()
	p.send(there)
	p.opened()
	p.next()
	p.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	p.next()
	say(p, "q@queues.prod.example", "1")
	p.nothing()
	if got, err := s.Get("q", true); err != nil || got == nil || string(got.Body) != "1" {
		t.Error(got, err)
	}
	p.send("<message id='m' to='one@localhost'><body>x</body></message>")
	p.refused(p.message(), "remote-server-not-found")
}

func TestDeliveriesKeepTheRate(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.piped = true
		r.declare("work")
		sender := r.client("two", "s", "")
		p := r.client("one", "a", "")
		p.send("<presence to='work@queues.localhost'/>")
		p.next()
		if err := r.broker.SetVHostLimit(audit.Actor{}, "/", broker.ConsumerByteRate, 400_000); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		for range 20 {
			say(sender, "work@queues.localhost", strings.Repeat("x", 100_000))
		}
		p.got(20)
		if took := time.Since(begun); took < 3*time.Second || took > 4*time.Second {
			t.Errorf("2 MB at 400 kB a second, of which a second's worth may come at once, took %v", took)
		}
	})
}

// Without stream management nothing is acknowledged, by which a consumer that waited for room would go on.
func TestAConsumerGoesOnWhenThereIsRoomAgain(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "")
	p := r.client("one", "a", "")
	p.send("<presence to='work@queues.localhost'/>")
	p.next()
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	k.mu.Lock() // the writer waits
	for range 12 {
		k.put(stanza.New(stanza.NSClient, "iq", "type", "result").Add(stanza.New("urn:x", "x").AddText(strings.Repeat("x", 100<<10))), entry{})
	}
	say(sender, "work@queues.localhost", "behind")
	r.wait(func() bool {
		k.noteMu.Lock()
		defer k.noteMu.Unlock()
		return q.Ready() == 1 && len(k.ready) == 1
	}, func() any { return q.Ready() })
	k.mu.Unlock()
	wantBodies(t, p.got(1), "behind")
}

func TestAClientThatAcknowledgesNothingGetsNoMoreBytes(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "")
	p := r.client("one", "a", "")
	p.enable("")
	p.send("<presence to='work@queues.localhost'/>")
	p.next()
	const each = 100 << 10
	for range 25 {
		say(sender, "work@queues.localhost", strings.Repeat("x", each))
	}
	sender.nothing()
	p.got(maxUnackedBytes / each)
	p.settled()
	if n := int64(25) - q.Ready(); n*each > 2*maxUnackedBytes {
		t.Errorf("%d messages of 100 KiB are under way", n)
	}
	k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
	c := k.live.Load()
	large := stanza.New(stanza.NSClient, "iq", "type", "result").Add(stanza.New("urn:x", "x").AddText(strings.Repeat("x", 1<<20)))
	for range maxUnackedEver/(1<<20) + 1 { // answers to what it asks
		k.Send(large)
	}
	r.wait(c.told.Load, func() any { return "not told that it is too much" })
}

// settled waits for the answer to a ping, whatever comes before.
func (p *peer) settled() {
	p.t.Helper()
	p.send("<iq type='get' id='still'><ping xmlns='urn:xmpp:ping'/></iq>")
	for p.next().Attr("id") != "still" {
	}
}

func TestAClientThatAsksAndDoesNotReadIsNotRead(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.piped = true
		p := r.client("one", "a", "")
		k := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"})
		ask := []byte(strings.Repeat("<iq type='get' id='"+strings.Repeat("x", 3000)+"'><ping xmlns='urn:xmpp:ping'/></iq>", 20))
		_ = p.nc.SetWriteDeadline(time.Now().Add(1500 * time.Millisecond))
		var err error
		for sent := 0; err == nil; sent += len(ask) {
			if _, err = p.nc.Write(ask); sent > 256<<20 {
				t.Fatal("256 MiB of questions were read")
			}
		}
		k.mu.Lock()
		held := len(k.out)
		k.mu.Unlock()
		if held > 2*maxOutBytes {
			t.Errorf("%d bytes wait for it", held)
		}
	})
}
