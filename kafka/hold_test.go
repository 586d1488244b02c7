package kafka

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/internal/fakeclock"
	"github.com/leveret-mq/leveret/internal/netx"
	"github.com/leveret-mq/leveret/kafka/wire"
	"github.com/leveret-mq/leveret/store"
)

// shortRig is a server of which the test says whether memory is short; it is. It may be one for a fake clock.
func shortRig(t *testing.T, piped bool) (*rig, *atomic.Bool) {
	t.Helper()
	short := new(atomic.Bool)
	r := newRigWith(t, store.ModeGroup, func(r *rig) {
		if piped {
			r.pipes = make(chan net.Conn)
		}
		r.memory = func() error {
			if short.Load() {
				return errors.New("low on memory")
			}
			return nil
		}
	})
	r.topic("t", 1, nil)
	short.Store(true)
	for r.broker.Alarm() == "" {
		time.Sleep(time.Millisecond)
	}
	return r, short
}

// silentFor says whether the server answers nothing for a while.
func (c *raw) silentFor(d time.Duration) bool {
	c.t.Helper()
	_ = c.nc.SetReadDeadline(time.Now().Add(d))
	_, err := c.nc.Read(make([]byte, 1))
	_ = c.nc.SetReadDeadline(time.Time{})
	return isTimeout(err)
}

// TestProducersWaitWhileMemoryIsShort, and are refused nothing; who reads does not wait.
func TestProducersWaitWhileMemoryIsShort(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, short := shortRig(t, true)
		c, other := r.raw(), r.raw()
		c.send(produceRequest("t", 0, -1, makeBatch(nil, "x")), 9)
		if !c.silentFor(maxHold - time.Second) {
			t.Fatal("a produce was answered while memory is short")
		}
		other.send(kmsg.NewPtrMetadataRequest(), 9)
		var res kmsg.MetadataResponse
		other.receive(&res, 9)
		short.Store(false)
		var answer kmsg.ProduceResponse
		c.receive(&answer, 9)
		if p := answer.Topics[0].Partitions[0]; p.ErrorCode != int16(wire.None) || p.BaseOffset != 0 {
			t.Errorf("%+v", p)
		}
		if p := c.produce("t", -1, makeBatch(nil, "y")); p.ErrorCode != int16(wire.None) || p.BaseOffset != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// TestAProducerIsHeldForSoLongOnly: as many as wait for answers at a time are stored before
// their clients give up.
func TestAProducerIsHeldForSoLongOnly(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		r, _ := shortRig(t, true)
		c := r.raw()
		began := time.Now()
		if p := c.produce("t", -1, makeBatch(nil, "x")); p.ErrorCode != int16(wire.None) {
			t.Errorf("%+v", p)
		}
		if took := time.Since(began); took < maxHold || took > maxHold+netx.HoldPoll {
			t.Errorf("it was held for %v", took)
		}
	})
}

// TestAProducerThatIsGoneHasItsRecordsStored: it wants no answer, and may not know that it is held.
func TestAProducerThatIsGoneHasItsRecordsStored(t *testing.T) {
	r, _ := shortRig(t, false)
	c := r.raw()
	for i := range 3 {
		c.send(produceRequest("t", 0, 0, makeBatch(nil, fmt.Sprint(i))), 7)
	}
	c.nc.Close()
	eventually(t, "three records are there", func() bool { return r.records("/", "t") == 3 })
}
