package broker

import (
	"context"
	"io"
	"time"

	"github.com/leveret-mq/leveret/internal/audit"
	"github.com/leveret-mq/leveret/store"
)

// Backup writes an archive of the definitions and of the messages of some queues, or of all, to w while the broker goes on; see
// store.Archiver for what it holds. It is given up when the disk is full, since what it holds back could go then. by is who
// asks for it.
func (b *Broker) Backup(ctx context.Context, by audit.Actor, w io.Writer, queues []*Queue) (err error) {
	on, wanted := "all queues", func(store.LogID) bool { return true }
	if queues != nil {
		on = "some queues"
		if len(queues) == 1 {
			on = "queue '" + queues[0].Name + "' in vhost '" + queues[0].vhost.Name + "'"
		}
		chosen := map[store.LogID]bool{}
		for _, q := range queues {
			for _, p := range q.Partitions() {
				chosen[p.log.ID()] = true
			}
		}
		wanted = func(id store.LogID) bool { return chosen[id] }
	}
	begun := b.opts.Now()
	counted := &countingWriter{w: w}
	defer func() {
		audit.Acted(b.opts.Log, by, audit.Backup, on, "", err)
		if err != nil {
			b.opts.Log.Warn("a backup was not finished", "of", on, "user", by.User, "bytes", counted.n, "error", err)
		} else {
			b.opts.Log.Info("a backup is done", "of", on, "user", by.User, "bytes", counted.n, "took", b.opts.Now().Sub(begun).Round(time.Millisecond).String())
		}
	}()
	archiver, ok := b.store.(store.Archiver)
	if !ok {
		return fail(Unsupported, "this store keeps its messages elsewhere: back them up there")
	}
	if disk, _ := b.Alarms(); disk != "" {
		return fail(Full, "no backup while there is an alarm: %s", disk)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := b.OnAlarm(func(string) {
		if disk, _ := b.Alarms(); disk != "" {
			cancel(fail(Full, "the backup was given up: %s", disk))
		}
	})
	defer stop()
	err = archiver.Archive(ctx, counted, wanted)
	if cause := context.Cause(ctx); err != nil && KindOf(cause) == Full {
		return cause
	}
	return err
}

// countingWriter counts what is written.
type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
