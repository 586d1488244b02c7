package xmpp

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/xmpp/stanza"
)

// enable begins stream management.
func (p *peer) enable(attrs string) *stanza.Element {
	p.t.Helper()
	p.send("<enable xmlns='" + nsSM + "'" + attrs + "/>")
	for {
		e := p.next()
		if e.Is(nsSM, "enabled") {
			return e
		}
		if !e.Is(stanza.NSClient, "presence") { // of the account's other clients
			p.t.Fatal(e)
		}
	}
}

// got reads n messages, whatever stands between them.
func (p *peer) got(n int) (bodies []string) {
	p.t.Helper()
	for range n {
		bodies = append(bodies, body(p.message()))
	}
	return bodies
}

func wantBodies(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("%v, not %v", got, want)
	}
}

func numbers(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

func say(p *peer, to string, bodies ...string) {
	for _, b := range bodies {
		p.send("<message to='" + to + "' type='chat'><body>" + b + "</body></message>")
	}
}

// asked waits until the server asks what was got.
func (p *peer) asked() {
	p.t.Helper()
	for p.asks == 0 {
		p.next()
	}
}

// resume signs in and resumes a stream.
func (r *rig) resume(user, id string, h int) (*peer, *stanza.Element) {
	r.t.Helper()
	p := r.dial()
	p.signIn(user)
	p.send(fmt.Sprintf("<resume xmlns='%s' previd='%s' h='%d'/>", nsSM, id, h))
	return p, p.next()
}

func TestStanzasAreCounted(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	if e := p.enable(""); e.Attr("id") != "" {
		t.Error(e)
	}
	p.send("<enable xmlns='" + nsSM + "'/>")
	if e := p.next(); !e.Is(nsSM, "failed") {
		t.Error(e)
	}
	p.send(" \n<message to='three@localhost'><body>x</body></message><presence/><r xmlns='" + nsSM + "'/>")
	for {
		if e := p.next(); e.Is(nsSM, "a") {
			if e.Attr("h") != "2" {
				t.Error(e)
			}
			break
		}
	}
	p.send("<iq type='get' id='last'><ping xmlns='urn:xmpp:ping'/></iq>")
	for p.next().Attr("id") != "last" {
	}
	p.send("<a xmlns='" + nsSM + "' h='" + strconv.Itoa(p.counts+1) + "'/>")
	if e := p.ends("undefined-condition"); e.Child(nsSM, "handled-count-too-high") == nil {
		t.Error(e)
	}
}

func TestABrokenStreamIsResumedWithWhatWasNotAcknowledged(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "<presence/>")
	p := r.client("one", "a", "<presence/>")
	e := p.enable(" resume='true' max='60'")
	id := e.Attr("id")
	if id == "" || e.Attr("max") != "60" {
		t.Fatal(e)
	}
	say(sender, "one@localhost", numbers(1, 8)...)
	wantBodies(t, p.got(8), numbers(1, 8)...)
	p.asked()
	p.send("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq><a xmlns='" + nsSM + "' h='3'/>")
	for p.next().Attr("id") != "x" {
	}
	p.nc.Close()
	r.wait(func() bool {
		return r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"}).live.Load() == nil
	}, func() any { return "connected" })
	say(sender, "one@localhost", "9", "10")
	sender.nothing()

	for user, wrong := range map[string]string{"two": id, "one": "unknown"} {
		_, e := r.resume(user, wrong, 3)
		if !e.Is(nsSM, "failed") || e.Child(stanza.NSStanzas, "item-not-found") == nil {
			t.Fatal(e)
		}
	}
	p, e = r.resume("one", id, 3)
	if !e.Is(nsSM, "resumed") || e.Attr("previd") != id || e.Attr("h") != "1" {
		t.Fatal(e)
	}
	say(sender, "one@localhost", "11")
	var seen []string
	for len(seen) < 8 {
		e := p.next()
		if e.Attr("id") == "x" {
			seen = append(seen, "ping")
		} else if e.Local == "message" {
			seen = append(seen, body(e))
		}
	}
	wantBodies(t, seen, "4", "5", "6", "7", "8", "ping", "9", "10")
	wantBodies(t, p.got(1), "11")
	p.asked()
	if e := p.ask("get", "", "<ping xmlns='urn:xmpp:ping'/>"); e.Attr("type") != "result" {
		t.Error(e)
	}
}

func TestAStreamThatLivesIsTakenOver(t *testing.T) {
	r := newRig(t)
	old := r.client("one", "a", "<presence/>")
	id := old.enable(" resume='true'").Attr("id")
	p, e := r.resume("one", id, 0)
	if !e.Is(nsSM, "resumed") {
		t.Fatal(e)
	}
	old.ends("conflict")
	say(p, "one@localhost", "self")
	wantBodies(t, p.got(1), "self")
}

func TestAStreamThatWasEndedIsNotResumed(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "<presence/>")
	id := p.enable(" resume='true'").Attr("id")
	p.send("</stream:stream>")
	p.ends("")
	p, e := r.resume("one", id, 0)
	if !e.Is(nsSM, "failed") {
		t.Fatal(e)
	}
	p.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	if e := p.next(); e.Attr("type") != "result" {
		t.Fatal(e)
	}
}

func TestWhatAResumeHasTooManyOfEndsTheStream(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "")
	id := p.enable(" resume='true'").Attr("id")
	p.nc.Close()
	p = r.dial()
	p.signIn("one")
	p.send("<resume xmlns='" + nsSM + "' previd='" + id + "' h='9'/>")
	p.ends("undefined-condition")
}

func TestMessagesOfAStreamThatIsNotResumedWaitForTheUser(t *testing.T) {
	r := newRig(t, func(o *Options) { o.ResumeTime = 100 * time.Millisecond })
	sender := r.client("two", "s", "<presence/>")
	for name, attrs := range map[string]string{"not resumed in time": " resume='true'", "can't be resumed": ""} {
		p := r.client("one", "a", "<presence/>")
		p.enable(attrs)
		say(sender, "one@localhost", "1", "2", "3")
		wantBodies(t, p.got(1), "1")
		h := strconv.Itoa(p.counts) // the last turn's client may be seen to leave before the message
		wantBodies(t, p.got(2), "2", "3")
		p.send("<a xmlns='" + nsSM + "' h='" + h + "'/><iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")
		for p.next().Attr("id") != "x" {
		}
		p.nc.Close()
		r.wait(func() bool {
			return r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"}) == nil
		}, func() any { return name })
		p = r.client("one", "b", "<presence/>")
		for _, want := range []string{"2", "3"} {
			m := p.message()
			if body(m) != want || m.Child(nsDelay, "delay") == nil || m.Attr("from") != sender.jid {
				t.Fatalf("%s: %s", name, m)
			}
		}
		p.nothing()
		p.send("</stream:stream>")
		p.ends("")
	}
}

func TestMessagesOfAQueueAreSettledByTheCount(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "")
	p := r.client("one", "a", "<presence/>")
	id := p.enable(" resume='true'").Attr("id")
	p.send("<presence to='work@queues.localhost'/>")
	if e := p.next(); !e.Is(stanza.NSClient, "presence") || e.Attr("from") != "work@queues.localhost" {
		t.Fatal(e)
	}
	say(sender, "work@queues.localhost", numbers(1, 6)...)
	first := p.message()
	if body(first) != "1" || first.Attr("from") != "work@queues.localhost/0" || first.Attr("to") != p.jid {
		t.Fatal(first)
	}
	wantBodies(t, p.got(5), numbers(2, 6)...)
	p.send("<a xmlns='" + nsSM + "' h='3'/>") // the presence and two messages
	r.wait(func() bool { return q.Unacked() == 4 }, func() any { return q.Unacked() })
	p.nc.Close()
	r.wait(func() bool { return q.Consumers() == 0 }, func() any { return q.Consumers() })
	if n := q.Unacked(); n != 4 {
		t.Errorf("%d are held while the stream may be resumed", n)
	}
	p, e := r.resume("one", id, 3)
	if !e.Is(nsSM, "resumed") {
		t.Fatal(e)
	}
	wantBodies(t, p.got(4), numbers(3, 6)...)
	say(sender, "work@queues.localhost", "7")
	wantBodies(t, p.got(1), "7")
	p.send("<a xmlns='" + nsSM + "' h='5'/></stream:stream>")
	p.ends("")
	r.ready(q, 3)
	other := r.client("two", "b", "")
	other.send("<presence to='work@queues.localhost'/>")
	m := other.message()
	if body(m) != "5" || m.Child(NSLeveret, "record").Attr("redelivered") != "true" {
		t.Error(m)
	}
}

func TestAClientThatAcknowledgesNothingGetsNoMoreOfAQueue(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "")
	p := r.client("one", "a", "<presence/>")
	p.enable("")
	p.send("<presence to='work@queues.localhost'><consume xmlns='" + NSLeveret + "' prefetch='5000'/></presence>")
	p.next()
	say(sender, "work@queues.localhost", numbers(1, maxUnacked+500)...)
	sender.nothing()
	got := p.got(maxUnacked)
	wantBodies(t, got[:3], "1", "2", "3")
	r.wait(func() bool { return q.Unacked() >= maxUnacked }, func() any { return q.Unacked() })
	left := int(q.Ready())
	if left == 0 {
		t.Error("all of it was sent")
	}
	p.send("<a xmlns='" + nsSM + "' h='" + strconv.Itoa(maxUnacked) + "'/>")
	wantBodies(t, p.got(400)[:1], strconv.Itoa(maxUnacked+1))
}

// What follows <enabled/> comes in a record of TLS of its own: clients may begin to count behind what they read with it.
func TestEnabledComesAlone(t *testing.T) {
	r := newRig(t)
	p := r.client("one", "a", "")
	for range 2 { // what comes with one read is answered with one write
		p.send("<presence/><enable xmlns='" + nsSM + "'/><presence/><iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")
		enabled := false
		for answered := false; !answered; {
			var record [16 << 10]byte
			n, err := p.nc.Read(record[:])
			if err != nil {
				t.Fatal(err)
			}
			text := string(record[:n])
			if before, after, ok := strings.Cut(text, "<enabled xmlns='"+nsSM+"'/>"); ok {
				enabled = true
				if after != "" {
					t.Errorf("%q comes with it, behind %q", after, before)
				}
			}
			answered = strings.Contains(text, "id='x'")
		}
		if !enabled {
			t.Error("it was not enabled")
		}
		p.send("</stream:stream>")
		p = r.client("one", "a", "")
	}
}

func TestACountThatGoesBackHarmsNobody(t *testing.T) {
	r := newRig(t)
	q := r.declare("work")
	sender := r.client("two", "s", "")
	p := r.client("one", "a", "")
	p.enable("")
	p.send("<presence to='work@queues.localhost'/>")
	p.next()
	say(sender, "work@queues.localhost", numbers(1, 3)...)
	wantBodies(t, p.got(3), numbers(1, 3)...)
	p.send("<a xmlns='" + nsSM + "' h='3'/><a xmlns='" + nsSM + "' h='1'/><a xmlns='" + nsSM + "' h='0'/>")
	p.send("<iq type='get' id='x'><ping xmlns='urn:xmpp:ping'/></iq>")
	for p.next().Attr("id") != "x" {
	}
	if n := q.Unacked(); n != 1 {
		t.Errorf("%d are held", n)
	}
	p.send("<a xmlns='" + nsSM + "' h='4'/>")
	r.wait(func() bool { return q.Unacked() == 0 }, func() any { return q.Unacked() })
}

// TestStanzasAreCountedOnceTheyAreDurable: who is told that a message was handled may forget it.
func TestStanzasAreCountedOnceTheyAreDurable(t *testing.T) {
	disk := fs.NewFreezer()
	r := newRigOn(t, fs.Failing(fs.NewMem(1), disk.Hook), store.ModeGroup, []string{"guest", "one"}, broker.Options{})
	t.Cleanup(disk.Thaw)
	q := r.declare("q")
	p := r.client("one", "a", "")
	p.enable("")
	counted := func(h string) {
		t.Helper()
		e := p.next()
		for e.Is(nsSM, "r") {
			e = p.next()
		}
		if !e.Is(nsSM, "a") || e.Attr("h") != h {
			t.Fatalf("%s, where %s stanzas were handled", e, h)
		}
	}
	const ask = "<r xmlns='" + nsSM + "'/>"
	p.send("<message to='q@queues.localhost'><body>first</body></message>" + ask) // which makes the log's files
	counted("1")
	disk.Freeze(func(op fs.Op, _ string) bool { return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir })
	p.send("<message to='q@queues.localhost'><body>second</body></message>" + ask)
	disk.AwaitWaiting(1)
	p.nothing()
	p.send(ask) // which waits behind the other
	p.nothing()
	disk.Thaw()
	counted("2")
	counted("3") // with the first question whether there is nothing
	p.send(ask)
	counted("4")
	r.ready(q, 2)
}

// TestAStreamIsResumedOnceWhatItHasSentIsDurable: the count in the answer says that it was handled. Who was to hear of
// something hears of it on the new connection.
func TestAStreamIsResumedOnceWhatItHasSentIsDurable(t *testing.T) {
	disk := fs.NewFreezer()
	r := newRigOn(t, fs.Failing(fs.NewMem(1), disk.Hook), store.ModeGroup, []string{"guest", "one"}, broker.Options{})
	t.Cleanup(disk.Thaw)
	q := r.declare("q")
	const receipt = "<request xmlns='urn:xmpp:receipts'/></message>"
	p := r.client("one", "a", "")
	id := p.enable(" resume='true'").Attr("id")
	p.send("<message to='q@queues.localhost' id='1'><body>first</body>" + receipt) // which makes the log's files
	if e := p.message(); e.Child("urn:xmpp:receipts", "received") == nil {
		t.Fatal(e)
	}
	second := r.dial() // now, for how long a disk may take is bounded
	second.signIn("one")
	disk.Freeze(func(op fs.Op, _ string) bool { return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir })
	p.send("<message to='q@queues.localhost' id='2'><body>second</body>" + receipt)
	disk.AwaitWaiting(1)
	p.nc.Close()
	second.send("<resume xmlns='" + nsSM + "' previd='" + id + "' h='1'/>")
	r.wait(func() bool {
		r.server.registry.mu.Lock()
		defer r.server.registry.mu.Unlock()
		return r.server.registry.streams[id] == nil
	}, func() any { return "not taken" })
	_ = second.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := second.nc.Read(second.buf[:]); err == nil {
		t.Errorf("it is resumed although its message may get lost: %s", second.buf[:n])
	}
	_ = second.nc.SetReadDeadline(time.Now().Add(20 * time.Second))
	disk.Thaw()
	if e := second.next(); !e.Is(nsSM, "resumed") || e.Attr("h") != "2" {
		t.Fatal(e)
	}
	if e := second.message(); e.Child("urn:xmpp:receipts", "received").Attr("id") != "2" {
		t.Error(e)
	}
	r.ready(q, 2)
}

// A disk that hangs keeps nobody from a stream of their own: the old one can't be resumed then.
func TestAStreamIsNotResumedOverADiskThatHangs(t *testing.T) {
	disk := fs.NewFreezer()
	r := newRigOn(t, fs.Failing(fs.NewMem(1), disk.Hook), store.ModeGroup, []string{"guest", "one"}, broker.Options{}, func(o *Options) { o.ResumeTime = 50 * time.Millisecond })
	t.Cleanup(disk.Thaw)
	r.declare("q")
	p := r.client("one", "a", "")
	id := p.enable(" resume='true'").Attr("id")
	p.send("<message to='q@queues.localhost'><body>first</body></message>")
	p.nothing()
	disk.Freeze(func(op fs.Op, _ string) bool { return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir })
	p.send("<message to='q@queues.localhost'><body>second</body></message><r xmlns='" + nsSM + "'/>")
	disk.AwaitWaiting(1)
	begun := time.Now()
	second, e := r.resume("one", id, 0)
	if passed := time.Since(begun); !e.Is(nsSM, "failed") || passed >= takeOverTime {
		t.Fatalf("%s after %v", e, passed)
	}
	second.send("<iq type='set' id='b'><bind xmlns='" + nsBind + "'/></iq>")
	if e := second.next(); e.Attr("type") != "result" {
		t.Error(e)
	}
}

// What others send to a client whose connection is lost, and which can't be resumed, waits for no disk to go elsewhere.
func TestAStreamThatBreaksForGoodTakesNothingMore(t *testing.T) {
	disk := fs.NewFreezer()
	r := newRigOn(t, fs.Failing(fs.NewMem(1), disk.Hook), store.ModeGroup, []string{"guest", "one"}, broker.Options{})
	t.Cleanup(disk.Thaw)
	r.declare("q")
	p := r.client("one", "a", "<presence/>")
	c := r.server.Client(stanza.JID{Local: "one", Domain: "localhost", Resource: "a"}).live.Load()
	p.send("<message to='q@queues.localhost'><body>first</body></message>")
	p.nothing()
	disk.Freeze(func(op fs.Op, _ string) bool { return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir })
	p.send("<message to='q@queues.localhost'><body>second</body><request xmlns='urn:xmpp:receipts'/></message>")
	disk.AwaitWaiting(1)
	p.nc.Close()
	<-c.writerDone
	if len(r.server.Online(stanza.JID{Local: "one", Domain: "localhost"})) > 0 {
		t.Error("it gets messages still")
	}
}
