package xmpp

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheBytesOfOfflineMessagesAreLimited(t *testing.T) {
	r := newRig(t)
	sender := r.client("two", "s", "")
	large := strings.Repeat("x", 250_000)
	for range maxOfflineBytes/len(large) - 1 {
		say(sender, "one@localhost", large)
	}
	sender.nothing()
	for range 3 {
		sender.send("<message id='m' type='chat' to='one@localhost'><body>" + large + "</body></message>")
	}
	sender.refused(sender.message(), "service-unavailable")
}

// Who has few connections may not have very many broken streams, each with what it holds.
func TestBrokenStreamsOfAnAccountAreLimited(t *testing.T) {
	r := newRig(t)
	waiting := func() int {
		r.server.registry.mu.Lock()
		defer r.server.registry.mu.Unlock()
		return len(r.server.registry.waiting)
	}
	for i := range maxWaitingOf + 3 {
		p := r.client("one", fmt.Sprint("r", i), "<presence/>")
		p.enable(" resume='true'")
		before := waiting()
		p.nc.Close()
		if i < maxWaitingOf {
			r.wait(func() bool { return waiting() == before+1 }, func() any { return waiting() })
		}
	}
	p := r.client("two", "r", "<presence/>")
	p.enable(" resume='true'")
	p.nc.Close()
	r.wait(func() bool { return waiting() == maxWaitingOf+1 }, func() any { return waiting() })
	r.server.registry.mu.Lock()
	defer r.server.registry.mu.Unlock()
	for _, a := range r.server.registry.accounts {
		if n := r.server.registry.waitingOf(a); a.user == "one" && n != maxWaitingOf || a.user == "two" && n != 1 {
			t.Errorf("%s has %d broken streams that are kept", a.user, n)
		}
	}
}
