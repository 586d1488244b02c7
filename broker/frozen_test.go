package broker

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
)

// freezeFiles has everything wait that is done to files of which the name says so.
func (r *frozenRig) freezeFiles(with string) {
	r.disk.Freeze(func(_ fs.Op, name string) bool { return strings.Contains(name, with) })
}

// freezeBatches has only what is read of the logs' batches wait: under it the segments are
// opened first, and nobody waits for a mutex, for which a bubble's clock stands still.
func (r *frozenRig) freezeBatches() {
	r.disk.Freeze(func(op fs.Op, name string) bool { return op == fs.OpRead && strings.HasSuffix(name, ".log") })
}

// puller is a consumer that pulls in the test's own goroutine: where it would wait for
// the frozen disk, the bubble deadlocks.
type puller struct {
	*Subscription
	t     *testing.T
	woken chan struct{}
}

func (r *frozenRig) puller(queue string, o SubscribeOptions) *puller {
	r.t.Helper()
	p := &puller{t: r.t, woken: make(chan struct{}, 1)}
	o.Wake = func() {
		select {
		case p.woken <- struct{}{}:
		default:
		}
	}
	var err error
	if p.Subscription, err = r.s.Subscribe(queue, o); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// now is what comes without waiting.
func (p *puller) now() (got []Delivery) {
	p.t.Helper()
	_, err := p.Pull(10, 1<<20, func(d *Delivery) {
		got = append(got, *d)
		got[len(got)-1].Body = append([]byte(nil), d.Body...)
	})
	if err != nil {
		p.t.Fatal(err)
	}
	p.Release()
	return got
}

// soon pulls whenever the consumer is woken, until n have come.
func (p *puller) soon(n int) (got []Delivery) {
	p.t.Helper()
	for got = p.now(); len(got) < n; got = append(got, p.now()...) {
		<-p.woken
	}
	return got
}

// TestAPullWaitsForNoDisk freezes what a pull of a message that is not in memory needs: it
// returns, and the consumer is woken when the disk answers.
func TestAPullWaitsForNoDisk(t *testing.T) {
	for name, freeze := range map[string]func(r *frozenRig){
		"its batches":         (*frozenRig).freezeReads,
		"its cursor":          func(r *frozenRig) { r.freezeFiles("/cursor") },
		"the list of changes": func(r *frozenRig) { r.freezeFiles("/checkpoint/") },
		"all files":           func(r *frozenRig) { r.disk.Freeze(nil) },
	} {
		for _, noAck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, noAck=%v", name, noAck), func(t *testing.T) {
				fakeclock.Test(t, func(t *testing.T) {
					r := coldRig(t)
					defer r.close()
					r.warm()
					k, other := r.puller("q", SubscribeOptions{NoAck: noAck}), r.puller("empty", SubscribeOptions{})
					defer k.Close()
					defer other.Close()
					freeze(r)
					early := k.now()
					for range 3 {
						early = append(early, k.now()...)
						synctest.Wait()
					}
					if len(early) > 0 && !noAck {
						t.Errorf("%q came, of which nothing could be noted", early[0].Body)
					}
					q := k.Queue()
					if n := q.Stats().Ready + q.Unacked(); n+int64(len(early)) != 1 {
						t.Errorf("%d messages are left", n)
					}
					if got := other.now(); len(got) != 0 {
						t.Error("an empty queue has a message")
					}
					r.disk.Thaw()
					got := append(early, k.soon(1-len(early))...)
					if len(got) != 1 || string(got[0].Body) != "cold" || got[0].Redelivered {
						t.Errorf("got %v", got)
					}
				})
			})
		}
	}
}

// TestAnAckWaitsForNoDisk settles beside a disk that hangs, and what it noted is known after
// the thaw.
func TestAnAckWaitsForNoDisk(t *testing.T) {
	for name, freeze := range map[string]func(r *frozenRig){
		"the log":   (*frozenRig).freezeReads,
		"all files": func(r *frozenRig) { r.disk.Freeze(nil) },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := startFrozen(t, fs.NewMem(1))
				defer r.close()
				if _, err := r.s.DeclareQueue("q", durable); err != nil {
					t.Fatal(err)
				}
				publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2", "q=3", "q=4")
				k := r.puller("q", SubscribeOptions{})
				defer k.Close()
				held := k.soon(5)
				time.Sleep(time.Minute) // the cursor's page rests, and checkpoints were written
				freeze(r)
				l := held[0].Lease
				if err := l.Ack(0, 1); err != nil {
					t.Fatal(err)
				}
				if err := l.Requeue(3, 3); err != nil {
					t.Fatal(err)
				}
				if err := l.Reject(2, 2); err != nil {
					t.Fatal(err)
				}
				k.now()
				if err := l.Ack(4, 4); err != nil {
					t.Fatal(err)
				}
				r.disk.Thaw()
				synctest.Wait()
				p := l.Partition()
				if st, err := p.log.LoadCursor(t.Context()); err != nil || st.Floor != 3 {
					t.Errorf("noted up to %d, want 3: %v", st.Floor, err)
				}
			})
		})
	}
}

// TestAnAckIsNotedWithoutDelayHoweverOftenTheCursorHasRested and not a second later, by the saver.
func TestAnAckIsNotedWithoutDelayHoweverOftenTheCursorHasRested(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		if _, err := r.s.DeclareQueue("q", durable); err != nil {
			t.Fatal(err)
		}
		publish(t, r.s.NewPublisher(), "", "q=0", "q=1", "q=2")
		k := r.puller("q", SubscribeOptions{})
		defer k.Close()
		for _, d := range k.soon(3) {
			time.Sleep(time.Minute)
			if err := d.Lease.Ack(d.Offset, d.Offset); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if st, err := d.Lease.Partition().log.LoadCursor(t.Context()); err != nil || st.Floor != d.Offset+1 {
				t.Errorf("noted up to %d, want %d: %v", st.Floor, d.Offset+1, err)
			}
			if d.Lease.Partition().active().notes.sent.Load() {
				t.Error("it is on its way for ever")
			}
		}
	})
}

// TestAnAckBeforeAStopIsNoted though the goroutine that notes it has not come to it.
func TestAnAckBeforeAStopIsNoted(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		if _, err := r.s.DeclareQueue("q", durable); err != nil {
			t.Fatal(err)
		}
		publish(t, r.s.NewPublisher(), "", "q=0", "q=1")
		k := r.puller("q", SubscribeOptions{})
		held := k.soon(2)
		time.Sleep(time.Minute) // the cursor's page rests
		busy := make(chan struct{})
		p := held[0].Lease.Partition()
		p.active().errands.send(nil, func(*errand) error {
			<-busy
			return nil
		})
		if err := held[0].Lease.Ack(0, 1); err != nil {
			t.Fatal(err)
		}
		k.Close()
		if err := r.b.Close(); err != nil {
			t.Error(err)
		}
		if st, err := p.log.LoadCursor(t.Context()); err != nil || st.Floor != 2 {
			t.Errorf("noted up to %d, want 2: %v", st.Floor, err)
		}
		close(busy)
		r.close()
	})
}

// TestLeavingWaitsForNoDisk comes and goes while a read hangs: nothing piles up, and the
// message is the next one's.
func TestLeavingWaitsForNoDisk(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldRig(t)
		defer r.close()
		p := r.puller("q", SubscribeOptions{})
		r.freezeReads()
		part := p.partitions[0].part
		for range 100 {
			p.now()
			synctest.Wait()
			p.now()
			p.Close()
			p = r.puller("q", SubscribeOptions{})
			part.active().errands.mu.Lock()
			waiting := len(part.active().errands.list)
			part.active().errands.mu.Unlock()
			if waiting > 1 {
				t.Fatalf("%d reads wait for the disk", waiting)
			}
		}
		r.disk.Thaw()
		if got := p.soon(1); string(got[0].Body) != "cold" || got[0].Redelivered {
			t.Errorf("got %q, redelivered: %v", got[0].Body, got[0].Redelivered)
		}
		p.Close()
	})
}

// TestWhoAsksAboutADiskThatHangsIsTold: what has to be counted or opened is waited for as
// long as a message is, and nothing is done behind the back of who was refused.
func TestWhoAsksAboutADiskThatHangsIsTold(t *testing.T) {
	for name, ask := range map[string]func(s *Session) error{
		"a count": func(s *Session) error {
			q, err := s.LookAt("q")
			if err == nil {
				_, err = s.Count(q)
			}
			return err
		},
		"a purge":             func(s *Session) error { _, err := s.Purge("q"); return err },
		"a deletion if empty": func(s *Session) error { _, err := s.DeleteQueue("q", false, true); return err },
		"a consumer":          func(s *Session) error { _, err := s.Subscribe("q", SubscribeOptions{}); return err },
		"a message":           func(s *Session) error { _, err := s.Get("q", true); return err },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				r := coldRig(t)
				defer r.close()
				q, _ := r.s.vhost.Queue("q")
				synctest.Wait()           // what a start does behind the scenes is done
				q.restored = false        // or somebody would look for expired messages, and hold a mutex over that
				if name != "a consumer" { // which is the one to make the cursor
					if _, err := q.Partitions()[0].work(); err != nil {
						t.Fatal(err)
					}
				}
				if r.freezeBatches(); name == "a consumer" {
					r.freezeReads()
				}
				began := time.Now()
				err := ask(r.s)
				if took := time.Since(began); KindOf(err) != Timeout || took != 15*time.Second {
					t.Errorf("%v after %v", err, took)
				}
				if !strings.Contains(err.Error(), "queue 'q' in vhost '/' can't be read: the disk does not answer") {
					t.Error(err)
				}
				began = time.Now()
				if err := ask(r.s); KindOf(err) != Timeout || time.Since(began) != 0 {
					t.Errorf("another waits, too: %v after %v", err, time.Since(began))
				}
				r.disk.Thaw()
				synctest.Wait()
				if n, err := r.s.Count(q); n != 1 || err != nil {
					t.Errorf("%d messages after the thaw, %v", n, err)
				}
			})
		})
	}
}

// TestADeletionDoesNotNeedTheCountOfADiskThatHangs, only its condition does.
func TestADeletionDoesNotNeedTheCountOfADiskThatHangs(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := coldRig(t)
		defer r.close()
		q, _ := r.s.vhost.Queue("q")
		synctest.Wait()
		q.restored = false // nobody looks for expired messages
		if _, err := q.Partitions()[0].work(); err != nil {
			t.Fatal(err)
		}
		r.freezeBatches()
		if _, err := r.s.DeleteQueue("q", false, false); err != nil || !q.Deleted() {
			t.Error(err)
		}
	})
}

// TestTheEndOfAnAutoDeleteQueueHoldsNobodyUp: the definitions can't be written; who leaves
// last waits as long as clients do, and the queue goes when they can.
func TestTheEndOfAnAutoDeleteQueueHoldsNobodyUp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r := startFrozen(t, fs.NewMem(1))
		defer r.close()
		q, err := r.s.DeclareQueue("q", QueueOptions{Durable: true, AutoDelete: true})
		if err != nil {
			t.Fatal(err)
		}
		r.b.opts.ReadTimeout = 100 * time.Millisecond // before a checkpoint comes, which holds a mutex
		k := r.puller("q", SubscribeOptions{})
		r.freezeDefs()
		began := time.Now()
		k.Leave()
		if time.Since(began) != 0 || q.Consumers() != 0 {
			t.Error("leaving waited for the definitions")
		}
		time.AfterFunc(10*time.Millisecond, func() {
			r.s.GiveUp() // the end of a connection, or of the broker, does not keep the queue
			_ = r.b.Close()
		})
		if k.DeleteUnused(); time.Since(began) != r.b.opts.ReadTimeout {
			t.Errorf("it took %v", time.Since(began))
		}
		r.disk.Thaw()
		synctest.Wait()
		if _, err := r.s.LookAt("q"); KindOf(err) != NotFound {
			t.Errorf("the queue is there: %v", err)
		}
	})
}
