package stomp

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// flushes are the operations that make something durable.
func flushes(op fs.Op, _ string) bool {
	return op == fs.OpSync || op == fs.OpSyncAll || op == fs.OpSyncDir
}

// silent fails if the server says anything in a tenth of a second of the bubble's clock, which stands still while
// anybody has work to do.
func (p *peer) silent(when string) {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	buf := make([]byte, 64<<10)
	n, err := p.nc.Read(buf)
	var timeout net.Error
	if len(p.in) > 1 || !errors.As(err, &timeout) || !timeout.Timeout() {
		p.t.Fatalf("%s: the server sent %s%s (%v)", when, p.in, buf[:n], err)
	}
	p.nc.SetReadDeadline(time.Time{})
}

// What a COMMIT acks does not come again after a kill of which the client has its receipt.
func TestAReceiptOfACommitWaitsUntilItsAcksAreKept(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		disk := fs.NewFreezer()
		r := newRig(t, rigOptions{fs: fs.Failing(fs.NewMem(1), disk.Hook), mode: store.ModeOS})
		defer r.stop()
		defer disk.Thaw()
		p := r.through()
		defer p.nc.Close()
		p.fill("/queue/q", 3)
		p.call("SUBSCRIBE\nid:1\ndestination:/queue/q\nack:client-individual")
		list := p.messages(3)
		p.call("BEGIN\ntransaction:t")
		p.call("ACK\ntransaction:t\nid:" + list[1].get("ack"))
		disk.Freeze(func(op fs.Op, name string) bool { return op == fs.OpWrite && strings.HasSuffix(name, "/cursor") })
		p.send("COMMIT\ntransaction:t\nreceipt:r\n\n")
		disk.AwaitWaiting(1)
		p.silent("before the acks are kept")
		disk.Thaw()
		p.expect("RECEIPT receipt-id:r")
	})
}

// What a receipt promises is on the disk before, in the mode that promises it; one that promises nothing of the disk
// waits for those before it, and no longer.
func TestAReceiptWaitsForItsFlush(t *testing.T) {
	const send = "SEND\ndestination:/queue/q\n"
	for name, c := range map[string]struct {
		mode   store.Mode
		frames []string
		early  []string
		late   []string
	}{
		"persistent":               {store.ModeGroup, []string{send + "persistent:true\nreceipt:1\n\nx"}, nil, []string{"1"}},
		"not persistent":           {store.ModeGroup, []string{send + "receipt:1\n\nx"}, []string{"1"}, nil},
		"persistent in mode os":    {store.ModeOS, []string{send + "persistent:true\nreceipt:1\n\nx"}, []string{"1"}, nil},
		"others behind it":         {store.ModeGroup, []string{send + "persistent:true\nreceipt:1\n\nx", "BEGIN\ntransaction:t\nreceipt:2\n\n", "DISCONNECT\nreceipt:3\n\n"}, nil, []string{"1", "2", "3"}},
		"one without before it":    {store.ModeGroup, []string{"BEGIN\ntransaction:t\nreceipt:0\n\n", send + "persistent:true\nreceipt:1\n\nx"}, []string{"0"}, []string{"1"}},
		"the COMMIT of persistent": {store.ModeGroup, []string{"BEGIN\ntransaction:t\n\n", send + "persistent:true\ntransaction:t\nreceipt:1\n\nx", "COMMIT\ntransaction:t\nreceipt:2\n\n"}, []string{"1"}, []string{"2"}},
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				disk := fs.NewFreezer()
				r := newRig(t, rigOptions{fs: fs.Failing(fs.NewMem(1), disk.Hook), mode: c.mode})
				defer r.stop()
				defer disk.Thaw()
				p := r.through()
				defer p.nc.Close()
				p.send("SEND\ndestination:/queue/q\npersistent:true\nreceipt:first\n\nx") // which makes the log's files
				p.expect("RECEIPT receipt-id:first")
				disk.Freeze(flushes)
				p.send(c.frames...)
				for _, id := range c.early {
					p.expect("RECEIPT receipt-id:" + id)
				}
				p.silent("before the flush")
				disk.Thaw()
				for _, id := range c.late {
					p.expect("RECEIPT receipt-id:" + id)
				}
			})
		})
	}
}
