package netx

import (
	"context"
	"net"
	"testing"
	"testing/synctest"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// leaving is a connection whose client goes when gone is closed.
type leaving struct {
	net.Conn
	gone chan struct{}
}

func (l leaving) Gone() <-chan struct{} { return l.gone }

func TestAStayEndsWithItsClientOrWithWhatItIsPartOf(t *testing.T) {
	for name, end := range map[string]func(gone chan struct{}, stop, leave context.CancelFunc){
		"the client goes":    func(gone chan struct{}, _, _ context.CancelFunc) { close(gone) },
		"the broker stops":   func(_ chan struct{}, stop, _ context.CancelFunc) { stop() },
		"it was long enough": func(_ chan struct{}, _, leave context.CancelFunc) { leave() },
	} {
		t.Run(name, func(t *testing.T) {
			fakeclock.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				gone := make(chan struct{})
				stay, leave := Stay(ctx, leaving{gone: gone})
				defer leave()
				synctest.Wait()
				if stay.Err() != nil {
					t.Error("it ended before anything happened")
				}
				end(gone, stop, leave)
				synctest.Wait()
				if stay.Err() == nil {
					t.Error("it goes on")
				}
			})
		})
	}
	stay, leave := Stay(t.Context(), leaving{}) // one who can't tell
	if leave(); stay.Err() == nil {
		t.Error("it goes on")
	}
}
