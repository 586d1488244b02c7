package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/store"
)

// removals are the logs of queues that are gone, on their way out of the store. A
// deletion is answered when the definitions are written: in the same write stands
// that these logs are to be removed, which one goroutine does in its own time. A
// broker that was killed or stopped meanwhile goes on with it at its next start.
type removals struct {
	b      *Broker
	ctx    context.Context // ends when the broker closes
	cancel context.CancelFunc
	wake   chan struct{} // capacity 1

	mu   sync.Mutex // guards list
	list []removal
}

// removal is one log to be removed.
type removal struct {
	id   store.LogID
	part *Partition // nil: of a queue of an earlier start
	kept bool       // the definitions say that it is to be removed
	// late is when it goes although dead letters in it were not copied yet.
	late time.Time
}

// removalDef is a removal in the definitions.
type removalDef struct {
	VHost string      `json:"vhost"`
	Queue string      `json:"queue"`
	Log   store.LogID `json:"log"`
}

// removalPause is the time between two looks whether a log's dead letters are copied.
const removalPause = 50 * time.Millisecond

// entry has it written.
func (d *removalDef) entry() (store.Entry, error) {
	key := removalKey(d.Log)
	value, err := json.Marshal(d)
	if err != nil {
		return store.Entry{}, fmt.Errorf("encode definition %s: %w", key, err)
	}
	return store.Entry{Key: key, Value: value}, nil
}

func removalKey(id store.LogID) string { return store.Key(prefixRemoval, fmt.Sprint(id)) }

// add has the logs of partitions removed that nobody finds any more. kept says that
// the definitions tell of it.
func (r *removals) add(parts []*Partition, kept bool) {
	r.mu.Lock()
	late := r.b.opts.Now().Add(buryTimeout)
	for _, p := range parts {
		p.removed.Store(true)
		r.list = append(r.list, removal{id: p.log.ID(), part: p, kept: kept, late: late})
	}
	r.mu.Unlock()
	r.call()
}

// addAll has logs removed that nobody finds any more. What dead letters they hold is not
// waited for.
func (r *removals) addAll(list []removal) {
	r.mu.Lock()
	r.list = append(r.list, list...)
	r.mu.Unlock()
	r.call()
}

// call has run look at the list.
func (r *removals) call() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run removes what is added until the broker closes.
func (r *removals) run() {
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.wake:
			r.work()
		}
	}
}

// work removes what is listed. What fails stays in the definitions, and is tried again at the
// next start.
func (r *removals) work() {
	r.mu.Lock()
	list := r.list
	r.list = nil
	r.mu.Unlock()
	var done []store.Entry
	var waiting []removal
	for _, m := range list {
		if m.part != nil && m.part.lettersUnderWay() {
			if r.b.opts.Now().Before(m.late) {
				waiting = append(waiting, m)
				continue
			}
			m.part.dropLetters()
		}
		err := r.remove(m)
		switch {
		case r.ctx.Err() != nil || errors.Is(err, store.ErrClosed):
			return
		case err != nil:
			r.b.opts.Log.Error("can't remove the log of a deleted queue; it is tried again at the next start", "log", m.id, "error", err)
		case m.kept:
			done = append(done, store.Entry{Key: removalKey(m.id)})
		}
	}
	if len(waiting) > 0 {
		r.mu.Lock()
		r.list = append(r.list, waiting...)
		r.mu.Unlock()
		time.AfterFunc(removalPause, r.call)
	}
	if len(done) > 0 {
		if err := r.b.putDef(done...); err != nil {
			r.b.opts.Log.Error("can't note that logs of deleted queues are removed", "error", err)
		}
	}
}

func (r *removals) remove(m removal) error {
	if m.part != nil {
		m.part.unwatchLog()
		m.part.dropProducers()
	}
	return r.b.store.DeleteLog(r.ctx, m.id)
}

// load takes up what an earlier process left.
func (r *removals) load(e store.Entry) error {
	var d removalDef
	if err := decodeDef(e, &d); err != nil {
		return err
	}
	r.list = append(r.list, removal{id: d.Log, kept: true})
	return nil
}

// start begins with what was loaded.
func (r *removals) start() {
	if len(r.list) > 0 {
		r.wake <- struct{}{}
	}
	r.b.stopped.Go(r.run)
}

// isRemoval says whether a key is of a removal.
func isRemoval(key string) bool { return strings.HasPrefix(key, prefixRemoval) }
