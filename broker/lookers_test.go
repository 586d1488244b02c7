package broker

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// TestAFrozenHeadHoldsUpNoOtherQueuesExpiry: those of which the disk does not give the head are
// looked at when it does, and all others meanwhile, with dead letters and without.
func TestAFrozenHeadHoldsUpNoOtherQueuesExpiry(t *testing.T) {
	for name, more := range map[string][]any{"plain": nil, "with dead letters": {"x-dead-letter-exchange", "amq.fanout"}} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				args := QueueOptions{Durable: true, Args: arguments(append([]any{"x-message-ttl", 1000}, more...)...)}
				r := startFrozen(t, fs.NewMem(1))
				const cold = maxLookers + 3
				for i := range cold {
					name := fmt.Sprint("cold", i)
					if _, err := r.s.DeclareQueue(name, args); err != nil {
						t.Fatal(err)
					}
					r.send(name)
				}
				r.close()
				r.mem.Evict(true)
				r = startFrozen(t, r.mem)
				defer r.close()
				warm, err := r.s.DeclareQueue("warm", args)
				if err != nil {
					t.Fatal(err)
				}
				r.disk.Freeze(func(op fs.Op, name string) bool { return op == fs.OpRead })
				time.Sleep(5 * time.Second)
				for range 3 {
					r.send("warm")
					time.Sleep(5 * time.Second)
					if n := warm.Ready(); n != 0 {
						t.Fatalf("%d messages outlive their time while the disk hangs", n)
					}
				}
				if n := r.b.Counters().Left[Expired].Load(); n != 3 {
					t.Errorf("%d have expired", n)
				}
				r.b.lookers.mu.Lock()
				working := r.b.lookers.crew.working
				r.b.lookers.mu.Unlock()
				if working != cold {
					t.Errorf("%d look, of %d that are stuck", working, cold)
				}
				r.disk.Thaw()
				time.Sleep(5 * time.Second)
				if n := r.b.Counters().Left[Expired].Load(); n != 3+cold {
					t.Errorf("%d have expired when the disk is well again", n)
				}
			})
		})
	}
}

// TestFrozenHeadsHoldUpNoOtherHead that has to be read, too, and only so many are read at a time.
func TestFrozenHeadsHoldUpNoOtherHead(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		const frozen = maxLookers + maxStuckLookers - 1
		r := startFrozen(t, fs.NewMem(1))
		dirs := map[string]bool{}
		for i := range frozen + 40 {
			q, err := r.s.DeclareQueue(fmt.Sprint("q", i), QueueOptions{Durable: true, Args: arguments("x-message-ttl", 1000)})
			if err != nil {
				t.Fatal(err)
			}
			r.send(q.Name)
			if i < frozen {
				id, err := strconv.Atoi(string(q.Partitions()[0].log.ID()))
				if err != nil {
					t.Fatal(err)
				}
				dirs[fmt.Sprintf("%016x", id)] = true
			}
		}
		r.close()
		r.mem.Evict(true)
		r = startFrozen(t, r.mem)
		defer r.close()
		r.disk.Freeze(func(op fs.Op, name string) bool {
			return op == fs.OpRead && strings.HasSuffix(name, ".log") && dirs[filepath.Base(filepath.Dir(name))]
		})
		time.Sleep(time.Minute)
		if n := r.b.Counters().Left[Expired].Load(); n != 40 {
			t.Errorf("%d of 40 have expired where the disk answers", n)
		}
		if n := r.disk.Waiting(); n != frozen {
			t.Errorf("%d reads wait", n)
		}
	})
}

// TestLookersAreSoMany: a few, and one more for each that is stuck, up to a number.
func TestLookersAreSoMany(t *testing.T) {
	now := time.Unix(1000, 0)
	l := lookers{b: &Broker{opts: Options{Now: func() time.Time { return now }}}, under: map[*Partition]time.Time{}}
	for i := range 2 * maxStuckLookers {
		l.under[new(Partition)] = now.Add(-lookPatience)
		l.under[new(Partition)] = now.Add(time.Millisecond - lookPatience)
		if n, want := l.most(), maxLookers+min(i+1, maxStuckLookers); n != want {
			t.Fatalf("with %d that are stuck there may be %d", i+1, n)
		}
	}
	l.crew.list, l.crew.working = []*Partition{{}}, maxLookers+maxStuckLookers+1
	if l.next() != nil || l.crew.working != maxLookers+maxStuckLookers {
		t.Error("one too many goes on")
	}
}

// send publishes a message that comes now, and does not wait for its confirm.
func (r *frozenRig) send(queue string) {
	r.t.Helper()
	p := r.s.NewPublisher()
	in := &Inbound{Key: []byte(queue), Body: []byte("m"), TimestampMs: time.Now().UnixMilli()}
	if routed, err := p.Publish(in); err != nil || !routed {
		r.t.Fatal(routed, err)
	}
	p.Store()
	_ = p.Commit(nil)
}

// TestAHeadThatWasReadIsLookedAtInTime again, where dead letters are waited for.
func TestAHeadThatWasReadIsLookedAtInTime(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		args := QueueOptions{Durable: true, Args: arguments("x-message-ttl", 10_300, "x-dead-letter-exchange", "amq.fanout")}
		if _, err := r.s.DeclareQueue("q", args); err != nil {
			t.Fatal(err)
		}
		r.send("q")
		r.close()
		r.mem.Evict(true)
		r = startFrozen(t, r.mem)
		defer r.close()
		time.Sleep(10_290 * time.Millisecond)
		if n := r.b.Counters().Left[Expired].Load(); n != 0 {
			t.Errorf("%d have expired before their time", n)
		}
		time.Sleep(50 * time.Millisecond)
		if n := r.b.Counters().Left[Expired].Load(); n != 1 {
			t.Errorf("%d have expired in time", n)
		}
	})
}

// TestCloseWaitsForALookUnderWay: what was begun is done before the store may be closed.
func TestCloseWaitsForALookUnderWay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		if _, err := r.s.DeclareQueue("cold", QueueOptions{Durable: true, Args: arguments("x-message-ttl", 1000)}); err != nil {
			t.Fatal(err)
		}
		r.send("cold")
		r.close()
		r.mem.Evict(true)
		r = startFrozen(t, r.mem)
		r.freezeBatches()
		time.Sleep(5 * time.Second)
		began := time.Now()
		time.AfterFunc(3*time.Second, r.disk.Thaw)
		if err := r.b.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("it took %v, and the look is not over", took)
		}
		r.close()
	})
}
