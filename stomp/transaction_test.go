package stomp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/internal/budget"
)

func TestWhatIsSentInATransactionIsThereWhenItIsCommitted(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	for _, name := range []string{"t1", "t2"} {
		p.call("BEGIN\ntransaction:" + name)
		p.send("SEND\ndestination:/queue/a\ntransaction:"+name+"\nreceipt:r\n\n"+name, "SEND\ndestination:/queue/a\ntransaction:"+name+"\n\n"+name)
		p.expect("RECEIPT receipt-id:r")
	}
	if n := r.ready("a"); n != 0 {
		t.Errorf("%d are there before the COMMIT", n)
	}
	p.call("ABORT\ntransaction:t1")
	p.call("COMMIT\ntransaction:t2")
	if n := r.ready("a"); n != 2 {
		t.Errorf("%d are there, want 2", n)
	}
	got, _ := r.take("a")
	if string(got.Body) != "t2" {
		t.Errorf("%s was committed", got.Body)
	}
	p.send("COMMIT\ntransaction:t2\n\n")
	p.ended("Bad transaction", "'t2'")
}

func TestAcksInATransactionHoldWhenItIsCommitted(t *testing.T) {
	for end, want := range map[string]int64{"COMMIT": 1, "ABORT": 3, "": 3} {
		r := newRig(t, rigOptions{})
		p := r.connect("1.2")
		p.fill("/queue/a", 3)
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client")
		list := p.messages(3)
		p.call("BEGIN\ntransaction:t")
		p.call("ACK\ntransaction:t\nid:" + list[0].get("ack"))
		p.call("ACK\ntransaction:t\nid:" + list[1].get("ack"))
		if end != "" {
			p.call(end + "\ntransaction:t")
		}
		p.call("DISCONNECT")
		if n := r.ready("a"); n != want {
			t.Errorf("%s: %d are left, want %d", end, n, want)
		}
	}
}

// A transaction whose acks are another's by now does nothing at all.
func TestATransactionThatAcksWhatIsAckedStoresNothing(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.fill("/queue/a", 1)
	p.call("SUBSCRIBE\nid:1\ndestination:/queue/a\nack:client")
	m := p.messages(1)[0]
	p.call("BEGIN\ntransaction:t")
	p.send("SEND\ndestination:/queue/b\ntransaction:t\n\nx")
	p.call("ACK\ntransaction:t\nid:" + m.get("ack"))
	p.call("ACK\nid:" + m.get("ack"))
	p.send("COMMIT\ntransaction:t\n\n")
	p.ended("Message not found", "unknown delivery tag 1")
	if n := r.ready("b"); n != 0 {
		t.Errorf("%d are stored", n)
	}
}

func TestTransactionsAreBounded(t *testing.T) {
	small := budget.New(budget.Options{Bytes: 16 << 20, Share: 1 << 20})
	r := newRig(t, rigOptions{server: func(o *Options) { o.Budget = small }})
	p := r.connect("1.2")
	for i := range maxTransactions {
		p.call(fmt.Sprintf("BEGIN\ntransaction:%d", i))
	}
	p.send("BEGIN\ntransaction:x\n\n")
	p.ended("Transaction limit exceeded", "limit 16")
	p = r.connect("1.2")
	p.call("BEGIN\ntransaction:0")
	p.send("BEGIN\ntransaction:0\n\n")
	p.ended("Bad transaction", "open already")
	p = r.connect("1.2")
	p.call("BEGIN\ntransaction:0")
	for range 20 {
		p.send("SEND\ntransaction:0\ndestination:/queue/a\n\n" + strings.Repeat("x", 50_000))
	}
	p.ended("Transaction too large", "commit it in parts")
	if used := small.Stats().Used; used != 0 {
		t.Errorf("%d bytes are still counted", used)
	}
}

// A queue that is full refuses: the receipt becomes an ERROR, with those before it given.
func TestAFullQueueRefusesWithAnError(t *testing.T) {
	r := newRig(t, rigOptions{})
	p := r.connect("1.2")
	p.send("SEND\ndestination:/queue/a\nx-max-length:2\nx-overflow:reject-publish\nreceipt:0\n\nx")
	p.expect("RECEIPT receipt-id:0")
	p.send("SEND\ndestination:/queue/a\nreceipt:1\nx-max-length:2\nx-overflow:reject-publish\n\nx", "SEND\ndestination:/queue/a\nreceipt:2\nx-max-length:2\nx-overflow:reject-publish\n\nx")
	p.expect("RECEIPT receipt-id:1")
	if g := p.ended("Message refused", "maximum length"); g.get("receipt-id") != "2" {
		t.Error(g)
	}
	p = r.connect("1.2")
	p.call("BEGIN\ntransaction:t")
	p.send("SEND\ndestination:/amq/queue/a\ntransaction:t\n\nx", "COMMIT\ntransaction:t\nreceipt:c\n\n")
	if g := p.ended("precondition_failed", "refused"); g.get("receipt-id") != "c" {
		t.Error(g)
	}
	if n := r.ready("a"); n != 2 {
		t.Errorf("%d are there", n)
	}
}
