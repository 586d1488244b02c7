package broker

import (
	"context"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// How old what waits is, for who looks at figures. Nothing is counted for it when messages come and go: the message is read
// at which a cursor or a group stands. Who asks waits for no disk. What would have to be waited for is fetched beside, for
// the next one who asks: the head of a queue that nobody works on stays where it is. A log that nobody has opened since the
// start is opened for who looks at its queue alone: a look at all would make every one of them cost something for good.
//
//	Queue.Oldest, Partition.Age ─► in memory ─► answered
//	                            ├─► on disk ─► list ─► run ─► known ─► answered the next time
//	                            └─► in a log that is cold ─► not known, but to who looks at it alone

// Stamp is what a message says of times.
type Stamp struct {
	StoredMs int64 // when it was stored; of Kafka's, what its producer said
	Property int64 // its AMQP property timestamp, in seconds; 0 for none
}

// spot is a place in a log; at is NoOffset where the log's cursor stands that nobody has opened.
type spot struct {
	p  *Partition
	at message.Offset
}

// ages are what was fetched.
type ages struct {
	wake chan struct{} // capacity 1

	mu     sync.Mutex // guards the rest; a leaf
	known  map[spot]*fetchedStamp
	list   []spot // to be fetched
	tidied time.Time
}

// fetchedStamp is what was found at a spot; while it is fetched ok is false.
type fetchedStamp struct {
	Stamp
	ok    bool
	asked time.Time // the last time
}

const (
	// agesKept is for how long a stamp is kept that nobody asks for.
	agesKept = 10 * time.Minute
	// agesPause is between two fetches, so that a look at very many queues is no burden on the disk.
	agesPause = time.Millisecond
	// agesListed is how many may wait to be fetched.
	agesListed = 1 << 16
)

// Oldest is the stamp of the first message in the queue that is not settled; of a stream, and a topic that nobody works off, of the first there is. ok is
// false when there is none, or it is not known just now. alone has logs opened for it that nobody has used since the start.
func (q *Queue) Oldest(alone bool) (oldest Stamp, ok bool) {
	for _, p := range q.inTurn() {
		s, empty, known := p.head(alone)
		switch {
		case empty:
			continue
		case !known:
			return Stamp{}, false
		}
		if !ok || s.StoredMs < oldest.StoredMs {
			oldest, ok = s, true
		}
	}
	return oldest, ok
}

// head is the stamp of the partition's first message, for Oldest.
func (p *Partition) head(alone bool) (s Stamp, empty, known bool) {
	f := p.log.Figures()
	at := f.Start
	if c := p.cursor.Load(); c != nil {
		floor, _ := c.Progress()
		at = max(at, floor)
	} else if f.Waiting == 0 {
		return s, true, false
	} else if p.q.restored && !p.q.Topic && p.q.Settings().kind != stream {
		at = message.NoOffset
	}
	if at >= f.End {
		return s, true, false
	}
	if f.Cold && !alone {
		return s, false, false
	}
	s, known = p.stampOf(at)
	return s, false, known
}

// ageOf is the age now.
func (b *Broker) ageOf(s Stamp, ok bool) Age {
	if !ok || s.StoredMs < 0 {
		return Age{}
	}
	return Age{Known: true, Ms: max(0, b.opts.Now().UnixMilli()-s.StoredMs), Property: s.Property}
}

// Age is how old the first message at an offset or behind it is.
func (p *Partition) Age(at int64) Age { return p.q.vhost.b.ageOf(p.storedAt(message.Offset(at))) }

// storedAt is the stamp of the first message at an offset or behind it. ok is false when there is none, or it is not known
// just now.
func (p *Partition) storedAt(at message.Offset) (s Stamp, ok bool) {
	f := p.log.Figures()
	if at = max(at, f.Start); at >= f.End || f.Cold {
		return Stamp{}, false
	}
	return p.stampOf(at)
}

func (p *Partition) stampOf(at message.Offset) (Stamp, bool) {
	if p.q.Deleted() {
		return Stamp{}, false
	}
	if at != message.NoOffset {
		if s, err := p.readStamp(at, false); err == nil {
			return s, true
		}
	}
	return p.q.vhost.b.ages.fetched(p.q.vhost.b, spot{p, at})
}

// readStamp reads the stamp of the first message from an offset on.
func (p *Partition) readStamp(at message.Offset, wait bool) (s Stamp, err error) {
	src := source{part: p, log: p.log}
	first, _, ok, err := src.Next(at, wait)
	if err != nil {
		return s, err
	}
	if !ok {
		return s, store.ErrOutOfRange
	}
	r := reader{part: p, wait: wait, late: true, heads: new(uint64)}
	defer r.release()
	found := false
	_, _, _, err = r.read(first, first, 1, func(d *Delivery) {
		found, s = true, Stamp{StoredMs: d.TimestampMs}
		var properties field.Properties
		if properties.Parse(d.Properties) == nil {
			s.Property = int64(properties.Timestamp)
		}
	})
	r.gone = nil // others tell of what is damaged
	if err == nil && !found {
		err = store.ErrOutOfRange
	}
	return s, err
}

// fetched is what is known of a spot. What is not is fetched.
func (a *ages) fetched(b *Broker, k spot) (Stamp, bool) {
	now := b.opts.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if have := a.known[k]; have != nil {
		have.asked = now
		return have.Stamp, have.ok
	}
	a.tidy(now)
	if len(a.list) >= agesListed {
		return Stamp{}, false
	}
	if a.known == nil {
		a.known = map[spot]*fetchedStamp{}
	}
	a.known[k] = &fetchedStamp{asked: now}
	a.list = append(a.list, k)
	select {
	case a.wake <- struct{}{}:
	default:
	}
	return Stamp{}, false
}

// tidy forgets, now and then, what nobody asks for. mu is held.
func (a *ages) tidy(now time.Time) {
	if now.Sub(a.tidied) < time.Minute {
		return
	}
	a.tidied = now
	for k, have := range a.known {
		if now.Sub(have.asked) > agesKept || k.p.removed.Load() {
			delete(a.known, k)
		}
	}
}

// run fetches what is asked for until stop is closed.
func (a *ages) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		k, ok := a.next()
		if !ok {
			select {
			case <-stop:
				return
			case <-a.wake:
			}
			continue
		}
		s, err := k.fetch(ctx)
		a.mu.Lock()
		if err != nil {
			delete(a.known, k) // it is tried again when it is asked for again
		} else if have := a.known[k]; have != nil {
			have.Stamp, have.ok = s, true
		}
		a.mu.Unlock()
		select {
		case <-stop:
			return
		case <-time.After(agesPause):
		}
	}
}

func (a *ages) next() (k spot, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list) == 0 {
		a.list = nil
		return k, false
	}
	k, a.list = a.list[0], a.list[1:]
	return k, true
}

// fetch reads the stamp at a spot, and waits for the disk.
func (k spot) fetch(ctx context.Context) (Stamp, error) {
	at := k.at
	if at == message.NoOffset {
		c, err := k.p.log.LoadCursor(ctx)
		if err != nil {
			return Stamp{}, err
		}
		at = c.Floor
	}
	return k.p.readStamp(at, true)
}
