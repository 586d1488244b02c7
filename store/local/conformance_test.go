package local

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/store"
	"github.com/leveret-mq/leveret/store/storetest"
)

// quiet is a logger for tests that damage things on purpose.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// opener opens a store with these options again and again, and closes what is
// left open when the test ends.
func opener(t *testing.T, o Options) storetest.Opener {
	o.Logger = quiet
	var last store.Store
	t.Cleanup(func() {
		if last != nil {
			if err := last.Close(); err != nil && !t.Failed() {
				t.Errorf("Close: %v", err)
			}
		}
	})
	return func() store.Store {
		s, err := Open(o)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		last = s
		return s
	}
}

func TestConformanceOnDisk(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		return opener(t, Options{Dir: t.TempDir(), SweepInterval: 50 * time.Millisecond})
	})
}

func TestConformanceWithGaps(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		return opener(t, Options{Dir: t.TempDir(), Mode: store.ModeOS, Gap: 3})
	})
}
