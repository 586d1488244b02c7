package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Each of these is refused, and none must be told from the others by work or time.
var refusals = []struct {
	name, user, password string
	from                 net.Addr
}{
	{"no such user", "bob", "x", there},
	{"stored user", "ann", "x", there},
	{"user given in clear", "guest", "x", here},
	{"right, but from elsewhere", "guest", "guest", there},
	{"no password", "ann", "", there},
}

func TestRefusalsTakeTheSameTimeForEveryName(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := guests(t)
				for n, want := range []time.Duration{200, 400, 800} {
					begun := time.Now()
					_, err := u.Login(t.Context(), c.user, []byte(c.password), c.from)
					if took := time.Since(begun); !errors.Is(err, ErrRefused) || took != want*time.Millisecond {
						t.Fatalf("refusal %d took %v, want %v ms: %v", n+1, took, want, err)
					}
				}
				time.Sleep(forgetAfter + time.Second)
				begun := time.Now()
				_, _ = u.Login(t.Context(), c.user, []byte(c.password), c.from)
				if took := time.Since(begun); took != firstDelay {
					t.Fatalf("after a quiet while a refusal took %v", took)
				}
			})
		})
	}
}

func TestRefusalsTakeTheSameWorkForEveryName(t *testing.T) {
	for _, c := range refusals {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				u := guests(t)
				hashes := 0
				u.matches = func(h Hash, password []byte) bool {
					hashes++
					return h.Matches(password)
				}
				if _, err := u.Login(t.Context(), c.user, []byte(c.password), c.from); !errors.Is(err, ErrRefused) || hashes != 1 {
					t.Fatalf("%d hashes were made: %v", hashes, err)
				}
				u.hashing <- struct{}{}
				u.hashing <- struct{}{} // nobody can hash: who needs to waits, up to the deadline
				begun := time.Now()
				_, err := u.Login(t.Context(), c.user, []byte(c.password), c.from)
				if took := time.Since(begun); !errors.Is(err, ErrBusy) || took != checkTimeout {
					t.Fatalf("took %v: %v", took, err)
				}
			})
		})
	}
}

func TestALoginEndsWithItsClient(t *testing.T) {
	for _, full := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			u := guests(t)
			if full {
				u.hashing <- struct{}{}
				u.hashing <- struct{}{}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			begun := time.Now()
			_, err := u.Login(ctx, "bob", []byte("x"), there)
			if took := time.Since(begun); !errors.Is(err, ErrBusy) || took != 100*time.Millisecond {
				t.Fatalf("took %v: %v", took, err)
			}
			if u.guard.pending != 0 {
				t.Errorf("%d places are still taken", u.guard.pending)
			}
		})
	}
}

// A flood from one address holds few logins, and locks out nobody else: neither another address nor a
// user of that address who was right there before.
func TestAFloodOfWrongPasswordsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := guests(t)
		if _, err := u.Login(t.Context(), "guest", []byte("guest"), here); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var flood sync.WaitGroup
		var mu sync.Mutex
		turnedAway := 0
		attempt := func(user string) {
			flood.Go(func() {
				_, err := u.Login(ctx, user, []byte("wrong"), here)
				if err == nil {
					t.Errorf("%s got in", user)
				}
				if errors.Is(err, ErrBusy) {
					mu.Lock()
					turnedAway++
					mu.Unlock()
				}
			})
		}
		attempt("guest")
		synctest.Wait()
		for n := range 500 {
			attempt("guest")
			attempt(fmt.Sprint("somebody", n))
		}
		synctest.Wait()
		mu.Lock()
		if u.guard.pending > maxPendingSuspect || turnedAway < 1000-maxPendingSuspect {
			t.Errorf("%d logins wait and %d were turned away", u.guard.pending, turnedAway)
		}
		mu.Unlock()
		begun := time.Now()
		if _, err := u.Login(t.Context(), "guest", []byte("guest"), here); err != nil {
			t.Errorf("who was right here before: %v", err)
		}
		if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); err != nil {
			t.Errorf("who comes from elsewhere: %v", err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("they waited %v", took)
		}
		if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), here); !errors.Is(err, ErrBusy) {
			t.Errorf("who was never here before is told %v", err)
		}
		time.Sleep(time.Second / glancesPerSecond)
		if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), here); err != nil {
			t.Errorf("now and then one who was never here before is looked at: %v", err)
		}
		cancel()
		flood.Wait()
		if u.guard.pending != 0 {
			t.Errorf("%d places are still taken", u.guard.pending)
		}
	})
}

func TestManyAddressesAndNamesTakeBoundedMemory(t *testing.T) {
	g := newGuard()
	for n := range 3 * maxRecords {
		addr := &net.TCPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n))}
		s, _, _ := g.begin(sourceOf(addr), "x")
		g.failed(s, fmt.Sprint("name", n))
		g.end(s)
	}
	if len(g.sources) > maxRecords || len(g.names) > maxRecords {
		t.Errorf("%d sources and %d names are remembered", len(g.sources), len(g.names))
	}
	if delay := g.failed(&g.crowd, "x"); delay != maxDelay {
		t.Errorf("those for whom there is no room are answered after %v", delay)
	}
}

func TestASourceIsANetworkOfIPv6(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.7", "192.0.2.7", true},
		{"192.0.2.7", "192.0.2.8", false},
		{"::ffff:192.0.2.7", "192.0.2.7", true},
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		a, b := sourceOf(&net.TCPAddr{IP: net.ParseIP(c.a)}), sourceOf(&net.TCPAddr{IP: net.ParseIP(c.b)})
		if (a == b) != c.same || !a.IsValid() {
			t.Errorf("%s is %v, %s is %v", c.a, a, c.b, b)
		}
	}
	if s := sourceOf(nil); s.IsValid() {
		t.Errorf("no address is %v", s)
	}
}
