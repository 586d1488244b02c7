package broker

import (
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/internal/fs"
)

// readOnlyDefinitions runs a test on a disk that takes no definitions while full is set.
func readOnlyDefinitions(t *testing.T, test func(t *testing.T, r *rig, full *atomic.Bool)) {
	full := new(atomic.Bool)
	files := fs.Failing(fs.NewMem(1), func(op fs.Op, name string) error {
		if full.Load() && strings.Contains(name, "/defs/") && (op == fs.OpWrite || op == fs.OpAllocate || op == fs.OpOpen) {
			return syscall.ENOSPC
		}
		return nil
	})
	bubbleOn(t, files, func(t *testing.T, r *rig) { test(t, r, full) })
}

// autoDelete makes an exchange that goes with the last binding from it.
func (r *rig) autoDelete(name string) {
	r.t.Helper()
	if _, err := r.s.DeclareExchange(name, ExchangeOptions{Type: "fanout", Durable: true, AutoDelete: true}); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) hasExchange(name string) bool {
	_, err := r.v.Exchange(name)
	return err == nil
}

func TestExclusiveQueuesGoWithTheirSessionThoughNothingCanBeWritten(t *testing.T) {
	readOnlyDefinitions(t, func(t *testing.T, r *rig, full *atomic.Bool) {
		r.autoDelete("auto")
		r.autoDelete("used again")
		first := r.s
		r.queue("mine", QueueOptions{Exclusive: true})
		r.queue("other", QueueOptions{Exclusive: true})
		r.bind("auto", "mine", "")
		r.bind("used again", "mine", "")
		full.Store(true)
		first.Close()

		r.s = r.v.NewSession(auth.Identity{Name: "guest"})
		for _, name := range []string{"mine", "other"} {
			if _, err := r.s.DeclareQueue(name, QueueOptions{Exclusive: true}); err != nil {
				t.Errorf("another session declares %q: %v", name, err)
			}
		}
		if !r.hasExchange("auto") {
			t.Error("the exchange went, and nobody wrote that down")
		}
		r.bind("used again", "other", "")
		full.Store(false)
		time.Sleep(5 * time.Second)
		if r.hasExchange("auto") || !r.hasExchange("used again") {
			t.Errorf("when it can be written, the exchange without bindings is there: %v, the other: %v", r.hasExchange("auto"), r.hasExchange("used again"))
		}
		if what, _ := r.overdue.next(); what != nil {
			t.Errorf("%v is still tried", what)
		}
		r.restart()
		if r.hasExchange("auto") || !r.hasExchange("used again") {
			t.Error("a restart finds other exchanges")
		}
	})
}

func TestAnAutoDeleteQueueGoesWhenThatCanBeWritten(t *testing.T) {
	readOnlyDefinitions(t, func(t *testing.T, r *rig, full *atomic.Bool) {
		for _, name := range []string{"unused", "used again"} {
			r.queue(name, QueueOptions{Durable: true, AutoDelete: true})
			sub, err := r.s.Subscribe(name, SubscribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			full.Store(true)
			sub.Close()
			full.Store(false)
			if _, err := r.v.Queue(name); err != nil {
				t.Errorf("it went, and nobody wrote that down: %v", err)
			}
		}
		if _, err := r.s.Subscribe("used again", SubscribeOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if _, err := r.v.Queue("unused"); KindOf(err) != NotFound {
			t.Errorf("when it can be written: %v", err)
		}
		if _, err := r.v.Queue("used again"); err != nil {
			t.Errorf("one with a consumer: %v", err)
		}
		if what, _ := r.overdue.next(); what != nil {
			t.Errorf("%v is still tried", what)
		}
	})
}
