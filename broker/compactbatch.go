package broker

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// cleaning is the compaction of one log, once.
type cleaning struct {
	c     *compactor
	p     *Partition
	st    *compacted
	set   *Settings
	now   time.Time
	from  message.Offset // what is dirty: [from, to)
	to    message.Offset
	share float64

	// Of one pass.
	keys    *keyMap                  // its memory is that of all of them
	end     message.Offset           // behind what is in keys
	newest  map[int64]message.Offset // where the newest batch of each producer that is known begins
	alive   map[int64]struct{}       // producers of whose transaction, not ended yet, something stays
	horizon int64                    // least of what stays

	// Of one batch.
	keep   []bool // by place
	kept   int
	latest int64  // time of what stays
	ends   bool   // something that stays ends its key
	raw    []byte // buffers, which go from batch to batch
	out    []byte
	packed []byte
	pacer  workPace

	removed int64 // records
}

var errCompactStopped = errors.New("the broker is stopping, or the topic is gone or not compacted any more")

const (
	compactView    = 1 << 20 // is read at a time
	compactKeepOut = 4 << 20 // a larger buffer is given back
)

// run compacts the log in as many passes as it takes.
func (w *cleaning) run() error {
	began := time.Now()
	before := w.p.log.Figures().Bytes
	passes := 0
	for more := true; more; more = w.from < w.to {
		done, err := w.pass()
		if errors.Is(err, errCompactStopped) || err == nil && !done {
			w.st.rest = w.c.b.opts.Now().Add(compactEvery)
			return nil // others were at the log: a later look finds what is left
		}
		if err != nil {
			return err
		}
		passes++
	}
	b := w.c.b
	b.counters.Compactions.Add(1)
	b.counters.CompactedAway.Add(uint64(w.removed))
	b.opts.Log.Debug("compacted a topic", "topic", w.p.q.Name, "partition", w.p.index, "records_removed", w.removed,
		"bytes_before", before, "bytes", w.p.log.Figures().Bytes, "passes", passes, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// pass compacts what the memory has room for; done says that it could.
func (w *cleaning) pass() (done bool, err error) {
	w.newest, err = w.p.newestOfProducers()
	if err != nil {
		return false, err
	}
	if w.keys == nil {
		w.keys = w.c.keysFor(w.from, int64(w.to-w.from))
	} else {
		w.keys.reset(w.from) // another of its size would stay beside it until the collector runs
	}
	w.alive, w.horizon, w.end = map[int64]struct{}{}, math.MaxInt64, w.from
	if err = w.collect(); err != nil {
		return false, err
	}
	reached, err := w.p.log.Compact(w.end, w.edit)
	if c := w.p.cursor.Load(); c != nil {
		c.Recount()
	}
	if err != nil || reached < w.end {
		return false, err
	}
	w.from = w.end
	w.st.clean, w.st.horizon = w.end, w.horizon
	ctx, cancel := asking()
	defer cancel()
	if err := w.p.log.SaveState(ctx, compactName, w.st.appendState(nil)); err != nil {
		return false, fmt.Errorf("save how far it was compacted: %w", err)
	}
	return true, nil
}

// collect goes through what is dirty until keys is full, and sets end: between two batches, or within the first one if that
// alone has more keys than there is memory for.
func (w *cleaning) collect() error {
	var last *batch.Batch
	full := false
	var reached message.Offset // once it is full: the first record that it has no room for
	each := func(r *message.Keyed) {
		at := message.Offset(last.BaseOffset()) + message.Offset(r.Number)
		if r.HasKey && at >= w.from && !full && !w.keys.put(&r.Digest, at) {
			full, reached = true, at
		}
	}
	fresh := func() *message.Keys { return &message.Keys{Each: each} }
	t := w.p.txns()
	for w.end < w.to && !full {
		v, err := await(w.p.log, w.end, compactView)
		if errors.Is(err, store.ErrOutOfRange) {
			return errCompactStopped // retention took it
		}
		if err != nil {
			return err
		}
		if v.Len() == 0 {
			v.Done()
			return errCompactStopped
		}
		err = v.Use(func(data []byte) error {
			for len(data) > 0 && w.end < w.to && !full {
				b, rest, err := batch.Next(data)
				if err != nil {
					return err
				}
				data = rest
				if message.Offset(b.BaseOffset()) >= w.to {
					w.end = w.to
					break
				}
				if b.Count() > 0 && !t.hides(b) {
					last = &b
					if err := walkKeys(fresh, b); err != nil {
						return fmt.Errorf("batch %d: %w", b.BaseOffset(), err)
					}
				}
				switch {
				case full && message.Offset(b.BaseOffset()) > w.from:
					w.end = message.Offset(b.BaseOffset()) // what was lost before it has no batch that would have brought the end here
					return nil                             // it is the next pass's; what is noted of it does no harm
				case full:
					w.end = reached
				default:
					w.end = message.Offset(b.LastOffset()) + 1
				}
				if err := w.work(len(b)); err != nil {
					return err
				}
			}
			return nil
		})
		v.Done()
		if err != nil {
			return err
		}
	}
	return nil
}

// walkKeys goes through the records of a batch, in memory that is there anyway where that will do: where not, it begins again, with
// another of fresh.
func walkKeys(fresh func() *message.Keys, b batch.Batch) error {
	k := fresh()
	if b.Codec() == message.CodecNone {
		used, err := k.Records(b.Records())
		if err == nil {
			err = k.End(len(b.Records()) - used)
		}
		return err
	}
	_, err := message.Walk(k, b.Codec(), b.Records(), message.MaxUnpackedBytes, message.OrdinaryBytes)
	if errors.Is(err, message.ErrMemory) {
		_, err = message.Walk(fresh(), b.Codec(), b.Records(), message.MaxUnpackedBytes, message.MaxUnpackedBytes)
	}
	return err
}

// edit says what becomes of a batch of the log.
//
//	behind what was collected                   stays, also the rest of a batch
//	a transaction's end                         see marker
//	of a transaction that was aborted           goes
//	a record without a key, or not its key's    goes
//	last one
//	what ends its key, for delete.retention.ms  goes, from when it was compacted first
//	all others                                  stay
func (w *cleaning) edit(b batch.Batch) (batch.Batch, error) {
	if err := w.work(len(b)); err != nil {
		return nil, err
	}
	switch {
	case message.Offset(b.BaseOffset()) >= w.end:
		return b, nil
	case b.IsControl():
		return w.marker(b)
	case b.Count() == 0 || w.p.txns().hides(b):
		w.removed += int64(b.Count())
		return w.husk(b), nil
	}
	if err := w.choose(b); err != nil {
		return nil, fmt.Errorf("batch %d: %w", b.BaseOffset(), err)
	}
	w.removed += int64(b.Count()) - int64(w.kept)
	if w.kept == 0 {
		return w.husk(b), nil
	}
	if b.IsTransactional() {
		w.alive[b.ProducerID()] = struct{}{}
	}
	horizon, has := b.DeleteHorizon()
	if has && w.ends {
		w.horizon = min(w.horizon, horizon)
	}
	if w.kept == int(b.Count()) && (has || !w.ends) {
		return b, nil
	}
	out, err := w.lessOf(b, w.ends && !has)
	if err != nil {
		return nil, fmt.Errorf("batch %d: %w", b.BaseOffset(), err)
	}
	return out, nil
}

// lessOf makes a batch of what stays of one; ends says that it is to tell when that goes of it that ends keys. Where the times would
// take it beyond what anybody unpacks, it does not tell, and the ends stay until something else has their key.
func (w *cleaning) lessOf(b batch.Batch, ends bool) (batch.Batch, error) {
	if !ends {
		return w.rewrite(b, nil)
	}
	horizon := w.later()
	out, err := w.rewrite(b, &horizon)
	if errors.Is(err, message.ErrUnpacked) {
		if w.kept == int(b.Count()) {
			return b, nil
		}
		return w.rewrite(b, nil)
	}
	if err == nil {
		w.horizon = min(w.horizon, horizon)
	}
	return out, err
}

// later is the time up to which is kept what ends a key, if it is met now.
func (w *cleaning) later() int64 {
	now, age := w.now.UnixMilli(), w.set.TombstoneAge.Milliseconds()
	return now + min(age, math.MaxInt64-1-now)
}

// choose says which records of a batch stay.
func (w *cleaning) choose(b batch.Batch) error {
	base := message.Offset(b.BaseOffset())
	horizon, has := b.DeleteHorizon()
	over := has && horizon <= w.now.UnixMilli()
	each := func(r *message.Keyed) {
		stays := r.HasKey && !w.keys.behind(&r.Digest, base+message.Offset(r.Number)) && (r.HasValue || !over)
		w.keep = append(w.keep, stays)
		if stays {
			w.kept++
			w.latest = max(w.latest, b.BaseTimestamp()+r.TimeMs)
			w.ends = w.ends || !r.HasValue
		}
	}
	err := walkKeys(func() *message.Keys {
		w.keep, w.kept, w.latest, w.ends = w.keep[:0], 0, message.NoTime, false
		return &message.Keys{Each: each}
	}, b)
	if err == nil && len(w.keep) != int(b.Count()) {
		err = fmt.Errorf("%w: %d of %d", message.ErrCount, len(w.keep), b.Count())
	}
	return err
}

// rewrite makes a batch of the records that stay, which tells a horizon if there is a new one: times count from that then.
// message.ErrUnpacked says that it would be too long.
func (w *cleaning) rewrite(b batch.Batch, horizon *int64) (out batch.Batch, err error) {
	h := headerOf(b)
	h.Count = int32(w.kept)
	if horizon != nil {
		h.Attributes |= batch.HasDeleteHorizon
		h.BaseTimestamp = *horizon
	}
	if b.Attributes()&batch.LogAppendTime == 0 {
		h.MaxTimestamp = w.latest
	}
	raw := b.Records()
	if b.Codec() != message.CodecNone {
		if w.raw, err = message.Unpack(emptied(w.raw), b.Codec(), raw, message.MaxUnpackedBytes); err != nil {
			return nil, err
		}
		raw = w.raw
	}
	w.out = append(emptied(w.out), make([]byte, batch.HeaderBytes)...)
	w.out, err = message.AppendKept(w.out, raw, h.BaseTimestamp-b.BaseTimestamp(), func(place int) bool { return place < len(w.keep) && w.keep[place] })
	switch {
	case err != nil:
		return nil, err
	case len(w.out)-batch.HeaderBytes > w.c.mostUnpacked:
		return nil, message.ErrUnpacked
	case b.Codec() == message.CodecNone:
		return sealLike(w.out, b, h), nil
	}
	w.packed = append(emptied(w.packed), w.out[:batch.HeaderBytes]...)
	if w.packed, err = message.Pack(w.packed, b.Codec(), w.out[batch.HeaderBytes:]); err != nil {
		return nil, err
	}
	return sealLike(w.packed, b, h), nil
}

// emptied is a buffer to be filled again, or none where it had become too large to be kept.
func emptied(buf []byte) []byte {
	if cap(buf) > compactKeepOut {
		return nil
	}
	return buf[:0]
}

// husk is what is left of a batch without records: the header, if the batch is the newest of its producer, else nothing.
func (w *cleaning) husk(b batch.Batch) batch.Batch {
	if at, known := w.newest[b.ProducerID()]; !known || at != message.Offset(b.BaseOffset()) {
		return nil
	}
	if b.Count() == 0 {
		return b
	}
	h := headerOf(b)
	h.Attributes &= batch.LogAppendTime // it belongs to no transaction that would have to end
	h.Count = 0
	h.BaseTimestamp = b.MaxTimestamp()
	return sealLike(make([]byte, batch.HeaderBytes), b, h)
}

// marker says what becomes of the end of a transaction. It stays while anything of its transaction does, or nobody
// would know that this has ended; then for delete.retention.ms, for those who read the transaction before; and as the
// last thing that its producer did.
func (w *cleaning) marker(b batch.Batch) (batch.Batch, error) {
	id := b.ProducerID()
	_, alive := w.alive[id]
	delete(w.alive, id)
	newest, known := w.newest[id]
	if alive || known && newest < message.Offset(b.BaseOffset()) {
		return b, nil
	}
	commit, err := message.ParseMarker(b)
	if err != nil {
		return b, nil // none of ours
	}
	horizon, has := b.DeleteHorizon()
	if has && horizon <= w.now.UnixMilli() {
		if !commit {
			w.p.forgetAborted(id, message.Offset(b.BaseOffset()))
		}
		return nil, nil
	}
	if has {
		w.horizon = min(w.horizon, horizon)
		return b, nil
	}
	horizon = w.later()
	w.horizon = min(w.horizon, horizon)
	w.keep, w.kept, w.latest = append(w.keep[:0], true), 1, b.MaxTimestamp()
	return w.rewrite(b, &horizon)
}

// headerOf is what a batch's header says.
func headerOf(b batch.Batch) batch.Header {
	return batch.Header{Attributes: b.Attributes(), LastOffsetDelta: b.LastOffsetDelta(), BaseTimestamp: b.BaseTimestamp(), MaxTimestamp: b.MaxTimestamp(),
		ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), BaseSequence: b.BaseSequence(), Count: b.Count()}
}

// sealLike finishes a batch that takes the place of another.
func sealLike(out, b batch.Batch, h batch.Header) batch.Batch {
	out.Seal(h)
	out.SetBaseOffset(b.BaseOffset())
	return out
}

// newestOfProducers says where the newest batch of each producer begins that is known.
func (p *Partition) newestOfProducers() (map[int64]message.Offset, error) {
	if err := p.lockProducers(batch.NoProducer); err != nil {
		return nil, err
	}
	ps := &p.active().producers
	defer ps.mu.Unlock()
	newest := make(map[int64]message.Offset, len(ps.byID))
	for id, pr := range ps.byID {
		if pr.n > 0 {
			newest[id] = pr.newest().base
		} else {
			newest[id] = -1 // only its transaction's end is there
		}
	}
	return newest, nil
}

// work notes that so many bytes were gone through, and pauses so that others get on.
func (w *cleaning) work(bytes int) error {
	if w.p.removed.Load() || !w.p.q.Settings().Compact {
		return errCompactStopped
	}
	return w.pacer.did(bytes, w.c.b.opts.CompactShare, w.c.b.stop)
}

// workPace has work in the background take a share of one processor, in small pieces.
type workPace struct {
	bytes int
	began time.Time
}

const (
	paceBytes = 64 << 10               // between two looks at the clock
	paceWork  = 500 * time.Microsecond // between two pauses
)

// did notes work, and pauses for as long as keeps it to a share of so many percent.
func (p *workPace) did(bytes, share int, stop <-chan struct{}) error {
	if p.bytes += bytes; p.bytes < paceBytes && !p.began.IsZero() {
		return nil
	}
	p.bytes = 0
	now := time.Now()
	worked := now.Sub(p.began)
	if p.began.IsZero() {
		p.began, worked = now, 0
	}
	if worked < paceWork {
		select {
		case <-stop:
			return errCompactStopped
		default:
			return nil
		}
	}
	rest := time.NewTimer(min(worked, time.Second) * time.Duration(100-share) / time.Duration(share))
	defer rest.Stop()
	select {
	case <-stop:
		return errCompactStopped
	case <-rest.C:
	}
	p.began = time.Now()
	return nil
}
