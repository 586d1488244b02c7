package measure

import (
	"context"
	"fmt"
	"time"
)

// StallLimit is how long nothing at all may move before a load counts as stuck.
const StallLimit = 10 * time.Second

// WatchProgress cancels a load in which nothing moves any more, such as one that waits for a message that the broker lost.
// moved counts what has moved so far, state tells how far the load is. It returns when ctx is done.
func WatchProgress(ctx context.Context, cancel context.CancelCauseFunc, moved func() int64, state func() string) {
	t := time.NewTicker(StallLimit / 50)
	defer t.Stop()
	for last, since := moved(), time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if now := moved(); now != last {
			last, since = now, time.Now()
		} else if time.Since(since) > StallLimit {
			cancel(fmt.Errorf("nothing moved for %s: %s", StallLimit, state()))
			return
		}
	}
}
