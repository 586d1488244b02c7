package broker

import (
	"fmt"
	"slices"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// Fetch says what to read of a partition.
type Fetch struct {
	From     message.Offset
	MaxBytes int
	// Whole takes the first batches even if they are longer than MaxBytes, so that
	// a reader gets on whatever its limit is.
	Whole bool
	// Committed leaves out what lies behind the last stable offset, and has the answer say what was aborted.
	Committed bool
}

// Fetched is what was there.
type Fetched struct {
	Start, End message.Offset // of the log
	Stable     message.Offset // the last stable offset
	Aborted    []Aborted      // of what was read, by their first offsets; for who asked for what is committed
	Bytes      int
	Records    int64
	More       bool // there is more behind what was read
}

// Aborted is a transaction of a producer that was aborted: nothing of it from an offset on up to its marker counts.
type Aborted struct {
	Producer int64
	First    message.Offset
}

// Batches are whole record batches as they are stored, borrowed until Release.
type Batches struct {
	part *Partition
	view store.View
	at   int // bytes of it before them
	n    int // bytes of it that they are
}

// Raw is the bytes, for a system call and nothing else: they may lie in a file that
// can't be read any more, which Check explains when the call fails with EFAULT.
func (b *Batches) Raw() []byte { return b.view.Raw()[b.at:][:b.n] }

// Place says where in which file the bytes lie, for a system call that sends from there before Release and may refer to them for
// longer; ok is false when they are to be copied.
func (b *Batches) Place() (fd uintptr, at int64, ok bool) { return b.view.Place(b.at, b.n) }

// Use has fn look at the bytes, under the guard that makes an error of what can't be read.
func (b *Batches) Use(fn func(data []byte) error) error {
	return b.view.Use(func(data []byte) error { return fn(data[b.at:][:b.n]) })
}

// Check looks whether the bytes can be read. If not, it says what has failed.
func (b *Batches) Check() error {
	if err := b.view.Check(); err != nil {
		return b.part.unreadable(err)
	}
	return nil
}

// Release ends the borrowing. Call it once.
func (b *Batches) Release() {
	b.view.Done()
	*b = Batches{}
}

// mostPassed is how many runs of empty batches a Fetch passes over to find a record. Nothing but an empty batch is an answer that
// some clients do not get on behind (segmentio/kafka-go #1416).
const mostPassed = 1000

// Fetch reads record batches by offset, appends them to into and returns that,
// beginning with the batch that holds From. It ends when half of MaxBytes is
// there: what is left would be a small piece of another segment. Nothing at the
// end of the log is no error. An error means that nothing was appended: OutOfRange
// when From is outside the log, NotFound when the queue was deleted, Unreadable
// when the log can't be read.
func (s *Session) Fetch(p *Partition, f Fetch, into []Batches) (Fetched, []Batches, error) {
	if err := s.May(Consume, OnQueue, p.q.Name); err != nil {
		return Fetched{}, into, err
	}
	if p.q.Deleted() {
		return Fetched{}, into, p.deleted()
	}
	var got Fetched
	var err error
	if got.Start, got.End, err = p.log.Bounds(); err != nil {
		return Fetched{}, into, p.fetchFailed(f.From, err)
	}
	if f.From < got.Start || f.From > got.End {
		return Fetched{}, into, p.outOfRange(f.From)
	}
	t, err := p.knowTxns()
	if err != nil {
		return Fetched{}, into, p.fetchFailed(f.From, err)
	}
	got.Stable = got.End
	if t != nil {
		got.Stable = t.committedEnd(got.Start, got.End)
	}
	stop := got.End
	if f.Committed {
		stop = got.Stable
	}
	from, passed := f.From, 0
	for from < stop && got.Bytes*2 < max(f.MaxBytes, 1) {
		room, whole := f.MaxBytes-got.Bytes, f.Whole && got.Bytes == 0
		if room < batch.HeaderBytes && !whole {
			break
		}
		run, next, n, err := p.borrow(from, stop, max(room, 1), whole)
		if err != nil && got.Bytes > 0 {
			break // what was read before is good; the reader comes again
		}
		if err != nil {
			return Fetched{}, into, p.fetchFailed(f.From, err)
		}
		if run.n == 0 {
			break
		}
		if n == 0 && (got.Bytes > 0 || next < stop) && passed < mostPassed { // nothing but empty ones
			run.Release()
			from = next
			passed++
			continue
		}
		into = append(into, run)
		got.Bytes += run.n
		got.Records += n
		from = next
	}
	got.More = from < stop
	if f.Committed && t != nil && from > f.From {
		for a := range t.abortedIn(f.From, from) {
			got.Aborted = append(got.Aborted, Aborted{a.producer, a.first})
		}
		slices.SortFunc(got.Aborted, func(a, b Aborted) int { return int(min(max(a.First-b.First, -1), 1)) })
	}
	return got, into, nil
}

// SizeOf is what a partition takes on disk, in bytes. It opens nothing.
func (s *Session) SizeOf(p *Partition) (int64, error) {
	if err := s.May(Look, OnQueue, p.q.Name); err != nil {
		return 0, err
	}
	return p.log.Figures().Bytes, nil
}

// borrow takes the next run of batches: none when the first of them is longer than
// room, unless that is to be taken whole, or it does not begin before stop. next is the offset behind them, n how
// many records they hold.
func (p *Partition) borrow(from, stop message.Offset, room int, whole bool) (run Batches, next message.Offset, n int64, err error) {
	v, err := await(p.log, from, room)
	if err != nil {
		return Batches{}, from, 0, err
	}
	if v.Len() == 0 || v.Len() > room && !whole {
		v.Done()
		return Batches{}, from, 0, nil
	}
	err = v.Use(func(data []byte) (err error) {
		run, next, n, err = behind(data, stop)
		return err
	})
	if err != nil {
		v.Done()
		return Batches{}, from, 0, err
	}
	if run.n == 0 {
		v.Done()
		return Batches{}, from, 0, nil
	}
	run.part, run.view = p, v
	return run, next, n, nil
}

// behind walks the headers of whole batches that begin before stop: where in data they are that a reader gets, the offset behind the last
// one, how many records there are.
//
// Of empty batches, which compaction leaves, no reader gets two in a row, as several clients can't read those (segmentio/kafka-go
// #874): they are passed over before the first record, the last one apart if there is none, and elsewhere the run ends between them.
func behind(data []byte, stop message.Offset) (run Batches, next message.Offset, records int64, err error) {
	end, empty := 0, false
	for len(data) > 0 {
		b, rest, err := batch.Next(data)
		if err != nil {
			return Batches{}, 0, 0, err
		}
		if message.Offset(b.BaseOffset()) >= stop || b.Count() == 0 && empty && records > 0 {
			break
		}
		if records == 0 {
			run.at = end
		}
		next = message.Offset(b.LastOffset()) + 1
		records += int64(b.Count())
		end += len(b)
		empty = b.Count() == 0
		data = rest
	}
	run.n = end - run.at
	return run, next, records, nil
}

func (p *Partition) outOfRange(at message.Offset) error {
	return fail(OutOfRange, "offset %d is not in partition %d of '%s'", at, p.index, p.q.Name)
}

// fetchFailed tells an offset that retention took meanwhile, and a queue that was
// deleted, from a broken log.
func (p *Partition) fetchFailed(from message.Offset, err error) error {
	if start, end, e := p.log.Bounds(); e == nil && (from < start || from > end) {
		return p.outOfRange(from)
	}
	if p.q.Deleted() {
		return p.deleted()
	}
	return p.unreadable(err)
}

func (p *Partition) deleted() error { return fail(NotFound, "topic '%s' was deleted", p.q.Name) }

func (p *Partition) unreadable(err error) error {
	return &Error{Kind: Unreadable, Text: fmt.Sprintf("can't read partition %d of '%s'", p.index, p.q.Name), Err: err}
}

// Watch has wake called after messages were added to the partition, its start was
// moved or it was deleted, until stop is called. wake must not block; it may come
// more often or less often than changes, but always after the last one.
func (s *Session) Watch(p *Partition, wake func()) (stop func()) {
	if s.May(Consume, OnQueue, p.q.Name) != nil {
		return func() {} // Fetch says why
	}
	changed := p.log.Watch(wake)
	gone := p.q.watchEnd(wake) // the log goes later than its queue
	return func() {
		changed()
		gone()
	}
}

// Bounds are where a partition's log begins and ends.
func (s *Session) Bounds(p *Partition) (start, end message.Offset, err error) {
	if err := s.May(Look, OnQueue, p.q.Name); err != nil {
		return 0, 0, err
	}
	if start, end, err = p.log.Bounds(); err != nil {
		return 0, 0, p.unreadable(err)
	}
	return start, end, nil
}

// Truncate moves a partition's start up to before, or to its end if that is
// negative, and returns where it begins now.
func (s *Session) Truncate(p *Partition, before message.Offset) (start message.Offset, err error) {
	if err := s.May(Truncate, OnQueue, p.q.Name); err != nil {
		return 0, err
	}
	if !p.q.Topic {
		return 0, fail(Precondition, "'%s' is a queue: its messages belong to its consumers", p.q.Name)
	}
	start, end, err := p.log.Bounds()
	if err != nil {
		return 0, p.unreadable(err)
	}
	if before < 0 {
		before = end
	}
	if before > end {
		return 0, p.outOfRange(before)
	}
	if before <= start {
		return start, nil
	}
	ctx, cancel := asking()
	defer cancel()
	if err := p.log.Truncate(ctx, before); err != nil {
		return 0, err
	}
	if start, _, err = p.log.Bounds(); err != nil {
		return 0, p.unreadable(err)
	}
	return start, nil
}
