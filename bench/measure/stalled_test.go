package measure

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

func TestALoadInWhichNothingMovesIsGivenUp(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		begun := time.Now()
		moved := func() int64 { return int64(min(time.Since(begun), 30*time.Second)) } // for half a minute
		go WatchProgress(ctx, cancel, moved, func() string { return "7 sent" })
		<-ctx.Done()
		if took := time.Since(begun); took < 30*time.Second+StallLimit || took > 31*time.Second+StallLimit {
			t.Errorf("given up after %v", took)
		}
		if err := context.Cause(ctx); !strings.Contains(err.Error(), "7 sent") {
			t.Errorf("the reason is %v", err)
		}
	})
}
