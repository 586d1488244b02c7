package kafka

import (
	"net"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/budget"
	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// A client that does not read is waited for so long, and then let go, by whatever
// writes to it.
func TestAClientThatDoesNotReadIsLetGo(t *testing.T) {
	large := make([]byte, 3<<20)
	for _, c := range []struct {
		name  string
		write func(o *outbox) error
	}{
		{"gathered answers", func(o *outbox) error { return o.add(make([]byte, sendBytes)) }},
		{"the rest of them", func(o *outbox) error {
			_ = o.add([]byte("answer"))
			return o.send()
		}},
		{"a large answer", func(o *outbox) error { return o.vector([][]byte{large[:100], large}) }},
		{"an answer that waited for its flush", func(o *outbox) error {
			a := o.answer()
			done := a.Wait()
			a.Value.frame = append(a.Value.frame, "answer"...)
			if err := o.produce(a); err != nil {
				return err
			}
			done(nil)
			return o.drain()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				here, there := net.Pipe()
				defer there.Close()
				o := newOutbox(here, budget.New(budget.Options{}).Open(), nil)
				began := time.Now()
				err := c.write(o)
				if waited := time.Since(began); err == nil || waited < writeTimeout/2 || waited > writeTimeout+time.Second {
					t.Errorf("after %v: %v", waited, err)
				}
				here.Close()
				o.close()
			})
		})
	}
}

func TestAnswersThatNobodyGetsCountNoLonger(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	account := budget.New(budget.Options{}).Open()
	o := newOutbox(here, account, nil)
	a := o.answer()
	a.Wait() // for a flush that never ends
	if err := account.Try(1 << 20); err != nil {
		t.Fatal(err)
	}
	a.Value.taken = 1 << 20
	if err := o.produce(a); err != nil {
		t.Fatal(err)
	}
	here.Close()
	o.close()
	if account.Held() != 0 {
		t.Errorf("%d bytes are held by a connection that has ended", account.Held())
	}
}
