package netx

import (
	"context"
	"net"
)

// Stay is a context that ends with ctx or when the client is gone, where the
// connection can tell, although nobody reads from it. leave ends it.
func Stay(ctx context.Context, nc net.Conn) (stay context.Context, leave context.CancelFunc) {
	stay, leave = context.WithCancel(ctx)
	watched, ok := nc.(interface{ Gone() <-chan struct{} })
	if !ok {
		return stay, leave
	}
	if gone := watched.Gone(); gone != nil {
		go func() {
			select {
			case <-gone:
				leave()
			case <-stay.Done():
			}
		}()
	}
	return stay, leave
}
