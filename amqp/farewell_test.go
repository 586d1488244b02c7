package amqp

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/auth"
	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/fs"
	"github.com/leveret-mq/leveret/store"
)

// Confirms that wait for the disk go out before connection.close; what comes behind it is not stored.
func TestConfirmsUnderWayGoBeforeTheConnectionIsClosed(t *testing.T) {
	frozenRig(t, store.ModeGroup, func(r *rig, p *peer, disk *fs.Freezer) {
		p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
		disk.Freeze(flushes)
		p.publish(1, persistent("q", "under way"))
		synctest.Wait()
		unconfirmed := func() int { return r.broker.Connections()[0].Channels[0].Unconfirmed }
		if n := unconfirmed(); n != 1 {
			t.Errorf("%d unconfirmed", n)
		}
		go r.server.CloseAll("the test ends")
		time.Sleep(confirmPatience / 2)
		late := persistent("q", "too late")
		late.Channel = 1
		go func() { _, _ = p.nc.Write(wire.AppendPublish(nil, &late, p.max)) }() // a pipe holds nothing
		disk.Thaw()
		if ack := p.expect(1, wire.IDBasicAck).method.(*wire.BasicAck); ack.DeliveryTag != 1 {
			t.Errorf("%+v", ack)
		}
		if n := unconfirmed(); n != 0 {
			t.Errorf("%d unconfirmed behind the confirm", n)
		}
		p.refused(wire.ConnectionForced)
		p.nc.Close()
		synctest.Wait()
		v, _ := r.broker.VHost("/")
		if q, err := v.Queue("q"); err != nil || q.Ready() != 2 {
			t.Errorf("%v: %d messages are stored, want the first and the one under way", err, q.Ready())
		}
	})
}

// Behind connection.close nothing is told that its client does not wait for.
func TestNothingComesBehindTheFarewell(t *testing.T) {
	for what, happens := range map[string]func(*testing.T, *broker.Session){
		"a message": func(t *testing.T, s *broker.Session) {
			out := s.NewPublisher()
			if routed, err := out.Publish(&broker.Inbound{Key: []byte("q"), Body: []byte("too late")}); err != nil || !routed {
				t.Error(routed, err)
			}
			out.Store()
			if err := out.Commit(nil); err != nil {
				t.Error(err)
			}
		},
		"the end of a consumer": func(t *testing.T, s *broker.Session) {
			if _, err := s.DeleteQueue("q", false, false); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			frozenRig(t, store.ModeOS, func(r *rig, p *peer, _ *fs.Freezer) {
				p.call(1, &wire.QueuePurge{Queue: "q"}, wire.IDQueuePurgeOk)
				p.call(1, &wire.BasicConsume{Queue: "q"}, wire.IDBasicConsumeOk)
				v, err := r.broker.VHost("/")
				if err != nil {
					t.Fatal(err)
				}
				s := v.NewSession(auth.Identity{Name: "guest"})
				defer s.Close()
				go r.server.CloseAll("the test ends")
				p.expect(0, wire.IDConnectionClose)
				happens(t, s)
				p.silent("behind connection.close")
			})
		})
	}
}

// Where confirms do not come, or the read loop itself hangs on a disk, the client is told in time.
func TestADiskThatHangsHoldsUpNoFarewell(t *testing.T) {
	t.Run("flush", func(t *testing.T) {
		frozenRig(t, store.ModeGroup, func(r *rig, p *peer, disk *fs.Freezer) {
			p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
			p.call(1, &wire.ConfirmSelect{}, wire.IDConfirmSelectOk)
			disk.Freeze(flushes)
			p.publish(1, persistent("q", "under way"))
			synctest.Wait()
			toldIn(t, r, p)
			disk.Thaw()
		})
	})
	t.Run("append", func(t *testing.T) {
		fakeclock.Test(t, func(t *testing.T) {
			var stall atomic.Bool
			disk := fs.Failing(fs.NewMem(1), func(op fs.Op, _ string) error {
				if op == fs.OpAllocate && stall.Swap(false) {
					time.Sleep(time.Minute)
				}
				return nil
			})
			r := newRig(t, rigOptions{fs: disk})
			p := r.handshakeOver(r.pipe(), &wire.ConnectionTuneOk{ChannelMax: 1, FrameMax: 131072})
			p.call(1, &wire.ChannelOpen{}, wire.IDChannelOpenOk)
			p.call(1, &wire.QueueDeclare{Queue: "q", Durable: true}, wire.IDQueueDeclareOk)
			stall.Store(true)
			p.publish(1, text("q", "slow"))
			synctest.Wait()
			toldIn(t, r, p)
		})
	})
}

// toldIn closes all connections and expects that the client is told after the patience for confirms.
func toldIn(t *testing.T, r *rig, p *peer) {
	t.Helper()
	begun := time.Now()
	go r.server.CloseAll("the test ends")
	p.expect(0, wire.IDConnectionClose)
	if took := time.Since(begun); took < confirmPatience || took > confirmPatience+100*time.Millisecond {
		t.Errorf("the client was told after %v", took)
	}
	p.nc.Close()
}
