package store

import (
	"context"
	"io"
)

// Archiver is a store that can write down all it has while it goes on.
type Archiver interface {
	// Archive writes a tape archive of the tables and of those logs for which wanted says yes, from which the store can be made
	// again elsewhere: with every message that was committed when the call began and that nobody had settled then, and
	// with some of what came since. What was settled since may be there again. It holds back retention while it
	// runs, so disk space is not freed meanwhile, and uses memory for one message at a time. An archive of which the end
	// is missing is of no use, and says so. One runs at a time: else ErrBusy.
	Archive(ctx context.Context, w io.Writer, wanted func(LogID) bool) error
}
