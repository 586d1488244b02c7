package netx

import (
	"context"
	"net"
	"sync"
)

// Stay is a context that ends with ctx or when the client is gone, where the
// connection can tell, although nobody reads from it. leave ends it. Until then the connection is Busy.
func Stay(ctx context.Context, nc net.Conn) (stay context.Context, leave context.CancelFunc) {
	stay, cancel := context.WithCancel(ctx)
	done := sync.OnceFunc(Busy(nc))
	leave = func() { cancel(); done() }
	watched, ok := nc.(interface{ Gone() <-chan struct{} })
	if !ok {
		return stay, leave
	}
	if gone := watched.Gone(); gone != nil {
		go func() {
			select {
			case <-gone:
				cancel()
			case <-stay.Done():
			}
		}()
	}
	return stay, leave
}
