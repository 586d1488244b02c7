package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/leveret-mq/leveret/internal/batch"
	"github.com/leveret-mq/leveret/message"
	"github.com/leveret-mq/leveret/store"
)

// What a partition knows of its idempotent producers is saved beside its log now and then,
// so that a start reads only what came since. The state, version 3; integers are
// little-endian:
//
//	0       4      5      6      8      16      20
//	┌───────┬──────┬──────┬──────┬──────┬───────┬───────────┬──────┬──────┐
//	│"LVPS" │ vers │ txns │ zero │ end  │ count │ producers │ mark │ hash │   end: batches below it are in here
//	│       │ u8   │ 0, 1 │      │ i64  │ u32   │           │      │ u64  │   the hash is xxhash64 of all before
//	└───────┴──────┴──────┴──────┴──────┴───────┴───────────┴──────┴──────┘
//
//	a producer   0    8       10      11     19
//	             ┌────┬───────┬───────┬──────┬────────────────┐   seen: ms since 1970
//	             │ id │ epoch │ sent  │ seen │ sent batches,  │   n: how many; its highest bit: the end of a transaction
//	             │ i64│ i16   │ u8, n │ i64  │ oldest first   │   of it came
//	             └────┴───────┴───────┴──────┴────────────────┘
//	a batch      first sequence i32 · last sequence i32 · base offset i64 · time i64 ms
//
// The mark is the last batch that is in here, which ends at end, by which the log is known again: a power cut may take the log's end
// and leave the state, and what comes then has the same offsets.
//
//	mark       base offset i64 · producer i64, -1 for none · epoch i16 · first sequence i32, -1 of a transaction's end · CRC u32, of one without a producer
//
// A partition that has transactions (txns is 1) has these behind the producers:
//
//	open       count u32, { producer i64 · first offset i64 · epoch i16 }
//	aborted    count u32, { producer i64 · first offset i64 · last i64 · stable i64 }, by their last offsets
//
// Versions 1 and 2, without and with transactions, have no mark and no highest bit: their end is the log's, and they are
// known by the newest batch that a producer sent.
//
// It is a help: what can't be read, or does not fit the log, is made again from the log's batch headers.
const (
	producersName    = "producers"
	producersMagic   = "LVPS"
	producersVersion = 3
	markedVersion    = 3 // the first with a mark
	txnsVersion      = 2 // has transactions; version 1 has none
	producersHead    = 20
	markBytes        = 26
	endedBit         = 1 << 7
	producerBytes    = 19
	sentBytes        = 24
	openBytes        = 18
	abortedBytes     = 32
	hashBytes        = 8

	// saveProducersBytes is how much idempotent producers send between two savings, and so
	// about what a start after a kill reads; more when the state is large.
	saveProducersBytes = 16 << 20
	saveProducersRatio = 16
)

var errProducers = errors.New("state of producers is damaged")

// appendState appends what is known, in the order of ids. mu is held.
func (ps *producers) appendState(buf []byte, t *partTxns) []byte {
	at := len(buf)
	buf = append(buf, producersMagic...)
	has := byte(0)
	if t != nil {
		has = 1
	}
	buf = append(buf, producersVersion, has, 0, 0)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(ps.mark.end))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(ps.byID)))
	ids := make([]int64, 0, len(ps.byID))
	for id := range ps.byID {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		pr := ps.byID[id]
		buf = binary.LittleEndian.AppendUint64(buf, uint64(id))
		buf = binary.LittleEndian.AppendUint16(buf, uint16(pr.epoch))
		n := byte(pr.n)
		if pr.ended {
			n |= endedBit
		}
		buf = append(buf, n)
		buf = binary.LittleEndian.AppendUint64(buf, uint64(pr.seen))
		for i := range pr.n {
			s := &pr.last[(pr.next+keptBatches-pr.n+i)%keptBatches]
			buf = binary.LittleEndian.AppendUint32(buf, uint32(s.first))
			buf = binary.LittleEndian.AppendUint32(buf, uint32(s.last))
			buf = binary.LittleEndian.AppendUint64(buf, uint64(s.base))
			buf = binary.LittleEndian.AppendUint64(buf, uint64(s.timestamp))
		}
	}
	if t != nil {
		buf = t.appendState(buf)
	}
	buf = binary.LittleEndian.AppendUint64(buf, uint64(ps.mark.base))
	buf = binary.LittleEndian.AppendUint64(buf, uint64(ps.mark.producer))
	buf = binary.LittleEndian.AppendUint16(buf, uint16(ps.mark.epoch))
	buf = binary.LittleEndian.AppendUint32(buf, uint32(ps.mark.sequence))
	buf = binary.LittleEndian.AppendUint32(buf, ps.mark.crc)
	return binary.LittleEndian.AppendUint64(buf, xxhash.Sum64(buf[at:]))
}

func (t *partTxns) appendState(buf []byte) []byte {
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(t.open)))
	ids := make([]int64, 0, len(t.open))
	for id := range t.open {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		o := t.open[id]
		buf = binary.LittleEndian.AppendUint64(buf, uint64(id))
		buf = binary.LittleEndian.AppendUint64(buf, uint64(o.first))
		buf = binary.LittleEndian.AppendUint16(buf, uint16(o.epoch))
	}
	list := *t.aborted.Load()
	buf = binary.LittleEndian.AppendUint32(buf, uint32(len(list)))
	for _, a := range list {
		for _, n := range [...]int64{a.producer, int64(a.first), int64(a.last), int64(a.stable)} {
			buf = binary.LittleEndian.AppendUint64(buf, uint64(n))
		}
	}
	return buf
}

// decodeTxns reads what appendState of transactions wrote.
func decodeTxns(b []byte) (*partTxns, error) {
	t := newPartTxns()
	count := func(each int) int {
		if len(b) < 4 {
			return -1
		}
		n := int(binary.LittleEndian.Uint32(b))
		if b = b[4:]; n > len(b)/each {
			return -1
		}
		return n
	}
	n := count(openBytes)
	for range n {
		t.open[int64(binary.LittleEndian.Uint64(b))] = openTxn{message.Offset(binary.LittleEndian.Uint64(b[8:])), int16(binary.LittleEndian.Uint16(b[16:]))}
		b = b[openBytes:]
	}
	if n < 0 || len(t.open) != n {
		return nil, fmt.Errorf("%w: %d open transactions", errProducers, n)
	}
	m := count(abortedBytes)
	if m < 0 || len(b) != m*abortedBytes {
		return nil, fmt.Errorf("%w: %d aborted transactions in %d bytes", errProducers, m, len(b))
	}
	list := make([]abortedTxn, m)
	for i := range list {
		at := func(n int) message.Offset { return message.Offset(binary.LittleEndian.Uint64(b[8*n:])) }
		list[i] = abortedTxn{int64(at(0)), at(1), at(2), at(3)}
		if i > 0 && list[i].last <= list[i-1].last || list[i].first > list[i].last {
			return nil, fmt.Errorf("%w: aborted transactions out of order", errProducers)
		}
		b = b[abortedBytes:]
	}
	t.aborted.Store(&list)
	return t, nil
}

// decodeProducers reads a state.
func decodeProducers(data []byte) (byID map[int64]*producer, t *partTxns, m batchMark, err error) {
	if len(data) < producersHead+hashBytes || string(data[:4]) != producersMagic || data[4] == 0 || data[4] > producersVersion {
		return nil, nil, m, fmt.Errorf("%w: %d bytes are none of version 1 to %d", errProducers, len(data), producersVersion)
	}
	body := data[:len(data)-hashBytes]
	if xxhash.Sum64(body) != binary.LittleEndian.Uint64(data[len(body):]) {
		return nil, nil, m, fmt.Errorf("%w: its hash differs", errProducers)
	}
	m.end = message.Offset(binary.LittleEndian.Uint64(body[8:]))
	count := int(binary.LittleEndian.Uint32(body[16:]))
	b := body[producersHead:]
	if count > maxProducers || count > len(b)/producerBytes {
		return nil, nil, m, fmt.Errorf("%w: %d producers in %d bytes", errProducers, count, len(b))
	}
	byID = make(map[int64]*producer, count)
	for range count {
		if b, err = decodeProducer(b, byID); err != nil {
			return nil, nil, m, err
		}
	}
	marked := data[4] >= markedVersion
	if marked {
		if len(b) < markBytes {
			return nil, nil, m, fmt.Errorf("%w: no mark in %d bytes", errProducers, len(b))
		}
		m.read(b[len(b)-markBytes:])
		b = b[:len(b)-markBytes]
	} else {
		m.newestOf(byID)
	}
	if marked && data[5] == 1 || data[4] == txnsVersion {
		if t, err = decodeTxns(b); err != nil {
			return nil, nil, m, err
		}
		b = nil
	}
	if len(b) > 0 || len(byID) != count || m.end < 0 || marked && (m.base < 0 || m.base >= m.end || m.producer < batch.NoProducer) {
		return nil, nil, m, fmt.Errorf("%w: %d producers, %d bytes behind them, from %d to %d", errProducers, len(byID), len(b), m.base, m.end)
	}
	return byID, t, m, nil
}

// batchMark is what one batch is known by: its producer and sequence, which compaction leaves it, or all of it where it has none.
type batchMark struct {
	base, end message.Offset // [base, end)
	producer  int64
	epoch     int16
	sequence  int32
	crc       uint32
}

func markOf(b batch.Batch) batchMark {
	m := batchMark{base: message.Offset(b.BaseOffset()), end: message.Offset(b.LastOffset()) + 1, producer: b.ProducerID(), epoch: b.ProducerEpoch(), sequence: b.BaseSequence()}
	if m.producer < 0 {
		m.crc = b.CRC()
	}
	return m
}

func (m *batchMark) read(b []byte) {
	m.base, m.producer = message.Offset(binary.LittleEndian.Uint64(b)), int64(binary.LittleEndian.Uint64(b[8:]))
	m.epoch, m.sequence = int16(binary.LittleEndian.Uint16(b[16:])), int32(binary.LittleEndian.Uint32(b[18:]))
	m.crc = binary.LittleEndian.Uint32(b[22:])
}

// newestOf makes it the newest batch that is known of producers, for states that have none, and keeps end.
func (m *batchMark) newestOf(byID map[int64]*producer) {
	m.base = -1
	for id, pr := range byID {
		if pr.n == 0 {
			continue
		}
		if s := pr.newest(); s.base > m.base {
			m.base, m.producer, m.epoch, m.sequence = s.base, id, pr.epoch, s.first
		}
	}
}

// reaches notes the last batch that is in what is known. mu is held.
func (ps *producers) reaches(m batchMark) {
	if m.base >= ps.mark.base {
		ps.mark = m
	}
}

func decodeProducer(b []byte, into map[int64]*producer) (rest []byte, err error) {
	if len(b) < producerBytes {
		return nil, fmt.Errorf("%w: a producer is cut short", errProducers)
	}
	pr := &producer{
		epoch: int16(binary.LittleEndian.Uint16(b[8:])), n: int8(b[10] &^ endedBit), ended: b[10]&endedBit != 0,
		seen: int64(binary.LittleEndian.Uint64(b[11:])),
	}
	id := int64(binary.LittleEndian.Uint64(b))
	b = b[producerBytes:]
	if pr.n > keptBatches || len(b) < int(pr.n)*sentBytes {
		return nil, fmt.Errorf("%w: %d batches of a producer", errProducers, pr.n)
	}
	for i := range pr.n {
		pr.last[i] = sent{
			first: int32(binary.LittleEndian.Uint32(b)), last: int32(binary.LittleEndian.Uint32(b[4:])),
			base: message.Offset(binary.LittleEndian.Uint64(b[8:])), timestamp: int64(binary.LittleEndian.Uint64(b[16:])),
		}
		b = b[sentBytes:]
	}
	pr.next = pr.n % keptBatches
	into[id] = pr
	return b, nil
}

// restoreProducers takes over what was saved, if it fits the log [start, end), and returns from
// where on the log must be read.
func (p *Partition) restoreProducers(start, end message.Offset) (from message.Offset) {
	ctx, cancel := asking()
	defer cancel()
	data, err := p.log.LoadState(ctx, producersName)
	if err == nil && len(data) == 0 {
		return start
	}
	var byID map[int64]*producer
	var saved *partTxns
	var m batchMark
	t := p.txns()
	if err == nil {
		byID, saved, m, err = decodeProducers(data)
	}
	if err == nil && t != nil && saved == nil && m.end > start {
		err = fmt.Errorf("%w: it says nothing of transactions", errProducers)
	}
	if err == nil && (m.end > end || !p.holds(m, start)) {
		err = fmt.Errorf("%w: it ends at %d and the log does not hold what it says", errProducers, m.end)
	}
	if err != nil {
		p.q.vhost.b.opts.Log.Info("what was saved of a topic's producers is of no use; its log is read instead", "topic", p.q.Name, "partition", p.index, "error", err)
		return start
	}
	ps := &p.active().producers
	ps.mark = m
	if t != nil && saved != nil {
		t.open = saved.open
		t.aborted.Store(saved.aborted.Load())
		if p.wasCompacted() {
			t.dropUnmarked(p)
		}
	}
	ps.takeOver(byID, p.q.vhost.b.opts.Now()) // who has a transaction is known by now
	return max(m.end, start)
}

// holds reports whether a batch stands in the log: then all before it do. After a power cut others may stand there.
func (p *Partition) holds(m batchMark, start message.Offset) bool {
	if m.base < start {
		return true // nothing of them is left to compare with
	}
	v, err := await(p.log, m.base, 1)
	if err != nil {
		return false
	}
	defer v.Done()
	same := false
	err = v.Use(func(data []byte) error {
		b, _, err := batch.Next(data)
		if err == nil {
			there := markOf(b)
			there.end = m.end // of a state without a mark it is not the batch's
			same = there == m
		}
		return err
	})
	return err == nil && same
}

// sentMore counts what idempotent producers sent since the state was saved. mu is held.
func (p *Partition) sentMore(bytes int) {
	ps := &p.active().producers
	ps.unsaved += int64(bytes)
	if ps.unsaved >= max(saveProducersBytes, saveProducersRatio*ps.saved) {
		ps.due.Store(true)
		p.q.vhost.b.markDirty(p)
	}
}

// saveProducers keeps what is known of producers, if enough came since, and at the end
// if anything did. One call at a time.
func (p *Partition) saveProducers(last bool) error {
	a := p.inUse.Load()
	if a == nil {
		return nil
	}
	ps := &a.producers
	if !ps.due.Load() && !last || !p.q.lives() {
		return nil
	}
	ps.mu.Lock()
	passed := ps.passed()
	ps.mu.Unlock()
	for id, u := range passed {
		if err := p.hearOf(id, u); store.Retryable(err) {
			break
		}
	}
	data, unsaved := ps.toSave(p)
	if data == nil && ps.due.Load() {
		p.q.vhost.b.markDirty(p) // it is tried again
	}
	if data == nil || p.removed.Load() {
		return nil
	}
	ctx, cancel := asking()
	defer cancel()
	if err := p.log.SaveState(ctx, producersName, data); err != nil && !p.removed.Load() {
		ps.mu.Lock()
		ps.unsaved += unsaved // or the next call would find nothing to save
		ps.mu.Unlock()
		ps.due.Store(true)
		return fmt.Errorf("save what is known of producers: %w", err)
	}
	return nil
}

// toSave is the state to save, nil when nothing has changed, and how many bytes of
// batches are in it that were in none before.
func (ps *producers) toSave(p *Partition) (data []byte, unsaved int64) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.unsaved == 0 {
		return nil, 0
	}
	start, _, err := p.log.Bounds()
	if err != nil || !ps.loaded || ps.mark.end == 0 || ps.passed() != nil { // who was passed is before the mark, and not in what is known
		return nil, 0
	}
	t := p.txns()
	if t != nil {
		t.prune(start)
	}
	data = ps.appendState(nil, t)
	unsaved = ps.unsaved
	ps.unsaved, ps.saved = 0, int64(len(data))
	ps.due.Store(false)
	return data, unsaved
}
