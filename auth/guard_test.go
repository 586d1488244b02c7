package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
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
			fakeclock.Test(t, func(t *testing.T) {
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
			fakeclock.Test(t, func(t *testing.T) {
				u := guests(t)
				hashes := 0
				u.matches = func(h Hash, password []byte) bool {
					hashes++
					return h.Matches(password)
				}
				if _, err := u.Login(t.Context(), c.user, []byte(c.password), c.from); !errors.Is(err, ErrRefused) || hashes != 1 {
					t.Fatalf("%d hashes were made: %v", hashes, err)
				}
				occupy(u) // who needs to hash waits, up to the deadline
				begun := time.Now()
				_, err := u.Login(t.Context(), c.user, []byte(c.password), c.from)
				if took := time.Since(begun); !errors.Is(err, ErrBusy) || took != checkTimeout {
					t.Fatalf("took %v: %v", took, err)
				}
			})
		})
	}
}

// occupy takes all turns to make hashes.
func occupy(u *Users) {
	for range maxHashing {
		_ = u.hashing.take(context.Background(), new(source), clean)
	}
}

func TestALoginEndsWithItsClient(t *testing.T) {
	for _, full := range []bool{true, false} {
		fakeclock.Test(t, func(t *testing.T) {
			u := guests(t)
			if full {
				occupy(u)
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
	fakeclock.Test(t, func(t *testing.T) {
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
		if u.guard.pending > maxSuspectsOf || turnedAway < 1000-maxSuspectsOf {
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

// slow has every hash take as long as a real one.
func slow(u *Users) {
	u.matches = func(h Hash, password []byte) bool {
		time.Sleep(50 * time.Millisecond)
		return h.Matches(password)
	}
}

func addr(n int) net.Addr { return &net.TCPAddr{IP: net.IPv4(10, 1, byte(n>>8), byte(n))} }

// After a start nobody was right before. Whatever flood there is, who has a source of its own gets in with the first
// attempt, and who shares one with those who guess, after some.
func TestAFloodFromManySourcesLocksNobodyOut(t *testing.T) {
	const sources = 40
	for _, target := range []string{"ann", "nobody"} { // wrong passwords for the very name, or for others
		t.Run(target, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				u := guests(t)
				slow(u)
				ctx, cancel := context.WithCancel(t.Context())
				defer func() { cancel(); time.Sleep(time.Minute) }()
				for n := range sources {
					go func() {
						for k := 0; ctx.Err() == nil; k++ {
							name := target
							if target == "nobody" {
								name = fmt.Sprint(target, n, k)
							}
							go u.Login(ctx, name, []byte("wrong"), addr(n))
							time.Sleep(150 * time.Millisecond)
						}
					}()
				}
				time.Sleep(10 * time.Second)
				u.guard.mu.Lock()
				if taken := u.guard.suspects; taken < maxSuspects*9/10 || taken > maxSuspects {
					t.Errorf("%d places are taken", taken)
				}
				u.guard.mu.Unlock()
				begun := time.Now()
				if _, err := u.Login(t.Context(), "ann", []byte("s3cret"), there); err != nil || time.Since(begun) > time.Second {
					t.Errorf("from another source, after %v: %v", time.Since(begun), err)
				}
				if target == "ann" {
					return // it is known by now, and a glance is enough
				}
				if err := u.Put(User{Name: "joe", Secret: Secret{Hash: cheapHash("s3cret")}}); err != nil {
					t.Fatal(err)
				}
				begun = time.Now()
				for {
					_, err := u.Login(t.Context(), "joe", []byte("s3cret"), addr(1))
					if err == nil {
						break
					}
					if !errors.Is(err, ErrBusy) || time.Since(begun) > 10*time.Minute {
						t.Errorf("from a source of the flood, after %v: %v", time.Since(begun), err)
						break
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
}

// Who shares an address with one that guesses, and whose password was not right since the start, is looked at if
// nothing was wrong for the name.
func TestWhoSharesAnAddressIsLookedAt(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := guests(t)
		if err := u.Put(User{Name: "joe", Secret: Secret{Hash: cheapHash("s3cret")}}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range maxSuspectsOf + 1 {
			go u.Login(ctx, "joe", []byte("wrong"), there)
			synctest.Wait() // it waits for its late answer
		}
		if _, err := u.Login(ctx, "ann", []byte("s3cret"), there); err != nil {
			t.Errorf("who guesses nothing: %v", err)
		}
		if _, err := u.Login(ctx, "joe", []byte("s3cret"), there); !errors.Is(err, ErrBusy) {
			t.Errorf("the one whose password is guessed: %v", err)
		}
		for n := range maxLooks {
			_, _ = u.Login(ctx, fmt.Sprint("nobody", n), []byte("wrong"), there)
		}
		if err := u.Put(User{Name: "sue", Secret: Secret{Hash: cheapHash("s3cret")}}); err != nil {
			t.Fatal(err)
		}
		if _, err := u.Login(ctx, "sue", []byte("s3cret"), there); !errors.Is(err, ErrBusy) {
			t.Errorf("after so many looks in one second: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := u.Login(ctx, "sue", []byte("s3cret"), there); err != nil {
			t.Errorf("a second later: %v", err)
		}
		cancel()
		synctest.Wait()
	})
}

// However many wait, the turns go round: by rank, and within one by source.
func TestTurnsGoRound(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var turns turns
		var order []string
		busy, good, other, guesser := new(source), new(source), new(source), new(source)
		for _, w := range []struct {
			name string
			s    *source
			r    rank
		}{
			{"busy", busy, clean}, {"busy", busy, clean}, {"busy", busy, clean}, {"good", good, clean},
			{"guess", guesser, suspect}, {"guess", guesser, suspect}, {"doubt", other, doubtful}, {"doubt", other, doubtful},
		} {
			go func() {
				if err := turns.take(t.Context(), w.s, w.r); err == nil {
					order = append(order, w.name)
				}
			}()
			synctest.Wait()
		}
		for range 8 {
			turns.give()
			synctest.Wait()
		}
		// clean, doubtful, clean, suspect, clean, doubtful, clean, suspect
		want := "[busy doubt good guess busy doubt busy guess]"
		if fmt.Sprint(order) != want || turns.free != 0 {
			t.Errorf("%v, want %v", order, want)
		}
	})
}

func TestATurnThatNobodyWaitsForAnyMoreGoesOn(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var turns turns
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { left <- turns.take(ctx, new(source), clean) }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		turns.give()
		if turns.free != 1 || len(turns.waiting) != 0 {
			t.Errorf("%d are free, %d wait", turns.free, len(turns.waiting))
		}
	})
}

// Who gives up at the moment at which its turn comes leaves the turn to the next.
func TestATurnThatComesTooLateIsNotLost(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		for range 200 {
			var turns turns
			ctx, cancel := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() { left <- turns.take(ctx, new(source), clean) }()
			synctest.Wait()
			cancel()
			turns.give()
			if err := <-left; !errors.Is(err, ErrBusy) {
				t.Fatal(err)
			}
			if turns.free != 1 {
				t.Fatalf("%d turns are free", turns.free)
			}
		}
	})
}

// Of one whose place ran out nothing can be told from one who was not looked at.
func TestWhoHasNoPlaceToWaitIsNotAnswered(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		u := guests(t)
		results := make(chan error, maxPendingOf)
		occupy(u)
		for n := range maxPendingOf { // all come before anything was wrong
			go func() {
				_, err := u.Login(t.Context(), fmt.Sprint(n), []byte("wrong"), there)
				results <- err
			}()
		}
		synctest.Wait()
		for range maxHashing {
			u.hashing.give()
		}
		refused := 0
		for range maxPendingOf {
			switch err := <-results; {
			case errors.Is(err, ErrRefused):
				refused++
			case !errors.Is(err, ErrBusy):
				t.Error(err)
			}
		}
		if refused != maxSuspectsOf {
			t.Errorf("%d were told late that they were wrong, want %d", refused, maxSuspectsOf)
		}
		if g := u.guard; g.pending != 0 || g.suspects != 0 || g.looking != 0 {
			t.Errorf("places are still taken: %d, %d, %d", g.pending, g.suspects, g.looking)
		}
	})
}

func TestManyAddressesAndNamesTakeBoundedMemory(t *testing.T) {
	g := newGuard()
	for n := range 3 * maxRecords {
		addr := &net.TCPAddr{IP: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n))}
		a := g.begin(sourceOf(addr), fmt.Sprint("name", n))
		g.failed(a)
		g.end(a)
	}
	long := g.begin(sourceOf(there), strings.Repeat("x", 60<<10)) // a login of AMQP is a table of 64 KiB
	if g.failed(long); len(long.name) > maxNameBytes {
		t.Errorf("a name of %d bytes is remembered", len(long.name))
	}
	if len(g.sources) > maxRecords || len(g.names) > maxRecords {
		t.Errorf("%d sources and %d names are remembered", len(g.sources), len(g.names))
	}
	if delay, _ := g.failed(&attempt{source: &g.crowd}); delay != maxDelay {
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
