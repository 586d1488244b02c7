package broker

import (
	"sync"
	"testing"
	"time"
)

// Whoever holds a lock that every verb needs holds up the pulse.
func TestALockThatIsHeldHoldsUpThePulse(t *testing.T) {
	r := start(t)
	for name, lock := range map[string]sync.Locker{"broker": &r.Broker.mu, "virtual host": &r.v.mu, "connections": &r.Broker.connections.mu} {
		lock.Lock()
		beat := make(chan struct{})
		go func() {
			r.Pulse()
			close(beat)
		}()
		select {
		case <-beat:
			t.Errorf("%s: a lock is held, and there is a pulse", name)
		case <-time.After(50 * time.Millisecond):
		}
		lock.Unlock()
		<-beat
	}
}
