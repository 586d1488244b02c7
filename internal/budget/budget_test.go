package budget

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func TestWhatIsTakenIsBoundedForOneAndForAll(t *testing.T) {
	b := New(Options{Bytes: 100, Share: 60, Free: -1, Reserve: -1})
	one, two := b.Open(), b.Open()
	for _, step := range []struct {
		name string
		a    *Account
		take int64
		want error
	}{
		{"a share", one, 60, nil},
		{"more than a share", one, 1, ErrShare},
		{"what others hold", two, 50, ErrFull},
		{"the rest", two, 40, nil},
		{"more than there is", two, 1, ErrFull},
		{"an overflow", two, -1, ErrShare},
	} {
		if err := step.a.Try(step.take); !errors.Is(err, step.want) {
			t.Errorf("%s: %v, want %v", step.name, err, step.want)
		}
	}
	one.Give(60)
	two.Give(40)
	if s := b.Stats(); s.Used != 0 || s.Peak != 100 || s.Refused != 4 {
		t.Errorf("after all was given back: %+v", s)
	}
}

func TestTheFreePartIsThereWhenAllElseIsTaken(t *testing.T) {
	b := New(Options{Bytes: 100, Share: 200, Free: 10, Reserve: -1})
	hog, small := b.Open(), b.Open()
	if err := hog.Try(110); !errors.Is(err, ErrShare) {
		t.Errorf("a share beyond the whole: %v", err)
	}
	if err := hog.Try(100); err != nil {
		t.Fatal(err)
	}
	other := b.Open()
	if err := other.Try(20); err != nil {
		t.Fatal(err)
	}
	if err := small.Try(10); err != nil {
		t.Errorf("the free part: %v", err)
	}
	if err := small.Try(1); !errors.Is(err, ErrFull) {
		t.Errorf("beyond the free part: %v", err)
	}
	hog.Give(100)
	other.Give(20)
	small.Give(10)
	if s := b.Stats(); s.Used != 0 {
		t.Errorf("%d bytes are left over", s.Used)
	}
}

func TestTheLineIsServedInOrder(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 100, Share: 100, Free: -1, Reserve: -1})
		holder := b.Open()
		_ = holder.Try(100)
		var order []int64
		var mu sync.Mutex
		for _, n := range []int64{90, 20, 30} {
			go func() {
				if err := b.Open().Take(n, nil); err != nil {
					t.Errorf("%d: %v", n, err)
				}
				mu.Lock()
				order = append(order, n)
				mu.Unlock()
			}()
			synctest.Wait()
		}
		if err := b.Open().Try(1); !errors.Is(err, ErrFull) {
			t.Errorf("passed those who wait: %v", err)
		}
		holder.Give(50)
		synctest.Wait()
		if len(order) != 0 {
			t.Errorf("%v overtook a larger wish", order)
		}
		holder.Give(50)
		synctest.Wait()
		if len(order) != 1 || order[0] != 90 {
			t.Errorf("%v was served first", order)
		}
		b.give(counted{much: 90})
		synctest.Wait()
		if len(order) != 3 {
			t.Errorf("only %v were served", order)
		}
	})
}

func TestWaitingEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(gone chan struct{}, a *Account)
		after time.Duration
		want  error
	}{
		{"with patience", func(chan struct{}, *Account) {}, 3 * time.Second, ErrFull},
		{"with the client", func(gone chan struct{}, _ *Account) { close(gone) }, time.Second, ErrGone},
		{"with the account", func(_ chan struct{}, a *Account) { a.Close() }, time.Second, ErrGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				b := New(Options{Bytes: 100, Share: 100, Free: -1, Reserve: -1, Patience: 3 * time.Second})
				_ = b.Open().Try(95)
				a, gone := b.Open(), make(chan struct{})
				time.AfterFunc(time.Second, func() { c.end(gone, a) })
				behind := make(chan error, 1)
				began := time.Now()
				go func() {
					time.Sleep(time.Millisecond)
					behind <- b.Open().Take(5, nil)
				}()
				if err := a.Take(10, gone); !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
				if waited := time.Since(began); waited != c.after {
					t.Errorf("waited %v, want %v", waited, c.after)
				}
				if err := <-behind; err != nil {
					t.Errorf("who wanted less stayed in the line: %v", err)
				}
				if s := b.Stats(); s.Used != 100 || s.Waiting != 0 || a.Held() != 0 {
					t.Errorf("%+v, %d held", s, a.Held())
				}
			})
		})
	}
}

// Which bytes of an account are the free ones depends on what else it holds, and
// that may change while it waits.
func TestTheSumHoldsWhenAnAccountGivesWhileItWaits(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 100, Free: 10, Reserve: -1, Patience: time.Second})
		other, a := &Account{b: b, share: 200, closed: make(chan struct{})}, &Account{b: b, share: 200, closed: make(chan struct{})}
		_ = other.Try(105) // of which 95 count
		_ = a.Try(8)
		done := make(chan error, 1)
		go func() { done <- a.Take(50, nil) }()
		synctest.Wait()
		a.Give(8)
		if err := <-done; !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		if used := b.Stats().Used; used != 95 {
			t.Errorf("%d bytes are used, want 95", used)
		}
	})
}

func TestAClosedAccountTakesNothing(t *testing.T) {
	a := New(Options{}).Open()
	a.Close()
	a.Close()
	if err := a.Try(1); !errors.Is(err, ErrGone) {
		t.Errorf("Try: %v", err)
	}
	if err := a.Take(1<<20, nil); !errors.Is(err, ErrGone) {
		t.Errorf("Take: %v", err)
	}
}

// Which bytes are free ones changes while others of the same account wait, so
// the sum is checked under chance.
func TestTheSumHoldsUnderConcurrency(t *testing.T) {
	b := New(Options{Bytes: 1000, Share: 900, Free: 100, Little: 50, Reserve: 100, Patience: time.Millisecond})
	accounts := []*Account{b.Open(), b.Open(), b.Open()}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			a, dice := accounts[i%3], rand.New(rand.NewPCG(uint64(i), 1))
			for range 300 {
				n := dice.Int64N(500)
				take := a.Try
				if dice.IntN(2) == 0 {
					take = func(n int64) error { return a.Take(n, nil) }
				}
				if take(n) == nil {
					a.Give(n)
				}
			}
		})
	}
	wg.Wait()
	if s := b.Stats(); s.Used != 0 || s.Waiting != 0 || s.Peak > 1300 {
		t.Errorf("%+v", s)
	}
}

func TestSmallRequestsCostNoAllocationAndNoLock(t *testing.T) {
	b := New(Options{})
	a := b.Open()
	b.mu.Lock() // Try and Give would wait for ever
	defer b.mu.Unlock()
	if n := testing.AllocsPerRun(100, func() {
		if a.Try(32<<10) != nil {
			t.Error("refused")
		}
		a.Give(32 << 10)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What stands for long must leave a share and the Reserve, or a large request could wait for ever.
func TestWhatIsCommonToManyIsBounded(t *testing.T) {
	a := New(Options{Bytes: 1000, Share: 100}).OpenCommon()
	if err := a.Try(375); err != nil {
		t.Error(err)
	}
	if err := a.Try(1); !errors.Is(err, ErrShare) {
		t.Error(err)
	}
}

func TestWhoHoldsLittleDoesNotWaitBehindALargeWish(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Share: 500, Free: -1, Little: 10, Reserve: 100})
		_ = b.Open().Try(500) // its first 10 are of the reserve, too
		common := b.OpenCommon()
		go func() {
			if err := b.Open().Take(450, nil); !errors.Is(err, ErrFull) {
				t.Errorf("a wish for what is kept for others: %v", err)
			}
		}()
		synctest.Wait()
		for range 9 {
			if err := b.Open().Try(10); err != nil {
				t.Errorf("one who holds little: %v", err)
			}
		}
		if err := b.Open().Try(1); !errors.Is(err, ErrFull) {
			t.Errorf("beyond the reserve: %v", err)
		}
		if err := b.Open().Try(11); !errors.Is(err, ErrFull) {
			t.Errorf("one who wants more than little passed those who wait: %v", err)
		}
		if err := common.Try(375); err != nil {
			t.Errorf("what is common to many: %v", err)
		}
		if err := common.Try(1); !errors.Is(err, ErrShare) {
			t.Error(err)
		}
		time.Sleep(time.Minute)
	})
}

// Many who hold little may hold all while nobody waits. Once a large wish does, they get back no more than
// the reserve of what they give.
func TestALargeWishIsNotOvertakenForEver(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Free: -1, Little: 10, Reserve: 100})
		holders := make([]*Account, 100)
		for i := range holders {
			holders[i] = b.Open()
			if err := holders[i].Try(10); err != nil {
				t.Fatal(err)
			}
		}
		large := make(chan error, 1)
		go func() { large <- b.Open().Take(400, nil) }()
		synctest.Wait()
		refused := 0
		for i, a := range holders {
			a.Give(10)
			if a.Try(10) != nil {
				refused++
			}
			synctest.Wait()
			if len(large) > 0 {
				if err := <-large; err != nil || i != 39 || refused != 40 {
					t.Errorf("after %d turns of which %d were refused: %v", i+1, refused, err)
				}
				return
			}
		}
		t.Error("it was never given")
	})
}

func TestThoseWhoHoldLittleHaveALineOfTheirOwn(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Share: 900, Free: -1, Little: 10, Reserve: 30})
		full, one, two := b.Open(), b.Open(), b.Open()
		_ = full.Try(900)
		_ = one.Try(10)
		_ = two.Try(10)
		order := make(chan string, 3)
		wait := func(name string, n int64) {
			go func() {
				if b.Open().Take(n, nil) == nil {
					order <- name
				}
			}()
			synctest.Wait()
		}
		wait("much", 800)
		wait("first", 10)
		wait("second", 10)
		for _, step := range []struct {
			a    *Account
			n    int64
			want string
		}{{one, 10, "first"}, {two, 10, "second"}, {full, 900, "much"}} {
			if len(order) > 0 {
				t.Errorf("%s did not wait", <-order)
			}
			step.a.Give(step.n)
			synctest.Wait()
			if got := <-order; got != step.want {
				t.Errorf("%s was served before %s", got, step.want)
			}
		}
	})
}

func TestThoseWhoHoldLittleDoNotPassEachOther(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Share: 800, Free: -1, Little: 10, Reserve: 20, Patience: time.Minute})
		much, one, two := b.Open(), b.Open(), b.Open()
		if err := errors.Join(much.Try(800), one.Try(10), two.Try(10), b.Open().Try(180)); err != nil {
			t.Fatal(err)
		}
		waiting := make(chan error, 1)
		go func() { waiting <- b.Open().Take(10, nil) }()
		synctest.Wait()
		one.Give(5)
		if err := b.Open().Try(1); !errors.Is(err, ErrFull) {
			t.Errorf("one passed who waits and holds as little: %v", err)
		}
		much.Give(100) // what is no part of the reserve is for everybody
		synctest.Wait()
		if len(waiting) == 0 || <-waiting != nil {
			t.Error("who holds little and waits did not get what nobody else waits for")
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestTheReserveIsGivenInOrder(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Free: -1, Little: 10, Reserve: 20, Patience: time.Minute})
		one := b.Open()
		if err := errors.Join(b.OpenCommon().Try(370), b.OpenCommon().Try(370), b.OpenCommon().Try(240), one.Try(10), b.Open().Try(10)); err != nil {
			t.Fatal(err)
		}
		go func() { _ = b.Open().Take(10, nil) }()
		synctest.Wait()
		one.Give(5)
		if err := b.Open().Try(1); !errors.Is(err, ErrFull) {
			t.Errorf("one passed who waits and holds as little: %v", err)
		}
		time.Sleep(2 * time.Minute)
	})
}

func TestWhatIsCommonToManyTakesNothingOfTheReserve(t *testing.T) {
	b := New(Options{Bytes: 1000, Free: -1, Little: 10, Reserve: 20})
	if err := errors.Join(b.OpenCommon().Try(10), b.OpenCommon().Try(10)); err != nil {
		t.Fatal(err)
	}
	if b.used.little != 0 || b.used.much != 20 {
		t.Errorf("%+v", b.used)
	}
}

func TestWhoAwaitsKeepsItsPlaceAndLetsOthersGo(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Share: 800, Free: -1, Reserve: -1, Patience: 10 * time.Second})
		holder := b.Open()
		_ = holder.Try(700)
		given := make(chan error, 1)
		go func() { given <- b.Open().Await(600, nil) }()
		synctest.Wait()

		began := time.Now()
		behind := b.Open()
		if err := behind.Take(300, nil); err != nil || time.Since(began) != 5*time.Second {
			t.Errorf("who came behind was given after %v: %v", time.Since(began), err)
		}
		time.Sleep(7 * time.Second) // it does not stand aside any more
		behind.Give(300)
		began = time.Now()
		if err := behind.Take(300, nil); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("when it stood aside again, after %v: %v", time.Since(began), err)
		}
		go func() { _ = b.Open().Take(500, nil) }() // which would have room before
		synctest.Wait()
		behind.Give(300)
		holder.Give(300)
		synctest.Wait()
		if len(given) == 0 || <-given != nil {
			t.Error("others were given first")
		}
		time.Sleep(time.Minute)
	})
}

func TestWhoAwaitsGivesUpWithItsAccount(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		b := New(Options{Bytes: 1000, Share: 800, Free: -1, Reserve: -1, Patience: time.Second})
		_ = b.Open().Try(800)
		a := b.Open()
		time.AfterFunc(time.Hour, a.Close)
		if err := a.Await(600, nil); !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	})
}

func TestTheShareFollowsTheWhole(t *testing.T) {
	for _, c := range []struct{ bytes, share int64 }{
		{64 << 20, 32 << 20}, {256 << 20, 128 << 20}, {512 << 20, 160 << 20}, {4 << 30, 1 << 30},
	} {
		if got := New(Options{Bytes: c.bytes}).Open().Share(); got != c.share {
			t.Errorf("of %d bytes a share is %d, want %d", c.bytes, got, c.share)
		}
	}
}

// A wish beyond the share stands in the account for a moment. Who gives or takes meanwhile finds other bytes
// to be the free ones, and that must not stay with the Budget.
func TestWishesBeyondTheShareLeaveNothingBehind(t *testing.T) {
	b := New(Options{Bytes: 1 << 20, Share: 100, Free: 60})
	a := b.Open()
	var all sync.WaitGroup
	for _, n := range []int64{30, 30, 90, 90, 90} {
		all.Go(func() {
			for range 200_000 {
				if a.Try(n) == nil {
					a.Give(n)
				}
			}
		})
	}
	all.Wait()
	if s := b.Stats(); s.Used != 0 || a.Held() != 0 {
		t.Errorf("the account holds %d and the budget counts %d", a.Held(), s.Used)
	}
}
