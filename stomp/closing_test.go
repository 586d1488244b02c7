package stomp

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

func TestAStopSendsAnErrorBehindTheReceipts(t *testing.T) {
	r := newRig(t, rigOptions{})
	p, early := r.connect("1.2"), r.open()
	p.send("SEND\ndestination:/queue/a\nreceipt:r\n\nx")
	p.expect("RECEIPT receipt-id:r")
	r.server.CloseAll("the broker is stopping")
	p.ended("connection_forced", "broker forced connection closure with reason 'the broker is stopping'")
	if g, ok := early.next(); ok {
		t.Errorf("one who has not signed in got %s", g)
	}
}

func TestAnEvictedClientHearsWhy(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.1")
	r.server.clients.Each(func(c broker.Client) { c.Evict("vhost '/' is gone") })
	p.ended("connection_forced", "vhost '/' is gone")
}

func TestHeartBeatsAreAgreedOnAndSent(t *testing.T) {
	for asked, want := range map[string]string{"0,0": "0,0", "5000,0": "0,5000", "0,300": "300,0", "5,5": "100,100", "1000, 99999999999999999999": "2147483647,1000"} {
		r := newRig(t, rigOptions{})
		p := r.open()
		p.send("CONNECT\naccept-version:1.2\nheart-beat:" + asked + "\nlogin:guest\npasscode:guest\n\n")
		p.expect("CONNECTED version:1.2 heart-beat:" + want)
	}
	r := newRig(t, rigOptions{})
	p := r.open()
	p.send("CONNECT\naccept-version:1.2\nheart-beat:0,100\nlogin:guest\npasscode:guest\n\n")
	p.expect("CONNECTED version:1.2 heart-beat:100,0")
	for range 5 {
		if n, err := p.nc.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
}

// A client that promised heart-beats and is silent for twice as long is given up, what it held comes again, and the log says so.
func TestASilentClientIsGivenUp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{})
		r.piped = true
		p := r.open()
		p.send("CONNECT\naccept-version:1.2\nheart-beat:100,0\nlogin:guest\npasscode:guest\n\n")
		p.expect("CONNECTED version:1.2 heart-beat:0,100")
		for range 20 { // a beat a time keeps it
			time.Sleep(60 * time.Millisecond)
			if _, err := p.nc.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
		}
		p.call("BEGIN\ntransaction:t")
		begun := time.Now()
		if g, ok := p.next(); ok {
			t.Errorf("got %s", g)
		}
		if waited := time.Since(begun); waited < leastSilence {
			t.Errorf("given up after %v", waited)
		}
		if !strings.Contains(r.log.String(), "no sign of life") {
			t.Error(r.log)
		}
	})
}

func TestWhoDoesNotSignInIsCutOff(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := newRig(t, rigOptions{server: func(o *Options) { o.ConnectTimeout = 10 * time.Second }})
		r.piped = true
		for _, begin := range []string{"", "CONN", "CONNECT\nlogin:guest\n"} {
			p, begun := r.open(), time.Now()
			if _, err := p.nc.Write([]byte(begin)); err != nil {
				t.Fatal(err)
			}
			if g, ok := p.next(); ok {
				t.Errorf("got %s", g)
			}
			if took := time.Since(begun); took != 10*time.Second {
				t.Errorf("cut off after %v", took)
			}
		}
		until(t, func() bool { return r.broker.ConnectionCounts()["stomp"] == 0 })
	})
}

func TestAnEarlyFrameIsSmall(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.open()
	p.send("CONNECT\ncontent-length:100000\n\n")
	p.ended("Message too large", "where 1023 are allowed")
	p = r.open()
	p.send("CONNECT\n" + strings.Repeat("a:b\n", 101) + "\n")
	p.ended("Too many headers", "more than 100")
}

// A virtual host that is there is used; the address that many clients give for one is not one.
func TestHostIsAVirtualHostIfThereIsOne(t *testing.T) {
	r := newRig(t, rigOptions{})
	if _, err := r.broker.PutVHost(audit.Actor{User: "test"}, "/shop", broker.VHostMeta{}); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"/shop": "/shop", "127.0.0.1": "/", "": "/", "/": "/"} {
		p := r.open()
		p.send("CONNECT\naccept-version:1.2\nhost:" + host + "\nclient-id:me\nlogin:guest\npasscode:guest\n\n")
		p.expect("CONNECTED version:1.2 heart-beat:0,0")
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
		p.send("SEND\ndestination:/queue/a\n\nx")
		p.messages(1)
		all := r.broker.Connections()
		i := all[len(all)-1]
		if i.VHost != want || i.Protocol != "stomp" || i.User != "guest" || i.Name != "me" || len(i.Channels) != 1 || i.Channels[0].Consumers != 1 || i.Channels[0].Published != 1 || i.Channels[0].Delivered != 1 || i.Traffic.BytesIn == 0 || i.Traffic.FramesIn == 0 {
			t.Errorf("%q: %+v", host, i)
		}
		p.call("DISCONNECT")
		p.next()
	}
}

func TestWhatIsNotAllowedIsRefusedAndAudited(t *testing.T) {
	deny := ""
	r := newRig(t, rigOptions{broker: broker.Options{Policy: func(q broker.Request) error {
		if fmt.Sprintf("%s %s", q.Verb.Right(), q.On.Name) == deny || deny == "enter" && q.Verb == broker.Enter {
			return broker.ErrDenied
		}
		return nil
	}}})
	for _, c := range []struct{ deny, frame, message, text string }{
		{"configure a", "SEND\ndestination:/queue/a\n\n", "access_refused", "configure access to queue 'a' in vhost '/' refused for user 'guest'"},
		{"write amq.default", "SEND\ndestination:/reply-queue/a\n\n", "access_refused", "write access to exchange 'amq.default' in vhost '/' refused for user 'guest'"},
		{"read amq.topic", "SUBSCRIBE\nid:1\ndestination:/topic/a\n\n", "access_refused", "read access to exchange 'amq.topic' in vhost '/' refused for user 'guest'"},
		{"read b", "SUBSCRIBE\nid:1\ndestination:/queue/b\n\n", "access_refused", "read access to queue 'b' in vhost '/' refused for user 'guest'"},
		{"enter", "", "Bad CONNECT", "Virtual host '/' access denied"},
	} {
		deny = c.deny
		r.broker.PolicyChanged()
		p := r.open()
		p.send("CONNECT\nlogin:guest\npasscode:guest\n\n")
		if c.frame != "" {
			p.expect("CONNECTED version:1.0 heart-beat:0,0")
			p.send(c.frame)
		}
		p.ended(c.message, c.text)
		deny = ""
		r.broker.PolicyChanged()
	}
	if n := strings.Count(r.log.String(), "outcome=refused"); n != 5 {
		t.Errorf("%d lines of audit:\n%s", n, r.log)
	}
}

// A right that is lost ends the subscription, and so the connection.
func TestALostRightEndsTheSubscriber(t *testing.T) {
	var lost atomic.Bool
	r := newRig(t, rigOptions{broker: broker.Options{Policy: func(q broker.Request) error {
		if lost.Load() && q.Verb == broker.Consume {
			return broker.ErrDenied
		}
		return nil
	}}})
	p := r.connect("1.2")
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
	lost.Store(true)
	r.broker.PolicyChanged()
	p.ended("Server cancelled subscription", "'1'")
}

// While the disk is full a send with a receipt is refused; others wait unread, and are stored when there is room.
func TestAFullDisk(t *testing.T) {
	var full atomic.Bool
	files := fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
		if full.Load() && op == fs.OpAllocate {
			return syscall.ENOSPC
		}
		return nil
	})
	r := newRig(t, rigOptions{fs: files, broker: broker.Options{SaveEvery: 5 * time.Millisecond}})
	p := r.connect("1.2")
	p.fill("/queue/a", 1)
	full.Store(true)
	body := strings.Repeat("x", 100_000)
	for n := 0; ; n++ {
		if n == 1000 {
			t.Fatal("the disk does not get full")
		}
		p.send(fmt.Sprintf("SEND\ndestination:/queue/a\npersistent:true\nreceipt:%d\n\n%s", n, body))
		if g := p.read(); g.command == "ERROR" {
			if g.get("receipt-id") != fmt.Sprint(n) || g.get("message") != "resource_error" {
				t.Errorf("%s", g)
			}
			break
		}
	}
	q := r.connect("1.2")
	q.send("SEND\ndestination:/queue/a\n\nplain")
	before := r.ready("a")
	time.Sleep(200 * time.Millisecond)
	if n := r.ready("a"); n != before {
		t.Errorf("%d are there, and were %d", n, before)
	}
	full.Store(false)
	q.call("DISCONNECT")
	if n := r.ready("a"); n != before+1 {
		t.Errorf("%d are there, want %d", n, before+1)
	}
}

// One who does not read stops its own subscriptions; others get theirs.
func TestASlowClientHoldsUpNobody(t *testing.T) {
	r := newRig(t, rigOptions{})
	slow, quick, sender := r.connect("1.2"), r.connect("1.2"), r.connect("1.2")
	slow.call("SUBSCRIBE\nid:1\ndestination:/topic/a\nack:auto")
	quick.call("SUBSCRIBE\nid:1\ndestination:/topic/a\nack:auto")
	body := strings.Repeat("x", 10_000)
	const total = 3000
	done := make(chan string, 1)
	go func() {
		n := 0
		for range total {
			if g, ok := quick.next(); ok && g.command == "MESSAGE" {
				n++
			}
		}
		done <- fmt.Sprint(n)
	}()
	for range total {
		sender.send("SEND\ndestination:/topic/a\n\n" + body)
	}
	if n := <-done; n != fmt.Sprint(total) {
		t.Errorf("%s of %d came", n, total)
	}
	if got := len(slow.messages(total)); got != total {
		t.Errorf("the slow one got %d", got)
	}
}

// A body that finds no room in memory waits on disk until it is whole, known length or not, over TCP and WebSocket.
func TestALargeBodyThatMemoryHasNoRoomForIsTaken(t *testing.T) {
	for name, web := range map[string]bool{"TCP": false, "WebSocket": true} {
		memory := budget.New(budget.Options{Bytes: 4 << 20, Free: 4 << 10})
		r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = memory }})
		r.web = web
		var hogs []*budget.Account // leave less than a body takes to what is unfinished
		for range 2 {
			hogs = append(hogs, memory.Open())
			if err := hogs[len(hogs)-1].Try(700 << 10); err != nil {
				t.Fatal(err)
			}
		}
		p := r.connect("1.2")
		body := make([]byte, 800<<10)
		for i := range body {
			body[i] = byte('a' + i%23)
		}
		half := len(body) / 2
		for _, length := range []string{"", fmt.Sprintf("content-length:%d\n", len(body))} {
			if _, err := p.nc.Write([]byte("SEND\ndestination:/queue/a\nreceipt:r\n" + length + "\n" + string(body[:half]))); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool { return r.scratches.Load() == 1 })
			if _, err := p.nc.Write(append(body[half:len(body):len(body)], 0)); err != nil {
				t.Fatal(err)
			}
			p.expect("RECEIPT receipt-id:r")
		}
		until(t, func() bool { return r.scratches.Load() == 0 })
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/a")
		for _, m := range p.messages(2) {
			if m.body != string(body) {
				t.Errorf("%s: a body of %d bytes came back different", name, len(m.body))
			}
		}
		if _, err := p.nc.Write([]byte("SEND\ndestination:/queue/a\n\n" + string(body))); err != nil { // unfinished
			t.Fatal(err)
		}
		until(t, func() bool { return r.scratches.Load() == 1 })
		p.nc.Close()
		until(t, func() bool { return r.scratches.Load() == 0 && memory.Stats().Used == 2*(700<<10-4<<10) })
		r.stop()
	}
}

// A body for which the disk has no room either is refused, and all that it took is given back.
func TestALargeBodyWithoutRoomIsRefused(t *testing.T) {
	r := newRig(t, rigOptions{broker: broker.Options{ScratchBytes: 1 << 20, MaxMessageBytes: 128 << 20}})
	hog := r.server.opts.Budget.OpenCommon()
	if err := hog.Try(hog.Share() - 1<<20); err != nil {
		t.Fatal(err)
	}
	defer hog.Give(hog.Held())
	before := r.server.opts.Budget.Stats().Used
	p := r.connect("1.2")
	go func() {
		_, _ = p.nc.Write([]byte("SEND\ndestination:/queue/a\nreceipt:r\n\n" + strings.Repeat("x", 20<<20)))
	}()
	if g := p.ended("resource_error", "finds no room in memory or on disk"); g.get("receipt-id") != "r" {
		t.Error(g)
	}
	r.server.CloseAll("")
	r.socket.Close()
	r.served.Wait()
	if used := r.server.opts.Budget.Stats().Used; used != before || r.scratches.Load() != 0 {
		t.Errorf("%d bytes are counted, and %d were before; %d files are open", used, before, r.scratches.Load())
	}
}

// until waits for what is about to be.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatal("it does not come about")
		}
	}
}
