package txn

import (
	"fmt"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/kafka/group"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// userOf is whose an id is.
func (c *Coordinator) userOf(id string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.byID[id]; t != nil {
		return t.owner.user
	}
	return "none has it"
}

func initAs(t *testing.T, c *Coordinator, user, id string) (int64, int16) {
	t.Helper()
	producer, epoch, code := c.Init(user, id, time.Minute, -1, -1)
	if code != wire.None {
		t.Fatalf("%s of %s: %v", id, user, code)
	}
	return producer, epoch
}

// TestAUserWhoFillsTheIDsTakesNothingFromOthers who were there before, or come then, and have small transactions.
func TestAUserWhoFillsTheIDsTakesNothingFromOthers(t *testing.T) {
	for name, limit := range map[string]func(*Options){
		"memory": func(o *Options) { o.MaxBytes = 1 << 20 },
		"ids":    func(o *Options) { o.MaxIDs = 1000 },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			c := w.coordinator()
			defer c.Close()
			limit(&c.opts)
			before, epoch := initAs(t, c, "alice", "before")
			initAs(t, c, "mallory", "in use")
			last, lastEpoch := initAs(t, c, "mallory", "first")
			for i := range 5000 {
				initAs(t, c, "mallory", fmt.Sprint("many", i))
				if i%100 == 0 {
					initAs(t, c, "mallory", "in use")
				}
			}
			if n := c.Count(); n < 500 || n > 1000 || len(w.kept) != n {
				t.Errorf("%d ids, %d are kept", n, len(w.kept))
			}
			for i := range 500 {
				initAs(t, c, "bob", fmt.Sprint("bob", i))
			}
			if user := c.userOf("in use"); user != "mallory" {
				t.Errorf("the one that is used: %s", user)
			}
			for i := range 100 {
				if code := w.produce(t, c, "before", before, epoch, at(int32(i))); code != wire.None {
					t.Fatal(code)
				}
			}
			if code := c.CommitOffsets("before", before, epoch, "g", []group.Change{change("t", 1)}, true); code != wire.None {
				t.Error(code)
			}
			if _, _, code := c.End("before", before, epoch, true, true); code != wire.None {
				t.Error(code)
			}
			wantCounted(t, c)

			if code := c.Add("first", last, lastEpoch, []Place{at(1)}); code != wire.InvalidProducerIDMapping {
				t.Errorf("an id that is forgotten: %v", code)
			}
			if next, e, code := c.Init("mallory", "first", time.Minute, last, lastEpoch); code != wire.None || next == last || e != 0 {
				t.Errorf("it begins anew: %d %d %v", next, e, code)
			}
			if c = w.restart(t, c); c.userOf("before") != "" || c.userOf("in use") != "" {
				t.Error("whose they are is known after a restart")
			}
			wantCounted(t, c)
		})
	}
}

func TestAUserWhoseIDsAllHaveTransactionsHasThreeQuartersOfThem(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	c.opts.MaxIDs = 400
	for i := range 300 {
		id := fmt.Sprint("many", i)
		producer, epoch := initAs(t, c, "mallory", id)
		if code := w.produce(t, c, id, producer, epoch, at(int32(i))); code != wire.None {
			t.Fatal(code)
		}
	}
	if _, _, code := c.Init("mallory", "more", time.Minute, -1, -1); code != wire.PolicyViolation {
		t.Errorf("one more than three quarters: %v", code)
	}
	for i := range 100 {
		initAs(t, c, "alice", fmt.Sprint("alice", i))
	}
	producer, epoch := initAs(t, c, "alice", "more") // mallory, who has most, has none to give
	if c.userOf("alice0") != "none has it" || c.userOf("alice1") != "alice" {
		t.Error("alice's oldest is there")
	}
	if code := w.produce(t, c, "more", producer, epoch, at(1000)); code != wire.None {
		t.Error(code)
	}
	if w.opened() != 301 || c.Count() != 400 {
		t.Errorf("%d have a transaction, of %d", w.opened(), c.Count())
	}
	initAs(t, c, "bob", "many0") // whose transaction ends with that, and who may use it
	if user := c.userOf("many0"); user != "bob" || w.opened() != 300 {
		t.Errorf("it is %s's, %d have a transaction", user, w.opened())
	}
	wantCounted(t, c)
}

// TestAUsersTransactionsTakeThreeQuartersOfTheMemory at most.
func TestAUsersTransactionsTakeThreeQuartersOfTheMemory(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	c.opts.MaxBytes = 1 << 20
	producer, epoch := initAs(t, c, "mallory", "large")
	n, code := 0, wire.None
	for ; code == wire.None; n++ {
		code = c.Add("large", producer, epoch, []Place{at(int32(n))})
	}
	if most := 3 << 18 / partBytes; code != wire.TransactionAbortable || n < most*9/10 || n > most {
		t.Errorf("%d partitions, then %v", n, code)
	}
	producer, epoch = initAs(t, c, "alice", "small")
	if code := c.Add("small", producer, epoch, []Place{at(1), at(2)}); code != wire.None {
		t.Error(code)
	}
	wantCounted(t, c)
}

func TestTheIDThatWasNotUsedForLongestGoesAfterARestart(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		w := newWorld()
		c := w.coordinator()
		for i := range 100 {
			initAs(t, c, "alice", fmt.Sprint("id", i))
			time.Sleep(time.Second)
		}
		initAs(t, c, "alice", "id0")
		c = w.restart(t, c)
		defer c.Close()
		c.opts.MaxIDs = 100
		for i := range 50 {
			initAs(t, c, "bob", fmt.Sprint("bob", i))
		}
		for i := range 100 {
			if gone := c.userOf(fmt.Sprint("id", i)) != ""; gone != (i >= 1 && i <= 50) {
				t.Errorf("id%d is gone: %v", i, gone)
			}
		}
		wantCounted(t, c)
	})
}

// TestAnIDThatCannotBeForgottenStays, and the one that comes is refused.
func TestAnIDThatCannotBeForgottenStays(t *testing.T) {
	w := newWorld()
	c := w.coordinator()
	defer c.Close()
	c.opts.MaxIDs = 4
	producer, epoch := initAs(t, c, "alice", "there")
	initAs(t, c, "alice", "another")
	initAs(t, c, "carol", "third")
	initAs(t, c, "dave", "fourth")
	w.fail = func(what string) error {
		if what == "keep" {
			return fmt.Errorf("the disk is full")
		}
		return nil
	}
	if _, _, code := c.Init("bob", "new", time.Minute, -1, -1); code != wire.PolicyViolation {
		t.Error(code)
	}
	w.fail = func(string) error { return nil }
	if code := c.Add("there", producer, epoch, []Place{at(1)}); code != wire.None || c.Count() != 4 {
		t.Errorf("%v, %d ids", code, c.Count())
	}
	wantCounted(t, c)
}
